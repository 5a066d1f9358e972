"""Take weights out of rows one by one, each time the cheapest, compensating with the rest.

Optimal Brain Surgeon on every row at once (Hassibi & Stork 1993; ExactOBS and OBQ, arXiv 2208.11580,
sections 4 and 5). With ``G = H^-1`` of the weights still there, taking weight p to the value t changes
the others by ``-(w_p - t) G[:, p] / G[p, p]`` and costs ``(w_p - t)^2 / 2 G[p, p]``; then
``G -= G[:, p] G[p, :] / G[p, p]``.

That is a Cholesky factorisation of G with the pivot chosen by cost, so it is done as blocked Cholesky
is: within a block of steps only the pivot's column and the diagonal of G are brought up to date (from
the columns of the block so far), and the whole of G once per block, as one matrix product, on what is
left of it. Where weights go to zero and numba is installed, each row runs by itself (`rowwise`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....simulate.jit import has_numba
from .rowwise import eliminate_rowwise

if TYPE_CHECKING:
    from torch import Tensor

Aim = Callable[["Tensor", "Tensor"], "Tensor"]
"""Value that each weight (rows, n) would be taken to; the second argument holds their columns."""

_BLOCK = 64
_SHRINK = 0.75
"""Rows and columns of what is gone are cut out of G once less than this is left of it."""
_SMALL = 0.6
"""Below this share of survivors, inverting their part of H costs less than downdating G."""
_FIRST = -1.0
"""Score of weights that go before all others."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Elimination:
    """What was taken out, in order: columns and costs ``(rows, steps)``; and all values since.

    ``values`` (rows, d) holds the values weights were taken to, and what compensation made of those
    still there.
    """

    columns: Tensor
    losses: Tensor
    values: Tensor


def eliminate(
    weights: Tensor,
    inverse: Tensor,
    *,
    steps: int | None = None,
    first: Tensor | None = None,
    target: Aim | None = None,
    tolerance: Tensor | None = None,
    per_group: tuple[int, int] | None = None,
    block: int = _BLOCK,
) -> Elimination:
    """Take ``steps`` weights (default: all) out of every row, the cheapest first.

    Args:
        weights: ``(rows, d)`` float64.
        inverse: H^-1 ``(d, d)``, shared by the rows.
        steps: how many each row loses.
        first: ``(rows, d)``, True for weights that go before all others (pruned before).
        target: what a weight is taken to; None for zero (pruning).
        tolerance: ``(rows, 1)``; weights farther than that from their target go first (OBQ's rule
            for weights that compensation has pushed off the grid).
        per_group: (n, m): of every m consecutive columns at most n are taken (n:m sparsity).
        block: steps between two updates of all of G.
    """
    import torch

    rows, d = weights.shape
    total = d if steps is None else steps
    plain = target is None and tolerance is None and per_group is None
    if plain and weights.device.type == "cpu" and has_numba():
        columns, losses, values = eliminate_rowwise(weights, inverse, total, first, block)
        return Elimination(columns=columns, losses=losses, values=values)
    w, g = weights.clone(), inverse.expand(rows, d, d)
    index = torch.arange(d, device=w.device).expand(rows, d)
    each = torch.arange(rows, device=w.device)
    columns = torch.empty((rows, total), dtype=torch.long, device=w.device)
    losses = torch.empty((rows, total), dtype=w.dtype, device=w.device)
    values = weights.clone()
    taken = None
    if per_group is not None:
        taken = torch.zeros((rows, -(-d // per_group[1])), dtype=torch.long, device=w.device)
    tiny = torch.finfo(w.dtype).tiny
    alive = torch.ones((rows, d), dtype=torch.bool, device=w.device)
    done, left, own = 0, d, False
    while done < total:
        n = min(block, total - done)
        factor = torch.zeros((rows, n, w.shape[1]), dtype=w.dtype, device=w.device)
        diagonal = g.diagonal(dim1=1, dim2=2).clone()
        early = None if first is None else first.gather(1, index)
        for j in range(n):
            wanted = torch.zeros_like(w) if target is None else target(w, index)
            error = w - wanted
            score = error.square() / diagonal.clamp_min(tiny)
            choice = score
            if tolerance is not None:
                # Off the grid: those first, the farthest of them first.
                far = error.abs() > tolerance
                choice = torch.where(far, _FIRST - error.abs(), choice)
            if early is not None:
                choice = torch.where(early, _FIRST, choice)
            blocked = ~alive
            if taken is not None and per_group is not None:
                blocked = blocked | (taken.gather(1, index // per_group[1]) >= per_group[0])
            pivot = choice.masked_fill(blocked, torch.inf).argmin(dim=1)
            column = g[each, pivot] - torch.bmm(
                factor[each, :j, pivot].unsqueeze(1), factor[:, :j]
            ).squeeze(1)
            corner = column[each, pivot].clamp_min(tiny)
            here = index[each, pivot]
            columns[:, done + j] = here
            losses[:, done + j] = score[each, pivot] / 2
            w -= (error[each, pivot] / corner).unsqueeze(1) * column
            values[each, here] = wanted[each, pivot]
            if taken is not None and per_group is not None:
                taken[each, here // per_group[1]] += 1
            factor[:, j] = column / corner.sqrt().unsqueeze(1)
            diagonal -= factor[:, j].square()
            alive[each, pivot] = False
            w.masked_fill_(~alive, 0.0)
        done, left = done + n, left - n
        if done == total:
            break
        if left > _SHRINK * w.shape[1]:
            pull = factor.transpose(1, 2)
            g = torch.baddbmm(g, pull, factor, alpha=-1, out=g if own else None)
        else:
            keep = _true_first(alive, left)
            kept = factor.gather(2, keep.unsqueeze(1).expand(rows, n, left))
            g = _submatrix(g, keep).baddbmm_(kept.transpose(1, 2), kept, alpha=-1)
            w, index, alive = w.gather(1, keep), index.gather(1, keep), alive.gather(1, keep)
        own = True
    keep = _true_first(alive, left)
    values.scatter_(1, index.gather(1, keep), w.gather(1, keep))
    return Elimination(columns=columns, losses=losses, values=values)


def _true_first(alive: Tensor, count: int) -> Tensor:
    """Indices (rows, count) of what is True in every row, ascending."""
    import torch

    return alive.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :count]


def eliminate_in_rounds(
    weights: Tensor,
    hessian: Tensor,
    inverse: Tensor,
    counts: list[int],
    *,
    first: Tensor | None = None,
    span: int = 1,
) -> Elimination:
    """As `eliminate` to zero, but many weights at once: ``counts[k]`` of each row in round k.

    Each round takes the weights (or whole runs of ``span`` consecutive columns, by the exact cost of
    the run) that score lowest, jointly: G of the survivors and the compensation are exact for the
    group; only the choice within a round ignores what the others in it change.

    The cost recorded for a weight is its score when it was chosen.
    """
    import torch

    rows, d = weights.shape
    w, g = weights.clone(), inverse.expand(rows, d, d)
    index = torch.arange(d, device=w.device).expand(rows, d)
    columns, losses = [], []
    values = weights.clone()
    pull = weights @ hessian
    for count in counts:
        score = w.square() / g.diagonal(dim1=1, dim2=2) / 2
        if span > 1:
            score = _run_costs(w, g, span).repeat_interleave(span, dim=1) / span
        choice = score
        if first is not None:
            choice = torch.where(first.gather(1, index), _FIRST, choice)
        order = choice.argsort(dim=1, stable=True)
        out, keep = order[:, :count], order[:, count:].sort(dim=1).values
        columns.append(index.gather(1, out))
        losses.append(score.gather(1, out))
        if keep.shape[1] < _SMALL * w.shape[1]:
            # Cheaper than to downdate: invert what is left of H; all else follows from it.
            at = index.gather(1, keep)
            g = torch.cholesky_inverse(
                torch.linalg.cholesky(hessian[at.unsqueeze(2), at.unsqueeze(1)])
            )
            w = torch.bmm(g, pull.gather(1, at).unsqueeze(2)).squeeze(2)
        else:
            g, w = _downdated(g, w, out, keep)
        values.scatter_(1, columns[-1], 0.0)
        index = index.gather(1, keep)
    values.scatter_(1, index, w)
    return Elimination(columns=torch.cat(columns, 1), losses=torch.cat(losses, 1), values=values)


def largest_matrix(columns: int, counts: list[int]) -> int:
    """Size of the largest matrix that `eliminate_in_rounds` holds per row."""
    after = columns - counts[0]
    return after if after < _SMALL * columns else columns


def _downdated(g: Tensor, w: Tensor, out: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """G and weights of what is kept, after the group ``out`` is gone."""
    import torch

    across = torch.stack(
        [one.index_select(0, o).index_select(1, k) for one, o, k in zip(g, out, keep, strict=True)]
    )
    lower = torch.linalg.cholesky(_submatrix(g, out))
    half = torch.linalg.solve_triangular(lower, across, upper=False)
    pull = torch.linalg.solve_triangular(lower, w.gather(1, out).unsqueeze(2), upper=False)
    kept = w.gather(1, keep) - torch.bmm(half.transpose(1, 2), pull).squeeze(2)
    return torch.baddbmm(_submatrix(g, keep), half.transpose(1, 2), half, alpha=-1), kept


def _submatrix(g: Tensor, keep: Tensor) -> Tensor:
    """``g[r, keep[r], keep[r]]`` for every row r."""
    import torch

    # Row by row, as whole lines: gather() reads an index per entry, and takes several times as long.
    return torch.stack(
        [one.index_select(0, k).index_select(1, k) for one, k in zip(g, keep, strict=True)]
    )


def _run_costs(w: Tensor, g: Tensor, span: int) -> Tensor:
    """Cost of taking each run of ``span`` columns: 1/2 w_B^T (G_BB)^-1 w_B, (rows, runs)."""
    import torch

    rows, d = w.shape
    runs = d // span
    blocks = g.reshape(rows, runs, span, runs, span).diagonal(dim1=1, dim2=3)
    blocks = blocks.permute(0, 3, 1, 2)
    part = w.reshape(rows, runs, span, 1)
    costs: Tensor = (part * torch.linalg.solve(blocks, part)).sum(dim=(2, 3)) / 2
    return costs
