"""From what ``--data`` names to samples of the network's input shape."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import InputError, UsageError
from ..ir.arrays import Array, Shape, size
from .arrays import Rows, open_arrays, whole
from .event_files import EventFiles, EventTable, is_events, open_folder
from .events import EventFrames, Recordings, TimeOrigin, TimeUnit, grid_of
from .samples import Samples
from .tonic import PREFIX, open_tonic
from .trains import TrainEncoding, check_sample, encoded, spike_trains

FrameKind = Literal["count", "binary"]

_LARGEST_LABEL = 1 << 53
_INPUT_KEYS = ("x", "inputs", "input", "spikes", "images")
_LABEL_KEYS = ("y", "labels", "label")


def load_samples(
    path: str | Path | Array,
    shape: Shape,
    *,
    labels: Array | None = None,
    encoding: TrainEncoding = "none",
    steps: int | None = None,
    bin_ms: float | None = None,
    frames: FrameKind | None = None,
    time_from: TimeOrigin | None = None,
    sensor: Shape | None = None,
    time_unit: TimeUnit | None = None,
    delta_threshold: float | None = None,
    samples: int | None = None,
    skip: int = 0,
) -> Samples:
    """Open samples; what is large stays on disk until a batch of it is run.

    ``path`` is an array, as a ``.npy`` file would hold it, or one of:

    - ``.npz`` (arrays ``x`` and, optionally, ``y``) or ``.npy`` with spike trains, ``(samples, steps,
      *shape)``, or ``(steps, *shape)`` for one sample. A missing axis of extent 1 is added.
    - the same with images, ``(samples, *shape)``, given an ``encoding`` and a number of ``steps``;
      ``rate`` and ``latency`` divide images by their largest value where it is above 1. ``delta``
      takes values that change, ``(samples, steps, *shape)``; see `snndeploy.data.encode`.
    - events, given ``bin_ms``, ``steps`` or both: one recording per file (``.npz``, ``.npy``, ``.csv``,
      ``.bin``) in a folder, one such file, a ``.npz`` with many recordings one after the other and
      their ``offset``, or ``tonic:NAME``. How they become frames: `EventFrames`.

    Args:
        path: what to read.
        shape: of the network's input.
        labels: classes of the samples, beside an array; files hold their own.
        encoding: how images become spikes.
        steps: length of a sample in time steps.
        bin_ms: length of a step in milliseconds, a whole number of microseconds.
        frames: what a frame holds: the ``count`` of its events (default), or a ``binary`` 0 or 1.
        time_from: where the time of events begins: at the ``first-event`` (default) or at the ``zero``
            of their clock.
        sensor: ``(polarities, rows, columns)`` of events for a flat input.
        time_unit: of the times of events whose column says none (default: microseconds).
        delta_threshold: smallest change that spikes under ``delta`` (default 0.1).
        samples: open this many (default: all).
        skip: leave out this many in front of them.

    Raises:
        InputError: an unreadable file or folder, missing arrays, or data that do not fit the input.
        UsageError: an option that says nothing about these data, or one that is missing.
        BackendMissing: ``tonic:`` without tonic.
    """
    found: Mapping[str, Rows] | Recordings
    if isinstance(path, (str, Path)):
        where = str(path)
        _refuse({"labels": labels}, "files, which hold their own", where)
        found = _open(where, time_unit)
    else:
        where = "the array"
        found = {"x": path} if labels is None else {"x": path, "y": np.asarray(labels)}
    if isinstance(found, Mapping):
        _refuse(
            {
                "bin_ms": bin_ms,
                "frames": frames,
                "time_from": time_from,
                "sensor": sensor,
                "time_unit": time_unit,
            },
            "spike trains and images",
            where,
        )
        if encoding != "delta":
            _refuse({"delta_threshold": delta_threshold}, "other encodings than delta", where)
        whole = _from_arrays(found, shape, encoding, steps, delta_threshold, where)
    else:
        _refuse(
            {
                "encode": None if encoding == "none" else encoding,
                "delta_threshold": delta_threshold,
            },
            "events",
            where,
        )
        used = range(skip, len(found) if samples is None else min(skip + samples, len(found)))
        if used:
            found[used[0]]  # what is wrong with the columns is said now, not in the middle of a run
        origin = time_from or "first-event"
        bins = _bins(found, steps, bin_ms, origin, used, where)
        whole = _framed(found, shape, bins, origin, frames, sensor, where)
    if skip >= len(whole):
        raise InputError(
            "data-no-samples",
            f"there are {len(whole)} samples, none is left after skipping {skip}",
            where=where,
            hint="give a smaller --skip",
        )
    return whole.part(skip, samples)


def _open(where: str, unit: TimeUnit | None) -> Mapping[str, Rows] | Recordings:
    """The arrays of a file, or what holds recordings of events."""
    path = Path(where)
    if where.startswith(PREFIX):
        _refuse({"time_unit": unit}, "public data sets, whose unit is known", where)
        return open_tonic(where.removeprefix(PREFIX))
    if path.is_dir():
        return open_folder(path, unit)
    if path.suffix in (".bin", ".csv"):
        return EventFiles([path], unit=unit)
    arrays = open_arrays(path)
    if not is_events(arrays):
        return arrays
    return (
        EventFiles([path], unit=unit)
        if arrays["x"].dtype.names
        else EventTable.of(path, arrays, unit)
    )


def _from_arrays(
    arrays: Mapping[str, Rows],
    shape: Shape,
    encoding: TrainEncoding,
    steps: int | None,
    threshold: float | None,
    where: str,
) -> Samples:
    x = _pick(arrays, _INPUT_KEYS, where)
    if x is None:
        raise InputError(
            "data-no-inputs",
            f"found arrays {', '.join(sorted(arrays))}, none is the input",
            where=where,
            hint=f"name it one of {', '.join(_INPUT_KEYS)}",
        )
    if encoding == "none":
        inputs = spike_trains(x, shape, where)
    else:
        inputs = encoded(x, shape, encoding, steps, threshold, where)
    if steps not in (None, inputs.steps):
        _refuse({"steps": steps}, f"these data, which have {inputs.steps} steps", where)
    y = _pick(arrays, _LABEL_KEYS, where)
    hint = "spike trains are (samples, steps, ...); images need --encode and --steps"
    labels = None
    if y is not None:
        if y.shape != (len(inputs),):  # before they are read: they may be larger than the memory
            raise _wrong_labels(y.shape, len(inputs), where, hint)
        labels = _labels(whole(y, "y", where), len(inputs), where, hint)
    return Samples(inputs.source, labels)


def _refuse(options: Mapping[str, object], data: str, where: str) -> None:
    for name, value in options.items():
        if value is not None:
            option = name.replace("_", "-")
            raise UsageError(
                "data-option",
                f"--{option} says nothing about {data}",
                where=where,
                hint=f"leave --{option} out",
            )


def _bins(
    recordings: Recordings,
    steps: int | None,
    bin_ms: float | None,
    origin: TimeOrigin,
    used: range,
    where: str,
) -> tuple[int, int | None]:
    """Steps, and microseconds per step (None: each recording is divided into the steps).

    Without a number of steps, there are as many as the longest recording of those ``used`` fills.
    """
    if bin_ms is None:
        if steps is None:
            raise UsageError(
                "data-bins",
                "events need a length of time per step, or a number of steps",
                where=where,
                hint="give --bin-ms, --steps or both",
            )
        return steps, None
    bin_us = round(bin_ms * 1000) if bin_ms > 0 and math.isfinite(bin_ms) else 0
    if not bin_us or abs(bin_us - bin_ms * 1000) > 1e-6:
        raise UsageError(
            "data-bins", f"{bin_ms:g} ms is not a whole number of microseconds", where="--bin-ms"
        )
    if steps is None:
        ends = (recordings[i].elapsed(origin, recordings.name(i)).max(initial=0) for i in used)
        steps = 1 + int(max(ends, default=0)) // bin_us
    return steps, bin_us


def _framed(
    recordings: Recordings,
    shape: Shape,
    bins: tuple[int, int | None],
    origin: TimeOrigin,
    frames: FrameKind | None,
    sensor: Shape | None,
    where: str,
) -> Samples:
    own = recordings.sensor
    if sensor is None and own is not None and len(shape) == 1 and size(own) == size(shape):
        sensor = own  # the data set's own sensor numbers the places of a flat input
    check_sample(bins[0], shape, 4, where)
    source = EventFrames(
        recordings=recordings,
        input_shape=shape,
        grid=grid_of(shape, sensor, where),
        steps=bins[0],
        bin_us=bins[1],
        origin=origin,
        binary=frames == "binary",
    )
    labels = recordings.labels
    return Samples(source, None if labels is None else _labels(labels, len(recordings), where))


def _pick(arrays: Mapping[str, Rows], keys: Iterable[str], where: str) -> Rows | None:
    for key in keys:
        if key in arrays:
            if arrays[key].dtype.kind not in "biuf":
                raise InputError("data-type", f"{key} is {arrays[key].dtype}", where=where)
            return arrays[key]
    return None


def _wrong_labels(shape: Shape, samples: int, where: str, hint: str) -> InputError:
    return InputError(
        "data-labels", f"{shape} labels for {samples} samples", where=where, hint=hint
    )


def _labels(y: Array, samples: int, where: str, hint: str = "") -> Array:
    if y.ndim != 1 or len(y) != samples:
        raise _wrong_labels(y.shape, samples, where, hint)
    large = y.dtype.kind in "iuf" and not (abs(y.astype(np.float64)) <= _LARGEST_LABEL).all()
    if y.dtype.kind not in "biuf" or large or (y.dtype.kind == "f" and (y != np.rint(y)).any()):
        raise InputError(
            "data-labels",
            "labels are not whole numbers",
            where=where,
            hint="a label is the index of the output neuron",
        )
    return y.astype(np.int64)
