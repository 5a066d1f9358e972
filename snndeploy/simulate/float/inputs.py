"""Data for the float engine: one checked array per input population."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...errors import InputError, did_you_mean
from ...ir.arrays import Array
from ...ir.network import Network, Population


def checked_inputs(network: Network, inputs: Array | Mapping[str, Array]) -> dict[str, Array]:
    """One array per input population, all with the same steps and samples.

    Raises:
        InputError: names, shapes or values do not fit the network's inputs.
    """
    populations = {p.name: p for p in network.with_role("input")}
    if not isinstance(inputs, Mapping):
        if len(populations) != 1:
            raise InputError(
                "input-names",
                f"the network has {len(populations)} inputs, one array was given",
                hint=f"give a mapping with the keys {', '.join(sorted(populations))}",
            )
        inputs = {next(iter(populations)): inputs}
    for name in inputs:
        if name not in populations:
            raise InputError(
                "input-names", f"there is no input {name!r}", hint=did_you_mean(name, populations)
            )
    arrays = {}
    for name, population in populations.items():
        if name not in inputs:
            raise InputError("input-names", f"no data for the input {name!r}")
        arrays[name] = _checked_array(population, np.asarray(inputs[name]))
    leading = {array.shape[:2] for array in arrays.values()}
    if len(leading) > 1:
        raise InputError("input-shape", f"inputs differ in (steps, samples): {sorted(leading)}")
    return arrays


def _checked_array(population: Population, array: Array) -> Array:
    where = f"input {population.name}"
    expected = "(steps, samples, " + ", ".join(str(n) for n in population.shape) + ")"
    if array.shape[2:] != population.shape or array.ndim < 2 or 0 in array.shape:
        raise InputError(
            "input-shape",
            f"data of shape {array.shape}, expected {expected}",
            where=where,
            hint="time comes first, then samples; add an axis for a single sample",
        )
    if array.dtype.kind not in "biuf":
        raise InputError("input-dtype", f"data of type {array.dtype} are not numbers", where=where)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError("input-not-finite", "the data hold NaN or infinity", where=where)
    return array
