"""Fold a chain of linear stages into operators with exactly one weight."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import InputError
from ...ir.arrays import Array, Shape, size
from ...ir.linear.float_chain import float_chain
from ...ir.ops import Conv, Dense, Op, Pointwise, Reshape, SumPool
from .linear import LinearStage

UNROLL_LIMIT = 1 << 22
"""Largest number of weights that a chain without a closed form may become."""


@dataclass(frozen=True, eq=False)
class Folded:
    """A chain with one weight; ``node`` names what it came from, empty for a plain connection."""

    node: str
    ops: tuple[Op, ...]
    weight: Array


def fold(chain: Sequence[LinearStage], shape: Shape, gain: Array, where: str) -> Folded:
    """Fold ``chain`` on a signal of ``shape``, multiplied by ``gain`` at its end.

    The result computes the same as the chain (biases are not part of it, see `arriving_bias`), with
    the weights in the dtype they had. Factors per channel and products of dense layers fold in
    closed form; anything else is unrolled to one dense matrix while that is small.

    Args:
        chain: stages, each taking what the one before it delivers.
        shape: input of the chain.
        gain: broadcastable to the chain's output; 1 leaves the weights untouched.
        where: for messages.

    Raises:
        InputError: two weights that do not fold, in a chain too large to unroll.
    """
    out_shape = chain[-1].out_shape if chain else shape
    stages = [s for s in chain if not _is_one(s)]
    if not (gain == 1).all():
        stages.append(_scaling(gain, out_shape))
    while len(at := [i for i, s in enumerate(stages) if s.op.weighted]) > 1:
        merged = _merged(stages, at[0], at[1])
        if merged is None:
            stages = [_unrolled(stages, shape, where)]
            if len(out_shape) > 1:
                stages.append(LinearStage("", Reshape(out_shape), stages[0].out_shape))
            if len(shape) > 1:
                stages.insert(0, LinearStage("", Reshape((size(shape),)), shape))
        else:
            stages = merged
    if not at:
        stages.append(_scaling(np.asarray(1.0, np.float32), out_shape))
    weighted = next(s for s in stages if s.op.weighted)
    weight = weighted.weight
    if weight is None:
        raise TypeError("a weighted stage has a weight")
    return Folded(weighted.node, tuple(s.op for s in stages), weight)


def pushes_back(chain: Sequence[LinearStage], gain: Array) -> bool:
    """Whether a factor at the end of the chain folds into its weight in closed form."""
    weighted = [i for i, s in enumerate(chain) if s.op.weighted and s.weight is not None]
    if gain.size == 1 or not weighted:
        return True
    out_shape = chain[-1].out_shape
    stages = [*chain, _scaling(gain, out_shape)]
    return _merged(stages, weighted[-1], len(stages) - 1) is not None


def arriving_bias(chain: Sequence[LinearStage], late: int) -> Array | None:
    """Sum of the biases that arrive ``late`` steps late, in the chain's output; None for none.

    Returns:
        float64, broadcastable to the shape that the chain delivers.
    """
    total: Array | None = None
    for i, stage in enumerate(chain):
        if stage.bias is None or stage.bias_delay != late:
            continue
        bias = stage.bias
        if chain[i + 1 :]:
            bias = run_stages(chain[i + 1 :], np.broadcast_to(bias, stage.out_shape)[None])[0]
        total = bias if total is None else total + bias
    return total


def run_stages(chain: Sequence[LinearStage], x: Array) -> Array:
    """Apply stages without their biases to ``x`` (samples, *shape), in float64."""
    import torch

    values = torch.tensor(np.ascontiguousarray(x, dtype=np.float64))
    with torch.no_grad():
        for stage in chain:
            weight = None if stage.weight is None else torch.tensor(np.asarray(stage.weight, float))
            values = float_chain((stage.op,), weight, values)
    result: Array = values.numpy()
    return result


def _scaling(gain: Array, shape: Shape) -> LinearStage:
    if gain.size == 1:
        gain = gain.reshape(())
    return LinearStage("", Pointwise(shape, gain.shape), shape, gain)


def _is_one(stage: LinearStage) -> bool:
    weight = stage.weight
    return isinstance(stage.op, Pointwise) and weight is not None and bool((weight == 1).all())


def _merged(stages: list[LinearStage], first: int, second: int) -> list[LinearStage] | None:
    """Merge the weighted stages at two positions into one; None where that has no closed form."""
    left, right, between = stages[first], stages[second], stages[first + 1 : second]
    if isinstance(left.op, Pointwise):
        factor = _carried(left, between, back=False)
        scaled = None if factor is None else _scale_input(right, factor)
        return (
            None if scaled is None else [*stages[:first], *between, scaled, *stages[second + 1 :]]
        )
    if isinstance(right.op, Pointwise):
        factor = _carried(right, between, back=True)
        scaled = None if factor is None else _scale_output(left, factor)
        return (
            None if scaled is None else [*stages[:first], scaled, *between, *stages[second + 1 :]]
        )
    dense = isinstance(left.op, Dense) and isinstance(right.op, Dense)
    if dense and all(s.op.is_view for s in between):
        return [*stages[:first], _product(left, right), *stages[second + 1 :]]
    return None


def _full(stage: LinearStage) -> Array:
    """A pointwise stage's factors, one per element (or one for all)."""
    weight = np.asarray(stage.weight, dtype=np.float64)
    return weight if weight.size == 1 else np.broadcast_to(weight, stage.in_shape)


def _carried(stage: LinearStage, between: Sequence[LinearStage], *, back: bool) -> Array | None:
    """Factors in front of ``between`` as factors behind it, or the other way round.

    None (unmerged) where unsure.
    """
    factor = _full(stage)
    for passed in reversed(between) if back else between:
        shape = passed.in_shape if back else passed.out_shape
        if factor.size == 1 or isinstance(passed.op, Reshape):
            factor = factor if factor.size == 1 else factor.reshape(shape)
        elif isinstance(passed.op, SumPool) and (channels := _per_channel(factor)) is not None:
            factor = np.broadcast_to(channels.reshape(-1, 1, 1), shape)
        else:
            return None
    return factor


def _per_channel(factor: Array) -> Array | None:
    """The factor of each channel, or None where it differs within one."""
    rows = factor.reshape(factor.shape[0], -1)
    first: Array = rows[:, 0]
    return first if (rows == first[:, None]).all() else None


def _scale_input(stage: LinearStage, factor: Array) -> LinearStage | None:
    op = stage.op
    match op:
        case Conv() if factor.size > 1:
            channels = _per_channel(factor)
            if channels is None:
                return None
            per_group = channels.reshape(op.groups, -1)
            group_of = np.arange(op.out_channels) // (op.out_channels // op.groups)
            factor = per_group[group_of].reshape(*op.weight_shape[:2], *(1,) * len(op.kernel))
            return _times(stage, factor)
        case Dense() | Conv() | Pointwise():
            return _times(stage, factor)
        case SumPool() | Reshape():
            return None


def _scale_output(stage: LinearStage, factor: Array) -> LinearStage | None:
    op = stage.op
    match op:
        case Conv() if factor.size > 1:
            channels = _per_channel(factor)
            if channels is None:
                return None
            return _times(stage, channels.reshape(-1, 1, *(1,) * len(op.kernel)))
        case Dense() if factor.size > 1:
            return _times(stage, factor.reshape(-1, 1))
        case Dense() | Conv() | Pointwise():
            return _times(stage, factor)
        case SumPool() | Reshape():
            return None


def _times(stage: LinearStage, factor: Array) -> LinearStage:
    weight = np.asarray(stage.weight)
    product = (weight * np.asarray(factor, np.float64)).astype(weight.dtype, copy=False)
    if isinstance(stage.op, Pointwise):
        return dataclasses.replace(
            stage, op=Pointwise(stage.op.shape, product.shape), weight=product, bias=None
        )
    return dataclasses.replace(stage, weight=product, bias=None)


def _product(left: LinearStage, right: LinearStage) -> LinearStage:
    a, b = np.asarray(left.weight), np.asarray(right.weight)
    product = (b.astype(np.float64) @ a.astype(np.float64)).astype(np.result_type(a, b))
    op = Dense(*product.shape)
    return LinearStage(f"{left.node}*{right.node}", op, left.in_shape, product)


def _unrolled(stages: Sequence[LinearStage], shape: Shape, where: str) -> LinearStage:
    """The whole chain as one dense matrix between flat signals."""
    n_in, n_out = size(shape), size(stages[-1].out_shape)
    if n_in * n_out > UNROLL_LIMIT:
        names = ", ".join(s.node for s in stages if s.op.weighted and s.node)
        raise InputError(
            "linear-chain",
            f"the weights of {names} follow each other without a neuron between "
            f"them; as one matrix they would need {n_in:,} x {n_out:,} weights",
            where=where,
            hint="put a neuron between them, or fold them into one layer",
        )
    largest = max(size(s.out_shape) for s in stages)
    # what lies between may be larger than either end
    some = max(1, UNROLL_LIMIT // max(n_in, largest))
    matrix = np.empty((n_out, n_in))
    for low in range(0, n_in, some):
        basis = np.eye(min(some, n_in - low), n_in, low)
        found = run_stages(stages, basis.reshape(-1, *shape))
        matrix[:, low : low + some] = found.reshape(-1, n_out).T
    dtypes = [np.asarray(s.weight).dtype for s in stages if s.op.weighted and s.node]
    node = "*".join(s.node for s in stages if s.op.weighted and s.node)
    weight = np.ascontiguousarray(matrix).astype(np.result_type(*dtypes) if dtypes else np.float64)
    return LinearStage(node, Dense(n_out, n_in), (n_in,), weight)
