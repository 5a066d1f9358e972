"""Count all tiles of a grid at once: what many of them share is counted for one."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...chip.counting import Resources
from ...ir.arrays import Array, Shape
from ...ir.placement import Bounds
from ...ir.program import CompartmentGroup
from ..count.axons import Outgoing
from ..count.memory import Memory

Counts = tuple[int, ...]
"""Number of tiles along each axis of a group's shape."""
Extent = tuple[int, int]
_ROOM = 10_000
"""Numbers that are kept per group and cut of what is behind it."""
_HARD = 3
"""How many more of the places that refused lately are tried first."""


def cuts(length: int, count: int) -> list[Extent]:
    """Cut an axis into ``count`` intervals whose lengths differ by at most one."""
    return [(i * length // count, (i + 1) * length // count) for i in range(count)]


def tiles(shape: Shape, counts: Counts) -> list[Bounds]:
    """Cut a shape into equal boxes (extents differ by at most one)."""
    return list(itertools.product(*(cuts(n, t) for n, t in zip(shape, counts, strict=True))))


@dataclass(frozen=True, eq=False)
class _Index:
    """``of`` picks, from an array of ``shape`` over kinds of tiles, the kind of every tile."""

    shape: tuple[int, ...]
    of: tuple[Array, ...]


@dataclass(eq=False)
class TileCounts:
    """What grids and boxes of one group take, whose spikes go to slices that are known.

    Searches share it: their limits differ, what they count does not. It keeps ``used`` of grids until
    that are ``room`` numbers, and the ``most`` that any of a grid's tiles takes of each resource.
    """

    out: Outgoing
    room: int = _ROOM
    keys: dict[tuple[int, Extent], Hashable] = field(default_factory=dict)
    used: dict[Counts, dict[str, Array]] = field(default_factory=dict)
    most: dict[Counts, dict[str, int]] = field(default_factory=dict)


@dataclass(eq=False)
class Grid:
    """Counts grids of one group, whose spikes go to slices that are known.

    ``surcharge`` is what an axon to the group takes on top of its slots.
    """

    memory: Memory
    group: CompartmentGroup
    counted: TileCounts
    limits: Mapping[str, int]
    surcharge: int = 0
    _tried: list[int] = field(default_factory=lambda: [0])
    _hard: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """How many grids were looked at, under whichever limits."""
        return self._tried[0]

    def limited(self, limits: Mapping[str, int]) -> Grid:
        """The same grids under other limits; what is counted once counts for both."""
        return replace(self, limits=limits)

    def used(self, counts: Counts) -> dict[str, Array]:
        """Every resource of every tile, as arrays that broadcast to ``counts``."""
        self._tried[0] += 1
        known = self.counted.used.get(counts)
        if known is not None:
            return known
        used = self._used(counts)
        numbers = sum(values.size for values in used.values())
        if numbers <= self.counted.room:
            self.counted.room -= numbers
            self.counted.used[counts] = used
        return used

    def _used(self, counts: Counts) -> dict[str, Array]:
        axes = self.axes(counts)
        alike, index = self._alike(axes)
        parts = [self.memory.incoming(self.group, box) for box in alike]
        used = {
            name: np.array([r[name] for r in parts]).reshape(index.shape)[index.of]
            for name in parts[0]
        }
        for name, values in self.counted.out.grid(axes).items():
            used[name] = used.get(name, 0) + values
        return self.memory.family.completed(used)

    def axes(self, counts: Counts) -> list[list[Extent]]:
        """The intervals of a grid along each axis."""
        return [cuts(n, t) for n, t in zip(self.group.shape, counts, strict=True)]

    def _alike(self, axes: Sequence[Sequence[Extent]]) -> tuple[list[Bounds], _Index]:
        """A box of each kind, and which kind every tile is of."""
        classes = [_classes([self._key(a, i) for i in axis]) for a, axis in enumerate(axes)]
        boxes = itertools.product(
            *([axis[i] for i in first] for axis, (first, _) in zip(axes, classes, strict=True))
        )
        shape = tuple(len(first) for first, _ in classes)
        return list(boxes), _Index(shape, np.ix_(*(which for _, which in classes)))

    def breaches(self, counts: Counts) -> list[str]:
        """Resources that any of the tiles exceeds, the worst first."""
        used, taken = self.used(counts), self.counted.most.get(counts)
        if taken is None:
            taken = {name: int(values.max()) for name, values in used.items()}
            self.counted.most[counts] = taken
        over: dict[str, float] = {}
        for name, limit in self.limits.items():
            most = taken.get(name, 0)
            if most > limit:
                over[name] = float(most) / max(limit, 0.5)
                where = np.unravel_index(int(used[name].argmax()), used[name].shape)
                tile = [axis[i] for axis, i in zip(self.axes(counts), where, strict=True)]
                self._hard[:] = [
                    tuple((low + high) // 2 for low, high in tile),
                    *self._hard[:_HARD],
                ]
        return sorted(over, key=lambda name: -over[name])

    def fits(self, counts: Counts) -> bool:
        """Whether no tile exceeds a limit; the tiles around recent breaches are counted first."""
        for point in dict.fromkeys(self._hard):
            tile = tuple(
                cuts(n, t)[(x * t + t - 1) // n]
                for x, n, t in zip(point, self.group.shape, counts, strict=True)
            )
            if not self.box_fits(tile):
                return False
        return not self.breaches(counts)

    def box_fits(self, bounds: Bounds) -> bool:
        """Whether one box exceeds no limit."""
        used = self.box(bounds)
        return all(used.get(name, 0) <= limit for name, limit in self.limits.items())

    def box(self, bounds: Bounds) -> Resources:
        """Every resource of one box."""
        used = self.memory.incoming(self.group, bounds)
        for name, n in self.counted.out.box(bounds).items():
            used[name] = used.get(name, 0) + n
        return self.memory.family.completed(used)

    def sent(self, axes: Sequence[Sequence[Extent]]) -> Array:
        """Axons that source neurons need to reach each tile, in output axon slots where they differ."""
        boxes, index = self._alike(axes)
        counts = np.array([self._sent(box) for box in boxes]).reshape(index.shape)
        return np.asarray(counts[index.of])

    def least_sent(self) -> int:
        """Axons, counted likewise, that reach the group whatever its tiles and encodings are."""
        whole, total = tuple((0, n) for n in self.group.shape), 0
        for s in self.memory.into[self.group.name]:
            fan = self.memory.fans[s.name]
            heard = int((fan.into(whole).stored > 0).sum())
            total += heard * (self.memory.family.least_slots(fan) + self.surcharge)
        return total

    def fitting(self, counts: Counts) -> Array:
        """Which tiles exceed no limit, as an array of the shape ``counts``."""
        used, fits = self.used(counts), np.ones(counts, bool)
        for name, limit in self.limits.items():
            fits &= used.get(name, np.zeros(())) <= limit
        return fits

    def _sent(self, box: Bounds) -> int:
        total = 0
        for s in self.memory.into[self.group.name]:
            _, mask, stored = self.memory.reaching(s.name, box)
            total += int(mask.sum()) * (stored.slots + self.surcharge)
        return total

    def _key(self, axis: int, interval: Extent) -> Hashable:
        """Equal for intervals whose boxes are counted alike."""
        keys = self.counted.keys
        if (axis, interval) not in keys:
            fans = [self.memory.fans[s.name] for s in self.memory.into[self.group.name]]
            place = interval if self._uneven(axis) else None
            keys[axis, interval] = (
                interval[1] - interval[0],
                place,
                *(fan.key(axis, interval) for fan in fans),
            )
        return keys[axis, interval]

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
