"""Which layer changes the answers: one stage with a single layer of the next stage in its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import networkx as nx
import numpy as np

from ..ir.arrays import Array
from ..ir.network import Network, Population
from ..ir.program import Program
from ..lower import encode_inputs
from ..simulate.recording import Recording

Stage = Network | Program


class Substitution:
    """Runs ``before`` with each layer in turn computed as ``after`` does.

    A layer gets the spikes that it got in ``before``; what it then emits replaces its spikes, and all
    that depends on them is computed as in ``before``. So what changes is the layer's own doing: nothing
    is inherited from the layers in front of it. Populations that cannot be replaced one by one go
    together: those of a loop, and those that lost kernels with the ones that they project to.

    Args:
        before: the network of the earlier stage.
        after: the network or the program of the later one, with populations of the same names.
    """

    def __init__(self, before: Network, after: Stage) -> None:
        self.before = before
        self.after = after
        self.units = _units(before, after)
        (self._output, *_) = (p.name for p in before.with_role("output"))

    def answers(self, run: Recording) -> dict[str, Array]:
        """The class of every sample with each unit replaced, by its populations' names.

        Args:
            run: of ``before``, with the spikes of all populations.
        """
        return {", ".join(unit): self._answers(frozenset(unit), run) for unit in self.units}

    def _answers(self, unit: frozenset[str], run: Recording) -> Array:
        replaced = _computed(self.after, unit, run.spikes)
        if self._output in unit:
            return Recording(engine="", spikes=replaced).predictions(self._output)
        kept = {n: s for n, s in replaced.items() if s.shape == run.spikes[n].shape}
        graph = nx.DiGraph(
            (s.population, p.target) for p in self.before.projections for s in p.sources
        )
        behind = {n for name in kept if name in graph for n in nx.descendants(graph, name)} - unit
        if self._output not in behind:
            return run.predictions(self._output)
        spikes = _computed(self.before, behind, {**run.spikes, **kept})
        return Recording(engine="", spikes=spikes).predictions(self._output)


def _units(before: Network, after: Stage) -> tuple[tuple[str, ...], ...]:
    """Populations that are replaced together, in the order in which they act."""
    populations = after.populations if isinstance(after, Network) else after.groups
    shapes = {p.name: p.shape for p in populations}
    names = [p.name for p in before.populations if p.role != "input"]
    if not shapes.keys() >= set(names):
        return ()
    flow: nx.DiGraph[str] = nx.DiGraph()
    together: nx.Graph[str] = nx.Graph()
    together.add_nodes_from(names)
    for p in before.projections:
        for s in p.sources:
            flow.add_edge(s.population, p.target)
            if shapes.get(s.population) != before.population(s.population).shape:
                together.add_edge(s.population, p.target)
    for loop in nx.strongly_connected_components(flow):
        if len(loop) > 1:
            nx.add_path(together, sorted(loop))
    rank = {name: i for i, name in enumerate(before.order)}
    units = (sorted(unit, key=rank.__getitem__) for unit in nx.connected_components(together))
    return tuple(tuple(u) for u in sorted(units, key=lambda u: rank[u[0]]))


def _computed(stage: Stage, names: Iterable[str], given: Mapping[str, Array]) -> dict[str, Array]:
    """What these populations of a stage emit, in the network's units, when all others are given."""
    wanted = set(names)
    if isinstance(stage, Network):
        return _of_network(stage, wanted, given)
    return _of_program(stage, wanted, given)


def _of_network(network: Network, wanted: set[str], given: Mapping[str, Array]) -> dict[str, Array]:
    from ..simulate.float_engine import run_float

    projections = tuple(p for p in network.projections if p.target in wanted)
    sources = {s.population for p in projections for s in p.sources} - wanted
    sources = sources or {p.name for p in network.with_role("input")}
    part = Network(
        tuple(
            Population(p.name, p.shape, None, "input") if p.name in sources else p
            for p in network.populations
            if p.name in sources | wanted
        ),
        projections,
    )
    run = run_float(part, {name: given[name] for name in sources})
    return {name: run.spikes[name] for name in wanted}


def _of_program(program: Program, wanted: set[str], given: Mapping[str, Array]) -> dict[str, Array]:
    from ..simulate.integer import run_integer

    synapses = tuple(s for s in program.synapses if s.target in wanted)
    sources = {o.group for s in synapses for o in s.sources} - wanted
    constant = {name for name in sources if program.group(name).kind == "constant"}
    sources = (sources - constant) or {g.name for g in program.groups if g.kind == "input"}
    part = dataclasses.replace(
        program,
        groups=tuple(
            dataclasses.replace(g, kind="input", role="input") if g.name in sources else g
            for g in program.groups
            if g.name in sources | constant | wanted
        ),
        synapses=synapses,
    )
    run = run_integer(part, {name: _messages(program, name, given[name]) for name in sources})
    return {name: _in_units(program, name, run.spikes[name]) for name in wanted}


def _messages(program: Program, name: str, values: Array) -> Array:
    """What a group sends for what the network's population emits."""
    group = program.group(name)
    if group.kind == "input":
        return encode_inputs(values, group.message_bits, float(group.scale), f"input {name}")
    if group.kind == "readout":
        return np.rint(values * group.scale).astype(np.int64)
    return values.astype(np.int64, copy=False)


def _in_units(program: Program, name: str, emitted: Array) -> Array:
    """A readout's v in the network's units; spikes are spikes."""
    group = program.group(name)
    values: Array = emitted / group.scale if group.kind == "readout" else emitted
    return values
