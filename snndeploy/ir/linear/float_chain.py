"""Real arithmetic for a projection's chain of operators, batched over samples, with torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..ops import Conv, Dense, Op, Pointwise, Reshape, SumPool, Weighted

if TYPE_CHECKING:
    from torch import Tensor


def float_chain(ops: Sequence[Op], weight: Tensor | None, x: Tensor) -> Tensor:
    """Apply a chain of operators to ``x`` (samples, *in_shape), in the dtype of ``x``.

    ``weight`` belongs to the chain's weighted operator; None will do for a chain without one.
    """
    for op in ops:
        x = _apply(op, weight, x)
    return x


def _apply(op: Op, weight: Tensor | None, x: Tensor) -> Tensor:
    from torch.nn import functional

    match op:
        case Reshape():
            return x.reshape(x.shape[0], *op.shape)
        case SumPool():
            return _pool(op, x)
        case Dense():
            return functional.linear(x, _needed(op, weight))
        case Pointwise():
            return x * _needed(op, weight)
        case Conv():
            return _convolve(op, _needed(op, weight), x)


def _needed(op: Weighted, weight: Tensor | None) -> Tensor:
    if weight is None:
        raise ValueError(f"{op} needs a weight")
    return weight


def _pool(op: SumPool, x: Tensor) -> Tensor:
    from torch.nn import functional

    padding = [p for axis in reversed(op.padding) for p in (axis, axis)]
    padded = functional.pad(x, padding) if any(padding) else x
    if op.stride == op.kernel:
        from .float_pool import sum_blocks

        return sum_blocks(padded, op.kernel)
    return functional.avg_pool2d(padded, op.kernel, op.stride, divisor_override=1)


def _convolve(op: Conv, weight: Tensor, x: Tensor) -> Tensor:
    from torch.nn import functional

    symmetric = all(before == after for before, after in op.padding)
    if not symmetric:
        x = functional.pad(x, [p for axis in reversed(op.padding) for p in axis])
    padding = tuple(before if symmetric else 0 for before, _ in op.padding)
    convolve = functional.conv2d if len(op.kernel) == 2 else functional.conv1d
    return convolve(x, weight, None, op.stride, padding, op.dilation, op.groups)
