"""Elimination to zero row by row, in compiled loops: what a row needs stays in the processor's cache.

The algorithm is that of `eliminate`, step for step. G is symmetric, so only its upper triangle is kept;
what is gone is cut out of it after every block, and each block's update is a few matrix products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ....ir.arrays import Array
from ....simulate.jit import compiled

if TYPE_CHECKING:
    from torch import Tensor

_BAND = 128
"""Rows of the triangle that one matrix product updates."""


def eliminate_rowwise(
    weights: Tensor, inverse: Tensor, steps: int, first: Tensor | None, block: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Columns and costs ``(rows, steps)`` and values ``(rows, d)`` of `eliminate`, each row to zero."""
    import torch

    w, g = (np.ascontiguousarray(x.numpy()) for x in (weights, inverse))
    rows, d = w.shape
    columns = np.empty((rows, steps), np.int64)
    losses = np.empty((rows, steps), w.dtype)
    values = np.zeros_like(w)
    room = np.empty(d * d, w.dtype)
    early = np.zeros((rows, d), bool) if first is None else np.ascontiguousarray(first.numpy())
    for row in range(rows):
        left, kept = _one_row(w[row], g, early[row], columns[row], losses[row], room, block)
        values[row, left] = kept
    return torch.from_numpy(columns), torch.from_numpy(losses), torch.from_numpy(values)


def _one_row(
    weights: Array,
    inverse: Array,
    first: Array,
    columns: Array,
    losses: Array,
    room: Array,
    block: int,
) -> tuple[Array, Array]:
    """Fill ``columns`` and ``losses`` of one row; which weights are left, and their values."""
    w, early, index, g = weights.copy(), first, np.arange(len(weights)), inverse
    tiny = np.finfo(w.dtype).tiny
    for done in range(0, len(columns), block):
        part = slice(done, min(done + block, len(columns)))
        factor = np.empty((part.stop - done, len(w)), w.dtype)
        alive = _pivots(g, w, early, factor, columns[part], losses[part], tiny)
        columns[part] = index[columns[part]]
        keep = np.flatnonzero(alive)
        w, early, index = w[keep], early[keep], index[keep]
        if part.stop < len(columns):
            n = len(keep)
            smaller = room[: n * n].reshape(n, n)
            _cut(g, keep, smaller)
            _update(smaller, factor[:, keep])
            g = smaller
    return index, w


@compiled
def _pivots(
    g: Array, w: Array, early: Array, factor: Array, columns: Array, losses: Array, tiny: float
) -> Array:
    """One block of steps of a row whose G is ``g`` (upper triangle); which weights are alive then."""
    n = len(w)
    alive = np.ones(n, np.bool_)
    diagonal, score, column = np.empty_like(w), np.empty_like(w), np.empty_like(w)
    barred = np.zeros_like(w)
    for i in range(n):
        diagonal[i] = g[i, i]
    waiting = 0
    for i in range(n):
        waiting += early[i]
    for j in range(len(factor)):
        for i in range(n):
            score[i] = w[i] * w[i] / max(diagonal[i], tiny) + barred[i]
        p = 0
        while not alive[p] or (waiting and not early[p]):
            p += 1
        if not waiting:
            for i in range(p + 1, n):
                if score[i] < score[p]:
                    p = i
        waiting = max(0, waiting - 1)
        for i in range(p):
            column[i] = g[i, p]
        for i in range(p, n):
            column[i] = g[p, i]
        k = 0
        while k + 4 <= j:
            a, b, c, e = factor[k, p], factor[k + 1, p], factor[k + 2, p], factor[k + 3, p]
            for i in range(n):
                column[i] -= (
                    a * factor[k, i]
                    + b * factor[k + 1, i]
                    + c * factor[k + 2, i]
                    + e * factor[k + 3, i]
                )
            k += 4
        while k < j:
            a = factor[k, p]
            for i in range(n):
                column[i] -= a * factor[k, i]
            k += 1
        corner = max(column[p], tiny)
        columns[j] = p
        losses[j] = score[p] / 2
        pull, root = w[p] / corner, np.sqrt(corner)
        for i in range(n):
            w[i] -= pull * column[i]
            factor[j, i] = column[i] / root
            diagonal[i] -= factor[j, i] * factor[j, i]
        w[p], alive[p], barred[p] = 0.0, False, np.inf
    return alive


@compiled
def _cut(g: Array, keep: Array, out: Array) -> None:
    """The upper triangle of ``g[keep, keep]``; ``out`` may begin where ``g`` does."""
    for a in range(len(keep)):
        row = g[keep[a]]
        for b in range(a, len(keep)):
            out[a, b] = row[keep[b]]


def _update(g: Array, factor: Array) -> None:
    """``g -= factor^T factor`` in the upper triangle, in place."""
    import torch

    whole, f = torch.from_numpy(g), torch.from_numpy(factor)
    for low in range(0, len(g), _BAND):
        band = whole[low : low + _BAND, low:]
        torch.addmm(band, f[:, low : low + _BAND].T, f[:, low:], alpha=-1, out=band)
