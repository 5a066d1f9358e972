"""A scale per neuron: the largest that its weights, its threshold and its bias have room for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...chip import Family
from ...ir.arrays import Array, Shape
from ...ir.network import Network, Population, Projection
from ...ir.ops import Op, Pointwise, weighted_index
from ..decays import kept, to_decay
from ..proofs.headroom import geometric, input_interval
from ..scale import weight_factors

_NOISE = 1e-9


@dataclass(frozen=True, eq=False)
class NeuronScales:
    """A population in whole numbers, before any shift.

    Attributes:
        population: of which.
        scale: v units per unit of the network, one for all or one per neuron.
        mantissas: weights by projection.
        ops: operators by projection, with weights of that shape.
        error: the largest rounding error of a weight, relative to the largest of its neuron.
        largest_shift: at which thresholds and biases still fit.
        bits: of a stored weight.
        keeps: the factor that u keeps in a step.
    """

    population: Population
    scale: Array
    mantissas: Mapping[str, Array]
    ops: Mapping[str, tuple[Op, ...]]
    error: float
    largest_shift: int
    bits: int
    keeps: Array

    def peak_of(self, network: Network, sent: Mapping[str, int]) -> Array:
        """The largest |u| that sources of so many spikes per step can make, at shift 0."""
        total = np.zeros(self.population.shape)
        for projection in network.incoming(self.population.name):
            source = network.source_shape(projection)
            most = max(sent[s.population] for s in projection.sources)
            interval = input_interval(
                self.ops[projection.name],
                self.mantissas[projection.name],
                source,
                np.asarray(most),
                False,
            )
            total = total + geometric(interval, self.keeps).peak * len(projection.sources)
        return total


def neuron_scales(population: Population, network: Network, family: Family) -> NeuronScales:
    """Choose the scale of every neuron, and round what arrives at it.

    Input acts before the decay of u, so that weights are divided by what u keeps. Weights that came as
    codes on one grid stay exact where the codes fit.
    """
    neuron, shape = population.neuron, population.shape
    assert neuron is not None
    assert neuron.syn_leak is not None
    numeric = family.target.numeric
    du = to_decay(neuron.syn_leak, 0, numeric.decay_max.limit, family.arithmetic)
    keeps = kept(du, family.arithmetic)
    incoming = network.incoming(population.name)
    each = not any(_rows(p, network, shape) is None for p in incoming)
    values = {p.name: p.weight.values() / _factor(keeps, p, network, shape) for p in incoming}
    top = family.weights.code_max
    peak = np.full((size_of(shape, each=each),), 1e-300)
    for p in incoming:
        peak = np.maximum(peak, _peaks(values[p.name], shape, each=each))
    scale = _on_grid(incoming, keeps, peak, top)
    scale = _shaped(np.where(peak > 1e-300, scale, 1.0), shape, each=each)
    wanted = np.zeros(())
    if neuron.threshold is not None:
        wanted = np.maximum(wanted, neuron.threshold / numeric.vth_max.limit)
    if neuron.drive.any():
        wanted = np.maximum(wanted, np.abs(neuron.drive) / numeric.bias_mant_max.limit)
    scale = np.where(scale * wanted > 1, 1 / np.maximum(wanted, 1e-300), scale)
    scale = _smallest(scale, shape, each=each)
    room = float(np.max(scale * wanted)) or 1.0
    mantissas, ops, error = {}, {}, 0.0
    for p in incoming:
        exact = values[p.name] * _factor(scale, p, network, shape)
        rounded = np.clip(np.rint(exact), -top - 1, top).astype(np.int64)
        largest, lost = float(np.abs(exact).max()), float(np.abs(rounded - exact).max())
        if lost > _NOISE * largest:
            error = max(error, lost / largest)
        mantissas[p.name] = rounded
        ops[p.name] = _with_shape(p.ops, rounded.shape)
    return NeuronScales(
        population=population,
        scale=scale,
        mantissas=mantissas,
        ops=ops,
        error=error,
        largest_shift=max(0, int(np.floor(np.log2(1 / room) + _NOISE))),
        bits=family.weights.bits,
        keeps=keeps,
    )


def size_of(shape: Shape, *, each: bool) -> int:
    """Scales of a population: one per row of its weights, or one."""
    return shape[0] if each else 1


def _rows(projection: Projection, network: Network, shape: Shape) -> Array | None:
    """Whether every entry along the first axis may have its own scale."""
    own = np.arange(1.0, shape[0] + 1).reshape(-1, *(1,) * (len(shape) - 1))
    return weight_factors(own, projection.ops, network.source_shape(projection), shape)


def _factor(values: Array, projection: Projection, network: Network, shape: Shape) -> Array:
    """``values`` per neuron, to multiply weights; their mean where weights are shared."""
    values = np.asarray(values)
    if values.size == 1:
        return values.reshape(())
    found = weight_factors(values, projection.ops, network.source_shape(projection), shape)
    return np.asarray(values.mean()) if found is None else found


def _peaks(values: Array, shape: Shape, *, each: bool) -> Array:
    """The largest weight into every row (or of all)."""
    size = np.abs(values)
    if not each:
        return np.full(1, size.max())
    if values.size % shape[0]:
        return np.full(shape[0], size.max())
    return np.asarray(size.reshape(shape[0], -1).max(axis=1))


def _on_grid(incoming: tuple[Projection, ...], keeps: Array, peak: Array, top: int) -> Array:
    """Scales that fill the codes; where all weights are codes of one step, whole multiples of them."""
    free = top / peak
    grids = [p.weight.scale for p in incoming]
    if not grids or any(g is None or g.size > 1 for g in grids) or keeps.size > 1:
        return free
    steps = [float(g.reshape(())) / float(keeps.reshape(())) for g in grids if g is not None]
    step = steps[0]
    if any(abs(s - step) > _NOISE * step for s in steps):
        return free
    codes = np.rint(peak / step)
    times = np.floor(top / np.maximum(codes, 1))
    return np.where((codes > 0) & (times >= 1), times / step, free)


def _shaped(scale: Array, shape: Shape, *, each: bool) -> Array:
    return scale.reshape(-1, *(1,) * (len(shape) - 1)) if each else scale.reshape(())


def _smallest(scale: Array, shape: Shape, *, each: bool) -> Array:
    """One value per row (or for all), where limits made more of them."""
    full = np.broadcast_to(scale, np.broadcast_shapes(np.shape(scale), (1,) * len(shape)))
    if full.size == 1:
        return np.asarray(full.reshape(()))
    if not each:
        return np.asarray(full.min())
    rows = np.broadcast_to(full, (shape[0], *full.shape[1:])).reshape(shape[0], -1).min(axis=1)
    return _shaped(rows, shape, each=True)


def _with_shape(ops: tuple[Op, ...], shape: Shape) -> tuple[Op, ...]:
    """One-to-one weights grow to one value per neuron where scales do."""
    i = weighted_index(ops)
    op = ops[i]
    if isinstance(op, Pointwise) and op.weight_shape != shape:
        return (*ops[:i], Pointwise(op.shape, shape), *ops[i + 1 :])
    return ops
