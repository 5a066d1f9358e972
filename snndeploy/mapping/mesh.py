"""Where a core is: cores are numbered along a snake through the mesh of each chip."""

from __future__ import annotations

from dataclasses import dataclass

from ..target import Target


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
