"""From populations whose inputs are still paths to a network: weights folded, everything named."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import networkx as nx
import numpy as np

from ...errors import InputError
from ...ir.arrays import Array, Shape, frozen, parameter, size
from ...ir.network import Network, Population, Projection, Role, Source
from ...ir.neurons import PARAMETERS, Neuron
from ...ir.weights import Weight
from ..readers.raw import natural_key
from .chains import Folded, arriving_bias, fold, pushes_back
from .neurons import DiscreteNeuron
from .terms import Term

_TOLD = 300
"""Characters of the names of all sources that a connection may be called after."""


@dataclass
class Draft:
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
class Assembly:
    """Populations and projections made of drafts, and what was changed on the way."""

    populations: list[Population] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)


def assembled(drafts: Iterable[Draft], where: Callable[[str], str]) -> Assembly:
    """Fold each draft's paths into projections.

    Args:
        drafts: populations, each name once.
        where: of a population, for messages.

    Raises:
        InputError: biases or weights in a chain that have no one form.
    """
    drafts = list(drafts)
    made = Assembly()
    taken: Counter[str] = Counter(_names(drafts))
    for draft in drafts:
        population, arriving = _finished(draft, where(draft.name), taken, made.changes)
        made.populations.append(population)
        made.projections += arriving
    return made


def fitting(found: DiscreteNeuron, shape: Shape) -> DiscreteNeuron:
    """Parameters in the population's shape (files hold them as (1, N) or as one value, too)."""

    def fit(value: object) -> Array:
        array = np.asarray(value, dtype=np.float64)
        if array.size == 1:
            return array.reshape(())
        return array.reshape(shape) if array.size == size(shape) else array

    fields = {k: fit(v) if k in PARAMETERS else v for k, v in found.fields.items()}
    return DiscreteNeuron(fields, fit(found.gain))


def _finished(
    draft: Draft, where: str, taken: Counter[str], changes: list[str]
) -> tuple[Population, list[Projection]]:
    if draft.neuron is None:
        return Population(draft.name, draft.shape, None, "input"), []
    neuron = draft.neuron
    gain = np.asarray(parameter(neuron.gain, draft.shape))
    foldable = gain.size == 1 or all(pushes_back(t.chain, gain) for t in draft.terms)
    if not foldable and neuron.spiking and (gain > 0).all():
        neuron, gain = neuron.in_units_of_gain(), np.ones(())
        changes.append(f"{draft.name}: threshold divided by the input gain of each neuron")
    if (gain != 1).any():
        changes.append(
            f"{draft.name}: input gain {float(gain.min()):.6g}…{float(gain.max()):.6g} folded into "
            "its weights"
        )
    bias = np.asarray(neuron.fields.get("bias", 0.0), dtype=np.float64)
    projections = []
    for term in draft.terms:
        projection, at_once = _projection(draft, term, gain, where, taken)
        projections.append(projection)
        if at_once is not None:
            bias = bias + at_once
    fields = {**neuron.fields, "bias": bias}
    return (
        Population(draft.name, draft.shape, Neuron.create(draft.shape, **fields), draft.role),
        projections,
    )


def _projection(
    draft: Draft, term: Term, gain: Array, where: str, taken: Counter[str]
) -> tuple[Projection, Array | None]:
    """A projection, and the part of its bias that acts from the first step on."""
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


def _base_name(draft: Draft, term: Term) -> str:
    nodes = [
        s.node for s in term.chain if s.op.weighted and s.weight is not None and s.weight.size > 1
    ]
    nodes = nodes or [s.node for s in term.chain if s.op.weighted]
    return nodes[-1] if nodes else _ends(draft, term)


def _ends(draft: Draft, term: Term) -> str:
    """Where a connection comes from, and where it leads; of many sources, the first and the last."""
    told = "+".join(term.sources)
    if len(told) > _TOLD:
        told = f"{term.sources[0]}+...+{term.sources[-1]}"
    return f"{told}->{draft.name}"


def _names(drafts: Iterable[Draft]) -> list[str]:
    return [_base_name(d, t) for d in drafts for t in d.terms]


def _named(draft: Draft, term: Term, folded: Folded, taken: Counter[str]) -> str:
    """The weighted node's name; with its ends where one node makes several projections."""
    base = _base_name(draft, term)
    if taken[base] == 1:
        return folded.node or base
    name = f"{base}({_ends(draft, term)})"
    taken[name] += 1
    return name if taken[name] == 1 else f"{name}#{taken[name]}"


def ordered(network: Network) -> Network:
    """Populations and projections in same-step order (verified later: a loop keeps the draft's)."""
    if not nx.is_directed_acyclic_graph(network.same_step_graph):
        return network
    rank = {name: i for i, name in enumerate(network.order)}
    inputs_first = sorted(network.populations, key=lambda p: (p.role != "input", rank[p.name]))
    projections = sorted(network.projections, key=lambda p: (rank[p.target], natural_key(p.name)))
    return dataclasses.replace(
        network, populations=tuple(inputs_first), projections=tuple(projections)
    )
