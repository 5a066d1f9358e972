"""Masks of least membrane error, and the exact weights for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...errors import PassRefused
from ...ir.arrays import Array
from ...ir.weights import Weight
from .budgets import prefixes, round_counts
from .layers import Problem, Solution, per_row, unstacked
from .solve.eliminate import Elimination, eliminate, eliminate_in_rounds, largest_matrix
from .solve.least_squares import Quadratic, masked_weights
from .solve.sweep import sweep

if TYPE_CHECKING:
    from torch import Tensor

MaskSearch = Literal["greedy", "rounds"]

_SINGLE = 1024
"""From so many columns on masks are searched in single precision, in half the time. Weights never."""
_SAFE = 1e4
"""...if the smallest eigenvalue of H is not below the mean of its diagonal by more than this."""


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """A regular mask: ``lost`` of every ``of`` consecutive columns, or runs of ``run`` columns."""

    lost: int = 0
    of: int = 0
    run: int = 1


def parse_pattern(text: str, sparsity: float, where: str) -> Pattern:
    """Read ``""``, ``"2:4"`` (2 of 4 pruned) or ``"run:4"`` (4 consecutive weights at a time).

    Raises:
        PassRefused: it is none of these, or contradicts the sparsity.
    """
    if not text:
        return Pattern()
    left, _, right = text.partition(":")
    if left == "run" and right.isdigit() and int(right) > 1:
        return Pattern(run=int(right))
    if not (left.isdigit() and right.isdigit() and 0 < int(left) < int(right)):
        raise PassRefused(
            "pattern-unknown",
            f"{text!r} is no pattern of pruned weights",
            where=where,
            hint='"2:4" prunes 2 of 4 consecutive weights, "run:4" prunes runs of 4',
        )
    if abs(int(left) / int(right) - sparsity) > 1e-9:
        raise PassRefused(
            "pattern-sparsity",
            f"{text} prunes {int(left) / int(right):g} of the weights, sparsity says {sparsity:g}",
            where=where,
            hint="make them agree",
        )
    return Pattern(lost=int(left), of=int(right))


def eliminated(
    p: Problem,
    sparsity: float,
    *,
    search: MaskSearch,
    rounds: int,
    pattern: Pattern,
    max_memory: int,
) -> tuple[Array, Array]:
    """Order and costs in which every row would lose its weights: columns and losses (rows, steps)."""
    steps = p.columns // pattern.of * pattern.lost if pattern.of else p.columns
    per_group = (pattern.lost, pattern.of) if pattern.of else None
    in_rounds = pattern.run > 1 or (search == "rounds" and per_group is None)

    def solve(of: Array, q: Quadratic) -> Tensor:
        import torch

        device = q.best.device
        # What never arrives costs nothing and is tied to nothing: it goes first, and is out of the way.
        live = torch.ones_like(q.dead) if pattern.of or pattern.run > 1 else ~q.dead
        n = int(live.sum())
        dead = torch.nonzero(~live).reshape(1, -1).expand(len(of), -1)
        free = torch.stack([dead.double(), torch.zeros_like(dead, dtype=torch.float64)], dim=2)
        if not n:
            return free
        best, inverse = q.best[:, live], _alive(q.inverse, live)
        first = torch.as_tensor(~p.alive[of], device=device)[:, live]
        density = min(1.0, (1 - sparsity) * p.columns / max(n, 1))
        counts = round_counts(n, 1 - density, rounds, pattern.run)
        found: list[Elimination] = []
        hessian = _alive(q.hessian, live) if in_rounds else q.hessian
        if n >= _SINGLE and float(hessian.diagonal().mean() * inverse.diagonal().max()) < _SAFE:
            best, inverse, hessian = best.float(), inverse.float(), hessian.float()
        largest = largest_matrix(n, counts) if in_rounds else n
        for part in row_blocks(len(of), largest, max_memory, best.element_size()):
            if in_rounds:
                found.append(
                    eliminate_in_rounds(
                        best[part], hessian, inverse, counts, first=first[part], span=pattern.run
                    )
                )
            else:
                found.append(
                    eliminate(
                        best[part],
                        inverse,
                        first=first[part],
                        per_group=per_group,
                        steps=steps if pattern.of else n,
                    )
                )
        columns = torch.nonzero(live).reshape(-1)[torch.cat([e.columns for e in found])]
        losses = torch.cat([e.losses for e in found]).double()
        return torch.cat([free, torch.stack([columns.double(), losses], dim=2)], dim=1)

    both = per_row(p, solve)
    return both[..., 0].astype(np.int64), both[..., 1]


def _alive(matrix: Tensor, live: Tensor) -> Tensor:
    """Rows and columns of the inputs that arrive: the matrix itself where all do."""
    import torch

    if bool(live.all()):
        return matrix
    kept = torch.nonzero(live).reshape(-1)
    return matrix[kept.unsqueeze(1), kept]


def row_blocks(n: int, columns: int, max_memory: int, width: int = 8) -> list[slice]:
    """Rows that are worked on at once: three matrices (d, d) each must fit the memory."""
    at_once = max(1, max_memory // (3 * width * max(1, columns) ** 2))
    return [slice(low, low + at_once) for low in range(0, n, at_once)]


def masks_of(
    eliminations: Sequence[tuple[Array, Array]],
    widths: Sequence[int],
    pruned: float,
    pattern: Pattern,
    costs: Sequence[Array] | None = None,
) -> list[Array]:
    """Masks (rows, width) of several layers whose recorded losses compete for ``pruned`` weights.

    With ``costs`` (rows, width) they compete per cost, and ``pruned`` is the cost to be saved.
    """
    if pattern.of:
        counts = [np.full(len(c), c.shape[1]) for c, _ in eliminations]
    elif pattern.run > 1:
        run = pattern.run
        by_run = [loss.reshape(len(loss), -1, run).sum(axis=2) for _, loss in eliminations]
        counts = [c * run for c in prefixes(by_run, round(pruned / run))]
    else:
        paid = None
        if costs is not None:
            paid = [
                np.take_along_axis(cost, columns, axis=1)
                for cost, (columns, _) in zip(costs, eliminations, strict=True)
            ]
        counts = prefixes([loss for _, loss in eliminations], pruned, paid)
    masks = []
    for (columns, _), count, width in zip(eliminations, counts, widths, strict=True):
        mask = np.ones((len(columns), width), dtype=bool)
        np.put_along_axis(mask, columns, np.arange(columns.shape[1]) >= count[:, None], axis=1)
        masks.append(mask)
    return masks


def least_squares(p: Problem, mask: Array, max_memory: int) -> Array:
    """The weights of least membrane error on ``mask`` (rows, d)."""

    def solve(of: Array, q: Quadratic) -> Tensor:
        import torch

        part = torch.as_tensor(mask[of], device=q.best.device)
        return masked_weights(q, part, max_bytes=max_memory // 2)

    return per_row(p, solve)


def swept(p: Problem, sparsity: float, pattern: Pattern) -> Array:
    """SparseGPT's weights: mask and compensation in one sweep, every block of columns alike."""

    def solve(of: Array, q: Quadratic) -> Tensor:
        import torch

        per_group = (pattern.lost, pattern.of) if pattern.of else None
        given = None if per_group else sparsity
        kept = torch.as_tensor(p.alive[of], device=q.best.device)
        mask = None if bool(kept.all()) else kept
        return sweep(q, None, mask=mask, sparsity=given, per_group=per_group)[0]

    return per_row(p, solve)


def pruned_solution(p: Problem, values: Array, mask: Array) -> Solution:
    """Real-valued weights with their masks, in the type the layers had."""
    weights = [
        Weight(v.astype(q.weight.data.dtype), mask=m)
        for q, v, m in zip(
            p.block, unstacked(p.block, values), unstacked(p.block, mask), strict=True
        )
    ]
    return Solution(weights=tuple(weights), loss=p.loss(values))
