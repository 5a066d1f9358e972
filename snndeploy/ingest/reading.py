"""The whole way from a file to a network, with everything that was decided on it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..errors import InputError
from ..ir.finding import Finding
from ..ir.network import Network
from ..ir.record import KEY, content_digest, from_record
from .normal_form.normalise import normalise
from .readers.raw import RawGraph
from .readers.reader import read_raw
from .semantics.choose import choose_profile
from .semantics.losses import known_losses
from .semantics.profiles import SemanticsProfile


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """A model as it was read: what the file holds, how it is stepped and why, what it lacks."""

    network: Network
    raw: RawGraph
    profile: SemanticsProfile
    why: str
    findings: tuple[Finding, ...]


def read_model(
    model: str | os.PathLike[str] | Any,
    frontend: str | None = None,
    *,
    populations: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
    **overrides: object,
) -> Reading:
    """Read a NIR model; see `read_network` for the arguments and errors."""
    raw = read_raw(model)
    if frontend is None and not overrides and not populations and KEY in raw.metadata:
        restored = _restored(raw)
        if restored is not None:
            return restored
        told = "the snndeploy record in its metadata is about other nodes and was ignored"
        raw = dataclasses.replace(raw, warnings=(*raw.warnings, told))
    lost = known_losses(raw, None)
    try:
        profile, why = choose_profile(raw, frontend, overrides)
        network = normalise(raw, profile, why, populations)
    except InputError as error:
        if lost:  # what does not fit is the consequence, the lost edge the cause
            raise InputError(
                error.code, error.message, where=error.where, hint=_cause(lost[0])
            ) from error
        raise
    found = known_losses(raw, profile)
    if found:
        known = [network.notes["warnings"]] if "warnings" in network.notes else []
        warnings = "\n".join([*known, *(f.message for f in found)])
        notes = {**network.notes, "warnings": warnings}
        network = dataclasses.replace(network, notes=notes)
    return Reading(network=network, raw=raw, profile=profile, why=why, findings=found)


def _restored(raw: RawGraph) -> Reading | None:
    """The network that snndeploy recorded when it wrote the file; None if the nodes were edited."""
    record = raw.metadata[KEY]
    nodes = {n.name: {"type": n.kind, **n.fields} for n in raw.nodes.values()}
    try:
        network = from_record(
            record if isinstance(record, Mapping) else {}, content_digest(nodes, raw.edges)
        )
    except InputError as error:
        raise InputError(error.code, error.message, where=raw.source, hint=error.hint) from error
    if network is None:
        return None
    profile, _ = choose_profile(raw)
    why = "recorded in the file by snndeploy"
    network = dataclasses.replace(network, notes={**network.notes, "restored": why})
    return Reading(network=network, raw=raw, profile=profile, why=why, findings=())


def _cause(lost: Finding) -> str:
    return f"{lost.where.rpartition(':')[2]}: {lost.message}; add the edges and export again"


def read_network(
    model: str | os.PathLike[str] | Any,
    frontend: str | None = None,
    *,
    populations: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
    **overrides: object,
) -> Network:
    """Read a NIR model as a `Network` with exact step semantics.

    Args:
        model: path of a ``.nir`` file, or a `nir.NIRGraph`.
        frontend: framework it was trained with (see `PRESETS`); None: find out, or refuse.
        populations: such fields for single populations, by pattern of their names:
            ``{"readout": {"reset": "none"}}``.
        **overrides: fields of `SemanticsProfile` that differ from the frontend's defaults, such as
            ``reset="zero"`` or ``dt=1e-3``.

    Returns:
        A verified network; its notes tell the profile, why it was chosen, what was changed, and
        what the exporter lost or may have lost.

    Raises:
        InputError: the model cannot be read, or its semantics are ambiguous.
        UsageError: an unknown frontend or override.
    """
    return read_model(model, frontend, populations=populations, **overrides).network
