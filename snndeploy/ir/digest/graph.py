"""A digest of a labelled directed graph that does not depend on names or order.

Labels are refined until they tell apart all that refinement (Weisfeiler-Lehman) can: each sweep mixes
into a node's label those of all nodes before it, then those of all nodes after it, along an order in
which one sweep passes through the whole graph. So the time is one sweep for a chain of any length, and
one sweep more for each time that a difference has to travel back: around a loop, or up and down
between branches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx

from .content import digest_of


@dataclass(frozen=True)
class LabelledEdge:
    """``label`` is what it says besides its ends; ``now`` whether it acts within a step."""

    source: int
    target: int
    label: str
    now: bool


def graph_digest(labels: Sequence[str], edges: Sequence[LabelledEdge]) -> str:
    """Digest of a graph whose node i has the content ``labels[i]``."""
    forward, backward = _swept(len(labels), edges)
    label = list(labels)
    classes = len(set(label))
    while True:
        before = forward.pass_through(label)
        after = backward.pass_through(label)
        label = [digest_of(*pair) for pair in zip(before, after, strict=True)]
        # No class was split: no further sweep would split one (nor tell two graphs apart).
        if len(set(label)) == classes:
            return digest_of("graph", *sorted(label))
        classes = len(set(label))


@dataclass(frozen=True)
class _Sweep:
    """Nodes in order, and for each where its edges lead back to: (node, label, was it passed before)."""

    order: Sequence[int]
    reached: Sequence[Sequence[tuple[int, str, bool]]]

    def pass_through(self, label: Sequence[str]) -> list[str]:
        """Labels that hold the new labels of nodes passed before, the old ones of others."""
        new = list(label)
        for node in self.order:
            mixed = sorted(
                digest_of(kind, "new", new[other])
                if passed
                else digest_of(kind, "old", label[other])
                for other, kind, passed in self.reached[node]
            )
            new[node] = digest_of(label[node], *mixed)
        return new


def _swept(nodes: int, edges: Sequence[LabelledEdge]) -> tuple[_Sweep, _Sweep]:
    """The sweeps along and against the edges.

    The order follows every edge that lies on no loop, and within a loop those that act within a step
    (unless they form one, which no network that verifies has). Which edges these are does not depend
    on names or order.
    """
    loop = _loops(nodes, edges)
    at_once = _loops(nodes, [e for e in edges if e.now])
    ordered = [
        loop[e.source] != loop[e.target] or (e.now and at_once[e.source] != at_once[e.target])
        for e in edges
    ]
    order = _order(nodes, [(e.source, e.target) for e, o in zip(edges, ordered, strict=True) if o])
    along: list[list[tuple[int, str, bool]]] = [[] for _ in range(nodes)]
    against: list[list[tuple[int, str, bool]]] = [[] for _ in range(nodes)]
    for e, passed in zip(edges, ordered, strict=True):
        along[e.target].append((e.source, e.label, passed))
        against[e.source].append((e.target, e.label, passed))
    return _Sweep(order, along), _Sweep(order[::-1], against)


def _loops(nodes: int, edges: Sequence[LabelledEdge]) -> dict[int, int]:
    """For each node the number of its strongly connected component."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from((e.source, e.target) for e in edges)
    parts = enumerate(nx.strongly_connected_components(graph))
    return {node: number for number, part in parts for node in part}


def _order(nodes: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Nodes such that the first of every pair comes before the second; the pairs form no loop."""
    after: list[list[int]] = [[] for _ in range(nodes)]
    waiting = [0] * nodes
    for a, b in pairs:
        after[a].append(b)
        waiting[b] += 1
    ready = deque(n for n in range(nodes) if not waiting[n])
    order = []
    while ready:
        order.append(node := ready.popleft())
        for other in after[node]:
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    return order
