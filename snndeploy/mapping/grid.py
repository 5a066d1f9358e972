"""Count all tiles of a grid at once: what many of them share is counted for one."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..ir.arrays import Array, Shape, size
from ..ir.placement import Bounds
from ..ir.program import CompartmentGroup
from .axons import Outgoing
from .memory import Memory, Resources, with_pool

Counts = tuple[int, ...]
"""Number of tiles along each axis of a group's shape."""
Interval = tuple[int, int]


def cuts(length: int, count: int) -> list[Interval]:
    """Cut an axis into ``count`` intervals whose lengths differ by at most one."""
    return [(i * length // count, (i + 1) * length // count) for i in range(count)]


def tiles(shape: Shape, counts: Counts) -> list[Bounds]:
    """Cut a shape into equal boxes (extents differ by at most one)."""
    return list(itertools.product(*(cuts(n, t) for n, t in zip(shape, counts, strict=True))))


@dataclass(eq=False)
class Grid:
    """Counts grids of one group, whose spikes go to slices that are known.

    ``tried`` is how many grids were counted.
    """

    memory: Memory
    group: CompartmentGroup
    out: Outgoing
    limits: Mapping[str, int]
    tried: int = 0
    _keys: dict[tuple[int, Interval], Hashable] = field(default_factory=dict)

    def used(self, counts: Counts) -> dict[str, Array]:
        """Every resource of every tile, as arrays that broadcast to ``counts``."""
        self.tried += 1
        axes = [cuts(n, t) for n, t in zip(self.group.shape, counts, strict=True)]
        classes = [_classes([self._key(a, i) for i in axis]) for a, axis in enumerate(axes)]
        shape = [len(first) for first, _ in classes]
        alike = [
            self.memory.incoming(self.group, tuple(axes[a][i] for a, i in enumerate(box)))
            for box in itertools.product(*(first for first, _ in classes))
        ]
        index = np.ix_(*(which for _, which in classes))
        used = {
            name: np.array([r[name] for r in alike]).reshape(shape)[index] for name in alike[0]
        }
        for name, values in self.out.grid(axes).items():
            used[name] = used[name] + values
        if self.memory.target.memory_model == "loihi2":
            return with_pool(used)
        return used

    def breaches(self, counts: Counts) -> list[str]:
        """Resources that any of the tiles exceeds, the worst first."""
        used = self.used(counts)
        over = {
            name: float(used[name].max()) / max(limit, 0.5)
            for name, limit in self.limits.items()
            if name in used and used[name].max() > limit
        }
        return sorted(over, key=lambda name: -over[name])

    def box(self, bounds: Bounds) -> Resources:
        """Every resource of one box."""
        self.tried += 1
        used = self.memory.incoming(self.group, bounds)
        for name, n in self.out.box(bounds).items():
            used[name] = used.get(name, 0) + n
        return with_pool(used) if self.memory.target.memory_model == "loihi2" else used

    def spread(self, boxes_per_axis: Sequence[Sequence[Interval]]) -> int:
        """Pairs of a source neuron and a tile that it sends to."""
        total = 0
        for s in self.memory.into[self.group.name]:
            fan = self.memory.fans[s.name]
            if fan.separable or fan.one_to_one:
                spans = [[fan.span(a, i) for i in axis] for a, axis in enumerate(boxes_per_axis)]
                total += size(sum(high - low for low, high in axis) for axis in spans)
            else:
                total += size(fan.source_shape) * size(len(axis) for axis in boxes_per_axis)
        return total

    def _key(self, axis: int, interval: Interval) -> Hashable:
        """Equal for intervals whose boxes are counted alike."""
        if (axis, interval) not in self._keys:
            fans = [self.memory.fans[s.name] for s in self.memory.into[self.group.name]]
            place = interval if self._uneven(axis) else None
            self._keys[axis, interval] = (
                interval[1] - interval[0], place, *(fan.key(axis, interval) for fan in fans),
            )  # fmt: skip
        return self._keys[axis, interval]

    def _uneven(self, axis: int) -> bool:
        """Whether parameters that are counted as profiles differ along an axis."""
        g, axes = self.group, len(self.group.shape)
        return any(
            p.ndim > axes - 1 - axis and p.shape[axis - axes] > 1 for p in (g.du, g.dv, g.vth)
        )


def _classes(keys: Sequence[Hashable]) -> tuple[list[int], Array]:
    """The first position of every different key, and for each position which of them it has."""
    first: dict[Hashable, int] = {}
    which = [first.setdefault(key, len(first)) for key in keys]
    seen: dict[int, int] = {}
    for i, c in enumerate(which):
        seen.setdefault(c, i)
    return list(seen.values()), np.array(which)
