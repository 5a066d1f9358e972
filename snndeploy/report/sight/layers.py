"""A program as a graph: layers with sizes and rates, and what joins them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...ir.arrays import size
from ...ir.program import Program

MeanRates = Mapping[str, float]
"""Spikes of a neuron in a step, per group."""


@dataclass(frozen=True, kw_only=True)
class LayerNode:
    """A group: ``level`` counts from the input, ``rate`` is spikes per neuron and step, if known."""

    name: str
    kind: str
    shape: tuple[int, ...]
    neurons: int
    level: int
    rate: float | None


@dataclass(frozen=True, kw_only=True)
class GraphEdge:
    """A synapse group from one source: operator, weights that are not zero, bits of one."""

    source: str
    target: str
    operator: str
    weights: int
    bits: int
    delay: int


def nodes_of(program: Program, rates: MeanRates) -> tuple[LayerNode, ...]:
    """The groups of ``program``, in its order."""
    levels = {depth: i for i, depth in enumerate(sorted({g.depth for g in program.groups}))}
    return tuple(
        LayerNode(
            name=g.name,
            kind=g.kind,
            shape=g.shape,
            neurons=size(g.shape),
            level=levels[g.depth],
            rate=rates.get(g.name),
        )
        for g in program.groups
    )


def edges_of(program: Program) -> tuple[GraphEdge, ...]:
    """What joins the groups, one edge per source."""
    return tuple(
        GraphEdge(
            source=source.group,
            target=s.target,
            operator=str(s.op),
            weights=int(np.count_nonzero(s.mantissa)),
            bits=s.weight_bits,
            delay=int(np.max(source.latency))
            - (program.group(s.target).depth - program.group(source.group).depth),
        )
        for s in program.synapses
        for source in s.sources
    )
