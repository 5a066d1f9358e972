"""From what ``--data`` names to samples of the network's input shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from ..errors import InputError, UsageError
from ..ir.arrays import Array, Shape, size
from .arrays import Rows, open_arrays, whole
from .event_files import EventFiles, EventTable, is_events, open_folder
from .events import EventFrames, Recordings, TimeOrigin, TimeUnit, grid_of
from .labels import (
    LABEL_KEYS,
    TARGET_KEYS,
    picked,
    sample_labels,
    step_labels,
    target_values,
    wrong_labels,
)
from .samples import Samples, refuse_names
from .signs import bases_of, with_signs
from .tonic import PREFIX, open_tonic
from .trains import TrainEncoding, check_sample, encoded, spike_trains

FrameKind = Literal["count", "binary"]

_INPUT_KEYS = ("x", "inputs", "input", "spikes", "images")

Given: TypeAlias = "str | Path | Array"
"""A file or folder by its path, or what a file would hold."""


def load_samples(
    path: Given | Mapping[str, Given],
    shape: Shape | Mapping[str, Shape],
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
    unlabelled: int | None = None,
    window: int | None = None,
) -> Samples:
    """Open samples; what is large stays on disk until a batch of it is run.

    ``path`` is an array, as a ``.npy`` file would hold it, or one of:

    - ``.npz`` (arrays ``x`` and, optionally, ``y``) or ``.npy`` with spike trains, ``(samples, steps,
      *shape)``, or ``(steps, *shape)`` for one sample. A missing axis of extent 1 is added. ``y`` is a
      class per sample, ``(samples,)``, or per step, ``(samples, steps)``; ``target`` holds values
      instead, ``(samples,)`` or ``(samples, neurons)``.
    - the same with images, ``(samples, *shape)``, given an ``encoding`` and a number of ``steps``;
      ``rate`` and ``latency`` divide images by their largest value where it is above 1. ``delta``
      takes values that change, ``(samples, steps, *shape)``; see `snndeploy.data.encode`.
    - events, given ``bin_ms``, ``steps`` or both: one recording per file (``.npz``, ``.npy``, ``.csv``,
      ``.bin``) in a folder, one such file, a ``.npz`` with many recordings one after the other and
      their ``offset``, or ``tonic:NAME``. How they become frames: `EventFrames`.

    A network with several inputs takes one such ``path`` for each, by name, or one ``.npz`` with an
    array for each, named as the input. All have the same steps and samples; options hold for all. An
    input that was split by sign (`snndeploy.split_signs`) and its second one take one ``path``.

    Args:
        path: what to read; for several inputs, by their names.
        shape: of the network's input; for several, by their names.
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
        unlabelled: the label of steps that have none, among labels per step.
        window: over how many steps answers per step are smoothed (default: 1).

    Raises:
        InputError: an unreadable file or folder, missing arrays, or data that do not fit the input.
        UsageError: an option that says nothing about these data, or one that is missing.
        BackendMissing: ``tonic:`` without tonic.
    """
    how = _How(
        encoding=encoding,
        steps=steps,
        bin_ms=bin_ms,
        frames=frames,
        time_from=time_from,
        sensor=sensor,
        time_unit=time_unit,
        delta_threshold=delta_threshold,
        samples=samples,
        skip=skip,
        unlabelled=unlabelled,
        window=window,
        labels=labels,
    )
    if not isinstance(shape, Mapping):
        return _loaded(path, {"": shape}, how)
    given = bases_of(shape)
    if len(given) == len(shape):
        return _loaded(path, shape, how)
    found = _loaded(path, given, how)
    source = found.source
    sources = source if isinstance(source, Mapping) else {next(iter(given)): source}
    return replace(found, source=with_signs(sources, shape))


def _loaded(path: Given | Mapping[str, Given], shape: Mapping[str, Shape], how: _How) -> Samples:
    """Samples for inputs of these shapes."""
    if isinstance(path, Mapping):
        refuse_names(path, shape)
        return _together({name: _load(path[name], shape[name], how) for name in shape})
    if len(shape) == 1:
        return _load(path, next(iter(shape.values())), how)
    if not isinstance(path, (str, Path)):
        raise InputError(
            "data-no-inputs",
            f"the network has the inputs {', '.join(shape)}, and this is one array",
            hint="give a mapping with an array for each of them",
        )
    return _load_named(str(path), shape, how)


@dataclass(frozen=True, kw_only=True)
class _How:
    """The options of `load_samples`."""

    encoding: TrainEncoding
    steps: int | None
    bin_ms: float | None
    frames: FrameKind | None
    time_from: TimeOrigin | None
    sensor: Shape | None
    time_unit: TimeUnit | None
    delta_threshold: float | None
    samples: int | None
    skip: int
    unlabelled: int | None
    window: int | None
    labels: Array | None = None


def _together(parts: Mapping[str, Samples]) -> Samples:
    """Samples of several inputs; labels may come with any of them."""
    labels = {name: part.labels for name, part in parts.items() if part.labels is not None}
    first = next(iter(labels), "")
    for name, other in labels.items():
        if not np.array_equal(labels[first], other):
            raise InputError(
                "data-labels",
                f"the labels beside {first!r} and {name!r} differ",
                hint="keep them in one file",
            )
    if len(parts) == 1:
        return next(iter(parts.values()))
    window = max(part.window for part in parts.values())
    targets = next((p.targets for p in parts.values() if p.targets is not None), None)
    sources: Any = {name: part.source for name, part in parts.items()}
    return Samples(sources, labels.get(first), window, targets)


def _load_named(where: str, shapes: Mapping[str, Shape], how: _How) -> Samples:
    """Samples of several inputs from one file with an array for each."""
    found = _open(where, how.time_unit)
    listed = ", ".join(shapes)
    hint = f"name its arrays {listed}, or give --data NAME=FILE for each of them"
    if not isinstance(found, Mapping):
        raise InputError(
            "data-no-inputs",
            f"the network has the inputs {listed}, and recordings of events are for one",
            where=where,
            hint=f"give --data NAME=FILE for each of {listed}",
        )
    if missing := [name for name in shapes if name not in found]:
        raise InputError(
            "data-no-inputs",
            f"found arrays {', '.join(sorted(found))}, none is the input {missing[0]!r}",
            where=where,
            hint=hint,
        )
    beside = (*LABEL_KEYS, *TARGET_KEYS)
    labels = {key: found[key] for key in beside if key in found and key not in shapes}
    parts = {}
    for name, shape in shapes.items():
        arrays = {_INPUT_KEYS[0]: found[name], **labels}
        parts[name] = _chosen(_read(arrays, shape, how, f"{where}:{name}"), how, where)
    return _together(parts)


def _load(path: Given, shape: Shape, how: _How) -> Samples:
    """Samples of one input."""
    found: Mapping[str, Rows] | Recordings
    if isinstance(path, (str, Path)):
        where = str(path)
        _refuse({"labels": how.labels}, "files, which hold their own", where)
        found = _open(where, how.time_unit)
    else:
        where = "the array"
        found = {"x": path} if how.labels is None else {"x": path, "y": np.asarray(how.labels)}
    if isinstance(found, Mapping):
        return _chosen(_read(found, shape, how, where), how, where)
    _refuse({"unlabelled": how.unlabelled, "window": how.window}, "events", where)
    _refuse(
        {
            "encode": None if how.encoding == "none" else how.encoding,
            "delta_threshold": how.delta_threshold,
        },
        "events",
        where,
    )
    last = len(found) if how.samples is None else min(how.skip + how.samples, len(found))
    used = range(how.skip, last)
    if used:
        found[used[0]]  # what is wrong with the columns is said now, not in the middle of a run
    origin = how.time_from or "first-event"
    bins = _bins(found, how.steps, how.bin_ms, origin, used, where)
    return _chosen(_framed(found, shape, bins, origin, how.frames, how.sensor, where), how, where)


def _read(arrays: Mapping[str, Rows], shape: Shape, how: _How, where: str) -> Samples:
    """Spike trains and images."""
    _refuse(
        {
            "bin_ms": how.bin_ms,
            "frames": how.frames,
            "time_from": how.time_from,
            "sensor": how.sensor,
            "time_unit": how.time_unit,
        },
        "spike trains and images",
        where,
    )
    if how.encoding != "delta":
        _refuse({"delta_threshold": how.delta_threshold}, "other encodings than delta", where)
    return _from_arrays(arrays, shape, how, where)


def _chosen(whole: Samples, how: _How, where: str) -> Samples:
    """The samples that are asked for."""
    if how.skip >= len(whole):
        raise InputError(
            "data-no-samples",
            f"there are {len(whole)} samples, none is left after skipping {how.skip}",
            where=where,
            hint="give a smaller --skip",
        )
    return whole.part(how.skip, how.samples)


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


def _from_arrays(arrays: Mapping[str, Rows], shape: Shape, how: _How, where: str) -> Samples:
    x = picked(arrays, _INPUT_KEYS, where)
    if x is None:
        raise InputError(
            "data-no-inputs",
            f"found arrays {', '.join(sorted(arrays))}, none is the input",
            where=where,
            hint=f"name it one of {', '.join(_INPUT_KEYS)}",
        )
    if how.encoding == "none":
        inputs = spike_trains(x, shape, where)
    else:
        inputs = encoded(x, shape, how.encoding, how.steps, how.delta_threshold, where)
    if how.steps not in (None, inputs.steps):
        _refuse({"steps": how.steps}, f"these data, which have {inputs.steps} steps", where)
    y = picked(arrays, LABEL_KEYS, where)
    hint = (
        "spike trains are (samples, steps, ...); images need --encode and --steps; labels are "
        "(samples,), or (samples, steps)"
    )
    if y is not None and y.shape == (len(inputs), inputs.steps) and inputs.steps > 1:
        return Samples(inputs.source, step_labels(y, how.unlabelled, where), how.window or 1)
    _refuse(
        {"unlabelled": how.unlabelled, "window": how.window}, "data without labels per step", where
    )
    labels = None
    if y is not None:
        if y.shape != (len(inputs),):  # before they are read: they may be larger than the memory
            raise wrong_labels(y.shape, len(inputs), where, hint)
        labels = sample_labels(whole(y, "y", where), len(inputs), where, hint)
    return Samples(inputs.source, labels, targets=target_values(arrays, len(inputs), where))


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
    return Samples(
        source, None if labels is None else sample_labels(labels, len(recordings), where)
    )
