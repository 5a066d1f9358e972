"""Place the slices of a program on numbered cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from ..chip import Target
from ..chip.counting import Resources
from ..errors import UsageError, did_you_mean
from ..ir.arrays import Array
from ..ir.placement import Bounds, Placement, Slice, Verdict
from ..ir.program import CompartmentGroup, Program
from .bound.bounds import group_bounds
from .bound.verdict import judge
from .count.axons import NOWHERE, Outgoing, fan_outs, recount, total
from .count.memory import Memory
from .cut.pack import pack
from .cut.split import Found, Known, Split, in_layer_order, split_program
from .route.arrange import Budget, arrange
from .route.flows import flows

Effort = Literal["low", "normal", "high"]
"""``low`` splits greedily and keeps layer order; ``normal`` searches; ``high`` searches longer."""
Share = Literal["if-needed", "always"]
"""When slices share cores: only on a board that is too small otherwise, or wherever it saves cores."""


@dataclass(frozen=True)
class _Level:
    """``beam`` partial splits are kept; slices that share cores are also cut to take at most each of
    ``fills`` of a core, and packed in ``draws`` more orders."""

    beam: int
    fills: tuple[float, ...]
    draws: int
    budget: Budget


_LEVELS: Mapping[Effort, _Level] = {
    "low": _Level(beam=1, fills=(1 / 2, 1 / 3, 1 / 5), draws=8, budget=Budget(0)),
    "normal": _Level(beam=4, fills=(1 / 2, 1 / 3, 1 / 5), draws=8, budget=Budget(24)),
    "high": _Level(
        beam=16,
        fills=(3 / 4, 1 / 2, 2 / 5, 1 / 3, 1 / 4, 1 / 5, 1 / 7),
        draws=64,
        budget=Budget(400, library=True),
    ),
}


_PACKED = 4000
"""Slices up to which finer cuts are packed too."""


_SECOND_GROUPS = 256
_SECOND_WEIGHTS = 2_000_000
"""Up to which a second placement, made for a comparison, takes seconds at most."""


def compares(groups: int, weights: int) -> bool:
    """Whether a program of that size is placed a second time where a report would compare the two."""
    return groups <= _SECOND_GROUPS and weights <= _SECOND_WEIGHTS


def share_of(placement: Placement) -> Share:
    """When slices may share cores, as it was asked for ``placement``: to place another one alike."""
    shared = placement.search is not None and placement.search.shared
    return "always" if shared else "if-needed"


def place_program(
    program: Program,
    target: Target,
    chips: int | None = None,
    *,
    rates: Mapping[str, Array | float] | None = None,
    effort: Effort = "normal",
    share: Share = "if-needed",
    seed: int = 0,
) -> Placement:
    """Split every group so that each slice fits a core, and place the slices on the mesh.

    Slices get cores of their own while there are enough, since the busiest core sets the pace. Cores
    are arranged so that messages x hops are few; consecutive numbers are neighbours (`mesh.spot`).
    What cannot fit is placed all the same, for `check_program` to report. Equal arguments give equal
    placements.

    Args:
        program: what to place.
        target: the chip.
        chips: chips of the board (None: the target's default board).
        rates: spikes of each group in any period, one number per neuron (in the group's shape) or
            their total (None, or a group that is not named: all neurons spike equally often).
        effort: how long to search.
        share: when slices may share cores.
        seed: for the random draws of the search.

    Returns:
        The placement, with what is proved of its number of cores in ``search``.

    Raises:
        UsageError: there is no such effort or way to share, or rates do not match the program.
    """
    for what, given, known in (
        ("effort", effort, tuple(_LEVELS)),
        ("way to share", share, ("if-needed", "always")),
    ):
        if given not in known:
            raise UsageError(
                "placement-option-unknown",
                f"there is no {what} {given!r}",
                hint=did_you_mean(given, known),
            )
    level = _LEVELS[effort]
    memory = Memory(program, target)
    per_chip = target.chip.cores.limit
    if memory.family.whole:
        return _on_one_core(memory, target)
    available = (target.chips() if chips is None else chips) * per_chip
    bounds = group_bounds(memory)
    floors = {name: bound.slices for name, bound in bounds.items()}
    # Which axons leave their chip is not known before placing: where any does, allow for all of them.
    off_chip = memory.family.off_chip_slots > 0 and sum(floors.values()) > per_chip
    counted: Known = {}
    found = split_program(memory, floors, off_chip=off_chip, width=level.beam, counted=counted)
    slices = _slices(memory, found, off_chip)
    if len(slices) > per_chip and memory.family.off_chip_slots and not off_chip:
        off_chip = True
        found = split_program(memory, floors, off_chip=True, width=level.beam, counted=counted)
        slices = _slices(memory, found, off_chip)
    shared = share == "always" or len(slices) > available
    if shared:
        found, slices = _packed(memory, found, floors, counted, off_chip, level, seed)
    if effort != "low":
        cores = len({s.core for s in slices})
        messages = flows(memory, slices, rates)
        moved = arrange(messages, cores, target, budget=level.budget, seed=seed)
        slices = _numbered(slices, [int(moved[s.core]) for s in slices])
    placed = Placement(target=target.name, cores_per_chip=per_chip, slices=tuple(slices))
    used = recount(memory, placed)
    slices = [replace(s, resources=r) for s, r in zip(slices, used, strict=True)]
    verdict = judge(
        bounds,
        target,
        {name: len(boxes) for name, boxes in found.split.items()},
        cores=len(placed.cores),
        available=available,
        shared=shared,
        broken=_broken(slices, memory),
        tried=found.tried,
    )
    return replace(placed, slices=tuple(slices), search=verdict)


def _on_one_core(memory: Memory, target: Target) -> Placement:
    """Every group whole, on the one core that there is."""
    slices = _slices(memory, Found({g.name: (_box(g),) for g in memory.program.on_chip}, 1), False)
    slices = [replace(s, core=0) for s in slices]
    placed = Placement(
        target=target.name, cores_per_chip=target.chip.cores.limit, slices=tuple(slices)
    )
    used = recount(memory, placed)
    slices = [replace(s, resources=r) for s, r in zip(slices, used, strict=True)]
    broken = _broken(slices, memory)
    verdict = Verdict(
        kind="impossible" if broken else "optimal",
        cores=1,
        available=1,
        bound=1,
        shared=True,
        tried=1,
        reason="the chip is one core",
    )
    return replace(placed, slices=tuple(slices), search=verdict)


def _box(group: CompartmentGroup) -> Bounds:
    return tuple((0, n) for n in group.shape)


def _packed(
    memory: Memory,
    found: Found,
    floors: Mapping[str, int],
    counted: Known,
    off_chip: bool,
    level: _Level,
    seed: int,
) -> tuple[Found, list[Slice]]:
    """The split whose slices share the fewest cores: small ones fill cores better than large ones."""
    splits = [found]
    if sum(map(len, found.split.values())) <= _PACKED:
        smaller = partial(
            split_program, memory, floors, off_chip=off_chip, width=level.beam, counted=counted
        )
        *larger, least = sorted(level.fills, reverse=True)
        smallest = smaller(fill=least)
        # a group that is whole on a small share of a core is whole on every larger one
        whole = all(len(boxes) == 1 for boxes in smallest.split.values())
        splits += [*(smaller(fill=fill) for fill in larger if not whole), smallest]
    best: list[Slice] = []
    seen: list[Split] = []
    for split in splits:
        if split.split in seen:
            continue
        seen.append(split.split)
        slices = _slices(memory, split, off_chip)
        resources = [dict(s.resources) for s in slices]
        cores = pack(resources, memory.family, draws=level.draws, seed=seed)
        if not best or max(cores) < max(s.core for s in best):
            found, best = split, _numbered(slices, cores)
    return replace(found, tried=sum(split.tried for split in splits)), best


def _slices(memory: Memory, found: Found, off_chip: bool) -> list[Slice]:
    """The slices of a split, each on a core of its own, in layer order."""
    tiles = {name: [(b, 0) for b in boxes] for name, boxes in found.split.items()}
    chip = NOWHERE if off_chip else 0
    result: list[Slice] = []
    for group in in_layer_order(memory.program):
        out = Outgoing(memory, group, chip, fan_outs(memory, group.name, tiles))
        for bounds in found.split[group.name]:
            used = total(memory, memory.incoming(group, bounds), out.box(bounds))
            core = len(result)
            result.append(Slice(group=group.name, bounds=bounds, core=core, resources=used))
    return result


def _numbered(slices: Sequence[Slice], cores: Sequence[int]) -> list[Slice]:
    return [replace(s, core=core) for s, core in zip(slices, cores, strict=True)]


def _broken(slices: Sequence[Slice], memory: Memory) -> bool:
    """Whether any core exceeds a limit."""
    cores: dict[int, list[Resources]] = {}
    for s in slices:
        cores.setdefault(s.core, []).append(dict(s.resources))
    loads = (memory.family.combined(parts) for parts in cores.values())
    return any(load.get(n, 0) > most for load in loads for n, most in memory.family.limits.items())
