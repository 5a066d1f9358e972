"""What runs when: groups in an order that their spikes allow, and the legs that reach each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import networkx as nx
import numpy as np

from ...ir.arrays import Array, Shape, size
from ...ir.ops import Conv, Dense, Op, Pointwise, Reshape, SumPool, Weighted
from ...ir.program import CompartmentGroup, Program, SynapseGroup

Route = Literal["auto", "events", "dense"]
"""How a projection is computed."""


@dataclass(frozen=True, eq=False)
class Leg:
    """The synapses of one projection from one source at one delay, summed and shifted on their own.

    ``delays`` holds the delay of every source neuron (flat) where they are not all the same: only the
    neurons whose delay is ``delay`` belong to the leg. ``graded`` tells whether messages count, or only
    whether there is one.
    """

    synapses: SynapseGroup
    source: str
    in_shape: Shape
    delay: int
    delays: Array | None
    graded: bool


@dataclass(frozen=True)
class Component:
    """Groups that loops connect (usually one), in the order in which they act within a step."""

    groups: tuple[CompartmentGroup, ...]
    loop: bool

    @property
    def names(self) -> frozenset[str]:
        return frozenset(g.name for g in self.groups)


@dataclass(frozen=True, eq=False)
class RunPlan:
    """Components in the order they run, and the legs into each group."""

    program: Program
    components: tuple[Component, ...]
    legs: dict[str, tuple[Leg, ...]]


def make_plan(program: Program) -> RunPlan:
    """Order the groups of ``program`` and take its synapses apart into legs."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(g.name for g in program.groups)
    graph.add_edges_from((o.group, s.target) for s in program.synapses for o in s.sources)
    condensed = nx.condensation(graph)
    components = []
    for node in nx.topological_sort(condensed):
        members = condensed.nodes[node]["members"]
        # without a delay a source is less deep than its target, so depth orders a step
        groups = sorted((program.group(n) for n in members), key=lambda g: g.depth)
        loop = len(groups) > 1 or graph.has_edge(groups[0].name, groups[0].name)
        components.append(Component(tuple(groups), loop))
    legs = {g.name: tuple(_legs(program, g.name)) for g in program.groups}
    return RunPlan(program, tuple(components), legs)


def _legs(program: Program, target: str) -> list[Leg]:
    legs = []
    for synapses in program.incoming(target):
        for source in synapses.sources:
            group = program.group(source.group)
            delays = program.delay(synapses, source)
            found = np.unique(delays).tolist()
            each = None
            if len(found) > 1:
                each = np.ascontiguousarray(np.broadcast_to(delays, group.shape)).reshape(-1)
            legs += [
                Leg(synapses, source.group, group.shape, delay, each, group.message_bits > 0)
                for delay in found
            ]
    return legs


def chain_peaks(ops: Sequence[Op], weight: Array, peak: int) -> list[int]:
    """Bounds of every partial sum after each operator, for inputs of magnitude up to ``peak``."""
    peaks = []
    for op in ops:
        peak *= _gain(op, weight)
        peaks.append(peak)
    return peaks


def _gain(op: Op, weight: Array) -> int:
    """How many times an input's magnitude an output can be, at most."""
    match op:
        case Dense() | Conv() | Pointwise():
            return largest_row(op, weight)
        case SumPool() | Reshape():
            return op.fan_in


def largest_row(op: Weighted, weight: Array) -> int:
    """Largest sum of magnitudes of the weights into one output."""
    magnitude = np.abs(weight.astype(np.int64))
    return int(magnitude.reshape(op.weight_rows, -1).sum(axis=1).max(initial=0))


def dense_macs(leg: Leg) -> int:
    """Multiplications that the leg takes per step and sample when nothing is skipped."""
    total, shape = 0, leg.in_shape
    for op in leg.synapses.ops:
        shape = op.out_shape(shape)
        if not op.is_view:
            total += size(shape) * (op.fan_in if op.weighted else 1)
    return total
