"""Spike trains, and images or signals on their way to become some, out of arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import InputError, UsageError
from ..ir.arrays import Array, Shape, size
from ..limits import current
from .arrays import Rows, forget
from .encode import constant, delta, latency, rate
from .samples import Samples

TrainEncoding = Literal["none", "rate", "latency", "direct", "delta"]

_PEAK_VALUES = 1 << 24
"""Values looked at together in search of the largest."""


@dataclass(frozen=True, eq=False)
class _Blocks:
    """A `SampleSource` of arrays that lie sample by sample, each block changed as it is read."""

    rows: Rows
    shape: Shape
    change: Callable[[Array], Array]
    where: str

    def read(self, low: int, high: int) -> Array:
        rows = self.rows[low:high]
        _refuse_not_finite(rows, low, self.where)
        block = self.change(rows)
        forget(self.rows)
        return block


def not_finite(sample: int, where: str) -> InputError:
    """The error of a sample that is not all numbers."""
    return InputError(
        "data-not-finite",
        f"sample {sample} holds NaN or infinity",
        where=where,
        hint="mend the file, or leave the sample out: --samples N, --skip N",
    )


def _refuse_not_finite(rows: Array, first: int, where: str) -> None:
    """Samples from the ``first`` on have to be numbers."""
    if rows.dtype.kind != "f" or (finite := np.isfinite(rows)).all():
        return
    raise not_finite(first + int(finite.reshape(len(rows), -1).all(axis=1).argmin()), where)


def _blocks(rows: Rows, shape: Shape, change: Callable[[Array], Array], where: str) -> Samples:
    return Samples(_Blocks(rows, shape, change, where))


def check_sample(steps: int, shape: Shape, itemsize: int, where: str) -> None:
    """Refuse samples of which not even one fits the memory.

    Raises:
        InputError: one has more bytes than one file may take.
    """
    most = current().memory
    if steps * size(shape) * itemsize > most:
        raise InputError(
            "data-too-large",
            f"a sample of {steps:,} steps has {steps * size(shape) * itemsize:,} bytes, past the "
            f"limit of {most:,}",
            where=where,
            hint="give fewer steps, or more memory: snndeploy --max-memory MIB",
        )


def spike_trains(x: Rows, shape: Shape, where: str) -> Samples:
    """``(samples, steps, *shape)``, or ``(steps, *shape)`` for one sample, as they are.

    Raises:
        InputError: a shape that does not fit.
    """
    if len(x.shape) == len(shape) + 1 or (len(x.shape) == len(shape) and shape[0] == 1):
        (steps,) = _fit(x.shape, ("steps",), shape, where)
        check_sample(steps, shape, x.dtype.itemsize, where)
        return Samples(x[:].reshape(steps, 1, *shape))
    samples, steps = _fit(x.shape, ("samples", "steps"), shape, where)
    check_sample(steps, shape, x.dtype.itemsize, where)
    if isinstance(x, np.ndarray) and x.dtype.kind != "f":  # a view of what is in memory or mapped
        return Samples(np.swapaxes(x.reshape(samples, steps, *shape), 0, 1))
    return _blocks(
        x, (steps, samples, *shape), lambda b: b.reshape(-1, steps, *shape).swapaxes(0, 1), where
    )


def encoded(
    x: Rows,
    shape: Shape,
    encoding: TrainEncoding,
    steps: int | None,
    threshold: float | None,
    where: str,
) -> Samples:
    """Images ``(samples, *shape)``, or for delta values ``(samples, steps, *shape)``, as spikes.

    Raises:
        InputError: a shape that does not fit, no number of steps, NaN, or values without a code.
        UsageError: a threshold that is not positive.
    """
    if encoding == "delta":
        return _changes(x, shape, 0.1 if threshold is None else threshold, where)
    if steps is None:
        raise InputError(
            "data-steps", "images need a number of steps", where=where, hint="give --steps"
        )
    (samples,) = _fit(x.shape, ("samples",), shape, where)
    check_sample(steps, shape, 8, where)
    out = (steps, samples, *shape)
    if encoding == "direct":
        return _blocks(x, out, lambda images: constant(images.reshape(-1, *shape), steps), where)
    coder = {"rate": rate, "latency": latency}[encoding]
    low, high = _range(x, where)
    if low < 0:
        raise InputError(
            "data-negative",
            f"the images hold values from {low:g} to {high:g}; {encoding} has no code "
            "for negative ones",
            where=where,
            hint="undo the normalisation, or feed them as they are with --encode direct",
        )
    peak = high if high > 1 else 1.0
    return _blocks(x, out, lambda images: coder(images.reshape(-1, *shape) / peak, steps), where)


def _changes(x: Rows, shape: Shape, threshold: float, where: str) -> Samples:
    if not threshold > 0:
        raise UsageError(
            "data-threshold", f"{threshold:g} is not above 0", where="--delta-threshold"
        )
    pairs = shape[0] % 2 == 0 and len(x.shape) > 2 and size(x.shape[2:]) * 2 == size(shape)
    values = (shape[0] // 2, *shape[1:]) if pairs else shape
    samples, steps = _fit(x.shape, ("samples", "steps"), values, where)
    check_sample(steps, shape, max(4, x.dtype.itemsize), where)
    _range(x, where)

    def change(block: Array) -> Array:
        series = block.reshape(-1, steps, *values).swapaxes(0, 1)
        return delta(series, threshold, channels=pairs)

    return _blocks(x, (steps, samples, *shape), change, where)


def _range(x: Rows, where: str) -> tuple[float, float]:
    """Smallest and largest value of an array that may be larger than the memory."""
    count = max(1, _PEAK_VALUES // max(1, size(x.shape[1:])))
    low, high = 0.0, 0.0
    for start in range(0, x.shape[0], count):
        block = x[start : start + count]
        _refuse_not_finite(block, start, where)
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        forget(x)
    return low, high


def _fit(found: Shape, axes: tuple[str, ...], shape: Shape, where: str) -> Shape:
    """Extents of ``axes``, which come before ``shape``; data may leave out axes of extent 1."""
    if len(found) >= len(axes) and _squeezed(found[len(axes) :]) == _squeezed(shape):
        if not size(found):
            raise InputError(
                "data-empty",
                f"the data have shape {found}: there is nothing in it",
                where=where,
                hint="see what wrote the file",
            )
        return found[: len(axes)]
    expected = ", ".join([*axes, *map(str, shape)])
    raise InputError(
        "data-shape",
        f"the data have shape {found}, the network expects ({expected})",
        where=where,
        hint="images need --encode and --steps; spike trains are (samples, steps, ...)",
    )


def _squeezed(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1) if size(shape) != 1 else ()
