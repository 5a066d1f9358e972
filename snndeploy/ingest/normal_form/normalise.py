"""From a flat NIR graph and a semantics profile to a verified `Network`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import networkx as nx
import numpy as np

from ...errors import InputError
from ...ir.arrays import Array, Shape, frozen, parameter, size
from ...ir.finding import Finding
from ...ir.network import Network, Population, Projection, Role, Source
from ...ir.neurons import PARAMETERS, Neuron
from ...ir.weights import Weight
from ..readers.raw import NEURONS, RawGraph, natural_key
from ..semantics.profiles import SemanticsProfile, per_population
from .chains import Folded, arriving_bias, fold, pushes_back
from .loops import closing_links, looped
from .neurons import DiscreteNeuron, discretise
from .shapes import infer_shapes
from .terms import Paths, Term, is_population, later


@dataclass
class _Draft:
    """A population while its projections are still paths."""

    name: str
    shape: Shape
    role: Role
    terms: tuple[Term, ...] = ()
    neuron: DiscreteNeuron | None = None

    @property
    def spiking(self) -> bool:
        return self.neuron is not None and self.neuron.spiking


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
            draft.neuron = _fitting(found, draft.shape)
        elif node.kind == "Output":
            draft.neuron = DiscreteNeuron({"leak": 0.0}, np.ones(()))
    _set_delays(drafts, profile, log)
    populations, projections = [], []
    taken: Counter[str] = Counter(_names(drafts))
    for draft in drafts.values():
        own = profiles.get(draft.name, profile)
        population, arriving = _finished(draft, raw, taken, log)
        populations.append(population)
        projections += arriving
    network = Network(
        tuple(populations),
        tuple(projections),
        notes=_notes(profile, why, log),
        findings=log.findings,
    )
    return _ordered(network).verify()


def _drafts(raw: RawGraph, shapes: dict[str, Shape], paths: Paths, log: _Log) -> dict[str, _Draft]:
    """One draft per input, neuron, and output that is not simply a neuron."""
    drafts = {
        name: _Draft(
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
            drafts[name] = _Draft(name, shapes[name], "output", terms)
            log.changes.append(f"{name}: a readout that adds up what arrives, without spiking")
    order = sorted(drafts, key=lambda n: (drafts[n].role != "input", natural_key(n)))
    return {name: drafts[name] for name in order}


def _answering(terms: Sequence[Term], drafts: Mapping[str, _Draft]) -> _Draft | None:
    """The neuron population that an Output reads as it is, if that is all the Output does."""
    if len(terms) != 1 or len(terms[0].sources) != 1 or terms[0].delays[0].any():
        return None
    if any(not s.op.is_view for s in terms[0].chain):
        return None
    draft = drafts[terms[0].sources[0]]
    return None if draft.role == "input" else draft


def _fitting(found: DiscreteNeuron, shape: Shape) -> DiscreteNeuron:
    """Parameters in the population's shape (files hold them as (1, N) or as one value, too)."""

    def fit(value: object) -> Array:
        array = np.asarray(value, dtype=np.float64)
        if array.size == 1:
            return array.reshape(())
        return array.reshape(shape) if array.size == size(shape) else array

    fields = {k: fit(v) if k in PARAMETERS else v for k, v in found.fields.items()}
    return DiscreteNeuron(fields, fit(found.gain))


def _set_delays(drafts: dict[str, _Draft], profile: SemanticsProfile, log: _Log) -> None:
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


def _finished(
    draft: _Draft, raw: RawGraph, taken: Counter[str], log: _Log
) -> tuple[Population, list[Projection]]:
    if draft.neuron is None:
        return Population(draft.name, draft.shape, None, "input"), []
    neuron = draft.neuron
    gain = np.asarray(parameter(neuron.gain, draft.shape))
    foldable = gain.size == 1 or all(pushes_back(t.chain, gain) for t in draft.terms)
    if not foldable and neuron.spiking and (gain > 0).all():
        neuron, gain = neuron.in_units_of_gain(), np.ones(())
        log.changes.append(f"{draft.name}: threshold divided by the input gain of each neuron")
    if (gain != 1).any():
        log.changes.append(
            f"{draft.name}: input gain {float(gain.min()):.6g}…{float(gain.max()):.6g} folded into "
            "its weights"
        )
    bias = np.asarray(neuron.fields.get("bias", 0.0), dtype=np.float64)
    projections = []
    for term in draft.terms:
        projection, at_once = _projection(draft, term, gain, raw, taken)
        projections.append(projection)
        if at_once is not None:
            bias = bias + at_once
    fields = {**neuron.fields, "bias": bias}
    return (
        Population(draft.name, draft.shape, Neuron.create(draft.shape, **fields), draft.role),
        projections,
    )


def _projection(
    draft: _Draft, term: Term, gain: Array, raw: RawGraph, taken: Counter[str]
) -> tuple[Projection, Array | None]:
    """A projection, and the part of its bias that acts from the first step on."""
    where = raw.where(draft.name)
    shape = term.chain[0].in_shape if term.chain else draft.shape
    folded = fold(term.chain, shape, gain, where)
    late = {s.bias_delay for s in term.chain if s.bias is not None}
    arrives = max(int(d.max()) for d in term.delays)
    delayed: Array | None = None
    for steps in sorted(late - {0}):
        if steps != arrives:
            raise InputError(
                "delayed-bias",
                f"a bias arrives {steps} steps late, its weights {arrives}",
                where=where,
                hint="put delays all in front of, or all behind, nodes with a bias",
            )
        bias = arriving_bias(term.chain, steps)
        delayed = None if bias is None else bias * gain
    at_once = arriving_bias(term.chain, 0)
    sources = tuple(
        Source(name, frozen(delay if delay.min() != delay.max() else delay.flat[0], np.int64))
        for name, delay in zip(term.sources, term.delays, strict=True)
    )
    projection = Projection(
        _named(draft, term, folded, taken),
        sources,
        draft.name,
        folded.ops,
        Weight(folded.weight),
        None if delayed is None else parameter(delayed, draft.shape),
    )
    return projection, None if at_once is None else at_once * gain


def _base_name(draft: _Draft, term: Term) -> str:
    nodes = [
        s.node for s in term.chain if s.op.weighted and s.weight is not None and s.weight.size > 1
    ]
    nodes = nodes or [s.node for s in term.chain if s.op.weighted]
    return nodes[-1] if nodes else f"{'+'.join(term.sources)}->{draft.name}"


def _names(drafts: Mapping[str, _Draft]) -> list[str]:
    return [_base_name(d, t) for d in drafts.values() for t in d.terms]


def _named(draft: _Draft, term: Term, folded: Folded, taken: Counter[str]) -> str:
    """The weighted node's name; with its ends where one node makes several projections."""
    base = _base_name(draft, term)
    if taken[base] == 1:
        return folded.node or base
    name = f"{base}({'+'.join(term.sources)}->{draft.name})"
    taken[name] += 1
    return name if taken[name] == 1 else f"{name}#{taken[name]}"


def _ordered(network: Network) -> Network:
    """Populations and projections in same-step order (verified later: a loop keeps the draft's)."""
    if not nx.is_directed_acyclic_graph(network.same_step_graph):
        return network
    rank = {name: i for i, name in enumerate(network.order)}
    inputs_first = sorted(network.populations, key=lambda p: (p.role != "input", rank[p.name]))
    projections = sorted(network.projections, key=lambda p: (rank[p.target], natural_key(p.name)))
    return dataclasses.replace(
        network, populations=tuple(inputs_first), projections=tuple(projections)
    )


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
