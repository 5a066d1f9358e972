"""From a flat NIR graph and a semantics profile to a verified `Network`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from ...ir.arrays import Shape
from ...ir.finding import Finding
from ...ir.network import Network
from ..readers.raw import NEURONS, RawGraph, natural_key
from ..semantics.profiles import SemanticsProfile, per_population
from .assemble import Draft, assembled, fitting, ordered
from .loops import closing_links, looped
from .neurons import DiscreteNeuron, discretise
from .shapes import infer_shapes
from .terms import Paths, Term, is_population, later


@dataclass
class _Log:
    """What was changed, for `Network.notes`, and what to be wary of."""

    changes: list[str] = field(default_factory=list)
    findings: tuple[Finding, ...] = ()


def normalise(
    raw: RawGraph,
    profile: SemanticsProfile,
    why: str,
    local: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
) -> Network:
    """Build the network that ``raw`` is under ``profile``.

    Args:
        raw: flat and checked.
        profile: with dt filled in wherever the graph needs it.
        why: how the profile was chosen, for the notes.
        local: fields of the profile that differ in populations, by pattern of their names.

    Returns:
        A verified network; populations are named after NIR nodes and ordered inputs first, then by
        same-step dependence; projections are named after the node of their weight.

    Raises:
        InputError: shapes, loops, delays or weights that have no meaning or no supported form.
        UsageError: ``local`` names an unknown population or field.
    """
    shapes, repaired = infer_shapes(raw)
    log = _Log(findings=(*raw.findings, *repaired))
    paths = Paths(raw, shapes, profile.dt)
    drafts = _drafts(raw, shapes, paths, log)
    loops = looped(raw.edges)
    neurons = [name for name in drafts if raw.nodes[name].kind in NEURONS]
    profiles = per_population(profile, local, neurons)
    log.changes += [
        f"{pattern}: {key} {value}" for pattern, own in local.items() for key, value in own.items()
    ]
    for draft in drafts.values():
        node = raw.nodes[draft.name]
        if node.kind in NEURONS:
            own = profiles[draft.name]
            found = discretise(node, own, raw.where(node.name), recurrent=node.name in loops)
            draft.neuron = fitting(found, draft.shape)
        elif node.kind == "Output":
            draft.neuron = DiscreteNeuron({"leak": 0.0}, np.ones(()))
    _set_delays(drafts, profile, log)
    made = assembled(drafts.values(), raw.where)
    log.changes += made.changes
    network = Network(
        tuple(made.populations),
        tuple(made.projections),
        notes=_notes(profile, why, log),
        findings=log.findings,
    )
    return ordered(network).verify()


def _drafts(raw: RawGraph, shapes: dict[str, Shape], paths: Paths, log: _Log) -> dict[str, Draft]:
    """One draft per input, neuron, and output that is not simply a neuron."""
    drafts = {
        name: Draft(
            name, shapes[name], "input" if node.kind == "Input" else "hidden", paths.into(name)
        )
        for name, node in raw.nodes.items()
        if is_population(node)
    }
    for name, node in raw.nodes.items():
        if node.kind != "Output":
            continue
        terms = paths.into(name)
        answering = _answering(terms, drafts)
        if answering is not None:
            answering.role = "output"
            if terms[0].chain:
                log.changes.append(f"{name}: a flatten behind {answering.name} was dropped")
        else:
            drafts[name] = Draft(name, shapes[name], "output", terms)
            log.changes.append(f"{name}: a readout that adds up what arrives, without spiking")
    order = sorted(drafts, key=lambda n: (drafts[n].role != "input", natural_key(n)))
    return {name: drafts[name] for name in order}


def _answering(terms: Sequence[Term], drafts: Mapping[str, Draft]) -> Draft | None:
    """The neuron population that an Output reads as it is, if that is all the Output does."""
    if len(terms) != 1 or len(terms[0].sources) != 1 or terms[0].delays[0].any():
        return None
    if any(not s.op.is_view for s in terms[0].chain):
        return None
    draft = drafts[terms[0].sources[0]]
    return None if draft.role == "input" else draft


def _set_delays(drafts: dict[str, Draft], profile: SemanticsProfile, log: _Log) -> None:
    """Add the steps that layers take, then one step wherever a loop would take none."""
    spiking = {d.name for d in drafts.values() if d.spiking}
    if profile.layer_delay:
        for draft in drafts.values():
            draft.terms = tuple(
                _shifted(t, {s for s in t.sources if s in spiking}, profile.layer_delay)
                for t in draft.terms
            )
    links = [
        (source, draft.name)
        for draft in drafts.values()
        for term in draft.terms
        for source, delay in zip(term.sources, term.delays, strict=True)
        if delay.min() == 0
    ]
    for source, target in closing_links(tuple(drafts), links, spiking):
        draft = drafts[target]
        behind = profile.recurrent_delay == "nirtorch"
        draft.terms = tuple(_waiting(t, source, behind_weights=behind) for t in draft.terms)
        log.changes.append(f"loop: what {source} sends to {target} arrives one step later")


def _shifted(term: Term, sources: set[str], steps: int) -> Term:
    delays = tuple(
        d + steps if s in sources else d for s, d in zip(term.sources, term.delays, strict=True)
    )
    return dataclasses.replace(term, delays=delays)


def _waiting(term: Term, source: str, *, behind_weights: bool) -> Term:
    """The term with one more step for ``source`` where it has none; biases wait with nirtorch."""
    waits = any(
        s == source and d.min() == 0 for s, d in zip(term.sources, term.delays, strict=True)
    )
    if not waits:
        return term
    if behind_weights and len(term.sources) == 1:
        return later(term, 1)
    return _shifted(term, {source}, 1)


def _notes(profile: SemanticsProfile, why: str, log: _Log) -> dict[str, str]:
    notes = {
        "frontend": profile.name,
        "why": why,
        "semantics": profile.describe(),
        "semantics-source": profile.source,
    }
    if profile.dt is not None:
        notes["dt"] = f"{profile.dt:g}"
    if log.changes:
        notes["normalised"] = "\n".join(log.changes)
    return notes
