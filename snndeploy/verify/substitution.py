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
    is inherited from the layers in front of it. Populations of a loop are replaced together. Kernels
    that were removed are silent: the layer neither hears them nor emits spikes of its own.

    Args:
        before: the network of the earlier stage.
        after: the network or the program of the later one, see `same_populations`.
        kept: of populations that lost kernels between the two, the indices that are left.
    """

    def __init__(
        self, before: Network, after: Stage, kept: Mapping[str, Array], output: str | None = None
    ) -> None:
        self.before = before
        self.after = after
        self.kept = kept
        rank = {name: i for i, name in enumerate(before.order)}
        inputs = {p.name for p in before.with_role("input")}
        loops = (
            tuple(sorted(names - inputs, key=rank.__getitem__))
            for names in nx.strongly_connected_components(before.graph)
        )
        self.units = tuple(sorted((u for u in loops if u), key=lambda u: rank[u[0]]))
        self._output = output or before.with_role("output")[0].name

    def answers(self, run: Recording) -> dict[str, Array]:
        """The class of every sample with each unit replaced, by its populations' names.

        Args:
            run: of ``before``, with the spikes of all populations.
        """
        heard = {n: s[:, :, self.kept[n]] if n in self.kept else s for n, s in run.spikes.items()}
        found = {}
        for unit in self.units:
            spikes = dict(run.spikes)
            for name, emitted in emitted_by(self.after, unit, heard).items():
                spikes[name] = emitted
                if name in self.kept:
                    shape = self.before.population(name).shape
                    spikes[name] = np.zeros((*emitted.shape[:2], *shape), emitted.dtype)
                    spikes[name][:, :, self.kept[name]] = emitted
            behind = {n for name in unit for n in nx.descendants(self.before.graph, name)} - set(
                unit
            )
            if self._output in behind:
                spikes |= emitted_by(self.before, behind, spikes)
            answer = Recording(engine="", spikes=spikes).predictions(self._output)
            found[", ".join(unit)] = answer
        return found


def same_populations(before: Network, after: Stage, kept: Mapping[str, Array]) -> bool:
    """Whether the stages have the same populations, but for the kernels that ``kept`` accounts for."""
    populations = after.populations if isinstance(after, Network) else after.groups
    shapes = {p.name: p.shape for p in populations}
    return all(
        shapes.get(p.name) == (len(kept[p.name]) if p.name in kept else p.shape[0], *p.shape[1:])
        for p in before.populations
    )


def emitted_by(stage: Stage, names: Iterable[str], given: Mapping[str, Array]) -> dict[str, Array]:
    """What these populations of a stage emit, in the network's units, when all others are given."""
    wanted = set(names)
    if isinstance(stage, Network):
        return _of_network(stage, wanted, given)
    return _of_program(stage, wanted, given)


def _of_network(network: Network, wanted: set[str], given: Mapping[str, Array]) -> dict[str, Array]:
    from ..simulate.float.engine import run_float

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
    from ..simulate.integer.engine import run_integer

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
        return encode_inputs(values, group)
    if group.kind == "readout":
        return np.asarray(np.rint(values * group.scale), np.int64)
    return values.astype(np.int64, copy=False)


def _in_units(program: Program, name: str, emitted: Array) -> Array:
    """A readout's v in the network's units; spikes are spikes."""
    group = program.group(name)
    values: Array = emitted / group.scale if group.kind == "readout" else emitted
    return values
