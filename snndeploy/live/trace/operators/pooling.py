"""Averages over windows, and the largest spike of a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....ingest.normal_form.linear import LinearStage
from ....ir.arrays import Array, Shape, size
from ....ir.ops import SumPool
from ..entries import SparseMap
from ..signals import Blocks, Signal
from .reading import Outcome, SignalReading, argument, by_row, pair, rows_of

if TYPE_CHECKING:
    from torch import Tensor


def average(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    """An average over windows; what edges count follows the options."""
    x, kernel = args[:2]
    stride = argument(args, kwargs, 2, "stride", None) or kernel
    padding, ceil, counted, divisor = (
        argument(args, kwargs, 3 + i, name, default)
        for i, (name, default) in enumerate(
            (
                ("padding", 0),
                ("ceil_mode", False),
                ("count_include_pad", True),
                ("divisor_override", None),
            )
        )
    )
    op = SumPool(*(pair(v) for v in (kernel, stride, padding)))
    if ceil and op.out_shape(tuple(x.shape[1:])) != tuple(out.shape[1:]):
        return _beyond_the_edge(reading, x, op, tuple(out.shape[2:]), bool(counted), divisor)
    area = float(divisor or size(op.kernel))
    factor = np.asarray(1.0 / area)
    if not counted and not divisor and any(op.padding):
        ones = LinearStage("", op, (1, *x.shape[2:]))
        sums = Signal(size(x.shape[2:]), (), np.ones(size(x.shape[2:]))).through(ones).numbers()
        factor = np.tile(1.0 / sums, x.shape[1])
    return by_row(reading, x, LinearStage("", op, tuple(x.shape[1:])), factor)


def adaptive(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    """An average over as many windows as are asked for."""
    del kwargs
    x = args[0]
    inside, outside = tuple(x.shape[2:]), tuple(out.shape[2:])
    if any(n % m for n, m in zip(inside, outside, strict=True)):
        return _adaptive_uneven(reading, x, inside, outside)
    block = pair([n // m for n, m in zip(inside, outside, strict=True)])
    stage = LinearStage("", SumPool(block, block), tuple(x.shape[1:]))
    return by_row(reading, x, stage, np.asarray(1.0 / size(block)))


def _beyond_the_edge(
    reading: SignalReading,
    x: Tensor,
    op: SumPool,
    outside: Shape,
    counted: bool,
    divisor: float | None,
) -> Blocks:
    """torch's windows with ceil_mode: the last ones end at the padded edge, and count up to it."""
    axes = []
    for axis, (n, m) in enumerate(zip(x.shape[2:], outside, strict=True)):
        k, stride, padding = op.kernel[axis], op.stride[axis], op.padding[axis]
        matrix = np.zeros((m, n))
        for i in range(m):
            low = i * stride - padding
            high = min(low + k, n + padding)
            inside = slice(max(low, 0), min(high, n))
            heard = high - low if counted else inside.stop - inside.start
            matrix[i, inside] = 1.0 if divisor else 1.0 / heard
        axes.append(matrix)
    axes[0] /= divisor or 1.0
    return _by_axis(reading, x, axes)


def _adaptive_uneven(reading: SignalReading, x: Tensor, inside: Shape, outside: Shape) -> Blocks:
    """torch's windows: from floor(i n / m) to ceil((i + 1) n / m)."""
    axes = []
    for n, m in zip(inside, outside, strict=True):
        matrix = np.zeros((m, n))
        for i in range(m):
            low, high = i * n // m, -(-(i + 1) * n // m)
            matrix[i, low:high] = 1.0 / (high - low)
        axes.append(matrix)
    return _by_axis(reading, x, axes)


def _by_axis(reading: SignalReading, x: Tensor, axes: Sequence[Array]) -> Blocks:
    """One matrix for each of the two axes of space, for all channels."""
    whole = np.kron(np.eye(x.shape[1]), np.kron(*axes))
    rows, columns = np.nonzero(whole)
    entries = SparseMap.of(rows, columns, whole[rows, columns], *whole.shape)
    return Blocks(tuple(s.through(entries) for s in rows_of(reading, x, x.shape[0])))


def max_pool(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    """The largest of each window: exact for spikes, as neurons that fire on any of them."""
    x, kernel = args[:2]
    stride = argument(args, kwargs, 2, "stride", None) or kernel
    padding = argument(args, kwargs, 3, "padding", 0)
    if set(pair(argument(args, kwargs, 4, "dilation", 1))) != {1}:
        return "max pooling with dilation"
    op = SumPool(*(pair(v) for v in (kernel, stride, padding)))
    if op.out_shape(tuple(x.shape[1:])) != tuple(out.shape[1:]):
        return "max pooling with ceil_mode over an edge that its window leaves"
    return _largest(reading, x, op, out)


def adaptive_max(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    """The largest of as many windows as are asked for."""
    del kwargs
    x = args[0]
    inside, outside = tuple(x.shape[2:]), tuple(out.shape[2:])
    if any(n % m for n, m in zip(inside, outside, strict=True)):
        return "max pooling over windows of different sizes"
    block = pair([n // m for n, m in zip(inside, outside, strict=True)])
    return _largest(reading, x, SumPool(block, block), out)


def _largest(reading: SignalReading, x: Tensor, op: SumPool, out: Tensor) -> Outcome:
    found = []
    for row in rows_of(reading, x, x.shape[0]):
        fired = None
        if reading.is_binary(row):
            summed = row.through(LinearStage("", op, tuple(x.shape[1:])))
            fired = reading.either(summed, "maxpool", tuple(out.shape[1:]))
        if fired is None:
            return (
                "the largest of values that are no single spikes (max pooling is exact behind "
                "neurons that spike once per step at most; what enters can be pooled in the data)"
            )
        found.append(fired)
    return Blocks(tuple(found))
