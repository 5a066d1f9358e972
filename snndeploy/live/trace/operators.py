"""torch's operations as linear maps of signals, and those that are none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...ingest.normal_form.linear import LinearStage
from ...ir.arrays import Array, Shape, size
from ...ir.ops import Conv, Dense, Pair, SumPool
from .entries import SparseMap
from .memory import numbers
from .signals import Blocks, Lost, Signal, common

if TYPE_CHECKING:
    from torch import Tensor


class SignalReading(Protocol):
    """What operations ask a recorder."""

    def knows(self, tensor: Any) -> bool:
        """Whether it is a tensor that holds signals."""

    def read(self, tensor: Tensor) -> Blocks: ...

    def name_of(self, weight: Tensor) -> str:
        """The layer that a weight belongs to."""

    def either(self, signals: Signal, name: str, shape: Shape) -> Signal | None:
        """What neurons emit that fire where any spike of a sum arrives; None: it is no sum of spikes."""

    def is_positive(self, signal: Signal) -> bool:
        """Whether no value can be negative."""

    def is_binary(self, signal: Signal) -> bool:
        """Whether all values are 0 or 1."""


Outcome = Blocks | str
"""Signals, or the reason why the operation has none."""
Operation = Callable[[SignalReading, Sequence[Any], Mapping[str, Any], "Tensor"], Outcome]


def _argument(
    args: Sequence[Any], kwargs: Mapping[str, Any], at: int, name: str, default: Any
) -> Any:
    return args[at] if len(args) > at else kwargs.get(name, default)


# --- one value after the other ---------------------------------------------------------------------


def _as(reading: SignalReading, operand: Any, out: Tensor) -> Blocks:
    """An operand with the shape of the result."""
    if not hasattr(operand, "expand"):
        return Blocks((Signal(out.numel(), (), np.full(out.numel(), float(operand))),))
    return reading.read(operand.expand(out.shape))


def _sum(
    reading: SignalReading, a: Any, b: Any, out: Tensor, factors: tuple[float, float]
) -> Outcome:
    left, right = _as(reading, a, out), _as(reading, b, out)
    bounds = common(left, right)
    pairs = zip(left.divided(bounds).signals, right.divided(bounds).signals, strict=True)
    f, g = (np.asarray(x, float) for x in factors)
    return Blocks(tuple(x.times(f).plus(y.times(g)) for x, y in pairs))


def _add(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    alpha = float(_argument(args, kwargs, 2, "alpha", 1))
    return _sum(reading, args[0], args[1], out, (1.0, alpha))


def _sub(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    alpha = float(_argument(args, kwargs, 2, "alpha", 1))
    return _sum(reading, args[0], args[1], out, (1.0, -alpha))


def _rsub(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    alpha = float(_argument(args, kwargs, 2, "alpha", 1))
    return _sum(reading, args[0], args[1], out, (-alpha, 1.0))


def _negative(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    del kwargs, out
    return Blocks(tuple(s.times(np.asarray(-1.0)) for s in reading.read(args[0]).signals))


def _multiply(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    del kwargs
    a, b = args[:2]
    if reading.knows(a) and reading.knows(b):
        return "the product of two signals"
    signal, factor = (a, b) if reading.knows(a) else (b, a)
    return _scaled(reading, signal, factor, out, lambda x: x)


def _divide(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    if reading.knows(args[1]):
        return "a division by a signal"
    if kwargs.get("rounding_mode"):
        return "a division that rounds"
    return _scaled(reading, args[0], args[1], out, lambda x: 1.0 / x)


def _scaled(
    reading: SignalReading,
    signal: Tensor,
    factor: Any,
    out: Tensor,
    change: Callable[[Array], Array],
) -> Blocks:
    values = _as(reading, factor, out).joined().numbers()
    blocks = _as(reading, signal, out)
    factors = change(values)
    parts = [factors[a:b] for a, b in zip(blocks.bounds, blocks.bounds[1:], strict=False)]
    return Blocks(
        tuple(
            s.times(part[0] if (part == part[0]).all() else part)
            for s, part in zip(blocks.signals, parts, strict=True)
        )
    )


def _copy(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    del kwargs
    if out.dtype.is_floating_point:
        return reading.read(args[0])
    blocks = reading.read(args[0])
    if all(reading.is_binary(s) for s in blocks.signals):
        return blocks
    return "rounding to whole numbers"


def _copy_in(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    del kwargs
    return _as(reading, args[1], out)


def _relu(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    del kwargs, out
    blocks = reading.read(args[0])
    if all(reading.is_positive(s) for s in blocks.signals):
        return blocks
    return "relu of values that may be negative"


def _clamp(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    low, high = (_argument(args, kwargs, i, n, None) for i, n in ((1, "min"), (2, "max")))
    blocks = reading.read(args[0])
    if low is not None and (low > 0 or not all(reading.is_positive(s) for s in blocks.signals)):
        return "clamping"
    if high is None or (high >= 1 and all(reading.is_binary(s) for s in blocks.signals)):
        return blocks
    return _any(reading, blocks, out) if high == 1 else "clamping"


def _any(reading: SignalReading, blocks: Blocks, out: Tensor) -> Outcome:
    """1 where a sum of spikes is not 0."""
    shape = tuple(out.shape[1:]) if len(out.shape) > 1 and out.shape[0] == 1 else tuple(out.shape)
    found = []
    for signal in blocks.signals:
        fired = reading.either(
            signal, "any", shape if size(shape) == signal.size else (signal.size,)
        )
        if fired is None:
            return "the larger of values that are not spikes of one height"
        found.append(fired)
    return Blocks(tuple(found))


def _maximum(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    del kwargs
    left, right = (_as(reading, a, out) for a in args[:2])
    bounds = common(left, right)
    sides = [side.divided(bounds).signals for side in (left, right)]
    if not all(reading.is_binary(s) for side in sides for s in side):
        return "the larger of values that are not spikes"
    return _any(reading, Blocks(tuple(a.plus(b) for a, b in zip(*sides, strict=True))), out)


# --- moves, and sums of what is moved ---------------------------------------------------------------


def _moved(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], run: Any
) -> Outcome:
    """Run the operation on numbers of elements, to see where each of them goes.

    Zeros (paddings) and what is no signal keep apart: constants are read from the result.
    """
    import torch

    tensors: list[Any] = []

    def numbered(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and (reading.knows(value) or value.is_floating_point()):
            start = 1 + sum(t.numel() for t in tensors)
            tensors.append(value)
            line = torch.arange(start, start + value.numel(), dtype=torch.float64)
            return line.reshape(value.shape)
        if isinstance(value, (list, tuple)):
            return type(value)(numbered(v) for v in value)
        return value

    given, named = numbered(list(args)), {k: numbered(v) for k, v in kwargs.items()}
    moved = run(*given, **named).reshape(-1).numpy().round().astype(np.int64) - 1
    all_blocks = Blocks(tuple(s for t in tensors for s in reading.read(t).signals))
    rows = _runs(moved, all_blocks)
    return Blocks(tuple(_taken(all_blocks, row) for row in rows))


def _runs(moved: Array, blocks: Blocks) -> list[Array]:
    """The places cut where a new block of the source begins at its first value, and fills a run."""
    block = np.searchsorted(blocks.bounds, moved, side="right")
    edges = np.flatnonzero(np.diff(block)) + 1
    whole = len(edges) < len(blocks.signals) and all(
        len(np.unique(part)) == len(part) for part in np.split(moved, edges)
    )
    if not whole or (moved < 0).any():
        return [moved]
    return np.split(moved, edges)


def _taken(blocks: Blocks, at: Array) -> Signal:
    bounds = blocks.bounds
    block = int(np.searchsorted(bounds, at.min(), side="right")) - 1
    if at.min() >= 0 and at.max() < bounds[block + 1]:
        low = bounds[block]
        signal = blocks.signals[block]
        return signal.through(SparseMap.gathering(at - low, signal.size))
    return blocks.mapped(SparseMap.gathering(at, blocks.size))


def _stack_rows(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    """``cat`` and ``stack``: along the first long axis, blocks side by side; else values moved."""
    tensors, axis = args[0], _argument(args, kwargs, 1, "dim", 0) % out.dim()
    if size(out.shape[:axis]) == 1:
        return Blocks(tuple(s for t in tensors for s in reading.read(t).signals))
    return "moved"


def _constant_pad(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    x, widths = args[:2]
    if float(_argument(args, kwargs, 2, "value", 0.0) or 0.0) != 0 or min(widths) < 0:
        return "moved"
    pads = [(0, 0)] * (x.dim() - len(widths) // 2)
    pads += [(widths[i], widths[i + 1]) for i in range(len(widths) - 2, -1, -2)]
    shape = tuple(x.shape)
    line = np.arange(size(shape)).reshape(shape)
    taken = np.pad(line, pads, constant_values=-1).reshape(-1)
    if x.dim() > 1 and shape[0] == 1 and pads[0] == (0, 0):
        shape, pads = shape[1:], pads[1:]
    entries = SparseMap.gathering(taken, line.size)
    entries = dataclasses.replace(entries, before=shape, pads=tuple(pads))
    del out
    return Blocks((reading.read(x).mapped(entries),))


def _summed(mean: bool) -> Operation:
    def operation(
        reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
    ) -> Outcome:
        x = args[0]
        dims = _argument(args, kwargs, 1, "dim", None)
        dims = [dims] if isinstance(dims, int) else dims
        axes = tuple(sorted({d % x.dim() for d in dims})) if dims else tuple(range(x.dim()))
        count = size(x.shape[a] for a in axes)
        factor = np.asarray(1.0 / count if mean else 1.0)
        if x.dim() == 4 and axes == (2, 3):
            op = SumPool((x.shape[2], x.shape[3]), (x.shape[2], x.shape[3]))
            return _by_row(reading, x, LinearStage("", op, tuple(x.shape[1:])), factor)
        kept = [1 if a in axes else n for a, n in enumerate(x.shape)]
        rows = np.broadcast_to(np.arange(size(kept)).reshape(kept), x.shape).reshape(-1)
        entries = SparseMap.of(
            rows, np.arange(x.numel()), np.ones(x.numel()), out.numel(), x.numel()
        )
        return Blocks((reading.read(x).mapped(entries).times(factor),))

    return operation


# --- layers ------------------------------------------------------------------------------------------


def rows_of(reading: SignalReading, x: Tensor, count: int) -> tuple[Signal, ...]:
    """The signals of ``count`` rows of equal size."""
    step = x.numel() // max(count, 1)
    return reading.read(x).divided([i * step for i in range(count + 1)]).signals


def _by_row(
    reading: SignalReading, x: Tensor, stage: LinearStage, factor: Array | None = None
) -> Blocks:
    rows = (s.through(stage) for s in rows_of(reading, x, x.shape[0]))
    return Blocks(tuple(s if factor is None else s.times(factor) for s in rows))


def _matrix(reading: SignalReading, x: Tensor, weight: Tensor, bias: Any, name: str) -> Outcome:
    """``x @ weight + bias`` for a weight (in, out)."""
    if reading.knows(weight) or reading.knows(bias):
        return "the product of two signals"
    values = weight.detach().T.numpy()
    constant = None if bias is None else numbers(bias.expand(values.shape[0]))
    op = Dense(*values.shape)
    return _by_row(reading, x, LinearStage(name, op, (op.in_features,), values, constant))


def _addmm(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    del out
    if kwargs.get("alpha", 1) != 1 or kwargs.get("beta", 1) != 1 or args[0].dim() > 1:
        return "addmm with factors"
    if not reading.knows(args[1]):
        return "the product with a signal"
    return _matrix(reading, args[1], args[2], args[0], reading.name_of(args[2]))


def _mm(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    del kwargs
    a, b = args[:2]
    if reading.knows(a):
        return _matrix(reading, a, b, None, reading.name_of(b))
    if b.dim() != 2 or out.shape[1] != 1:
        return "a product from the left"
    return _matrix(reading, b.T, a.T, None, reading.name_of(a))


def _mv(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    del kwargs, out
    weight, x = args[:2]
    if reading.knows(weight):
        return "the product of two signals"
    return _matrix(reading, x.reshape(1, -1), weight.T, None, reading.name_of(weight))


def _bmm(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    del kwargs, out
    a, b = args[:2]
    if a.shape[0] != 1 or not reading.knows(a):
        return "a product of batches"
    return _matrix(reading, a[0], b[0], None, reading.name_of(b))


def _convolution(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    del kwargs
    x, weight, bias, stride, padding, dilation, transposed, _, groups = args[:9]
    if reading.knows(weight) or not reading.knows(x):
        return "the product of two signals"
    name = reading.name_of(weight)
    if transposed:
        return _unrolled(reading, args, out, name)
    values = weight.detach().numpy()
    op = Conv(
        values.shape[0],
        values.shape[1] * groups,
        tuple(values.shape[2:]),
        tuple(stride),
        tuple((p, p) for p in padding),
        tuple(dilation),
        groups,
    )
    constant = None if bias is None else numbers(bias).reshape(-1, *(1,) * len(op.kernel))
    return _by_row(reading, x, LinearStage(name, op, tuple(x.shape[1:]), values, constant))


def _unrolled(reading: SignalReading, args: Sequence[Any], out: Tensor, name: str) -> Outcome:
    """A transposed convolution, from what it makes of each single value."""
    import torch

    x, weight, bias, *rest = args
    n_in, n_out = size(x.shape[1:]), size(out.shape[1:])
    if n_in * n_out > _MOST_ENTRIES:
        return f"a transposed convolution of {n_in:,} x {n_out:,} values"
    with torch.no_grad():
        basis = torch.eye(n_in, dtype=torch.float64).reshape(n_in, *x.shape[1:])
        made = torch.ops.aten.convolution.default(basis, weight.double(), None, *rest)
    matrix = made.reshape(n_in, n_out).T.numpy().astype(weight.detach().numpy().dtype)
    constant = None if bias is None else np.repeat(numbers(bias), n_out // bias.numel())
    stage = LinearStage(name, Dense(n_out, n_in), (n_in,), matrix, constant)
    return _by_row(reading, x, stage)


_MOST_ENTRIES = 1 << 22


def _batch_norm(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    del kwargs
    x, weight, bias, mean, variance, *rest = args
    training, epsilon = (rest[0], rest[2]) if len(rest) == 3 else (False, rest[1])
    if training or mean is None:
        return "batch norm that learns while it runs (put the module into evaluation)"
    scale = 1.0 / np.sqrt(numbers(variance) + epsilon)
    scale = scale if weight is None else scale * numbers(weight)
    shift = -numbers(mean) * scale + (0.0 if bias is None else numbers(bias))
    places = size(out.shape[2:])
    factor, added = np.repeat(scale, places), np.repeat(shift, places)
    rows = rows_of(reading, x, x.shape[0])
    return Blocks(tuple(s.times(factor).plus(Signal(s.size, (), added)) for s in rows))


def _average(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    x, kernel = args[:2]
    stride = _argument(args, kwargs, 2, "stride", None) or kernel
    padding, ceil, counted, divisor = (
        _argument(args, kwargs, 3 + i, name, default)
        for i, (name, default) in enumerate(
            (
                ("padding", 0),
                ("ceil_mode", False),
                ("count_include_pad", True),
                ("divisor_override", None),
            )
        )
    )
    op = SumPool(*(_pair(v) for v in (kernel, stride, padding)))
    if ceil and op.out_shape(tuple(x.shape[1:])) != tuple(out.shape[1:]):
        return "pooling with ceil_mode over an edge that its window leaves"
    area = float(divisor or size(op.kernel))
    factor = np.asarray(1.0 / area)
    if not counted and not divisor and any(op.padding):
        ones = LinearStage("", op, (1, *x.shape[2:]))
        sums = Signal(size(x.shape[2:]), (), np.ones(size(x.shape[2:]))).through(ones).numbers()
        factor = np.tile(1.0 / sums, x.shape[1])
    return _by_row(reading, x, LinearStage("", op, tuple(x.shape[1:])), factor)


def _pair(values: Any) -> Pair:
    values = [values] if isinstance(values, int) else list(values)
    return (int(values[0]), int(values[-1]))


def _adaptive(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    del kwargs
    x = args[0]
    inside, outside = tuple(x.shape[2:]), tuple(out.shape[2:])
    if any(n % m for n, m in zip(inside, outside, strict=True)):
        return _adaptive_uneven(reading, x, inside, outside)
    block = _pair([n // m for n, m in zip(inside, outside, strict=True)])
    stage = LinearStage("", SumPool(block, block), tuple(x.shape[1:]))
    return _by_row(reading, x, stage, np.asarray(1.0 / size(block)))


def _adaptive_uneven(reading: SignalReading, x: Tensor, inside: Shape, outside: Shape) -> Blocks:
    """torch's windows: from floor(i n / m) to ceil((i + 1) n / m)."""
    axes = []
    for n, m in zip(inside, outside, strict=True):
        matrix = np.zeros((m, n))
        for i in range(m):
            low, high = i * n // m, -(-(i + 1) * n // m)
            matrix[i, low:high] = 1.0 / (high - low)
        axes.append(matrix)
    whole = np.kron(np.eye(x.shape[1]), np.kron(*axes))
    rows, columns = np.nonzero(whole)
    entries = SparseMap.of(rows, columns, whole[rows, columns], *whole.shape)
    return Blocks(tuple(s.through(entries) for s in rows_of(reading, x, x.shape[0])))


def _max_pool(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    x, kernel = args[:2]
    stride = _argument(args, kwargs, 2, "stride", None) or kernel
    padding = _argument(args, kwargs, 3, "padding", 0)
    if set(_pair(_argument(args, kwargs, 4, "dilation", 1))) != {1}:
        return "max pooling with dilation"
    op = SumPool(*(_pair(v) for v in (kernel, stride, padding)))
    if op.out_shape(tuple(x.shape[1:])) != tuple(out.shape[1:]):
        return "max pooling with ceil_mode over an edge that its window leaves"
    found = []
    for row in rows_of(reading, x, x.shape[0]):
        fired = None
        if reading.is_binary(row):
            summed = row.through(LinearStage("", op, tuple(x.shape[1:])))
            fired = reading.either(summed, "maxpool", tuple(out.shape[1:]))
        if fired is None:
            return (
                "the largest of values that are not spikes (max pooling is exact on spikes: "
                "put it behind the neurons)"
            )
        found.append(fired)
    return Blocks(tuple(found))


LINEAR: Mapping[str, Operation] = {
    "add": _add,
    "add_": _add,
    "sub": _sub,
    "sub_": _sub,
    "rsub": _rsub,
    "neg": _negative,
    "mul": _multiply,
    "mul_": _multiply,
    "div": _divide,
    "div_": _divide,
    "clone": _copy,
    "_to_copy": _copy,
    "copy_": _copy_in,
    "relu": _relu,
    "relu_": _relu,
    "clamp": _clamp,
    "clamp_max": lambda r, a, k, o: _clamp(r, (a[0], None, a[1]), k, o),
    "clamp_min": lambda r, a, k, o: _clamp(r, (a[0], a[1]), k, o),
    "hardtanh": lambda r, a, k, o: _clamp(
        r, (a[0], _argument(a, k, 1, "min_val", -1), _argument(a, k, 2, "max_val", 1)), {}, o
    ),
    "maximum": _maximum,
    "logical_or": _maximum,
    "bitwise_or": _maximum,
    "sum": _summed(mean=False),
    "mean": _summed(mean=True),
    "cat": _stack_rows,
    "stack": _stack_rows,
    "constant_pad_nd": _constant_pad,
    "addmm": _addmm,
    "mm": _mm,
    "mv": _mv,
    "bmm": _bmm,
    "convolution": _convolution,
    "native_batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "avg_pool2d": _average,
    "_adaptive_avg_pool2d": _adaptive,
    "max_pool2d_with_indices": _max_pool,
}
"""By the name of the operation in aten, without its overload."""

MOVES = frozenset(
    {
        "cat",
        "stack",
        "constant_pad_nd",
        "index",
        "index_select",
        "gather",
        "take_along_dim",
        "flip",
        "roll",
        "repeat",
        "pixel_shuffle",
        "pixel_unshuffle",
        "channel_shuffle",
        "upsample_nearest1d",
        "upsample_nearest2d",
        "_upsample_nearest_exact1d",
        "_upsample_nearest_exact2d",
        "replication_pad1d",
        "replication_pad2d",
        "reflection_pad1d",
        "reflection_pad2d",
        "im2col",
    }
)
"""Operations that only move values, repeat them, or put zeros between them."""

WITHOUT_VALUES = frozenset(
    {
        "zeros_like",
        "ones_like",
        "full_like",
        "empty_like",
        "rand_like",
        "randn_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty",
        "zero_",
        "fill_",
    }
)
"""Operations whose result does not depend on the values that they are given."""


def signals_of(
    reading: SignalReading,
    name: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    out: Tensor,
    run: Any,
) -> Outcome:
    """What an operation of aten makes of signals.

    Args:
        reading: the recorder.
        name: of the operation, without overload.
        args: what it was given, as positions.
        kwargs: what it was given by name.
        out: its (first) result.
        run: the operation, to be tried with other numbers.
    """
    found: Outcome = "moved" if name in MOVES else f"{name.strip('_')}"
    if name in LINEAR:
        found = LINEAR[name](reading, args, kwargs, out)
    return _moved(reading, args, kwargs, run) if found == "moved" else found


def lost(size_of: int, why: Lost) -> Blocks:
    """A signal that is no linear map of emissions."""
    return Blocks((Signal(size_of, (), None, why),))
