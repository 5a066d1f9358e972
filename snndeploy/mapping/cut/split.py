"""Cut groups into few boxes that each fit on a core: a beam search from the output to the input.

What a group's spikes cost depends on how its targets are cut, so groups are cut from the output to
the input. Each has several good ways: fewer tiles, or tiles that fewer source neurons send to, which
saves output axons of the layer in front and messages. The search keeps the best partial networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...ir.placement import Bounds
from ...ir.program import CompartmentGroup, Program
from ..count.axons import NOWHERE, Outgoing, Tiles, fan_outs
from ..count.memory import Memory
from .grid import Grid, TileCounts
from .ways import Way, in_order, ways_to_cut

Split = Mapping[str, tuple[Bounds, ...]]
_Place = tuple[str, tuple[tuple[Bounds, ...], ...]]
"""A group, and the boxes of the groups that it sends to."""
Known = dict[tuple[int, _Place], TileCounts]
"""What was counted so far: on the chip that axons out are charged for, of each group."""

_ROUNDS = 4
"""Loops in a network make splits depend on each other in circles; checks catch what remains."""
_SLACK = 16
"""Times the fewest tiles that are looked at where axons out are limited."""


@dataclass(frozen=True)
class Found:
    """A split of all groups, and how many grids were counted on the way to it."""

    split: Split
    tried: int


@dataclass(frozen=True)
class _Partial:
    """Some groups cut, the ones nearest to the output."""

    ways: Mapping[str, Way] = field(default_factory=dict)
    cores: int = 0
    sent: int = 0
    broken: int = 0
    """Groups with boxes that do not fit."""

    def with_cut(self, group: str, way: Way) -> _Partial:
        """``group`` cut this way; sums are carried along, since a network may have 1,000 groups."""
        cores, sent, broken = len(way.boxes), way.sent, int(not way.fits)
        if group in self.ways:
            old = self.ways[group]
            cores, sent, broken = cores - len(old.boxes), sent - old.sent, broken - (not old.fits)
        ways = dict(self.ways)  # much faster than building it anew
        ways[group] = way
        return _Partial(ways, self.cores + cores, self.sent + sent, self.broken + broken)


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
    memory: Memory,
    floors: Mapping[str, int],
    *,
    off_chip: bool,
    width: int = 1,
    fill: float = 1.0,
    counted: Known | None = None,
) -> Found:
    """Split every group of a program.

    Args:
        memory: the program and its target.
        floors: slices that every group takes at least.
        off_chip: charge every output axon as one that leaves its chip.
        width: partial networks that the beam keeps (1: greedy).
        fill: share of a core that a slice may take, where a slice can be that small.
        counted: what other splits of this program counted, and where this one adds to it.
    """
    chip, slack = NOWHERE if off_chip else 0, _SLACK if width > 1 else 1
    known: Known = {} if counted is None else counted
    search = _CutSearch(memory, floors, chip, slack, fill, known)
    order = in_layer_order(memory.program)[::-1]
    if has_loops(memory.program):
        state = _Partial()
        for _ in range(_ROUNDS):
            before = {name: way.boxes for name, way in state.ways.items()}
            for group in order:
                state = state.with_cut(group.name, search.ways(group, state)[0])
            if before == {name: way.boxes for name, way in state.ways.items()}:
                break
        best = state
    else:
        # The greedy split goes first: a wider beam must not lose it. Nor must it lose to the plainest,
        # which knows nothing of slices that are to share cores.
        states = [search.beam(order, 1)]
        whole = not states[0].broken and all(len(w.boxes) == 1 for w in states[0].ways.values())
        if width > 1 and not whole:  # of one slice each, no split has fewer
            states.append(search.beam(order, width))
        if width > 1 and fill == 1.0 and not whole:
            plain = _CutSearch(memory, floors, chip, slack, fill, known, in_order=True)
            states.append(plain.beam(order, 1))
            search.tried += plain.tried
        best = min(states, key=lambda state: (state.broken, state.cores, state.sent))
    return Found({name: way.boxes for name, way in best.ways.items()}, search.tried)


class _CutSearch:
    """Finds ways to cut groups, and remembers them for targets that are cut alike."""

    def __init__(
        self,
        memory: Memory,
        floors: Mapping[str, int],
        chip: int,
        slack: int,
        fill: float,
        counted: Known,
        *,
        in_order: bool = False,
    ) -> None:
        self.memory, self.floors, self.chip, self.in_order = memory, floors, chip, in_order
        self.slack, self.fill, self.tried = slack, fill, 0
        self.order = in_layer_order(memory.program)[::-1]
        self.surcharge = memory.family.off_chip_slots if chip == NOWHERE else 0
        self.limits, self.counted = memory.family.limits, counted
        self._known: dict[_Place, list[Way]] = {}

    def beam(self, order: Sequence[CompartmentGroup], width: int) -> _Partial:
        """The best of the splits that are left when ``width`` of them are kept after each group."""
        states = [_Partial()]
        for group in order:
            grown = [
                state.with_cut(group.name, way)
                for state in states
                for way in self.ways(group, state)[: None if width > 1 else 1]
            ]
            if len(grown) > 1:
                grown.sort(key=lambda state: (state.broken, self.estimate(state), state.sent))
            states = grown[:width]
        return min(states, key=lambda state: (state.broken, state.cores, state.sent))

    def ways(self, group: CompartmentGroup, state: _Partial) -> list[Way]:
        """Good ways to cut a group: the fewest tiles first, then those with fewer axons in front."""
        names = dict.fromkeys(s.target for s in self.memory.out_of[group.name])
        known = {n: state.ways[n].boxes for n in names if n in state.ways}
        key = (group.name, tuple(known.values()))
        if key not in self._known:
            counted = self.counted.get((self.chip, key))
            if counted is None:
                placed: Tiles = {name: [(b, 0) for b in boxes] for name, boxes in known.items()}
                behind = fan_outs(self.memory, group.name, placed)
                counted = TileCounts(Outgoing(self.memory, group, self.chip, behind))
                self.counted[self.chip, key] = counted
            grid = Grid(self.memory, group, counted, self.limits, self.surcharge)
            ordered = in_order(grid) if self.in_order else None
            self._known[key] = [ordered] if ordered else ways_to_cut(grid, self.slack, self.fill)
            self.tried += grid.tried
        return self._known[key]

    def estimate(self, state: _Partial) -> float:
        """Cores so far, and those that the groups in front will need at least.

        Output axons carry the need forward: a group that is cut into more slices needs more axons from
        its sources, as every slice hears at least what one neuron hears.
        """
        family, program = self.memory.family, self.memory.program
        if family.sent_resource is None:
            return state.cores
        slot = family.list_slots + self.surcharge
        limit = max(family.limits[family.sent_resource], 1)
        due: dict[str, float] = {}
        total = 0.0
        for group in self.order:
            way = state.ways.get(group.name)
            cores = (
                max(self.floors[group.name], due.get(group.name, 0.0) / limit)
                if way is None
                else len(way.boxes)
            )
            total += cores
            for s in program.incoming(group.name):
                sent = cores * self._heard(s.name) * slot if way is None else way.sent
                for o in s.sources:
                    due[o.group] = due.get(o.group, 0.0) + sent
        return total

    def _heard(self, synapses: str) -> float:
        """Sources that a neuron hears on average."""
        return float(self.memory.fans[synapses].synapses_per_target.mean())
