"""The whole way from a file to a network, with everything that was decided on it."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..errors import InputError
from ..ir.finding import Finding
from ..ir.network import Network
from ..ir.record import KEY, content_digest, from_record
from .assumed import Assumption, assumed_finding, assumptions, refused, replaced
from .normal_form.normalise import normalise
from .readers.foreign import from_module
from .readers.raw import RawGraph
from .readers.reader import read_raw
from .semantics.choose import choose_profile, told_by_file, told_by_nodes
from .semantics.losses import known_losses, unaccepted
from .semantics.profiles import SemanticsProfile


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """A model as it was read: what the file holds, how it is stepped and why, what was assumed.

    ``populations`` holds the fields of the profile that differ in single populations. What the file
    lacks, and what was assumed, is told by ``findings``, which the network carries on.
    """

    network: Network
    raw: RawGraph
    profile: SemanticsProfile
    why: str
    assumptions: tuple[Assumption, ...] = ()
    populations: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.network.findings

    def described(self) -> str:
        """How the model's neurons step, in words."""
        if "restored" in self.network.notes:  # each neuron has its own, whatever one profile says
            return "snndeploy wrote it, neuron by neuron"
        return self.profile.describe()

    def under(self, option: str, value: object) -> Network:
        """The network that the file holds where ``option`` of the profile is ``value``.

        Raises:
            InputError: the file holds no network then.
        """
        other = replaced(self.profile, option, value)
        return normalise(self.raw, other, self.why, self.populations)


def read_model(
    model: str | os.PathLike[str] | Any,
    frontend: str | None = None,
    *,
    populations: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
    strict: bool = False,
    accept: Collection[str] = (),
    answers: str | None = None,
    **overrides: object,
) -> Reading:
    """Read a NIR model; see `read_network` for the arguments and errors."""
    reading = _read(model, frontend, populations, strict, accept, overrides)
    if answers is None:
        return reading
    return dataclasses.replace(reading, network=reading.network.answering(answers))


def _read(
    model: str | os.PathLike[str] | Any,
    frontend: str | None,
    populations: Mapping[str, Mapping[str, object]],
    strict: bool,
    accept: Collection[str],
    overrides: Mapping[str, object],
) -> Reading:
    raw = read_raw(model)
    if frontend is None and not overrides and not populations and KEY in raw.metadata:
        restored = _restored(raw)
        if restored is not None:
            return restored
        ignored = Finding(
            code="record-ignored",
            severity="warning",
            where=raw.source,
            message="the snndeploy record in its metadata is about other nodes and was ignored; what is "
            "read are the nodes alone",
        )
        raw = dataclasses.replace(raw, findings=(*raw.findings, ignored))
    local = {**_told_by_nodes(raw, overrides), **populations}
    profile = None
    try:
        profile, why = choose_profile(raw, frontend, overrides)
        network = normalise(raw, profile, why, local)
    except InputError as error:
        lost = next((f for f in known_losses(raw, profile) if f.code == "lost-edge"), None)
        if lost:  # what does not fit is the consequence, the lost edge the cause
            raise _lost(lost, error, profile.name if profile else None) from error
        raise
    open_fields = assumptions(raw, profile, {*told_by_file(raw), *overrides}, local)
    if open_fields and strict:
        raise refused(open_fields, raw.source)
    found = (
        *network.findings,
        *unaccepted(known_losses(raw, profile), accept),
        *((assumed_finding(open_fields, raw.source),) if open_fields else ()),
    )
    network = dataclasses.replace(network, findings=found)
    return Reading(
        network=network,
        raw=raw,
        profile=profile,
        why=why,
        assumptions=open_fields,
        populations=local,
    )


def _told_by_nodes(raw: RawGraph, overrides: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """What single nodes' metadata say, by pattern of their names; ``overrides`` win."""
    told = {
        glob.escape(name): {k: v for k, v in fields.items() if k not in overrides}
        for name, fields in told_by_nodes(raw).items()
    }
    return {name: fields for name, fields in told.items() if fields}


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
    return Reading(network=network, raw=raw, profile=profile, why=why)


def _lost(lost: Finding, error: InputError, framework: str | None) -> InputError:
    """That edges were lost, what does not fit because of that, and two ways out."""
    return InputError(
        "lost-edge",
        f"edges were lost: {lost.message}; so {error.message}",
        where=lost.where,
        hint="add the edges to the graph and write it again; or hand over the live module, which needs "
        f"no exporter: {from_module(framework)}",
    )


def read_network(
    model: str | os.PathLike[str] | Any,
    frontend: str | None = None,
    *,
    populations: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
    strict: bool = False,
    accept: Collection[str] = (),
    answers: str | None = None,
    **overrides: object,
) -> Network:
    """Read a NIR model as a `Network` with exact step semantics.

    Args:
        model: path of a ``.nir`` file, or a `nir.NIRGraph`.
        frontend: framework it was trained with (see `PRESETS`); None: find out, or refuse.
        populations: such fields for single populations, by pattern of their names:
            ``{"readout": {"reset": "none"}}``.
        strict: refuse to assume anything that makes a difference.
        accept: codes of possible losses (``maybe-lost-…``) that did not happen.
        answers: of several outputs, the one whose answers count (None: the first).
        **overrides: fields of `SemanticsProfile` that differ from the frontend's defaults, such as
            ``reset="zero"`` or ``dt=1e-3``.

    Returns:
        A verified network; its notes tell the profile, why it was chosen and what was changed, its
        findings what was assumed, and what the exporter lost or may have lost.

    Raises:
        InputError: the model cannot be read, or its semantics are ambiguous (with ``strict``: or
            open in anything that makes a difference).
        UsageError: an unknown frontend, override or output.
    """
    reading = read_model(
        model,
        frontend,
        populations=populations,
        strict=strict,
        accept=accept,
        answers=answers,
        **overrides,
    )
    return reading.network
