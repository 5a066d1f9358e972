"""Events of a sensor (who, when), and the frames that they are counted into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from ..errors import InputError, UsageError
from ..ir.arrays import Array, Shape, size

TimeOrigin = Literal["first-event", "zero"]
TimeUnit = Literal["us", "ms", "s"]

_MICROSECONDS = {"t": 1, "t_us": 1, "timestamp": 1, "t_ms": 1_000, "t_s": 1_000_000}
_UNITS: Mapping[TimeUnit, int] = {"us": 1, "ms": 1_000, "s": 1_000_000}
_WITHOUT_UNIT = ("t", "timestamp")
_POLARITIES = ("p", "polarity")
_LARGEST = 1 << 53
"""Magnitude of coordinates, and of times in microseconds: 285 years."""
TIMES = tuple(_MICROSECONDS)
"""Names under which times are found; without a unit they are microseconds."""


@dataclass(frozen=True, eq=False)
class Events:
    """One recording, in any order: arrays ``(events,)`` of int64; ``t`` in microseconds.

    ``y`` and ``p`` are None where the recording has no such column. Polarities are 0 (off) and 1 (on).
    """

    x: Array
    y: Array | None
    p: Array | None
    t: Array

    @classmethod
    def of(cls, columns: Mapping[str, Array], where: str, unit: TimeUnit | None = None) -> Events:
        """Check and convert named columns: x, y, p (or polarity) and t (or t_us, t_ms, t_s, timestamp).

        A negative polarity is taken for "off", as is 0. A time without a ``unit``, by its name or given,
        counts microseconds, which are whole numbers.

        Raises:
            InputError: a column is missing, has another length, or holds no whole numbers.
            UsageError: a unit was given, and the column's name says one.
        """
        check_columns({name: array.shape for name, array in columns.items()}, where)
        time = next(name for name in TIMES if name in columns)
        p = next(
            (_whole(columns[name], name, where) for name in _POLARITIES if name in columns), None
        )
        return cls(
            _whole(columns["x"], "x", where),
            _whole(columns["y"], "y", where) if "y" in columns else None,
            None if p is None else np.maximum(p, 0),
            _microseconds(columns[time], time, where, unit),
        )

    def elapsed(self, origin: TimeOrigin, where: str) -> Array:
        """Microseconds since the first event, or since the recording's own zero.

        Raises:
            InputError: an event before zero.
        """
        if not self.t.size:
            return self.t
        first = int(self.t.min())
        if origin == "zero" and first < 0:
            raise InputError(
                "events-before-zero",
                f"an event lies {-first} microseconds before zero",
                where=where,
                hint="count from the first event instead: --time-from first-event",
            )
        elapsed: Array = self.t - (first if origin == "first-event" else 0)
        return elapsed


def check_columns(shapes: Mapping[str, Shape], where: str) -> None:
    """Check the names and shapes of columns, before they are read.

    Raises:
        InputError: a column is missing, or they are not equally long rows of numbers.
    """
    if "x" not in shapes or shapes.keys().isdisjoint(TIMES):
        raise InputError(
            "events-columns",
            f"events need x and t, found {', '.join(sorted(shapes)) or 'none'}",
            where=where,
            hint="name the columns x, y, p and t (or t_us, t_ms, t_s)",
        )
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise InputError(
            "events-lengths",
            f"columns differ in shape: {dict(shapes)}",
            where=where,
            hint="every event has one x, y, p and t",
        )


def _finite(column: Array, name: str, where: str) -> Array:
    if column.dtype.kind not in "biuf":
        raise InputError("data-type", f"{name} is {column.dtype}", where=where)
    if column.dtype.kind == "f" and not np.isfinite(column).all():
        raise InputError("data-not-finite", f"{name} holds NaN or infinity", where=where)
    return column


def _bounded(column: Array, name: str, where: str, unit: int = 1) -> Array:
    """Refuse numbers that, times ``unit``, no 64-bit sum can be computed with."""
    if column.size and max(abs(int(column.min())), abs(int(column.max()))) * unit > _LARGEST:
        raise InputError(
            "events-too-large",
            f"{name} runs from {column.min():g} to {column.max():g}, past 2**53",
            where=where,
            hint="times are microseconds, or in the unit that the column's name says",
        )
    return column


def _whole(column: Array, name: str, where: str) -> Array:
    column = _bounded(_finite(column, name, where), name, where)
    if column.dtype.kind == "f" and (column != np.rint(column)).any():
        raise InputError(
            "events-not-whole",
            f"{name} holds fractions",
            where=where,
            hint="coordinates and polarities are whole numbers",
        )
    return column.astype(np.int64)


def _microseconds(column: Array, name: str, where: str, given: TimeUnit | None) -> Array:
    if given is not None and name not in _WITHOUT_UNIT:
        raise UsageError(
            "data-option",
            f"--time-unit says nothing about {name}, whose unit is in its name",
            where=where,
            hint="leave --time-unit out",
        )
    unit = _MICROSECONDS[name] if given is None else _UNITS[given]
    column = _bounded(_finite(column, name, where), name, where, unit)
    if column.dtype.kind != "f":
        microseconds: Array = column.astype(np.int64) * unit
        return microseconds
    if given is None and name in _WITHOUT_UNIT and (column != np.rint(column)).any():
        low, high = float(column.min()), float(column.max())
        raise InputError(
            "events-time-unit",
            f"{name} runs from {low:g} to {high:g} in fractions, and microseconds are whole numbers",
            where=where,
            hint="say its unit: --time-unit s (or ms, us), or name the column t_s, t_ms or t_us",
        )
    return np.asarray(np.rint(column * unit).astype(np.int64))


class Recordings(Protocol):
    """Event recordings, read one at a time."""

    @property
    def labels(self) -> Array | None: ...

    @property
    def sensor(self) -> Shape | None:
        """``(polarities, rows, columns)`` where it is known."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What an error calls this recording."""

    def __getitem__(self, index: int, /) -> Events: ...


def in_turn(labels: Array) -> Array:
    """Order that takes the first of every class, then the second of every class, and so on."""
    by_class = np.argsort(labels, kind="stable")
    nth = np.concatenate([np.arange(n) for n in np.unique(labels, return_counts=True)[1].tolist()])
    order: Array = by_class[np.lexsort((labels[by_class], nth))]
    return order


@dataclass(frozen=True, kw_only=True, eq=False)
class EventFrames:
    """Recordings as frames: a `SampleSource` that counts events into bins of time.

    Time t runs from a recording's first event, or from its own zero. With ``bin_us``, step k holds the
    events of ``k * bin_us <= t < (k + 1) * bin_us``; events after the last step are left out. Without,
    every recording is divided into ``steps`` equal parts, step k holding the events with
    ``floor(t * steps / (last + 1)) == k``, where ``last`` is the time of its last event.

    Args:
        recordings: what to read.
        input_shape: of the network.
        grid: (polarities, rows, columns) that addresses are read on; as many places as the input has.
            With one polarity, on and off events count alike.
        steps: number of frames.
        bin_us: their length, microseconds.
        origin: where time begins.
        binary: whether a place that several events share counts as one.
    """

    recordings: Recordings
    input_shape: Shape
    grid: Shape
    steps: int
    bin_us: int | None
    origin: TimeOrigin
    binary: bool

    @property
    def shape(self) -> Shape:
        return (self.steps, len(self.recordings), *self.input_shape)

    def read(self, low: int, high: int) -> Array:
        places = size(self.input_shape)
        dtype = np.uint8 if self.binary else np.int32
        frames = np.zeros((self.steps, high - low, places), dtype)
        for i in range(low, high):
            step, place = self._located(self.recordings[i], self.recordings.name(i))
            if self.binary:
                frames[step, i - low, place] = 1
            else:
                np.add.at(frames[:, i - low], (step, place), 1)
        return frames.reshape(self.steps, high - low, *self.input_shape)

    def _located(self, events: Events, where: str) -> tuple[Array, Array]:
        """Step and place in the input of every event that falls into a frame."""
        t = events.elapsed(self.origin, where)
        if not t.size:
            return t, t
        if not self.bin_us and (int(t.max()) + 1) * self.steps >= 1 << 63:
            raise InputError(
                "events-too-large",
                f"{int(t.max()):,} microseconds cannot be divided into {self.steps:,} steps",
                where=where,
                hint="give --bin-ms, or count from the first event: --time-from first-event",
            )
        step: Array = t // self.bin_us if self.bin_us else t * self.steps // (t.max() + 1)
        polarities, rows, columns = self.grid
        zero = np.zeros_like(events.x)
        p = events.p if polarities > 1 else zero
        y = events.y if events.y is not None or rows > 1 else zero
        for name, column, extent in (
            ("p", p, polarities),
            ("y", y, rows),
            ("x", events.x, columns),
        ):
            _within(name, column, extent, self.grid, where)
        place = np.asarray(np.ravel_multi_index((p, y, events.x), self.grid))  # type: ignore[arg-type]
        kept = step < self.steps
        return step[kept], place[kept]


def _within(name: str, column: Array | None, extent: int, grid: Shape, where: str) -> None:
    sensor = "x".join(map(str, grid))
    if column is None:
        raise InputError(
            "events-columns",
            f"the events have no {name}, the input is {sensor}",
            where=where,
            hint="the input is read as (polarities, rows, columns)",
        )
    low, high = int(column.min()), int(column.max())
    if low < 0 or high >= extent:
        raise InputError(
            "events-outside",
            f"{name} runs from {low} to {high}, the input is {sensor} "
            "(polarities x rows x columns)",
            where=where,
            hint="crop or scale the events to the network's input first; --sensor names the grid of a "
            "flat input",
        )


def grid_of(shape: Shape, sensor: Shape | None, where: str) -> Shape:
    """The grid (polarities, rows, columns) of a network's input.

    A shape (C, H, W) is its own grid, (C, L) has one row, and (N,) is one row of one polarity unless
    ``sensor`` (whose places it numbers in C order) says otherwise.

    Raises:
        InputError: the sensor does not have as many places as the input.
    """
    if sensor is not None and len(sensor) == 3 and size(sensor) == size(shape):
        return sensor
    if sensor is not None or len(shape) > 3:
        shown = "x".join(map(str, sensor or ()))
        raise InputError(
            "events-sensor",
            f"a sensor of {shown or 'unknown size'} does not fill the network's input {shape}",
            where=where,
            hint="a sensor is polarities x rows x columns, e.g. --sensor 2,34,34",
        )
    return {1: (1, 1, *shape), 2: (*shape[:1], 1, *shape[1:]), 3: shape}[len(shape)]
