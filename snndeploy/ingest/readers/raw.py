"""A NIR graph as plain records: what the file says, checked field by field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ...errors import InputError, did_you_mean
from ...ir.arrays import Array, frozen
from ...ir.finding import Finding

Value = Array | str
Fields = Mapping[str, object]
Edge = tuple[str, str]

NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF", "Threshold")
"""Node types that become populations."""

_REQUIRED: Mapping[str, tuple[str, ...]] = {
    "Input": ("shape",),
    "Output": (),
    "Affine": ("weight", "bias"),
    "Linear": ("weight",),
    "Scale": ("scale",),
    "Conv1d": ("weight",),
    "Conv2d": ("weight",),
    "SumPool2d": ("kernel_size",),
    "AvgPool2d": ("kernel_size",),
    "Flatten": (),
    "Delay": ("delay",),
    "I": ("r",),
    "IF": ("r", "v_threshold"),
    "LI": ("tau", "r", "v_leak"),
    "LIF": ("tau", "r", "v_leak", "v_threshold"),
    "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"),
    "Threshold": ("threshold",),
}
_CONV = ("bias", "input_shape", "stride", "padding", "dilation", "groups")
_OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "Output": ("shape",),
    "Conv1d": _CONV,
    "Conv2d": _CONV,
    "SumPool2d": ("stride", "padding"),
    "AvgPool2d": ("stride", "padding"),
    "Flatten": ("start_dim", "end_dim", "input_type"),
    "IF": ("v_reset",),
    "LIF": ("v_reset",),
    "CubaLI": ("w_in",),
    "CubaLIF": ("v_reset", "w_in"),
}
_MAY_BE_INFINITE = ("tau", "tau_mem", "tau_syn", "r", "w_in")
"""What an exporter writes of a leak of 1: tau = dt / (1 - leak), and factors of tau / dt."""
_WORDS = {"padding": ("same", "valid")}


@dataclass(frozen=True, eq=False)
class RawNode:
    """One NIR node: its type and the fields that it has (arrays are read-only), and its metadata."""

    name: str
    kind: str
    fields: Mapping[str, Value]
    metadata: Mapping[str, object] = field(default_factory=dict)

    def array(self, name: str) -> Array:
        """A numeric field that the node's type guarantees."""
        value = self.fields[name]
        if isinstance(value, str):
            raise TypeError(f"{self.name}.{name} is text")
        return value

    def has(self, name: str) -> bool:
        return name in self.fields


@dataclass(frozen=True, eq=False)
class RawGraph:
    """A flat NIR graph (subgraphs resolved), in natural order of names.

    ``source`` names the file for messages; ``findings`` tell what was repaired while reading.
    """

    nodes: Mapping[str, RawNode]
    edges: tuple[Edge, ...]
    source: str
    metadata: Mapping[str, object] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def where(self, node: str) -> str:
        """``file:node`` for messages."""
        return f"{self.source}:{node}"

    @cached_property
    def _ends(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Where edges come from, and where they lead to, by node."""
        before: dict[str, list[str]] = {}
        after: dict[str, list[str]] = {}
        for a, b in self.edges:
            before.setdefault(b, []).append(a)
            after.setdefault(a, []).append(b)
        return before, after

    def before(self, name: str) -> tuple[str, ...]:
        return tuple(self._ends[0].get(name, ()))

    def after(self, name: str) -> tuple[str, ...]:
        return tuple(self._ends[1].get(name, ()))

    def neurons(self) -> tuple[RawNode, ...]:
        return tuple(n for n in self.nodes.values() if n.kind in NEURONS)


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key in which ``'2'`` comes before ``'10'``."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts)


def checked_node(name: str, fields: Fields, source: str) -> tuple[RawNode, tuple[Finding, ...]]:
    """Check one node's type and fields; also return findings about fields nobody knows.

    Raises:
        InputError: unknown type, missing field, or a field that does not hold finite numbers.
    """
    where = f"{source}:{name}"
    kind = fields.get("type")
    if not isinstance(kind, str) or kind not in _REQUIRED:
        known = ", ".join(_REQUIRED)
        near = did_you_mean(kind, _REQUIRED) if isinstance(kind, str) else f"known: {known}"
        shown = repr(kind) if isinstance(kind, str) else "missing or not text"
        raise InputError(
            "unknown-node-type",
            f"its type is {shown}, which NIR does not define",
            where=where,
            hint=near,
        )
    allowed = _REQUIRED[kind] + _OPTIONAL.get(kind, ())
    for wanted in _REQUIRED[kind]:
        if fields.get(wanted) is None:
            raise InputError(
                "missing-field",
                f"{kind} node without the field {wanted!r}",
                where=where,
                hint="export the model again; the file is incomplete",
            )
    checked = {k: _checked_value(k, fields[k], where) for k in allowed if fields.get(k) is not None}
    if kind in NEURONS:
        _check_parameters(checked, where)
    known_extras = {"type", "metadata", "input_type", "output_type"}
    unknown = sorted(k for k in fields if k not in allowed and k not in known_extras)
    findings = tuple(
        Finding(
            code="unknown-field",
            severity="warning",
            where=where,
            message=f"the field {k!r} is not part of {kind} and was ignored; the network is right if it "
            "may be left out",
        )
        for k in unknown
    )
    metadata = fields.get("metadata")
    about = dict(metadata) if isinstance(metadata, Mapping) else {}
    return RawNode(name, kind, checked, about), findings


def _check_parameters(fields: Mapping[str, Value], where: str) -> None:
    """A neuron's parameters have one shape; single values serve all neurons."""
    shapes = {k: v.shape for k, v in fields.items() if not isinstance(v, str) and v.size > 1}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{k} {shape}" for k, shape in shapes.items())
        raise InputError(
            "parameter-shape",
            f"its parameters differ in shape: {listed}",
            where=where,
            hint="NIR wants one shape for all parameters of a node",
        )


def _checked_value(name: str, value: object, where: str) -> Value:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        if value not in _WORDS.get(name, ()):
            raise InputError(
                "wrong-dtype", f"the field {name!r} holds the text {value!r}", where=where
            )
        return value
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise InputError(
            "wrong-dtype", f"the field {name!r} holds {array.dtype}, not numbers", where=where
        )
    if array.size == 0:
        raise InputError("empty-field", f"the field {name!r} holds no values", where=where)
    fine = np.isfinite(array) if array.dtype.kind == "f" else np.ones((), bool)
    if name in _MAY_BE_INFINITE:
        fine = fine | np.isposinf(array)
    if not fine.all():
        count = int((~fine).sum())
        raise InputError(
            "weight-not-finite",
            f"{count} value(s) of {name!r} are NaN or infinite",
            where=where,
            hint="training diverged or the file is damaged; export it again",
        )
    return frozen(array, _storage_type(array))


def _storage_type(array: Array) -> np.dtype[np.generic]:
    """Half precision becomes single: nothing downstream computes in 16 bits."""
    return np.dtype(np.float32) if array.dtype == np.float16 else array.dtype.newbyteorder("=")


def checked_edges(pairs: Iterable[object], source: str) -> list[Edge]:
    """Edges as pairs of names.

    Raises:
        InputError: an edge is not a pair of names.
    """
    edges = []
    for pair in pairs:
        ends = tuple(pair) if isinstance(pair, (tuple, list, np.ndarray)) else ()
        names = [e.decode("utf-8", "replace") if isinstance(e, bytes) else e for e in ends]
        if len(names) != 2 or not all(isinstance(n, str) for n in names):
            raise InputError(
                "wrong-dtype", f"the edge {pair!r} is not a pair of names", where=source
            )
        edges.append((str(names[0]), str(names[1])))
    return edges
