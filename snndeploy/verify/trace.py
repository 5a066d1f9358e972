"""A framework's own run of one model: what went in, and what came out of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import Unreadable, is_regular, read_bytes
from ..ir.arrays import Array, Shape, size
from ..ir.network import Network
from ..limits import current
from ..npz import Damaged, read_arrays

_LAYER = "layer_"


@dataclass(frozen=True, eq=False)
class Trace:
    """``inputs`` (steps, samples, *input shape), and what populations emitted, (steps, samples, n).

    ``ignored`` lists recorded layers that the model has no population for.
    """

    inputs: Array
    emitted: Mapping[str, Array]
    ignored: tuple[str, ...] = ()

    def first(self, samples: int) -> Trace:
        """The first samples only."""
        emitted = {name: array[:, :samples] for name, array in self.emitted.items()}
        return Trace(self.inputs[:, :samples], emitted, self.ignored)


def read_trace(path: str | Path) -> dict[str, Array]:
    """The arrays of a trace file: ``input``, ``output`` and any ``layer_<node>``.

    Raises:
        InputError: not a readable .npz of plain arrays.
    """
    path = Path(path)
    if not is_regular(path):
        raise InputError("trace-missing", "there is no such file", where=str(path))
    limit = current().memory
    try:
        return read_arrays(read_bytes(path, limit), limit)
    except (Damaged, Unreadable) as error:
        raise InputError(
            "trace-unreadable",
            f"not a readable .npz of plain arrays ({error})",
            where=str(path),
            hint="save it with numpy.savez(path, input=..., output=...)",
        ) from error


def fitted_trace(arrays: Mapping[str, Array], network: Network, where: str) -> Trace:
    """Bring recorded arrays into the shapes of ``network``.

    A time axis comes first everywhere; the axis of samples may be left out everywhere.

    Raises:
        InputError: arrays are missing, do not fit, or tell nothing because no neuron spiked.
    """
    for key in ("input", "output"):
        if key not in arrays:
            raise InputError(
                "trace-content",
                f"it holds no array {key!r}",
                where=where,
                hint="save it with numpy.savez(path, input=..., output=...)",
            )
    source = network.with_role("input")[0]
    inputs = _with_samples(np.asarray(arrays["input"]), source.shape, "input", where)
    inputs = inputs.reshape(*inputs.shape[:2], *source.shape)
    output = network.with_role("output")[0].name
    emitted: dict[str, Array] = {}
    ignored = []
    for key, array in arrays.items():
        if not key.startswith(_LAYER):
            continue
        name = _population(network, key[len(_LAYER) :])
        if name is None:
            ignored.append(key)
            continue
        emitted[name] = _fitted(array, network, name, inputs.shape[:2], key, where)
    emitted[output] = _fitted(arrays["output"], network, output, inputs.shape[:2], "output", where)
    if not any(array.any() for array in emitted.values()):
        raise InputError(
            "trace-silent",
            "nothing spikes in it, so every profile would reproduce it",
            where=where,
            hint="record a sample that makes the output spike",
        )
    return Trace(inputs, emitted, tuple(ignored))


def _population(network: Network, layer: str) -> str | None:
    """The population of a recorded layer; exporters prefix names or append the cell's."""
    names = {p.name for p in network.populations}
    return next((n for n in (layer, f"_{layer}", f"{layer}.lif") if n in names), None)


def _fitted(
    array: Array, network: Network, name: str, lead: tuple[int, ...], key: str, where: str
) -> Array:
    shape = network.population(name).shape
    full = _with_samples(np.asarray(array), shape, key, where)
    if full.shape[:2] != lead:
        raise InputError(
            "trace-shape",
            f"{key} has {full.shape[:2]} steps and samples, the input {lead}",
            where=where,
        )
    return full.reshape(*full.shape[:2], -1)


def _with_samples(array: Array, shape: Shape, key: str, where: str) -> Array:
    """``array`` as (steps, samples, values…), with an axis for the one sample where it has none."""
    n = size(shape)
    if array.dtype.kind in "biuf" and array.ndim >= 2:
        if size(array.shape[2:]) == n and array.ndim > 2:
            return array
        if size(array.shape[1:]) == n:
            return array[:, np.newaxis]
    raise InputError(
        "trace-shape",
        f"{key} has shape {array.shape} ({array.dtype}), expected (steps, samples, "
        f"{', '.join(map(str, shape))})",
        where=where,
        hint="time comes first, then samples",
    )
