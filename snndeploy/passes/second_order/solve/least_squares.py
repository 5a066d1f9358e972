"""The Hessian made ready, and the exact weights of least error for a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ....ir.arrays import Array

if TYPE_CHECKING:
    from torch import Tensor


_BAND = 2048
"""Columns of an aim that are formed at once, beside the matrices that it is made of."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Quadratic:
    """Membrane error of a group of rows around the best weights without constraint.

    The error of weights W is ``1/2 tr (W - best) H (W - best)^T`` plus what no weights avoid.

    Attributes:
        hessian: ``(d, d)``, damped, positive definite.
        inverse: its inverse.
        best: ``(rows, d)``: the given weights, or, where the inputs differ from those of the
            reference, the weights that make up for it.
        dead: ``(d,)``: inputs that never arrive.
    """

    hessian: Tensor
    inverse: Tensor
    best: Tensor
    dead: Tensor

    def loss(self, weights: Tensor) -> Tensor:
        """``1/2 (w - best) H (w - best)^T`` per row; inputs that never arrive cost nothing."""
        error = (weights - self.best).masked_fill(self.dead, 0.0)
        return ((error @ self.hessian) * error).sum(dim=1) / 2


def device() -> str:
    """Where to solve: CUDA if present."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def quadratic(
    hessian: Array,
    weights: Array,
    *,
    damp: float = 0.01,
    cross: Array | None = None,
    asymmetry: float = 0.0,
) -> Quadratic:
    """Damp a Hessian, decouple inputs that never arrive, and find the best weights.

    Args:
        hessian: ``(d, d)`` of what arrives.
        weights: ``(rows, d)`` of the reference.
        damp: ridge, relative to the mean of the diagonal over the inputs that arrive.
        cross: ``(d, d)``, E 2 (M x)(M x0)^T with what arrives in the reference.
        asymmetry: 0 keeps the weights on what arrives, 1 aims at what the reference's membranes do.

    The ridge pulls towards the given weights, whatever the asymmetry. A Hessian that is singular even
    then (no damping, dependent inputs) is damped by 1e-10 of its diagonal, then ten times that, and
    so on, until it is not.
    """
    import torch

    h = torch.as_tensor(np.array(hessian, dtype=np.float64), device=device())
    w = torch.as_tensor(np.array(weights, dtype=np.float64), device=device())
    dead = h.diagonal() <= 0
    level = float(h.diagonal()[~dead].mean()) if bool((~dead).any()) else 1.0
    h.diagonal()[dead] = level
    plain = h.diagonal().clone()
    ridge = damp * level
    h.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(h)
    extra = 1e-10 * level
    while int(failed):
        h.diagonal().add_(extra)
        ridge, extra = ridge + extra, extra * 10
        factor, failed = torch.linalg.cholesky_ex(h)
    best = w
    if cross is not None and asymmetry:
        mixed = [
            w @ _mixed(h, plain, ridge, cross, asymmetry, slice(low, low + _BAND))
            for low in range(0, len(h), _BAND)
        ]
        best = torch.cholesky_solve(torch.cat(mixed, dim=1).T, factor).T.contiguous()
        best[:, dead] = w[:, dead]
    return Quadratic(hessian=h, inverse=torch.cholesky_inverse(factor), best=best, dead=dead)


def _mixed(
    h: Tensor, plain: Tensor, ridge: float, cross: Array, asymmetry: float, columns: slice
) -> Tensor:
    """Columns of what the weights aim at: what arrives, and what arrives in the reference.

    ``h`` has another diagonal than ``plain``, that of what arrives.
    """
    import torch

    own = torch.arange(len(h), device=h.device)[columns]
    at = (own, own - own[0])
    arriving = h[:, columns].clone()
    arriving[at] = plain[columns]
    arriving.mul_(1 - asymmetry)
    arriving.add_((asymmetry * torch.as_tensor(cross[columns], dtype=h.dtype, device=h.device)).T)
    arriving[at] += ridge
    return arriving


def masked_weights(q: Quadratic, mask: Tensor, *, max_bytes: int = 1 << 28) -> Tensor:
    """The weights of least error that are zero outside ``mask`` (rows, d).

    Solves ``H_RR w_R = (H best)_R`` for what is kept, or, where more is kept than not, takes out the
    rest as a group, ``w = best - G_{:,P} (G_PP)^-1 best_P``: the same weights by the smaller system.
    Rows of similar size are solved together, padded with ones on the diagonal.
    """
    import torch

    d = mask.shape[1]
    kept = mask.sum(dim=1)
    out = torch.zeros_like(q.best)
    pull = q.best @ q.hessian
    for few in (True, False):
        picked = torch.nonzero((kept * 2 <= d) if few else (kept * 2 > d)).reshape(-1)
        inside = mask if few else ~mask
        sizes = inside.sum(dim=1)
        picked = picked[sizes[picked].argsort()]
        matrix, right = (q.hessian, pull) if few else (q.inverse, q.best)
        low = 0
        while low < len(picked):
            high = low + 1
            while (
                high < len(picked)
                and (high - low + 1) * int(sizes[picked[high]]) ** 2 * 8 * 3 < max_bytes
            ):
                high += 1
            r = picked[low:high]
            n = int(sizes[r].max()) if len(r) else 0
            low = high
            if n == 0:
                if not few:
                    out[r] = q.best[r]
                continue
            index = inside[r].to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :n]
            valid = torch.arange(n, device=index.device) < sizes[r].unsqueeze(1)
            system = matrix[index.unsqueeze(2), index.unsqueeze(1)]
            both = valid.unsqueeze(2) & valid.unsqueeze(1)
            system = torch.where(
                both, system, torch.eye(n, dtype=system.dtype, device=system.device)
            )
            side = torch.where(valid, right[r].gather(1, index), 0.0)
            found = torch.cholesky_solve(side.unsqueeze(2), torch.linalg.cholesky(system)).squeeze(
                2
            )
            if few:
                part = torch.zeros((len(r), d), dtype=out.dtype, device=out.device)
                out[r] = part.scatter_add_(1, index, torch.where(valid, found, 0.0))
            else:
                part = torch.zeros((len(r), d), dtype=out.dtype, device=out.device)
                part = part.scatter_add_(1, index, torch.where(valid, found, 0.0))
                out[r] = q.best[r] - part @ q.inverse
    return torch.where(mask, out, 0.0)
