"""Projections onto what a compressed weight may be: exactly k weights, or levels of one scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir.arrays import Array
from ..clipping import scale_for
from ..prune import budget, prune_lowest
from ..second_order.budgets import lamp_counts

_STARTS = np.geomspace(0.02, 1.2, 40)
"""Where the alternation starts: fractions of the scale at which the largest weight is not clipped."""
_ITERATIONS = 6


def largest(values: Sequence[Array], sparsity: float, alive: Sequence[Array]) -> list[Array]:
    """Masks of the weights that stay: the largest, all but ``round(sparsity * weights)``, exactly.

    Keeping them is the Euclidean projection onto arrays of so many non-zeros; several arrays compete.
    What is not ``alive`` stays dead and counts, as in the pass ``prune``; of equal weights the earlier
    one goes first.
    """
    total = sum(v.size for v in values)
    return prune_lowest([np.abs(v) for v in values], alive, budget(sparsity, total))


def largest_by_lamp(
    values: Sequence[Array], sparsity: float, alive: Sequence[Array]
) -> list[Array]:
    """Masks as of `largest`, in which LAMP scores share the total out to the arrays."""
    sizes = [np.abs(v) * a for v, a in zip(values, alive, strict=True)]
    counts = lamp_counts(sizes, budget(sparsity, sum(v.size for v in values)))
    return [prune_lowest([s], [a], n)[0] for s, a, n in zip(sizes, alive, counts, strict=True)]


def nearest(values: Array, levels: Array, scale: Array) -> Array:
    """The level nearest to each of ``values / scale`` (the lower one of two equally near)."""
    between = (levels[1:] + levels[:-1]) / 2
    found: Array = levels[np.searchsorted(between, values / scale)]
    return found


def alternate(rows: Array, alive: Array, levels: Array, scale: Array) -> tuple[Array, Array]:
    """One round of ``Q = nearest levels of V / scale``, ``scale = <V, Q> / <Q, Q>``, per row.

    Neither half raises the error ``|V - scale Q|`` (Leng et al. 2018; notes of Deng et al. 2021).

    Args:
        rows: V, ``(scales, weights per scale)``.
        alive: False where Q is 0 whatever the levels.
        levels: increasing integers.
        scale: ``(scales,)``, positive.

    Returns:
        Q and the next scale; a row without any code keeps its scale.
    """
    codes = nearest(rows, levels, scale[:, None]) * alive
    product = (rows * codes).sum(axis=1)
    norm = np.square(codes, dtype=np.float64).sum(axis=1)
    better = product / np.maximum(norm, 1)
    return codes, np.where((norm > 0) & (better > 0), better, scale)


def on_levels(rows: Array, alive: Array, levels: Array) -> tuple[Array, Array]:
    """Codes and scales of (nearly) the least squared error, per row.

    On evenly spaced levels the optimum is known (`scale_for`). Elsewhere the alternation finds the
    one near its start, so many starts are tried.

    Args:
        rows: ``(scales, weights per scale)``.
        alive: False where a weight is pruned.
        levels: increasing integers.

    Returns:
        Codes like ``rows`` and a positive scale per row.
    """
    rows = rows.astype(np.float64)
    limit = int(levels[-1])
    if np.array_equal(levels, np.arange(-limit, limit + 1)):
        best_scale = scale_for(rows * alive, limit.bit_length() + 1, "mse")
        return nearest(rows, levels, best_scale[:, None]) * alive, best_scale
    widest = np.abs(rows * alive).max(axis=1, initial=0.0) / limit
    widest = np.where(widest > 0, widest, 1.0)
    best_codes = np.zeros(rows.shape, dtype=np.int64)
    best_scale, least = widest, np.full(len(rows), np.inf)
    for start in _STARTS:
        scale = widest * start
        for _ in range(_ITERATIONS):
            codes, scale = alternate(rows, alive, levels, scale)
        codes = nearest(rows, levels, scale[:, None]) * alive
        error = np.square((rows - codes * scale[:, None]) * alive).sum(axis=1)
        improved = error < least
        best_codes[improved], best_scale = codes[improved], np.where(improved, scale, best_scale)
        least = np.minimum(error, least)
    return best_codes, best_scale
