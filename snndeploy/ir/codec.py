"""Frozen dataclasses of the IR to JSON plus named arrays, and back. No pickles, nothing executed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from . import finding, network, neurons, ops, placement, program, step, weights
from .arrays import Array, frozen

_TYPES: dict[str, type[Any]] = {
    c.__name__: c
    for c in (
        program.Program,
        step.Arithmetic,
        program.CompartmentGroup,
        program.SynapseGroup,
        program.SynapseSource,
        program.Headroom,
        program.Rounding,
        finding.Finding,
        finding.Fix,
        placement.Placement,
        placement.Slice,
        placement.Verdict,
        network.Network,
        network.Population,
        network.Projection,
        network.Source,
        neurons.Neuron,
        weights.Weight,
        *get_args(ops.Op),
    )
}


def encode(value: object, arrays: dict[str, Array]) -> Any:
    """Return ``value`` as JSON-compatible data; arrays are added to ``arrays`` and referred to."""
    if isinstance(value, np.ndarray):
        key = f"a{len(arrays)}"
        arrays[key] = value
        return {"array": key}
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {
            "type": type(value).__name__,
            "fields": {name: encode(field, arrays) for name, field in fields.items()},
        }
    if isinstance(value, Mapping):
        return {"map": {str(k): encode(v, arrays) for k, v in value.items()}}
    if isinstance(value, (tuple, list)):
        return [encode(v, arrays) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def decode(data: Any, arrays: Mapping[str, object]) -> Any:
    """Rebuild what `encode` wrote; lists come back as tuples, arrays read-only.

    Raises:
        KeyError, TypeError, ValueError: content that this version does not know.
    """
    if isinstance(data, list):
        return tuple(decode(v, arrays) for v in data)
    if not isinstance(data, dict):
        return data
    if "map" in data:
        return {k: decode(v, arrays) for k, v in data["map"].items()}
    if "array" in data:
        return frozen(np.asarray(arrays[data["array"]]))
    cls = _TYPES[data["type"]]
    return cls(**{name: decode(v, arrays) for name, v in data["fields"].items()})
