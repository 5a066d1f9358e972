"""Reading samples: spike trains or images, with labels where there are any."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import InputError
from ..ir.arrays import Array, Shape, size
from .encode import constant, latency, rate

Encoding = Literal["none", "rate", "latency", "direct"]
_INPUT_KEYS = ("x", "inputs", "input", "spikes", "images")
_LABEL_KEYS = ("y", "labels", "label")


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs ``(steps, samples, *shape)`` and, where known, a class per sample."""

    inputs: Array
    labels: Array | None = None

    @property
    def steps(self) -> int:
        return int(self.inputs.shape[0])

    def __len__(self) -> int:
        return int(self.inputs.shape[1])

    def first(self, n: int | None) -> Samples:
        """The first ``n`` samples (all of them for None)."""
        labels = None if self.labels is None else self.labels[:n]
        return Samples(self.inputs[:, :n], labels)

    def batches(self, n: int) -> Iterator[Samples]:
        """Consecutive batches of at most ``n`` samples."""
        for i in range(0, len(self), n):
            labels = None if self.labels is None else self.labels[i : i + n]
            yield Samples(self.inputs[:, i : i + n], labels)
            _forget(self.inputs)


def load_samples(
    path: str | Path, shape: Shape, *, encoding: Encoding = "none", steps: int | None = None
) -> Samples:
    """Read ``.npz`` (arrays ``x`` and, optionally, ``y``) or ``.npy``.

    Spike trains are ``(samples, steps, *shape)``, or ``(steps, *shape)`` for one sample. Images,
    ``(samples, *shape)``, need an ``encoding`` and a number of ``steps``; ``rate`` and ``latency``
    divide images by their largest value where it is above 1. A missing axis of extent 1 is added.

    Raises:
        InputError: unreadable file, missing array, or a shape that does not fit the network's input.
    """
    where = str(path)
    arrays = _read_arrays(Path(path))
    x = _pick(arrays, _INPUT_KEYS, where)
    if x is None:
        raise InputError(
            "data-no-inputs", f"found arrays {', '.join(sorted(arrays))}, none is the input",
            where=where, hint=f"name it one of {', '.join(_INPUT_KEYS)}",
        )  # fmt: skip
    y = _pick(arrays, _LABEL_KEYS, where)
    if encoding != "none":
        if steps is None:
            raise InputError("data-steps", "images need a number of steps", where=where,
                             hint="give --steps")  # fmt: skip
        images = _fit(x, ("samples",), shape, where)
        coders = {"rate": rate, "latency": latency}
        if encoding in coders:
            inputs = coders[encoding](_unit(images), steps)
        else:
            inputs = constant(images, steps)
    elif x.ndim == len(shape) + 1 or (x.ndim == len(shape) and shape[0] == 1):
        inputs = _fit(x, ("steps",), shape, where)[:, np.newaxis]
    else:
        inputs = np.swapaxes(_fit(x, ("samples", "steps"), shape, where), 0, 1)
    if y is not None and (y.ndim != 1 or len(y) != inputs.shape[1]):
        raise InputError(
            "data-labels", f"{y.shape} labels for {inputs.shape[1]} samples", where=where
        )  # fmt: skip
    return Samples(inputs, None if y is None else y.astype(np.int64))


def _read_arrays(path: Path) -> dict[str, Array]:
    try:
        loaded = _load(path)
        return {"x": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except FileNotFoundError as error:
        raise InputError("data-missing", "there is no such file", where=str(path)) from error
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            "data-unreadable", f"not a readable .npy or .npz file ({error})", where=str(path),
            hint="save plain arrays with numpy.savez (no objects)",
        ) from error  # fmt: skip


def _load(path: Path) -> Any:
    """Arrays of a file; a single array stays on disk and is read batch by batch."""
    if path.suffix == ".npy":
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError:
            pass  # cannot be mapped: say why as for any other file
    return np.load(path, allow_pickle=False)


def _forget(array: Array) -> None:
    """Let the system drop what has been read of a file; without it, memory grows with the samples."""
    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    mapped = getattr(base, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _pick(arrays: dict[str, Array], keys: Iterable[str], where: str) -> Array | None:
    for key in keys:
        if key in arrays:
            if arrays[key].dtype.kind not in "biuf":
                raise InputError("data-type", f"{key} is {arrays[key].dtype}", where=where)
            return arrays[key]
    return None


def _fit(x: Array, axes: tuple[str, ...], shape: Shape, where: str) -> Array:
    """View ``x`` as ``(*axes, *shape)``, adding axes of extent 1 that the data leave out."""
    lead = x.shape[: len(axes)]
    if x.ndim >= len(axes) and _squeezed(x.shape[len(axes) :]) == _squeezed(shape) and x.size:
        return x.reshape(*lead, *shape)
    expected = ", ".join([*axes, *map(str, shape)])
    raise InputError(
        "data-shape", f"the data have shape {x.shape}, the network expects ({expected})", where=where,
        hint="images need --encode and --steps; spike trains are (samples, steps, ...)",
    )  # fmt: skip


def _squeezed(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1) if size(shape) != 1 else ()


def _unit(images: Array) -> Array:
    peak = float(images.max(initial=0))
    return images / peak if peak > 1 else images.astype(np.float64)
