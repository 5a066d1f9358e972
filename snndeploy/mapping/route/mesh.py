"""Where a core is: cores are numbered along a snake through the mesh of each chip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...chip import Target
from ...ir.arrays import Array
from .flows import Flows


@dataclass(frozen=True)
class Spot:
    """A core's chip and the router that serves it."""

    chip: int
    x: int
    y: int


def spot(core: int, target: Target) -> Spot:
    """Chip and router of a core: row by row, every other row backwards, so neighbours stay near."""
    chip, local = divmod(core, target.chip.cores.limit)
    width = target.chip.mesh[0]
    y, x = divmod(local // target.chip.cores_per_router, width)
    return Spot(chip, width - 1 - x if y % 2 else x, y)


def hops(a: int, b: int, target: Target) -> tuple[int, int] | None:
    """Hops in x and y between two cores of a chip, X first (None: on different chips)."""
    one, two = spot(a, target), spot(b, target)
    if one.chip != two.chip:
        return None
    return abs(one.x - two.x), abs(one.y - two.y)


def distances(target: Target) -> Array:
    """Hops between any two cores of a chip, by their numbers on it."""
    x, y = _routers(np.arange(target.chip.cores.limit), target)
    return np.asarray(np.abs(x[:, None] - x) + np.abs(y[:, None] - y))


def off_chip_hops(target: Target) -> int:
    """What a message to another chip counts as when placements are compared.

    The way between chips is in no public source; a hop more than the longest way on a chip makes every
    such message worse than any that stays.
    """
    return target.chip.mesh[0] + target.chip.mesh[1] - 1


def cost(flows: Flows, target: Target) -> float:
    """Messages x hops between cores."""
    per_chip = target.chip.cores.limit
    (sx, sy), (tx, ty) = _routers(flows.source, target), _routers(flows.target, target)
    near = np.abs(sx - tx) + np.abs(sy - ty)
    same = flows.source // per_chip == flows.target // per_chip
    return float((flows.weight * np.where(same, near, off_chip_hops(target))).sum())


def link_loads(flows: Flows, target: Target) -> Iterator[tuple[str, Array]]:
    """Messages over the links between routers, routed X first, one direction after the other.

    Yields:
        The direction, and ``(chips, lines, links)``: rows and their links in x (``east`` and
        ``west``), columns and their links in y (``south`` and ``north``).
    """
    per_chip = target.chip.cores.limit
    width, height = target.chip.mesh
    same = flows.source // per_chip == flows.target // per_chip
    chip = flows.source[same] // per_chip
    chips = int(chip.max(initial=-1)) + 1
    (sx, sy), (tx, ty) = (_routers(ends[same], target) for ends in (flows.source, flows.target))
    # Along x in the sender's row, then along y in the receiver's column, each in two directions.
    for start, end, line, lines, length, names in (
        (sx, tx, sy, height, width, ("east", "west")),
        (sy, ty, tx, width, height, ("south", "north")),
    ):
        for sign, name in zip((1, -1), names, strict=True):
            way = (end - start) * sign > 0
            low, high = np.minimum(start, end)[way], np.maximum(start, end)[way]
            load = np.zeros((chips, lines, length + 1))
            np.add.at(load, (chip[way], line[way], low), flows.weight[same][way])
            np.add.at(load, (chip[way], line[way], high), -flows.weight[same][way])
            yield name, load.cumsum(axis=-1)[..., :-1]


def busiest_load(flows: Flows, target: Target) -> float:
    """Messages over the busiest link between two routers of a chip, in one direction."""
    return max(float(load.max(initial=0.0)) for _, load in link_loads(flows, target))


def _routers(cores: Array, target: Target) -> tuple[Array, Array]:
    """Column and row of the routers of many cores."""
    width = target.chip.mesh[0]
    local = cores % target.chip.cores.limit // target.chip.cores_per_router
    y, x = np.divmod(local, width)
    return np.where(y % 2, width - 1 - x, x), y
