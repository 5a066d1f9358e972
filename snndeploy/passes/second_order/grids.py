"""Grids that weights are rounded to, and codes of least membrane error on them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...ir.arrays import Array
from ...ir.weights import Weight
from ..clipping import code_range, scale_for
from .eliminate import eliminate
from .layers import Problem, Solution, per_row, unstacked
from .least_squares import Quadratic
from .pruning import least_squares, row_blocks
from .sweep import descend, sweep

if TYPE_CHECKING:
    from torch import Tensor

Clip = Literal["max", "mse", "minmax", "hessian"]
Method = Literal["obq", "sweep"]

_TRIED = np.geomspace(0.2, 1.2, 40)
"""Step sizes that the search tries, as multiples of the one the largest weight asks for."""
_SLACK = 1 + 1e-9
"""A weight is off the grid when it is farther from it than half a step, rounding errors aside."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Codes ``low … high``, times a step per row and column: ``scale`` (rows, d).

    ``signs``: one bit, the codes are -1 and 1.
    """

    scale: Array
    low: int
    high: int
    signs: bool = False

    def nearest(self, values: Array) -> Array:
        """The grid's values nearest to ``values`` (rows, d)."""
        if self.signs:
            return np.where(values < 0, -self.scale, self.scale)
        return np.asarray(np.clip(np.rint(values / self.scale), self.low, self.high) * self.scale)

    def rounding(self, of: Array, q: Quadratic) -> Rounding:
        """The grid of the rows ``of``, as tensors."""
        return Rounding(_tensor(self.scale[of], q), self.low, self.high, self.signs)


@dataclass(frozen=True, eq=False)
class Rounding:
    """Nearest values on a grid, for the solvers: columns are the same for all rows, or each row's."""

    scale: Tensor
    low: int
    high: int
    signs: bool

    def __call__(self, values: Tensor, columns: Tensor) -> Tensor:
        import torch

        scale = self.scale[:, columns] if columns.ndim == 1 else self.scale.gather(1, columns)
        if self.signs:
            return torch.where(values < 0, -scale, scale)
        return (values / scale).round().clamp(self.low, self.high) * scale


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """Which grids are allowed.

    ``per_row`` gives every row a step of its own; ``dyadic`` ties the steps of the projections of a
    block, and of those that the target's population has already, to each other by powers of two
    (0 for the same step).
    """

    bits: int
    per_row: bool
    clip: Clip
    dyadic: bool = False


def choose_grid(p: Problem, values: Array, options: GridOptions, tied: Array | None = None) -> Grid:
    """Step sizes for ``values`` (rows, d), the weights that are to be rounded.

    ``"max"`` and ``"mse"`` are those of `scale_for`. ``"minmax"`` is the grid that OBC, GPTQ and SBC
    are published with: step 2 max / (2^b - 1), codes -2^(b-1) … 2^(b-1) - 1. ``"hessian"`` tries
    steps and takes the one with the least membrane error after rounding to nearest.

    Args:
        p: the block.
        values: weights, pruned ones zero.
        options: the grids allowed.
        tied: a step per row (rows, 1), or one for all (1, 1), from which those chosen differ by
            powers of two.
    """
    bits = options.bits
    low, high = code_range(bits, options.clip)
    parts, start = [], 0
    for part in unstacked(p.block, values):
        width = part.reshape(len(values), -1).shape[1]
        columns = slice(start, start + width)
        start += width
        own = values[:, columns]
        simple = "max" if options.clip == "hessian" else options.clip
        base = scale_for(own if options.per_row else own.reshape(1, -1), bits, simple)
        scale = np.broadcast_to(base[:, None], (len(values), 1)).copy()
        template = Grid(scale=scale, low=low, high=high, signs=bits == 1)
        if tied is not None:
            scale = _dyadic(p, template, own, columns, tied)
        elif options.clip == "hessian":
            scale = _search(p, template, own, columns, options.per_row)
        if options.dyadic and tied is None:
            tied = scale  # the others of this block follow the first
        parts.append(np.broadcast_to(scale, own.shape))
    return Grid(scale=np.concatenate(parts, axis=1), low=low, high=high, signs=bits == 1)


def _errors(p: Problem, grid: Grid, own: Array, columns: slice, steps: Array) -> Array:
    """Membrane error of rounding ``own`` to nearest with ``steps`` (rows, 1), per row.

    Only these columns change, so only their part of the Hessian counts.
    """
    hessians = {int(of[0]): q.hessian[columns, columns].float() for of, q in p.parts}
    error = np.where(own != 0, dataclasses.replace(grid, scale=steps).nearest(own) - own, 0.0)

    def solve(of: Array, q: Quadratic) -> Tensor:
        import torch

        e = torch.as_tensor(error[of], dtype=torch.float32, device=q.best.device)
        # Single precision tells steps apart; the weights come from the double one.
        return ((e @ hessians[int(of[0])]) * e).sum(dim=1).double()

    return per_row(p, solve)


def _search(p: Problem, grid: Grid, own: Array, columns: slice, per_row_scale: bool) -> Array:
    tried = [_errors(p, grid, own, columns, grid.scale * f) for f in _TRIED]
    errors = np.stack(tried)
    if not per_row_scale:
        errors = errors.sum(axis=1, keepdims=True)
    best = _TRIED[errors.argmin(axis=0)]
    return np.asarray(grid.scale * np.broadcast_to(best[:, None], grid.scale.shape))


def _dyadic(p: Problem, grid: Grid, own: Array, columns: slice, tied: Array) -> Array:
    """The step ``tied * 2^k`` with one k for all rows that loses least."""
    near = int(np.rint(np.log2(np.median(grid.scale / tied))))
    tried = range(near - 3, near + 3)
    losses = [
        float(
            _errors(p, grid, own, columns, np.broadcast_to(tied * 2.0**k, grid.scale.shape)).sum()
        )
        for k in tried
    ]
    return np.asarray(
        np.broadcast_to(tied * 2.0 ** tried[int(np.argmin(losses))], grid.scale.shape)
    )


def quantized_solution(
    p: Problem,
    options: GridOptions,
    *,
    method: Method,
    order: str,
    refine: int,
    max_memory: int,
    mask: Array | None = None,
    tied: Array | None = None,
) -> Solution:
    """Codes of least membrane error for a block, pruned weights staying pruned.

    Args:
        p: the block.
        options: the grids allowed.
        method: ``"obq"``, greedily; ``"sweep"``, column by column.
        order: of the columns of a sweep.
        refine: rounds of coordinate descent on the codes afterwards, each with the step sizes that
            are then best (where they are free).
        max_memory: bytes for blocks of rows.
        mask: False where a weight is to be pruned; default: what was pruned before.
        tied: see `choose_grid`.
    """
    alive = p.alive if mask is None else mask
    start = least_squares(p, alive, max_memory)
    grid = choose_grid(p, start, options, tied)
    if method == "sweep":
        values = _swept(p, grid, start, alive, order)
    else:
        values = _greedy(p, grid, alive, max_memory)
    free = tied is None and options.bits > 1  # all steps of a row change alike, so ties stay
    for _ in range(refine):
        if free:
            grid, values = _rescaled(p, grid, values, per_row_scale=options.per_row)
        values = _descended(p, grid, values, alive)
    return _coded(p, grid, values, alive, options)


def _tensor(values: Array, q: Quadratic) -> Tensor:
    import torch

    return torch.as_tensor(np.ascontiguousarray(values), device=q.best.device)


def _swept(p: Problem, grid: Grid, start: Array, alive: Array, order: str) -> Array:
    def solve(of: Array, q: Quadratic) -> Tensor:
        rounding = grid.rounding(of, q)
        mask, begin = _tensor(alive[of], q), _tensor(start[of], q)
        return sweep(q, rounding, order=order, mask=mask, start=begin)[0]

    return per_row(p, solve)


def _greedy(p: Problem, grid: Grid, alive: Array, max_memory: int) -> Array:
    """OBQ: what is pruned goes first, which leaves the least-squares weights of the mask."""

    def solve(of: Array, q: Quadratic) -> Tensor:
        import torch

        found = []
        for part in row_blocks(len(of), p.columns, max_memory):
            rounding = grid.rounding(of[part], q)
            dead = _tensor(~alive[of[part]], q)

            def target(
                v: Tensor, at: Tensor, r: Rounding = rounding, dead: Tensor = dead
            ) -> Tensor:
                return r(v, at).masked_fill(dead.gather(1, at), 0.0)

            tolerance = rounding.scale * (_SLACK / 2)
            done = eliminate(
                q.best[part], q.inverse, target=target, first=dead, tolerance=tolerance
            )
            found.append(done.values)
        return torch.cat(found)

    return per_row(p, solve)


def _descended(p: Problem, grid: Grid, values: Array, alive: Array) -> Array:
    def solve(of: Array, q: Quadratic) -> Tensor:
        now, mask = _tensor(values[of], q), _tensor(alive[of], q)
        return descend(q, now, grid.rounding(of, q), mask=mask, passes=1)

    return per_row(p, solve)


def _rescaled(p: Problem, grid: Grid, values: Array, *, per_row_scale: bool) -> tuple[Grid, Array]:
    """The best step for the codes as they are: ``s = c H w / c H c``."""

    def products(of: Array, q: Quadratic) -> Tensor:
        import torch

        now = _tensor(values[of], q)
        moved = now @ q.hessian
        return torch.stack([(moved * q.best).sum(dim=1), (moved * now).sum(dim=1)], dim=1)

    both = per_row(p, products)
    if not per_row_scale:
        both = np.broadcast_to(both.sum(axis=0), both.shape)
    factor = np.where(
        (both > 0).all(axis=1), both[:, 0] / np.where(both[:, 1] > 0, both[:, 1], 1), 1.0
    )
    return (
        dataclasses.replace(grid, scale=grid.scale * factor[:, None]),
        values * factor[:, None],
    )


def _coded(p: Problem, grid: Grid, values: Array, alive: Array, options: GridOptions) -> Solution:
    codes = np.where(alive, np.rint(values / grid.scale), 0).astype(np.int32)
    weights = []
    parts = zip(
        p.block, unstacked(p.block, codes), unstacked(p.block, grid.scale),
        unstacked(p.block, alive), strict=True,
    )  # fmt: skip
    for q, code, scale, kept in parts:
        first = scale.reshape(len(code), -1)[:, 0]
        shape = (-1,) + (1,) * (code.ndim - 1)
        stored = first.reshape(shape) if options.per_row else first[0]
        had_mask = q.weight.mask is not None or not kept.all()
        weights.append(
            Weight(code, scale=stored, bits=options.bits, mask=kept if had_mask else None)
        )
    return Solution(weights=tuple(weights), loss=p.loss(codes * grid.scale))
