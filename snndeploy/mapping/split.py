"""Split a group into the fewest equal boxes that each fit on a core."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ..ir.arrays import Shape, size
from ..ir.placement import Bounds
from ..ir.program import CompartmentGroup, Program
from .axons import NOWHERE, FanOut, Tiles, fan_outs, outgoing, total
from .memory import Memory, Resources, doubled
from .reach import Fan

Counts = tuple[int, ...]
"""Number of tiles along each axis of a group's shape."""
Split = Mapping[str, tuple[Bounds, ...]]

_HARD = 3
"""How many more of the boxes that refused lately are tried before all others."""
_ROUNDS = 4
"""Loops in a network make splits depend on each other in circles; checks catch what remains."""


def tiles(shape: Shape, counts: Counts) -> list[Bounds]:
    """Cut a shape into equal boxes (extents differ by at most one)."""
    cuts = [
        [(i * n // t, (i + 1) * n // t) for i in range(t)]
        for n, t in zip(shape, counts, strict=True)
    ]
    return [tuple(box) for box in itertools.product(*cuts)]


def _tile_at(point: Sequence[int], shape: Shape, counts: Counts) -> int:
    """Position in `tiles` of the box that holds a neuron."""
    index = 0
    for x, n, t in zip(point, shape, counts, strict=True):
        index = index * t + (x * t + t - 1) // n
    return index


def split_program(memory: Memory, *, off_chip: bool) -> Split:
    """Split every group of a program.

    What a group sends depends on how its targets are split, so groups are split from the output to
    the input, and once more while loops still change the outcome.

    Args:
        memory: the program and its target.
        off_chip: charge every output axon as one that leaves its chip.
    """
    program = memory.program
    chip = NOWHERE if off_chip else 0
    split: dict[str, tuple[Bounds, ...]] = {}
    for _ in range(_ROUNDS):
        before = dict(split)
        for group in reversed(in_layer_order(program)):
            placed: Tiles = {name: [(b, 0) for b in boxes] for name, boxes in split.items()}
            split[group.name] = _split(memory, group, fan_outs(memory, group.name, placed), chip)
        loops = any(
            program.group(o.group).depth >= program.group(s.target).depth
            for s in program.synapses
            for o in s.sources
        )
        if split == before or not loops:
            break
    return split


def in_layer_order(program: Program) -> list[CompartmentGroup]:
    """The groups on the chip, nearest to the input first."""
    return sorted(program.on_chip, key=lambda g: g.depth)


@dataclass
class _Fit:
    """Whether boxes of one group fit; ``hopeless`` resources are those no box can ever respect.

    ``neurons`` is the most that a box may hold, whatever arrives at them: a cheap first test.
    """

    limits: Mapping[str, int]
    neurons: int
    count: Callable[[Bounds], Resources]
    fans: Sequence[Fan]
    hopeless: set[str] = field(default_factory=set)
    hard: list[tuple[int, ...]] = field(default_factory=list)

    def spread(self, boxes: Sequence[Bounds]) -> int:
        """Pairs of a source neuron and a box that it sends to."""
        regions = (fan.region(box) for fan in self.fans for box in boxes)
        return sum(size(high - low for low, high in region) for region in regions)

    def breach(self, bounds: Bounds) -> str | None:
        """The first resource that a box exceeds."""
        used = self.count(bounds)
        for name, limit in self.limits.items():
            if name not in self.hopeless and used.get(name, 0) > limit:
                return name
        return None

    def first_breach(self, shape: Shape, counts: Counts) -> str | None:
        """The first resource that any of the tiles exceeds.

        Most refusals should cost one count, so the places that refused before go first, then the
        middle, which is the fullest as a rule.
        """
        boxes = tiles(shape, counts)
        middle = tuple(n // 2 for n in shape)
        first = [_tile_at(point, shape, counts) for point in (*self.hard, middle)]
        for i in dict.fromkeys((*first, *range(len(boxes)))):
            breach = self.breach(boxes[i])
            if breach is not None:
                centre = tuple((low + high) // 2 for low, high in boxes[i])
                self.hard = [centre, *self.hard[:_HARD]]
                return breach
        return None

    def holds(self, shape: Shape, counts: Counts) -> bool:
        largest = size(-(-n // t) for n, t in zip(shape, counts, strict=True))
        if largest > max(self.neurons, 1):
            return False
        return self.first_breach(shape, counts) is None


def _split(
    memory: Memory, group: CompartmentGroup, fans: list[FanOut], chip: int
) -> tuple[Bounds, ...]:
    def count(bounds: Bounds) -> Resources:
        out = outgoing(memory, group, bounds, chip, fans)
        return total(memory, memory.incoming(group, bounds), out)

    limits = {name: limit.limit for name, limit in memory.target.core.items()}
    most = limits.get(
        "neurons", limits.get("compartments", 0) // (1 + doubled(group, memory.target))
    )
    arriving = [memory.fans[s.name] for s in memory.program.incoming(group.name)]
    fit = _Fit(limits, most, count, arriving)
    shape = group.shape
    while True:
        counts = _fewest(shape, fit)
        if counts is not None:
            return tuple(tiles(shape, counts))
        # Not even single neurons fit: leave out what they exceed and let the check report it.
        breach = fit.first_breach(shape, shape)
        if breach is not None:
            fit.hopeless.add(breach)


def _fewest(shape: Shape, fit: _Fit) -> Counts | None:
    """The fewest tiles that all fit (None: no number does).

    For every way to cut space, the number of channel tiles is searched by bisection, since less
    never takes more. Among equal numbers of tiles, those win that the fewest source neurons must
    send to: every further destination costs messages, and output axons of the layer before.
    """
    best = _first_that_fits(shape, fit)
    if best is None:
        return None
    for spatial in _spatial_cuts(shape[1:]):
        most = min(shape[0], size(best) // size(spatial))
        if most < 1:  # all that follow have more tiles
            break
        if not fit.holds(shape, (most, *spatial)):
            continue
        found = (_bisect(1, most, partial(_holds, fit, shape, spatial)), *spatial)
        if size(found) < size(best) or fit.spread(tiles(shape, found)) < fit.spread(
            tiles(shape, best)
        ):
            best = found
    return best


def _holds(fit: _Fit, shape: Shape, spatial: Counts, channels: int) -> bool:
    return fit.holds(shape, (channels, *spatial))


def _first_that_fits(shape: Shape, fit: _Fit) -> Counts | None:
    """Double the tiles along the axis with the longest tiles until all fit."""
    counts = [1] * len(shape)
    while not fit.holds(shape, tuple(counts)):
        tile = [n / c for n, c in zip(shape, counts, strict=True)]
        axis = max(range(len(shape)), key=lambda a: tile[a])
        if counts[axis] == shape[axis]:
            return None
        counts[axis] = min(2 * counts[axis], shape[axis])
    return tuple(counts)


def _spatial_cuts(shape: Shape) -> list[Counts]:
    """Ways to cut the spatial axes, few tiles first; no two with the same largest tile."""
    axes = [sorted({-(-n // extent) for extent in range(1, n + 1)}) for n in shape]
    return sorted(itertools.product(*axes), key=lambda cut: (size(cut), cut))


def _bisect(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The smallest number in ``low..high`` that holds, given that ``high`` does."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return high
