"""How many weights each layer and each row loses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...ir.arrays import Array


def budget(sparsity: float, weights: int) -> int:
    """How many of ``weights`` are pruned at ``sparsity``: the nearest whole number, half up.

    One of them always stays: no sparsity below 1 means that nothing is left.
    """
    return max(0, min(math.floor(sparsity * weights + 0.5), weights - 1))


def lamp_counts(magnitudes: Sequence[Array], pruned: int, power: float = 2.0) -> list[int]:
    """Weights pruned per layer by LAMP (arXiv 2010.07611): scores made comparable, then pooled.

    The score of a weight u is ``|w_u|^p / sum of |w_v|^p over all v at least as large``; the lowest
    ``pruned`` of all layers go. The largest weight of a layer scores 1, so no layer is emptied first.

    Args:
        magnitudes: |w| of every layer, any shape; zeros (pruned before) go first.
        pruned: total.
        power: p; SBC uses 2, and 3 for deep convolutional networks.
    """
    scores = []
    for layer in magnitudes:
        ordered = np.sort(layer.reshape(-1).astype(np.float64) ** power)
        above = np.cumsum(ordered[::-1])[::-1]
        scores.append(np.divide(ordered, above, out=np.zeros_like(ordered), where=above > 0))
    layer_of = np.repeat(np.arange(len(scores)), [len(s) for s in scores])
    lowest = np.argsort(np.concatenate(scores), kind="stable")[:pruned]
    return [int(n) for n in np.bincount(layer_of[lowest], minlength=len(scores))]


def prefixes(
    losses: Sequence[Array], pruned: float, costs: Sequence[Array] | None = None
) -> list[Array]:
    """How many of its eliminations each row keeps, so that the sum of recorded losses is small.

    A row's eliminations can only be taken in their order, so what counts is the largest loss up to
    each; of all rows of all layers, the lowest go until ``pruned`` are gone.

    Args:
        losses: ``(rows, steps)`` of every layer, in order of elimination.
        pruned: how many; with costs, how much cost.
        costs: what each elimination saves, as ``losses``; losses then compete per cost.

    Returns:
        Counts ``(rows,)`` per layer.
    """
    if costs is None:
        keys = [np.maximum.accumulate(loss, axis=1) for loss in losses]
    else:
        # What saves nothing (an input that never spikes) comes when it costs nothing, or last.
        ratio = [
            np.where(loss > 0, loss / np.maximum(cost, 1e-300), 0.0)
            for loss, cost in zip(losses, costs, strict=True)
        ]
        keys = [np.maximum.accumulate(r, axis=1) for r in ratio]
    flat = np.concatenate([k.reshape(-1) for k in keys])
    order = np.argsort(flat, kind="stable")
    if costs is None:
        taken = order[: int(pruned)]
    else:
        saved = np.cumsum(np.concatenate([c.reshape(-1) for c in costs])[order])
        taken = (
            order[: int(np.searchsorted(saved, pruned * (1 - 1e-12))) + 1]
            if pruned > 0
            else order[:0]
        )
    gone = np.zeros(len(flat), dtype=bool)
    gone[taken] = True
    ends = np.cumsum([k.size for k in keys])[:-1]
    parts = np.split(gone, ends)
    return [g.reshape(k.shape).sum(axis=1) for g, k in zip(parts, keys, strict=True)]


def round_counts(columns: int, sparsity: float, rounds: int, span: int = 1) -> list[int]:
    """Weights that every row loses per round: half of the way at once, the rest geometrically.

    The first round goes to the square root of the density: what is far from being needed tells apart
    without being scored anew, and all later rounds then work on matrices of that size. Rows lose
    different shares in the end, so the rounds go on past the mean, halving at least.
    """
    left = columns // span
    counts: list[int] = []
    first = (1 - sparsity) ** 0.5 if sparsity > 0 else 0.5
    ratio = first ** (1 / max(1, rounds - 1))
    while left > 0:
        share = first * ratio ** len(counts) if rounds > 1 else first**2
        after = int(columns // span * share + 1e-9)
        if len(counts) >= rounds:
            after = min(after, left // 2)
        after = min(after, left - 1)
        counts.append((left - after) * span)
        left = after
    return counts
