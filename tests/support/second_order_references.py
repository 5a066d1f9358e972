"""The published algorithms, step by step and row by row: slow, obvious, for tests and benchmarks."""

from __future__ import annotations

import numpy as np

from snndeploy.ir.arrays import Array


def obs_row(w: Array, hessian: Array, steps: int) -> tuple[list[int], list[float], Array]:
    """ExactOBS on one row (arXiv 2208.11580, algorithm 1), rank-1 downdates of all of H^-1."""
    w, g = w.copy(), np.linalg.inv(hessian)
    alive = np.ones(len(w), bool)
    order, losses = [], []
    for _ in range(steps):
        diagonal = g.diagonal()
        score = np.where(alive, w**2 / np.where(alive, diagonal, 1.0), np.inf)
        p = int(score.argmin())
        losses.append(float(score[p]) / 2)
        w -= w[p] / g[p, p] * g[:, p]
        g -= np.outer(g[:, p], g[p]) / g[p, p]
        w[p], alive[p] = 0.0, False
        order.append(p)
    return order, losses, np.where(alive, w, 0.0)


def constrained(w: Array, hessian: Array, mask: Array) -> Array:
    """Least squares on the mask, by the normal equations of what is kept."""
    out = np.zeros_like(w)
    kept = np.flatnonzero(mask)
    out[kept] = np.linalg.solve(hessian[np.ix_(kept, kept)], (hessian @ w)[kept])
    return out


def nearest(values: Array, scale: Array, limit: int) -> Array:
    """Symmetric grid, one step per row."""
    return np.asarray(np.clip(np.rint(values / scale[:, None]), -limit, limit) * scale[:, None])


def gptq_rank_one(
    weights: Array,
    hessian: Array,
    scale: Array,
    limit: int,
    order: Array,
    mask: Array | None = None,
) -> Array:
    """Quantise column by column with explicit rank-1 downdates of H^-1."""
    w, g = weights.copy(), np.linalg.inv(hessian)
    done = np.zeros(len(g), bool)
    for j in order:
        new = nearest(w[:, [j]], scale, limit)[:, 0]
        if mask is not None:
            new = np.where(mask[:, j], new, 0.0)
        error = w[:, j] - new
        move = np.outer(error / g[j, j], g[j])
        w[:, ~done] -= move[:, ~done]
        w[:, j] = new
        g -= np.outer(g[:, j], g[j]) / g[j, j]
        done[j] = True
    return w


def obq_row(w: Array, hessian: Array, scale: float, limit: int) -> Array:
    """OBQ on one row (arXiv 2208.11580, section 5), outliers first, the farthest of them first."""
    w, g = w.copy(), np.linalg.inv(hessian)
    alive = np.ones(len(w), bool)
    for _ in range(len(w)):
        q = np.clip(np.rint(w / scale), -limit, limit) * scale
        error = w - q
        score = np.where(alive, error**2 / np.where(alive, g.diagonal(), 1.0), np.inf)
        far = alive & (np.abs(error) > scale / 2 * (1 + 1e-9))
        if far.any():
            score = np.where(far, -np.abs(error), np.inf)
        p = int(score.argmin())
        target = q[p]
        w -= error[p] / g[p, p] * g[:, p] * alive
        w[p], alive[p] = target, False
        g -= np.outer(g[:, p], g[p]) / g[p, p]
    return w
