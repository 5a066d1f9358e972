"""Ways to cut one group into few boxes that each fit on a core."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from ...ir.arrays import Shape, size
from ...ir.placement import Bounds
from .grid import Counts, Extent, Grid, cuts, tiles

_PRICES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Cores that a core's worth of axons may be worth: each makes one way to cut a group that is kept.

What a way costs the layers in front grows from layer to layer, so no one price is right.
"""


@dataclass(frozen=True)
class Way:
    """One way to cut a group, and the axons that its sources need to reach all boxes.

    ``fits`` is false where some box exceeds a limit.
    """

    boxes: tuple[Bounds, ...]
    sent: int
    fits: bool = True


def ways_to_cut(grid: Grid, slack: int, fill: float) -> list[Way]:
    """Good ways to cut a group: the fewest tiles first, then those with fewer axons in front.

    Args:
        grid: the group.
        slack: times the fewest tiles that are looked at where axons out are limited.
        fill: share of a core that a box may take, where a box can be that small.
    """
    shape, whole_core = grid.group.shape, grid
    if not _limits_axons(grid):
        slack = 1
    if (whole := _whole(grid, fill)) is not None:
        return [whole]
    found: list[Counts] = []
    if fill < 1:
        grid = _filled(whole_core, fill)
        found = _grids(shape, grid, slack)
        if not found:
            grid = whole_core
    while not (found := found or _grids(shape, grid, slack)):
        # Not even single neurons fit: leave out what they exceed and let the check report it.
        over = grid.breaches(shape)
        grid = grid.limited({n: limit for n, limit in grid.limits.items() if n not in over})
    fits = grid.limits.keys() == whole_core.limits.keys()
    sent = {counts: int(grid.sent(grid.axes(counts)).sum()) for counts in found}
    found.sort(key=lambda counts: (size(counts), sent[counts]))
    best = found[:1]
    if _limits_axons(grid):
        axons = max(grid.limits[str(grid.memory.family.sent_resource)], 1)
        best += [
            min(found, key=lambda c: (size(c) + price * sent[c] / axons, sent[c]))
            for price in _PRICES
        ]
        best = list(dict.fromkeys(best))
    ways = [Way(tuple(tiles(shape, counts)), sent[counts], fits) for counts in best]
    if len(shape) == 1:
        uneven = _longest_first(shape[0], len(ways[0].boxes), grid)
        if uneven is not None:
            boxes = tuple((interval,) for interval in uneven)
            ways.insert(0, Way(boxes, int(grid.sent([uneven]).sum()), fits))
    elif _limits_axons(grid):
        ways += [_trimmed(grid, counts, fits) for counts in best if counts[0] > 1]
        ways.sort(key=lambda way: (len(way.boxes), way.sent))
    return ways


def in_order(grid: Grid) -> Way | None:
    """The fewest equal ranges in the order of the neurons: of whole channels, else of their rows."""
    channels, *spatial = grid.group.shape
    if (whole := _whole(grid)) is not None:
        return whole
    options = [[(n, *(1 for _ in spatial)) for n in range(1, channels + 1)]]
    if spatial:
        options.append([(channels, n, *(1 for _ in spatial[1:])) for n in range(1, spatial[0] + 1)])
    for cut in options:
        if _holds(grid.group.shape, cut[-1], grid):
            at = bisect_left(cut, True, key=lambda counts: _holds(grid.group.shape, counts, grid))
            sent = int(grid.sent(grid.axes(cut[at])).sum())
            return Way(tuple(tiles(grid.group.shape, cut[at])), sent)
    return None


def _whole(grid: Grid, fill: float = 1.0) -> Way | None:
    """The group in one box, if that fits ``fill`` of a core and no cut takes fewer axons in front."""
    once = tuple(1 for _ in grid.group.shape)
    if not _holds(grid.group.shape, once, _filled(grid, fill)):
        return None
    sent = int(grid.sent(grid.axes(once)).sum())
    if _limits_axons(grid) and sent > grid.least_sent():
        return None
    return Way(tuple(tiles(grid.group.shape, once)), sent)


def _filled(grid: Grid, fill: float) -> Grid:
    """``grid`` on a share of a core."""
    return grid.limited({name: int(limit * fill) for name, limit in grid.limits.items()})


def _trimmed(grid: Grid, counts: Counts, fits: bool) -> Way:
    """A grid whose places are each cut into the fewest channel tiles that fit there.

    Neurons at the border reach fewer places of the group behind, so more of them fit on a core.
    """
    channels, *spatial = counts
    places = grid.axes(counts)[1:]
    fewest = np.full(spatial, channels)
    sent = grid.sent(grid.axes(counts)).sum(axis=0)
    for fewer in range(channels - 1, 0, -1):
        tried = (fewer, *spatial)
        enough = grid.fitting(tried).all(axis=0) & (fewest == fewer + 1)
        if not enough.any():
            break
        fewest[enough] = fewer
        sent = np.where(enough, grid.sent(grid.axes(tried)).sum(axis=0), sent)
    boxes = tuple(
        (interval, *(axis[i] for axis, i in zip(places, place, strict=True)))
        for place in np.ndindex(*spatial)
        for interval in cuts(grid.group.shape[0], int(fewest[place]))
    )
    return Way(boxes, int(sent.sum()), fits)


def _limits_axons(grid: Grid) -> bool:
    """Whether tiles that more neurons send to cost cores in front; elsewhere just messages."""
    return grid.memory.family.sent_resource in grid.limits


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
    most = grid.limits.get(grid.memory.family.neuron_resource or "", largest)
    return largest <= max(most, 1) and grid.fits(counts)


def _longest_first(length: int, count: int, grid: Grid) -> list[Extent] | None:
    """Cut an axis into the longest intervals that fit, if that takes less than ``count`` of them."""
    found: list[Extent] = []
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
