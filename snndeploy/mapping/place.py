"""Place the slices of a program on numbered cores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..ir.arrays import Array
from ..ir.placement import Bounds, Placement, Slice, Verdict
from ..ir.program import Program
from ..target import Target
from .axons import NOWHERE, Outgoing, fan_outs, recount, total
from .memory import NOT_ADDED, Memory, Resources, combined
from .split import Split, in_layer_order, split_program


Effort = Literal["low", "normal", "high"]
"""``low`` splits greedily and keeps layer order; ``normal`` searches; ``high`` searches longer."""


@dataclass(frozen=True)
class _Piece:
    group: str
    bounds: Bounds
    resources: Resources


def place_program(
    program: Program,
    target: Target,
    chips: int | None = None,
    *,
    rates: Mapping[str, Array | float] | None = None,
    effort: Effort = "normal",
    seed: int = 0,
) -> Placement:
    """Split every group so that each slice fits a core, and number the cores in layer order.

    Slices get cores of their own while there are enough, since the busiest core sets the pace; they
    share only where the board would be too small otherwise. Consecutive cores are neighbours on the
    mesh (`mesh.spot`), so layers that talk to each other are near. What cannot fit is placed all the
    same, for `check_program` to report; nothing is random.

    Args:
        program: what to place.
        target: the chip.
        chips: chips of the board (None: the target's default board).
        rates: spikes of each group in any period, one number per neuron (in the group's shape) or
            their total (None, or a group that is not named: all neurons spike equally often).
        effort: how long to search.
        seed: for the random draws of the search; equal seeds give equal placements.
    """
    memory = Memory(program, target)
    cores = (target.chips() if chips is None else chips) * target.chip.cores.limit
    per_chip = target.chip.cores.limit
    width = {"low": 1, "normal": 4, "high": 16}[effort]
    found = split_program(memory, off_chip=False, width=width)
    pieces = _pieces(memory, found.split, chip=0)
    if len(pieces) > per_chip:
        off_chip = target.axons.out_off_chip
        if off_chip is not None and off_chip.limit:
            # Which axons leave their chip is not known before placing: allow for all of them.
            found = split_program(memory, off_chip=True, width=width)
            pieces = _pieces(memory, found.split, chip=NOWHERE)
    numbers = list(range(len(pieces)))
    if len(pieces) > cores:
        numbers = _share(pieces, target)
    slices = tuple(
        Slice(group=p.group, bounds=p.bounds, core=core, resources=p.resources)
        for p, core in zip(pieces, numbers, strict=True)
    )
    placed = Placement(target=target.name, cores_per_chip=per_chip, slices=slices)
    counted = tuple(
        Slice(group=s.group, bounds=s.bounds, core=s.core, resources=used)
        for s, used in zip(slices, recount(memory, placed), strict=True)
    )
    used = len({s.core for s in counted})
    fits = used <= cores
    search = Verdict(
        kind="gap" if fits else "not-found", cores=used, available=cores, bound=1,
        shared=len(pieces) > used, tried=1, reason="nothing was bounded",
    )  # fmt: skip
    return Placement(target=target.name, cores_per_chip=per_chip, slices=counted, search=search)


def _pieces(memory: Memory, split: Split, *, chip: int) -> list[_Piece]:
    tiles = {name: [(b, 0) for b in boxes] for name, boxes in split.items()}
    result = []
    for group in in_layer_order(memory.program):
        out = Outgoing(memory, group, chip, fan_outs(memory, group.name, tiles))
        for bounds in split[group.name]:
            used = total(memory, memory.incoming(group, bounds), out.box(bounds))
            result.append(_Piece(group.name, bounds, used))
    return result


def _share(pieces: Sequence[_Piece], target: Target) -> list[int]:
    """Pack pieces first-fit, in layer order or largest first, whichever takes fewer cores."""
    limits = {name: limit.limit for name, limit in target.core.items()}

    def load(piece: _Piece) -> float:
        return max(piece.resources.get(name, 0) / max(limit, 1) for name, limit in limits.items())

    layers = list(range(len(pieces)))
    largest = sorted(layers, key=lambda i: (-load(pieces[i]), i))
    packed = min((_first_fit(pieces, order, limits) for order in (layers, largest)), key=max)
    # Renumber in layer order: the core of the earliest layer first.
    new: dict[int, int] = {}
    return [new.setdefault(core, len(new)) for core in packed]


def _first_fit(pieces: Sequence[_Piece], order: Sequence[int], limits: dict[str, int]) -> list[int]:
    # Sums decide in bulk; what does not simply add up (`combined`) is looked at core by core.
    names = [name for name in limits if name not in NOT_ADDED]
    most = np.array([limits[name] for name in names])
    sums = np.zeros((len(pieces), len(names)), np.int64)
    cores: list[Resources] = []
    where = [0] * len(pieces)
    for i in order:
        own = pieces[i].resources
        row = np.array([own.get(name, 0) for name in names])
        where[i] = len(cores)
        for core in np.flatnonzero((sums[: len(cores)] + row <= most).all(axis=1)):
            both = combined((cores[core], own))
            if all(both.get(name, 0) <= limit for name, limit in limits.items()):
                cores[core], where[i] = both, int(core)
                break
        else:
            cores.append(dict(own))
        sums[where[i]] += row
    return where
