"""One sweep over the columns of a layer, all rows at once: GPTQ, SparseGPT, and a descent on codes.

With one order of columns for all rows, the inverse Hessians that are left after each column are
slices of one Cholesky factor: ``U`` upper, ``U^T U = H^-1``. Column j set to q costs
``((w_j - q) / U_jj)^2 / 2`` and moves the later ones by ``-(w_j - q) / U_jj * U[j, j:]`` (GPTQ, arXiv
2210.17323, section 3; SparseGPT, 2301.00774, section 3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .least_squares import Quadratic
from .rounding import CodeRounding, compiles, descend_block, sweep_block

if TYPE_CHECKING:
    from torch import Tensor

Rounder = Callable[["Tensor", "Tensor"], "Tensor"]
"""(values (rows, n), their columns (n,)) -> nearest values on the grid."""

_BLOCK = 128


def column_order(q: Quadratic, order: str) -> Tensor:
    """Columns in the order of a sweep.

    ``"natural"``; ``"inverse"``, ascending diag(H^-1), as SBC has it; ``"activity"``, descending
    diag(H), as GPTQ's act-order.
    """
    import torch

    if order == "inverse":
        return q.inverse.diagonal().argsort(stable=True)
    if order == "activity":
        return q.hessian.diagonal().argsort(descending=True, stable=True)
    return torch.arange(len(q.hessian), device=q.hessian.device)


def sweep(
    q: Quadratic,
    rounding: Rounder | None,
    *,
    order: str = "natural",
    mask: Tensor | None = None,
    sparsity: float | None = None,
    per_group: tuple[int, int] | None = None,
    start: Tensor | None = None,
    block: int = _BLOCK,
) -> tuple[Tensor, Tensor]:
    """Round the columns one after the other, the later ones compensating.

    Args:
        q: the layer.
        rounding: the grid; None leaves weights real (SparseGPT's pruning alone).
        order: see `column_order`.
        mask: (rows, d), False where a weight is pruned: it becomes 0, and is compensated for.
        sparsity: choose a mask on the way: in each block of columns, this fraction of the weights of
            all rows, those of the least ``w^2 / U_jj^2``.
        per_group: (n, m): instead, n of every m consecutive columns of a row.
        start: (rows, d) to begin from; default: the best weights. With a mask, begin from the best
            weights on it.
        block: columns between two updates of everything after them.

    Returns:
        Weights (rows, d), and the loss per row, ``1/2 (w - start) H (w - start)^T``.
    """
    import torch

    if per_group is not None:
        block -= block % per_group[1]
    rows, d = q.best.shape
    turn = column_order(q, order)
    u = _factor(q.hessian[turn.unsqueeze(1), turn])
    w = (q.best if start is None else start)[:, turn].clone()
    alive = None if mask is None else mask[:, turn].clone()
    if sparsity is not None or per_group is not None:
        alive = torch.ones((rows, d), dtype=torch.bool, device=w.device)
    loss = torch.zeros(rows, dtype=w.dtype, device=w.device)
    for low in range(0, d, block):
        high = min(low + block, d)
        own, part = u[low:high, low:high], w[:, low:high].clone()
        corners = own.diagonal().tolist()
        errors = torch.empty_like(part)
        if per_group is None and sparsity is None and compiles(rounding, part):
            _compiled_sweep(part, own, rounding, turn[low:high], alive, low, errors)
            corners = []  # nothing is left to do
        if sparsity is not None and alive is not None:
            score = (part / own.diagonal()).square().reshape(-1)
            count = round(sparsity * score.numel())
            chosen = torch.ones_like(score, dtype=torch.bool)
            chosen[score.argsort(stable=True)[:count]] = False
            alive[:, low:high] = chosen.reshape(part.shape)
        for j in range(len(corners)):
            if per_group is not None and alive is not None and (low + j) % per_group[1] == 0:
                ahead = slice(j, min(j + per_group[1], high - low))
                score = (part[:, ahead] / own.diagonal()[ahead]).square()
                lost = score.argsort(dim=1, stable=True)[:, : per_group[0]]
                alive[:, low + ahead.start : low + ahead.stop].scatter_(1, lost, value=False)
            value = part[:, j]
            new = value
            if rounding is not None:
                new = rounding(part[:, j : j + 1], turn[low + j : low + j + 1]).squeeze(1)
            if alive is not None:
                new = torch.where(alive[:, low + j], new, 0.0)
            error = (value - new) / corners[j]
            errors[:, j] = error
            part[:, j] = new
            part[:, j + 1 :].addr_(error, own[j, j + 1 :], alpha=-1)
        loss += errors.square().sum(dim=1) / 2
        w[:, low:high] = part
        w[:, high:] -= errors @ u[low:high, high:]
    out = torch.empty_like(w)
    out[:, turn] = w
    return out, loss


def _factor(h: Tensor) -> Tensor:
    """U, upper, with ``U^T U = h^-1``; no step holds what it does not need."""
    import torch

    lower = torch.linalg.cholesky(h)
    del h
    inverse = torch.cholesky_inverse(lower)
    del lower
    upper: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return upper


def _compiled_sweep(
    part: Tensor,
    own: Tensor,
    rounding: CodeRounding,
    columns: Tensor,
    alive: Tensor | None,
    low: int,
    errors: Tensor,
) -> None:
    import torch

    span = slice(low, low + part.shape[1])
    kept = torch.ones_like(part, dtype=torch.bool) if alive is None else alive[:, span]
    sweep_block(
        part.numpy(),
        own.contiguous().numpy(),
        rounding.scale[:, columns].contiguous().numpy(),
        kept.contiguous().numpy(),
        rounding.low,
        rounding.high,
        rounding.signs,
        errors.numpy(),
    )


def descend(
    q: Quadratic,
    weights: Tensor,
    rounding: Rounder,
    *,
    mask: Tensor | None = None,
    passes: int = 4,
    block: int = _BLOCK,
) -> Tensor:
    """Improve weights that lie on a grid, one column at a time: cyclic coordinate descent.

    With all other codes fixed, the best value of a weight is the grid point nearest to
    ``w_j - grad_j / H_jj``; no step raises the loss. It sees the mask of each row exactly, which one
    sweep with a shared factor cannot. Gradients outside a block of columns are brought up to date
    once per block.
    """
    import torch

    w = weights.clone()
    gradient = (w - q.best) @ q.hessian
    diagonal = q.hessian.diagonal()
    columns = torch.arange(len(diagonal), device=w.device)
    for _ in range(passes):
        moved = False
        for low in range(0, w.shape[1], block):
            span = slice(low, low + block)
            own, before = gradient[:, span].clone(), w[:, span].clone()
            if compiles(rounding, w):
                w[:, span] = _compiled_descent(q, before, own, rounding, span, mask)
            else:
                for j in range(low, min(low + block, w.shape[1])):
                    aim = (w[:, j] - own[:, j - low] / diagonal[j]).unsqueeze(1)
                    step = rounding(aim, columns[j : j + 1]).squeeze(1) - w[:, j]
                    if mask is not None:
                        step = torch.where(mask[:, j], step, 0.0)
                    own += step.unsqueeze(1) * q.hessian[j, span]
                    w[:, j] += step
            change = w[:, span] - before
            if bool(change.any()):
                gradient += change @ q.hessian[span]
                moved = True
        if not moved:
            break
    return w


def _compiled_descent(
    q: Quadratic,
    before: Tensor,
    gradient: Tensor,
    rounding: CodeRounding,
    span: slice,
    mask: Tensor | None,
) -> Tensor:
    import torch

    w = before.clone()
    kept = torch.ones_like(w, dtype=torch.bool) if mask is None else mask[:, span]
    descend_block(
        w.numpy(),
        gradient.numpy(),
        q.hessian[span, span].contiguous().numpy(),
        q.hessian.diagonal()[span].contiguous().numpy(),
        rounding.scale[:, span].contiguous().numpy(),
        kept.contiguous().numpy(),
        rounding.low,
        rounding.high,
        rounding.signs,
    )
    return w
