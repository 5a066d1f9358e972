"""Operations on values one by one: sums, factors, copies, and the larger of spikes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....ir.arrays import Array, size
from ..signals import Blocks, Signal, common
from .reading import Outcome, SignalReading, argument

if TYPE_CHECKING:
    from torch import Tensor


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


def add(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    """``a + alpha * b``."""
    alpha = float(argument(args, kwargs, 2, "alpha", 1))
    return _sum(reading, args[0], args[1], out, (1.0, alpha))


def sub(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    """``a - alpha * b``."""
    alpha = float(argument(args, kwargs, 2, "alpha", 1))
    return _sum(reading, args[0], args[1], out, (1.0, -alpha))


def rsub(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    """``b - alpha * a``."""
    alpha = float(argument(args, kwargs, 2, "alpha", 1))
    return _sum(reading, args[0], args[1], out, (-alpha, 1.0))


def negative(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    """``-a``."""
    del kwargs, out
    return Blocks(tuple(s.times(np.asarray(-1.0)) for s in reading.read(args[0]).signals))


def multiply(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    """``a * b``, where one of both is a constant."""
    del kwargs
    a, b = args[:2]
    if reading.knows(a) and reading.knows(b):
        return "the product of two signals"
    signal, factor = (a, b) if reading.knows(a) else (b, a)
    return _scaled(reading, signal, factor, out, lambda x: x)


def divide(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    """``a / b``, where b is a constant."""
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


def copy(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    """The same values, in another place or type."""
    del kwargs
    if out.dtype.is_floating_point:
        return reading.read(args[0])
    blocks = reading.read(args[0])
    if all(reading.is_binary(s) for s in blocks.signals):
        return blocks
    return "rounding to whole numbers"


def copy_in(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    """Values into a tensor that is there."""
    del kwargs
    return _as(reading, args[1], out)


def relu(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    """The identity, where no value can be negative."""
    del kwargs, out
    blocks = reading.read(args[0])
    if all(reading.is_positive(s) for s in blocks.signals):
        return blocks
    return "relu of values that may be negative"


def clamp(
    reading: SignalReading, args: Sequence[Any], kwargs: Mapping[str, Any], out: Tensor
) -> Outcome:
    """The identity where nothing is beyond; any spike of a sum, where 1 is the most."""
    low, high = (argument(args, kwargs, i, n, None) for i, n in ((1, "min"), (2, "max")))
    blocks = reading.read(args[0])
    if low is not None and (low > 0 or not all(reading.is_positive(s) for s in blocks.signals)):
        return "clamping"
    if high is None or (high >= 1 and all(reading.is_binary(s) for s in blocks.signals)):
        return blocks
    return _any(reading, blocks, out) if high == 1 else "clamping"


def _any(reading: SignalReading, blocks: Blocks, out: Tensor) -> Outcome:
    """1 where a sum of spikes is not 0."""
    full = tuple(out.shape)
    shapes = [full[1:], full, *(full[i:] for i in range(2, len(full)))]
    found = []
    for signal in blocks.signals:
        shape = next((s for s in shapes if s and size(s) == signal.size), (signal.size,))
        fired = reading.either(signal, "any", shape)
        if fired is None:
            return "the larger of values that are not spikes of one height"
        found.append(fired)
    return Blocks(tuple(found))


def maximum(reading: SignalReading, args: Sequence[Any], kwargs: Any, out: Tensor) -> Outcome:
    """The larger of two spikes: either."""
    del kwargs
    left, right = (_as(reading, a, out) for a in args[:2])
    bounds = common(left, right)
    sides = [side.divided(bounds).signals for side in (left, right)]
    if not all(reading.is_binary(s) for side in sides for s in side):
        return "the larger of values that are not spikes"
    return _any(reading, Blocks(tuple(a.plus(b) for a, b in zip(*sides, strict=True))), out)
