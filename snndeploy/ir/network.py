"""`Network`: the float (or quantised) network as populations and projections."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import networkx as nx
import numpy as np

from ..brief import brief, brief_html
from ..errors import InputError, UsageError, did_you_mean
from .arrays import LARGEST, Array, Shape, frozen, no_numbers
from .digest.content import NOT_CONTENT, content_digest
from .digest.graph import LabelledEdge, graph_digest
from .finding import Finding
from .neurons import Neuron, broadcasts
from .ops import Op, Weighted, chain_shapes, weighted_op
from .weights import Weight

Role = Literal["input", "hidden", "output"]


LONGEST_NAME = 512
"""Characters of a name; it stands in tables, findings and file entries, and a stranger chose it."""

LONGEST_DELAY = 1 << 16
"""Steps of a delay; engines keep as many of what was sent, and no chip comes near."""


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons that share one model; the input population has no neuron, it replays the data.

    ``kept`` tells where kernels were removed: the indices along axis 0, in the trained network's
    population, of those that are left. It is provenance, and not part of the digest.
    """

    name: str
    shape: Shape
    neuron: Neuron | None
    role: Role = "hidden"
    kept: Array | None = field(default=None, metadata=NOT_CONTENT)

    __repr__ = brief
    _repr_html_ = brief_html


@dataclass(frozen=True, eq=False)
class Source:
    """Where a projection reads from, and how many steps later it arrives.

    ``delay`` counts steps *of the trained network*: 0 is the same step, 1 the previous one. It is one
    integer, or one per source neuron (broadcastable to the source's shape).

    Raises:
        ValueError: the delay is not an integer; engines compute addresses with it.
    """

    population: str
    delay: Array = field(default_factory=lambda: frozen(0, np.int64))

    __repr__ = brief
    _repr_html_ = brief_html

    def __post_init__(self) -> None:
        if not np.issubdtype(self.delay.dtype, np.integer):
            raise ValueError(f"a delay counts whole steps, and is {self.delay.dtype}")
        object.__setattr__(self, "delay", frozen(self.delay, np.int64))

    @cached_property
    def min_delay(self) -> int:
        return int(self.delay.min())

    @cached_property
    def max_delay(self) -> int:
        return int(self.delay.max())


@dataclass(frozen=True, eq=False)
class Projection:
    """Everything linear between its source(s) and its target population.

    Several sources are added *before* the operators (the sum of a residual block), so their weight is
    stored and counted once. ``bias`` (one value per output channel, broadcastable to the target's
    shape) belongs to the operator's output and therefore arrives with its delay (the longest of its
    sources), which matters only for delayed projections: a bias that acts from the first step on
    lives in `Neuron.bias`.
    """

    name: str
    sources: tuple[Source, ...]
    target: str
    ops: tuple[Op, ...]
    weight: Weight
    bias: Array | None = None

    __repr__ = brief
    _repr_html_ = brief_html

    @property
    def bias_delay(self) -> int:
        """First step at which the bias arrives."""
        return max(s.max_delay for s in self.sources)

    @property
    def op(self) -> Weighted:
        """The chain's one weighted operator."""
        return weighted_op(self.ops)


@dataclass(frozen=True, eq=False)
class Network:
    """Populations and projections, frozen; arrays are read-only. See `Neuron` for what a step means.

    Populations keep the order they were ingested in (inputs first); projections likewise. ``notes``
    carry provenance for people (frontend, what was normalised), ``findings`` what reading it had to
    assume or could not find; neither is part of the digest.
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    notes: Mapping[str, str] = field(default_factory=dict, metadata=NOT_CONTENT)
    findings: tuple[Finding, ...] = field(default=(), metadata=NOT_CONTENT)

    __repr__ = brief
    _repr_html_ = brief_html

    @cached_property
    def _by_name(self) -> dict[str, Population]:
        return {p.name: p for p in self.populations}

    def population(self, name: str) -> Population:
        """Look up a population; an unknown name is an `InputError` with the nearest one."""
        if name not in self._by_name:
            raise InputError(
                "unknown-population",
                f"there is no population {name!r}",
                hint=did_you_mean(name, self._by_name),
            )
        return self._by_name[name]

    def with_role(self, role: Role) -> tuple[Population, ...]:
        return tuple(p for p in self.populations if p.role == role)

    def answering(self, name: str) -> Network:
        """The same network with the output ``name`` before all others: its answers count.

        Raises:
            UsageError: there is no such output.
        """
        outputs = [p.name for p in self.with_role("output")]
        if name not in outputs:
            raise UsageError(
                "output-unknown",
                f"there is no output {name!r}",
                where="--answers",
                hint=did_you_mean(name, outputs),
            )
        others = [o for o in outputs if o != name]
        turn = iter((name, *others))
        ordered = (
            self.population(next(turn)) if p.role == "output" else p for p in self.populations
        )
        return dataclasses.replace(self, populations=tuple(ordered))

    @cached_property
    def _into(self) -> dict[str, tuple[Projection, ...]]:
        found: dict[str, list[Projection]] = {}
        for p in self.projections:
            found.setdefault(p.target, []).append(p)
        return {name: tuple(projections) for name, projections in found.items()}

    @cached_property
    def _out_of(self) -> dict[str, tuple[Projection, ...]]:
        found: dict[str, list[Projection]] = {}
        for p in self.projections:
            for name in dict.fromkeys(s.population for s in p.sources):
                found.setdefault(name, []).append(p)
        return {name: tuple(projections) for name, projections in found.items()}

    def incoming(self, name: str) -> tuple[Projection, ...]:
        return self._into.get(name, ())

    def outgoing(self, name: str) -> tuple[Projection, ...]:
        return self._out_of.get(name, ())

    def source_shape(self, projection: Projection) -> Shape:
        """The shape that all of the projection's sources share."""
        return self.population(projection.sources[0].population).shape

    def map_projections(self, change: Callable[[Projection], Projection]) -> Network:
        """A network whose every projection went through ``change``."""
        return dataclasses.replace(self, projections=tuple(change(p) for p in self.projections))

    def replace(
        self, populations: Iterable[Population] = (), projections: Iterable[Projection] = ()
    ) -> Network:
        """A network in which the given populations and projections replace those of equal name."""
        new_pop = {p.name: p for p in populations}
        new_proj = {p.name: p for p in projections}
        return dataclasses.replace(
            self,
            populations=tuple(new_pop.get(p.name, p) for p in self.populations),
            projections=tuple(new_proj.get(p.name, p) for p in self.projections),
        )

    @cached_property
    def graph(self) -> nx.DiGraph[str]:
        """Populations, with an edge wherever spikes go, at whatever delay."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(p.name for p in self.populations)
        graph.add_edges_from((s.population, p.target) for p in self.projections for s in p.sources)
        nx.freeze(graph)
        return graph

    @cached_property
    def same_step_graph(self) -> nx.DiGraph[str]:
        """Populations, with an edge wherever a spike arrives within its own step (delay 0)."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(p.name for p in self.populations)
        graph.add_edges_from(
            (source.population, projection.target)
            for projection in self.projections
            for source in projection.sources
            if source.min_delay == 0
        )
        return graph

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Population names such that same-step sources come before their targets."""
        rank = {p.name: i for i, p in enumerate(self.populations)}
        return tuple(
            nx.lexicographical_topological_sort(self.same_step_graph, key=rank.__getitem__)
        )

    @cached_property
    def depth(self) -> dict[str, int]:
        """Longest same-step path from an input to each population, in projections."""
        depth: dict[str, int] = {}
        for name in self.order:
            before = self.same_step_graph.predecessors(name)
            depth[name] = max((depth[p] + 1 for p in before), default=0)
            if depth[name] == 0 and self.population(name).role != "input":
                depth[name] = 1  # fed by delayed projections or its bias only
        return depth

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content, the same however populations are named or ordered."""
        return _digest(self)

    def verify(self) -> Network:
        """Check the structure and return self.

        Raises:
            InputError: the first violated rule, naming the population or projection.
        """
        _unique("population", [p.name for p in self.populations])
        _unique("projection", [p.name for p in self.projections])
        for role, what in (("input", "reads data"), ("output", "answers")):
            if not self.with_role(role):  # type: ignore[arg-type]
                raise InputError(
                    f"no-{role}", f"the network has no {role} population: nothing {what}"
                )
        for population in self.populations:
            _verify_population(population)
        for projection in self.projections:
            self._verify_projection(projection)
        if not nx.is_directed_acyclic_graph(self.same_step_graph):
            cycle = " -> ".join(edge[0] for edge in nx.find_cycle(self.same_step_graph))
            raise InputError(
                "same-step-loop",
                f"a loop without delay cannot be computed: {cycle}",
                hint="give one of its projections a delay of at least one step",
            )
        self._verify_fed()
        return self

    def _verify_projection(self, projection: Projection) -> None:
        where = f"projection {projection.name}"
        if not projection.sources:
            raise InputError("no-source", "the projection has no source", where=where)
        target = self.population(projection.target)
        shapes = {self.population(s.population).shape for s in projection.sources}
        if target.role == "input":
            raise InputError("input-driven", f"{target.name} is an input", where=where)
        if len(shapes) > 1:
            raise InputError(
                "shape-mismatch",
                f"sources of different shapes are added: {sorted(shapes)}",
                where=where,
            )
        shape = shapes.pop()
        try:
            out = chain_shapes(projection.ops, shape)[-1]
        except InputError as error:
            raise InputError(error.code, error.message, where=where) from error
        if out != target.shape:
            raise InputError(
                "shape-mismatch",
                f"it delivers {out} to {target.name}, whose shape is {target.shape}",
                where=where,
            )
        if projection.weight.shape != projection.op.weight_shape:
            raise InputError(
                "shape-mismatch",
                f"weight {projection.weight.shape}, operator needs {projection.op.weight_shape}",
                where=where,
            )
        step = projection.weight.scale
        if step is not None and not (np.isfinite(step) & (step > 0)).all():
            raise InputError(
                "step-not-positive", "a step between its codes is not above 0", where=where
            )
        if step is not None and not broadcasts(step.shape, projection.weight.shape):
            raise InputError(
                "shape-mismatch",
                f"steps {step.shape}, weight {projection.weight.shape}",
                where=where,
            )
        for what, values in (("weight", projection.weight.values()), ("bias", projection.bias)):
            if values is not None and (wrong := no_numbers(values)).any():
                raise InputError(
                    "weight-not-finite",
                    f"{int(wrong.sum())} value(s) of its {what} are NaN, infinite or "
                    f"beyond {LARGEST:g}",
                    where=where,
                    hint="training diverged or the file is damaged; export it again",
                )
        if projection.bias is not None and not broadcasts(projection.bias.shape, out):
            raise InputError(
                "shape-mismatch", f"bias {projection.bias.shape}, neurons {out}", where=where
            )
        for source in projection.sources:
            if not broadcasts(source.delay.shape, shape):
                raise InputError(
                    "shape-mismatch", f"delay {source.delay.shape}, neurons {shape}", where=where
                )
            if source.min_delay < 0:
                raise InputError("negative-delay", f"delay {source.min_delay}", where=where)
            if source.max_delay > LONGEST_DELAY:
                raise InputError(
                    "delay-too-long",
                    f"delay {source.max_delay:,}, more than {LONGEST_DELAY:,} steps",
                    where=where,
                    hint="delays are counted in steps here: is the time step the right one?",
                )

    def _verify_fed(self) -> None:
        for population in self.with_role("output"):
            before = nx.ancestors(self.graph, population.name)
            if not any(self.population(p).role == "input" for p in before):
                raise InputError(
                    "unconnected",
                    "no path leads from an input to this output",
                    where=f"population {population.name}",
                )


def _unique(what: str, names: list[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError("duplicate-name", f"two {what}s are named {name!r}")
        if len(name) > LONGEST_NAME:
            raise InputError(
                "name-too-long",
                f"a {what}'s name has {len(name):,} characters where {LONGEST_NAME} are allowed",
                where=f"{what} {name[:40]}…",
                hint="give it a shorter name where the model is made",
            )


def _verify_population(population: Population) -> None:
    where = f"population {population.name}"
    if not population.shape or min(population.shape) < 1:
        raise InputError("empty-population", f"its shape is {population.shape}", where=where)
    if (population.neuron is None) != (population.role == "input"):
        raise InputError("role", "inputs, and only inputs, have no neuron model", where=where)
    if population.neuron is not None:
        population.neuron.verify(where, population.shape)


def _digest(network: Network) -> str:
    """Digest of a graph whose nodes are populations and projections, with their content but names."""
    number = {p.name: i for i, p in enumerate(network.populations)}
    labels = [content_digest(p, without=("name",)) for p in network.populations]
    edges = []
    for i, p in enumerate(network.projections, len(labels)):
        labels.append(content_digest(p, without=("name", "sources", "target")))
        for s in p.sources:
            told = content_digest(s, without=("population",))
            edges.append(LabelledEdge(number[s.population], i, told, s.min_delay == 0))
        edges.append(LabelledEdge(i, number[p.target], "target", True))
    return graph_digest(labels, edges)
