"""Cut groups into few boxes that each fit on a core: a beam search from the output to the input.

What a group's spikes cost depends on how its targets are cut, so groups are cut from the output to
the input. Each has several good ways: fewer tiles, or tiles that fewer source neurons send to, which
saves output axons of the layer in front and messages. The search keeps the best partial networks.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..ir.arrays import Shape, size
from ..ir.placement import Bounds
from ..ir.program import CompartmentGroup, Program
from .axons import NOWHERE, Outgoing, Tiles, fan_outs, off_chip_slots
from .grid import Counts, Grid, Interval, cuts, tiles
from .memory import Memory

Split = Mapping[str, tuple[Bounds, ...]]

_ROUNDS = 4
"""Loops in a network make splits depend on each other in circles; checks catch what remains."""
_SLACK = 16
"""Times the fewest tiles that are looked at where axons out are limited."""
_PRICES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Cores that a core's worth of axons may be worth: each makes one way to cut a group that is kept.

What a way costs the layers in front grows from layer to layer, so no one price is right.
"""


@dataclass(frozen=True)
class Way:
    """One way to cut a group, and the axons that its sources need to reach all boxes."""

    boxes: tuple[Bounds, ...]
    sent: int


@dataclass(frozen=True)
class Found:
    """A split of all groups, and how many grids were counted on the way to it."""

    split: Split
    tried: int


@dataclass(frozen=True)
class _Partial:
    """Some groups cut, the ones nearest to the output."""

    ways: Mapping[str, Way] = field(default_factory=dict)

    @property
    def cores(self) -> int:
        return sum(len(way.boxes) for way in self.ways.values())

    @property
    def sent(self) -> int:
        return sum(way.sent for way in self.ways.values())


def in_layer_order(program: Program) -> list[CompartmentGroup]:
    """The groups on the chip, nearest to the input first."""
    return sorted(program.on_chip, key=lambda g: g.depth)


def has_loops(program: Program) -> bool:
    """Whether a group hears itself, or one behind it."""
    return any(
        program.group(o.group).depth >= program.group(s.target).depth
        for s in program.synapses
        for o in s.sources
    )


def split_program(
    memory: Memory, floors: Mapping[str, int], *, off_chip: bool, width: int = 1, fill: float = 1.0
) -> Found:
    """Split every group of a program.

    Args:
        memory: the program and its target.
        floors: slices that every group takes at least.
        off_chip: charge every output axon as one that leaves its chip.
        width: partial networks that the beam keeps (1: greedy).
        fill: share of a core that a slice may take, where a slice can be that small.
    """
    chip, slack = NOWHERE if off_chip else 0, _SLACK if width > 1 else 1
    search = _Search(memory, floors, chip, slack, fill)
    order = in_layer_order(memory.program)[::-1]
    if has_loops(memory.program):
        state = _Partial()
        for _ in range(_ROUNDS):
            before = {name: way.boxes for name, way in state.ways.items()}
            for group in order:
                state = _Partial({**state.ways, group.name: search.ways(group, state)[0]})
            if before == {name: way.boxes for name, way in state.ways.items()}:
                break
        best = state
    else:
        # The greedy split goes first: a wider beam must not lose it.
        widths = sorted({1, width})
        best = min(
            (search.beam(order, w) for w in widths), key=lambda state: (state.cores, state.sent)
        )
    return Found({name: way.boxes for name, way in best.ways.items()}, search.tried)


class _Search:
    """Finds ways to cut groups, and remembers them for targets that are cut alike."""

    def __init__(
        self, memory: Memory, floors: Mapping[str, int], chip: int, slack: int, fill: float
    ) -> None:
        self.memory, self.floors, self.chip = memory, floors, chip
        self.slack, self.fill, self.tried = slack, fill, 0
        self.order = in_layer_order(memory.program)[::-1]
        self.surcharge = off_chip_slots(memory) if chip == NOWHERE else 0
        self._known: dict[tuple[str, tuple[tuple[Bounds, ...], ...]], list[Way]] = {}

    def beam(self, order: Sequence[CompartmentGroup], width: int) -> _Partial:
        """The best of the splits that are left when ``width`` of them are kept after each group."""
        states = [_Partial()]
        for group in order:
            grown = [
                _Partial({**state.ways, group.name: way})
                for state in states
                for way in self.ways(group, state)[: None if width > 1 else 1]
            ]
            grown.sort(key=lambda state: (self.estimate(state), state.sent))
            states = grown[:width]
        return min(states, key=lambda state: (state.cores, state.sent))

    def ways(self, group: CompartmentGroup, state: _Partial) -> list[Way]:
        """Good ways to cut a group: the fewest tiles first, then those with fewer axons in front."""
        names = dict.fromkeys(s.target for s in self.memory.out_of[group.name])
        known = {n: state.ways[n].boxes for n in names if n in state.ways}
        key = (group.name, tuple(known.values()))
        if key not in self._known:
            placed: Tiles = {name: [(b, 0) for b in boxes] for name, boxes in known.items()}
            out = Outgoing(self.memory, group, self.chip, fan_outs(self.memory, group.name, placed))
            limits = {name: limit.limit for name, limit in self.memory.target.core.items()}
            grid = Grid(self.memory, group, out, limits, self.surcharge)
            self._known[key] = _ways(grid, self.slack, self.fill)
            self.tried += grid.tried
        return self._known[key]

    def estimate(self, state: _Partial) -> float:
        """Cores so far, and those that the groups in front will need at least.

        Output axons carry the need forward: a group that is cut into more slices needs more axons from
        its sources, as every slice hears at least what one neuron hears.
        """
        target, program = self.memory.target, self.memory.program
        if target.memory_model != "loihi1" or target.axons.out_discrete is None:
            return state.cores
        slot = target.axons.out_discrete.limit + self.surcharge
        limit = max(target.core["out_axons"].limit, 1)
        due: dict[str, float] = {}
        total = 0.0
        for group in self.order:
            way = state.ways.get(group.name)
            cores = (
                max(self.floors[group.name], due.get(group.name, 0.0) / limit)
                if way is None else len(way.boxes)
            )  # fmt: skip
            total += cores
            for s in program.incoming(group.name):
                sent = cores * self._heard(s.name) * slot if way is None else way.sent
                for o in s.sources:
                    due[o.group] = due.get(o.group, 0.0) + sent
        return total

    def _heard(self, synapses: str) -> float:
        """Sources that a neuron hears on average."""
        return float(self.memory.fans[synapses].synapses_per_target.mean())


def _ways(grid: Grid, slack: int, fill: float) -> list[Way]:
    shape, limits = grid.group.shape, grid.limits
    if not _limits_axons(grid):
        slack = 1
    found: list[Counts] = []
    if fill < 1:
        grid.limits = {name: int(limit * fill) for name, limit in limits.items()}
        found = _grids(shape, grid, slack)
        if not found:
            grid.limits = limits
    while not (found := found or _grids(shape, grid, slack)):
        # Not even single neurons fit: leave out what they exceed and let the check report it.
        over = grid.breaches(shape)
        grid.limits = {n: limit for n, limit in grid.limits.items() if n not in over}
    sent = {counts: int(grid.sent(grid.axes(counts)).sum()) for counts in found}
    found.sort(key=lambda counts: (size(counts), sent[counts]))
    best = found[:1]
    if _limits_axons(grid):
        axons = max(grid.limits["out_axons"], 1)
        best += [
            min(found, key=lambda c: (size(c) + price * sent[c] / axons, sent[c]))
            for price in _PRICES
        ]
        best = list(dict.fromkeys(best))
    ways = [Way(tuple(tiles(shape, counts)), sent[counts]) for counts in best]
    if len(shape) == 1:
        uneven = _longest_first(shape[0], len(ways[0].boxes), grid)
        if uneven is not None:
            ways.insert(0, Way(tuple((i,) for i in uneven), int(grid.sent([uneven]).sum())))
    elif _limits_axons(grid):
        ways += [_trimmed(grid, counts) for counts in best if counts[0] > 1]
        ways.sort(key=lambda way: (len(way.boxes), way.sent))
    return ways


def _trimmed(grid: Grid, counts: Counts) -> Way:
    """A grid whose places are each cut into the fewest channel tiles that fit there.

    Neurons at the border reach fewer places of the group behind, so more of them fit on a core.
    """
    channels, *spatial = counts
    places = grid.axes(counts)[1:]
    fewest = np.full(spatial, channels)
    sent = grid.sent(grid.axes(counts)).sum(axis=0)
    for fewer in range(channels - 1, 0, -1):
        tried = (fewer, *spatial)
        fits = grid.fitting(tried).all(axis=0) & (fewest == fewer + 1)
        if not fits.any():
            break
        fewest[fits] = fewer
        sent = np.where(fits, grid.sent(grid.axes(tried)).sum(axis=0), sent)
    boxes = tuple(
        (interval, *(axis[i] for axis, i in zip(places, place, strict=True)))
        for place in np.ndindex(*spatial)
        for interval in cuts(grid.group.shape[0], int(fewest[place]))
    )
    return Way(boxes, int(sent.sum()))


def _limits_axons(grid: Grid) -> bool:
    """Whether tiles that more neurons send to cost cores in front; elsewhere just messages."""
    return "out_axons" in grid.limits


def _grids(shape: Shape, grid: Grid, slack: int) -> list[Counts]:
    """For every way to cut space, the fewest channel tiles that all fit, found by bisection."""
    best = _first_that_fits(shape, grid)
    if best is None:
        return []
    found, fewest = [best], size(best)
    for spatial in _spatial_cuts(shape[1:]):
        most = min(shape[0], slack * fewest // size(spatial))
        if size(spatial) > slack * fewest:  # all that follow have more tiles
            break
        if not _holds(shape, (most, *spatial), grid):
            continue
        low, high = 1, most
        while low < high:
            middle = (low + high) // 2
            if _holds(shape, (middle, *spatial), grid):
                high = middle
            else:
                low = middle + 1
        found.append((high, *spatial))
        fewest = min(fewest, size(found[-1]))
    return found


def _holds(shape: Shape, counts: Counts, grid: Grid) -> bool:
    """Whether all tiles of a grid fit. The number of neurons is a cheap first test."""
    largest = size(-(-n // t) for n, t in zip(shape, counts, strict=True))
    most = grid.limits.get("neurons", grid.limits.get("compartments", largest))
    return largest <= max(most, 1) and grid.fits(counts)


def _longest_first(length: int, count: int, grid: Grid) -> list[Interval] | None:
    """Cut an axis into the longest intervals that fit, if that takes less than ``count`` of them."""
    found: list[Interval] = []
    start = 0
    while start < length and len(found) < count - 1:
        low, high = start, length
        while low < high:
            middle = (low + high + 1) // 2
            if grid.box_fits(((start, middle),)):
                low = middle
            else:
                high = middle - 1
        if low == start:
            return None
        found.append((start, low))
        start = low
    return found if start == length else None


def _first_that_fits(shape: Shape, grid: Grid) -> Counts | None:
    """Double the tiles along the axis with the longest tiles until all fit."""
    counts = [1] * len(shape)
    while not _holds(shape, tuple(counts), grid):
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
