"""Deal cores out to chips with few messages between them.

Layer order and recursive spectral bisection (of clusters, where there are many cores) are the starts;
each is refined by sequences of moves and swaps, the best next one even where it makes things worse for
a while, of which the best beginning is kept (Kernighan & Lin 1970; Fiduccia & Mattheyses 1982). On
boards beyond that, layer order stays.
"""

from __future__ import annotations

import numpy as np

from ...ir.arrays import Array
from .flows import Flows

_PASSES = 6
_STEPS = 600
"""Moves of one sequence; most of what a sequence wins, it wins early."""
_DENSE = 800
"""Nodes whose Laplacian is solved as a dense matrix; more are clustered first."""
_CLUSTER = 8
"""Cores that a cluster holds at most."""
_REFINED = 1 << 22
"""Cores x chips of the largest board that is searched: a step weighs every core against every chip."""


def deal(flows: Flows, cores: int, chips: int, per_chip: int, *, library: bool, seed: int) -> Array:
    """The chip of every core.

    Args:
        flows: messages between cores ``0 .. cores - 1``.
        cores: how many there are.
        chips: chips to use, enough for all.
        per_chip: cores of a chip.
        library: ask `mtkahypar` for a start too, where it is installed.
        seed: for the library.
    """
    if cores * chips > _REFINED:  # neighbouring layers are on neighbouring cores already
        return np.arange(cores) // per_chip
    graph = _Graph(flows, cores)
    starts = [np.arange(cores) // per_chip, graph.bisected(chips, per_chip)]
    if library and (found := _mtkahypar(graph, chips, per_chip, seed)) is not None:
        starts.append(found)
    ends = [_refine(graph, start, chips, per_chip) for start in starts]
    return min(ends, key=graph.cut)


class _Graph:
    """Messages between cores, both directions summed, as rows of neighbours."""

    def __init__(self, flows: Flows, nodes: int, sizes: Array | None = None) -> None:
        self.nodes = nodes
        self.sizes = np.ones(nodes, np.int64) if sizes is None else sizes
        low = np.minimum(flows.source, flows.target)
        high = np.maximum(flows.source, flows.target)
        pair, where = np.unique(low * nodes + high, return_inverse=True)
        self.a, self.b = np.divmod(pair, max(nodes, 1))
        self.weight = np.bincount(where, weights=flows.weight, minlength=len(pair))
        order = np.argsort(np.concatenate([self.a, self.b]), kind="stable")
        ends = np.concatenate([self.a, self.b])[order]
        self.near = np.concatenate([self.b, self.a])[order]
        self.near_weight = np.concatenate([self.weight, self.weight])[order]
        self.first = np.searchsorted(ends, np.arange(nodes + 1))

    def cut(self, part: Array) -> float:
        """Messages between parts."""
        return float(self.weight[part[self.a] != part[self.b]].sum())

    def towards(self, part: Array, parts: int) -> Array:
        """Messages between each node and each part."""
        to = np.zeros((self.nodes, parts))
        np.add.at(to, (self.a, part[self.b]), self.weight)
        np.add.at(to, (self.b, part[self.a]), self.weight)
        return to

    def bisected(self, parts: int, room: int) -> Array:
        """Recursive bisection; every part holds at most ``room``, clusters permitting."""
        if self.nodes > _DENSE:
            cluster = self._clusters()
            coarse = _Graph(
                Flows(cluster[self.a], cluster[self.b], self.weight),
                int(cluster.max()) + 1,
                np.bincount(cluster, weights=self.sizes).astype(np.int64),
            )
            if coarse.nodes < self.nodes:
                return coarse.bisected(parts, room)[cluster]
        part = np.zeros(self.nodes, np.int64)
        todo = [(np.arange(self.nodes), 0, parts)]
        while todo:
            members, base, count = todo.pop()
            if count == 1 or len(members) < 2:
                part[members] = base
                continue
            half = count // 2
            order = members[self._fiedler(members)]
            at = self._sweep(order, half * room, (count - half) * room)
            todo += [(order[:at], base, half), (order[at:], base + half, count - half)]
        return part

    def _clusters(self) -> Array:
        """Merge each node with the neighbour that it exchanges most messages with, heaviest first."""
        cluster = np.full(self.nodes, -1)
        count = 0
        small = self.sizes[self.a] + self.sizes[self.b] <= _CLUSTER
        joint = (self.a != self.b) & small
        for e in np.flatnonzero(joint)[np.argsort(-self.weight[joint], kind="stable")]:
            a, b = self.a[e], self.b[e]
            if cluster[a] < 0 and cluster[b] < 0:
                cluster[a] = cluster[b] = count
                count += 1
        alone = cluster < 0
        cluster[alone] = count + np.arange(int(alone.sum()))
        return cluster

    def _fiedler(self, members: Array) -> Array:
        """The order of the members along the second eigenvector of their Laplacian."""
        local = np.full(self.nodes, -1)
        local[members] = np.arange(len(members))
        a, b = local[self.a], local[self.b]
        inside = (a >= 0) & (b >= 0) & (a != b)
        joint = np.zeros((len(members), len(members)))
        np.add.at(joint, (a[inside], b[inside]), self.weight[inside])
        joint = joint + joint.T
        _, vectors = np.linalg.eigh(np.diag(joint.sum(axis=1)) - joint)
        return np.argsort(vectors[:, 1], kind="stable")

    def _sweep(self, order: Array, left: int, right: int) -> int:
        """Where to cut an order so that both sides have room and the fewest messages cross."""
        place = np.full(self.nodes, -1)
        place[order] = np.arange(len(order))
        a, b = place[self.a], place[self.b]
        inside = (a >= 0) & (b >= 0)
        low, high = np.minimum(a, b)[inside], np.maximum(a, b)[inside]
        steps = np.zeros(len(order) + 1)
        np.add.at(steps, low + 1, self.weight[inside])
        np.add.at(steps, high + 1, -self.weight[inside])
        crossing = steps.cumsum()
        before = np.concatenate([[0], np.cumsum(self.sizes[order])])
        fits = (before <= left) & (before[-1] - before <= right)
        if not fits.any():  # clusters do not divide evenly: refining makes room
            return int(np.abs(before - left).argmin())
        return int(np.where(fits, crossing, np.inf).argmin())


def _refine(graph: _Graph, start: Array, parts: int, room: int) -> Array:
    part = _with_room(graph, start.copy(), parts, room)
    for _ in range(_PASSES):
        better = _sequence(graph, part, parts, room)
        if graph.cut(better) >= graph.cut(part):
            break
        part = better
    return part


def _with_room(graph: _Graph, part: Array, parts: int, room: int) -> Array:
    """Move the cores that lose least out of chips that are too full."""
    size = np.bincount(part, minlength=parts)
    to = graph.towards(part, parts)
    for full in np.flatnonzero(size > room):
        members = np.flatnonzero(part == full)
        loss = to[members, full] - np.where(size < room, to[members], -np.inf).max(axis=1)
        for i in members[np.argsort(loss, kind="stable")][: int(size[full] - room)]:
            best = int(np.where(size < room, to[i], -np.inf).argmax())
            part[i] = best
            size[best] += 1
            size[full] -= 1
    return part


def _sequence(graph: _Graph, start: Array, parts: int, room: int) -> Array:
    """Make the best moves and swaps one after the other; return the best state on the way."""
    part, best = start.copy(), start.copy()
    size = np.bincount(part, minlength=parts)
    to = graph.towards(part, parts)
    free = np.ones(graph.nodes, bool)
    saved = most = 0.0

    def move(i: int, goal: int) -> None:
        near = slice(graph.first[i], graph.first[i + 1])
        np.add.at(to[:, part[i]], graph.near[near], -graph.near_weight[near])
        np.add.at(to[:, goal], graph.near[near], graph.near_weight[near])
        size[part[i]] -= 1
        size[goal] += 1
        part[i] = goal
        free[i] = False

    rows = np.arange(graph.nodes)
    for _ in range(min(graph.nodes, _STEPS)):
        gain = to - to[rows, part][:, None]
        gain[rows, part] = -np.inf
        gain[~free] = -np.inf
        i, goal = divmod(int(gain.argmax()), parts)
        if not np.isfinite(gain[i, goal]):
            break
        direct = np.where(size < room, gain.max(axis=0), -np.inf)
        swap, partner = -np.inf, -1
        if size[goal] >= room:
            others = np.flatnonzero((part == goal) & free)
            if len(others):
                joint = np.zeros(graph.nodes)
                near = slice(graph.first[i], graph.first[i + 1])
                joint[graph.near[near]] = graph.near_weight[near]
                back = gain[others, part[i]] - 2 * joint[others]
                swap, partner = float(gain[i, goal] + back.max()), int(others[back.argmax()])
        if direct.max() >= swap:
            goal = int(direct.argmax())
            if not np.isfinite(direct[goal]):
                break
            i = int(gain[:, goal].argmax())
            saved += float(gain[i, goal])
            move(i, goal)
        else:
            saved += swap
            origin = int(part[i])
            move(i, goal)
            move(partner, origin)
        if saved > most * (1 + 1e-12) + 1e-9:
            most, best = saved, part.copy()
    return best


def _mtkahypar(graph: _Graph, parts: int, room: int, seed: int) -> Array | None:
    """A partition by Mt-KaHyPar in its deterministic mode (None: it is not installed)."""
    try:
        import mtkahypar
    except ImportError:
        return None
    mtkahypar.set_seed(seed)
    library = mtkahypar.initialize(1, False)
    context = library.context_from_preset(mtkahypar.PresetType.DETERMINISTIC_QUALITY)
    context.set_partitioning_parameters(parts, 0.03, mtkahypar.Objective.CUT)
    context.set_individual_target_block_weights([room] * parts)
    context.logging = False
    # It counts in integers: scale so that the heaviest weight keeps six digits.
    scale = 1e6 / max(float(graph.weight.max(initial=0.0)), 1e-30)
    weights = np.maximum(np.rint(graph.weight * scale), 1).astype(int).tolist()
    edges = list(zip(graph.a.tolist(), graph.b.tolist(), strict=True))
    built = library.create_graph(
        context, graph.nodes, len(edges), edges, [1] * graph.nodes, weights
    )
    return np.array(built.partition(context).get_partition())
