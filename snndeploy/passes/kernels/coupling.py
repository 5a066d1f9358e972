"""Which neurons can only be removed together, and through which projections.

Every population is cut into its smallest removable parts: channels of ``(C, H, W)`` or ``(C, L)``,
single neurons of ``(N,)``. Following each chain of operators with these labels shows which parts a
projection ties together: the sources of a sum, one-to-one wiring, the two sides of a group of a
grouped convolution, all neurons that a reshape gathers into one channel. What is tied, directly or
not, is one *unit*; populations whose units span them all form a `CouplingGroup`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...ir.arrays import Array, Shape, size
from ...ir.network import Network, Projection
from ...ir.ops import Conv, Dense, Op, Pointwise, Reshape, SumPool


@dataclass(frozen=True, kw_only=True, eq=False)
class CouplingGroup:
    """Populations that shrink together, and the units they shrink by.

    Args:
        units: per population, the unit of each index of its axis 0 (0 … ``count`` - 1).
        rows: per incoming projection, the unit of each output of its weighted operator: channels
            of a convolution, rows of a dense one, elements of axis 0 of a one-to-one one.
        columns: per projection that reads from the group, the unit of each input of its weighted
            operator: channels of a convolution, features of a dense one, elements of axis 0 of a
            one-to-one one.
        fixed: why nothing may be removed; empty where something may.
        count: number of units.
        kept: units that stay, ascending.
    """

    units: Mapping[str, Array]
    rows: Mapping[str, Array]
    columns: Mapping[str, Array]
    fixed: str
    count: int
    kept: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def populations(self) -> tuple[str, ...]:
        """Names of the populations, in the network's order."""
        return tuple(self.units)

    @property
    def incoming(self) -> tuple[str, ...]:
        """Names of the projections that lose outputs, in the network's order."""
        return tuple(self.rows)

    @property
    def outgoing(self) -> tuple[str, ...]:
        """Names of the projections that lose inputs, in the network's order."""
        return tuple(self.columns)

    def keep(self, kept: Sequence[int] | Array) -> CouplingGroup:
        """The same group with exactly these units kept."""
        return dataclasses.replace(self, kept=np.unique(np.asarray(kept, dtype=np.int64)))

    def indices(self, population: str) -> Array:
        """Indices along axis 0 of ``population`` that stay."""
        return np.flatnonzero(np.isin(self.units[population], self.kept))

    def __str__(self) -> str:
        state = f"fixed, {self.fixed}" if self.fixed else f"keeps {len(self.kept)} of {self.count}"
        lines = [f"group {' + '.join(self.populations)}: {state}"]
        lines.append(f"  in:  {', '.join(self.incoming) or 'nothing'}")
        lines.append(f"  out: {', '.join(self.outgoing) or 'nothing'}")
        if not self.fixed:
            lines += [f"  {name}: {_ranges(self.indices(name))}" for name in self.populations]
        return "\n".join(lines)


def coupling(net: Network) -> tuple[CouplingGroup, ...]:
    """All coupling groups, in network order; each population is in exactly one. All units kept."""
    nodes = _Nodes(net)
    root = nodes.components()
    members: dict[int, list[str]] = {}
    for name in nodes.units:
        # Whatever ties two populations ties all of their parts, so the first one tells the group.
        members.setdefault(int(nodes.group[name]), []).append(name)
    return tuple(_group(net, nodes, root, names) for names in members.values())


def survivors(before: Network, after: Network) -> tuple[CouplingGroup, ...]:
    """The groups of ``before``, each with the units that are still there in ``after``."""

    def alive(group: CouplingGroup) -> Array:
        name = group.populations[0]
        first, last = before.population(name), after.population(name)
        if last.kept is None:
            return np.arange(group.count)
        known = np.arange(first.shape[0]) if first.kept is None else first.kept
        return np.asarray(group.units[name][np.isin(known, last.kept)])

    return tuple(group.keep(alive(group)) for group in coupling(before))


def _group(net: Network, nodes: _Nodes, root: Array, names: list[str]) -> CouplingGroup:
    labels = np.concatenate([root[nodes.units[n]] for n in names])
    distinct, first = np.unique(labels, return_index=True)
    rank = np.empty(distinct.size, dtype=np.int64)
    rank[np.argsort(first)] = np.arange(distinct.size)  # number units as the populations show them

    def number(node: Array) -> Array:
        return rank[np.searchsorted(distinct, root[node])]

    ports = [p for n in names if (p := net.population(n)).role != "hidden"]
    fixed = f"{ports[0].name} is an {ports[0].role} of the network" if ports else ""
    group = CouplingGroup(
        units={n: number(nodes.units[n]) for n in names},
        rows={name: number(nodes.rows[name]) for name in nodes.near(names, net.incoming)},
        columns={name: number(nodes.columns[name]) for name in nodes.near(names, net.outgoing)},
        fixed=fixed,
        count=int(distinct.size),
    )
    return group.keep(np.arange(group.count))


class _Nodes:
    """Graph nodes for the parts of populations and the operator outputs, and what ties them."""

    def __init__(self, net: Network) -> None:
        self._total = 0
        self._ties: list[tuple[Array, Array]] = []
        self.units = {p.name: self._new(p.shape[0]) for p in net.populations}
        self.rows: dict[str, Array] = {}
        self.columns: dict[str, Array] = {}
        self._order = {p.name: i for i, p in enumerate(net.projections)}
        place = {name: i for i, name in enumerate(self.units)}
        pairs: list[tuple[int, int]] = []
        for projection in net.projections:
            coupled = self._follow(net, projection)
            pairs += [(place[a], place[b]) for a, b in coupled]
        a, b = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        found = connected(len(place), a, b)
        self.group = {name: found[i] for name, i in place.items()}

    def near(self, names: list[str], of: Callable[[str], Iterable[Projection]]) -> list[str]:
        """Projections ``of`` some populations, in the network's order."""
        found = {p.name for name in names for p in of(name)}
        return sorted(found, key=self._order.__getitem__)

    def components(self) -> Array:
        """One number per node, equal for nodes that are tied together."""
        a = np.concatenate([t[0] for t in self._ties]) if self._ties else np.zeros(0, np.int64)
        b = np.concatenate([t[1] for t in self._ties]) if self._ties else np.zeros(0, np.int64)
        return connected(self._total, a, b)

    def _new(self, count: int) -> Array:
        nodes = np.arange(self._total, self._total + count)
        self._total += count
        return nodes

    def _tie(self, a: Array, b: Array) -> None:
        a, b = np.broadcast_arrays(a, b)
        self._ties.append((a.reshape(-1), b.reshape(-1)))

    def _follow(self, net: Network, projection: Projection) -> list[tuple[str, str]]:
        """Tie what one projection couples; return the pairs of populations it couples."""
        shape = net.source_shape(projection)
        names = [s.population for s in projection.sources]
        for other in names[1:]:
            self._tie(self.units[names[0]], self.units[other])
        labels = _spread(self.units[names[0]], shape)
        through = False
        for op in projection.ops:
            if op.weighted:
                self.columns[projection.name] = labels.reshape(labels.shape[0], -1)[:, 0]
            labels = self._step(op, labels)
            if op.weighted:
                self.rows[projection.name] = labels.reshape(labels.shape[0], -1)[:, 0]
                through = not projection.op.mixes_channels
        target = net.population(projection.target)
        self._tie(labels, _spread(self.units[target.name], target.shape))
        pairs = [(names[0], other) for other in names[1:]]
        return [*pairs, (names[0], target.name)] if through else pairs

    def _step(self, op: Op, labels: Array) -> Array:
        """Labels behind ``op`` for the labels before it."""
        match op:
            case Dense():
                return self._new(op.out_features)
            case Pointwise():
                return labels
            case Reshape():
                labels = labels.reshape(op.shape)
                return self._whole_channels(labels) if labels.ndim > 1 else labels
            case SumPool():
                channel = self._whole_channels(labels).reshape(labels.shape[0], -1)[:, 0]
                return _spread(channel, op.out_shape(labels.shape))
            case Conv():
                return self._convolved(op, labels)

    def _convolved(self, op: Conv, labels: Array) -> Array:
        before = self._whole_channels(labels).reshape(labels.shape[0], -1)[:, 0]
        rows = self._new(op.out_channels)
        if op.groups > 1:
            # Each group keeps as many inputs and outputs as the others only if it goes whole.
            first = before.reshape(op.groups, -1)[:, :1]
            self._tie(before.reshape(op.groups, -1), first)
            self._tie(rows.reshape(op.groups, -1), first)
        return _spread(rows, op.out_shape(labels.shape))

    def _whole_channels(self, labels: Array) -> Array:
        flat = labels.reshape(labels.shape[0], -1)
        self._tie(flat, flat[:, :1])
        return labels


def connected(count: int, a: Array, b: Array) -> Array:
    """Smallest node number in the connected component of each of ``count`` nodes; edges are a–b."""
    label = np.arange(count)
    while True:
        low, high = np.minimum(label[a], label[b]), np.maximum(label[a], label[b])
        if (low == high).all():
            return label
        np.minimum.at(label, high, low)
        while (label[label] != label).any():
            label = label[label]


def _spread(channel: Array, shape: Shape) -> Array:
    """One value per index of axis 0, for every element of ``shape``."""
    return np.repeat(channel, size(shape[1:])).reshape(shape)


def _ranges(indices: Array) -> str:
    """``0-3, 5, 8-9`` for sorted indices."""
    cuts = np.flatnonzero(np.diff(indices) != 1) + 1
    runs = [run for run in np.split(indices, cuts) if run.size]
    return ", ".join(f"{r[0]}-{r[-1]}" if r.size > 1 else f"{r[0]}" for r in runs)
