"""Codes of least membrane error on a grid."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...ir.arrays import Array
from ...ir.weights import Weight
from ..clipping import code_levels
from .grids import CodeGrid, GridOptions, choose_grid, tensor
from .layers import Problem, Solution, per_row, unstacked
from .pruning import least_squares, row_blocks
from .solve.eliminate import eliminate
from .solve.least_squares import Quadratic
from .solve.rounding import CodeRounding
from .solve.sweep import descend, sweep

if TYPE_CHECKING:
    from torch import Tensor

Method = Literal["obq", "sweep"]

_SLACK = 1 + 1e-9
"""A weight is off the grid when it is farther from it than half a step, rounding errors aside."""


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
        options: the grids allowed; with ``"hessian"`` the codes on three of them compete, row by row
            or all together.
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
    free = tied is None and options.bits > 1  # all steps of a row change alike, so ties stay
    grids = [options]
    if options.clip == "hessian" and free:
        grids += [dataclasses.replace(options, clip=clip) for clip in ("minmax", "mse")]
    found: list[tuple[CodeGrid, Array]] = []
    for one in grids:
        grid = choose_grid(p, start, one, tied)
        if method == "sweep":
            values = _swept(p, grid, start, alive, order)
        else:
            values = _greedy(p, grid, alive, max_memory)
        for _ in range(refine):
            if free:
                grid, values = _rescaled(p, grid, values, per_row_scale=options.per_row)
            values = _descended(p, grid, values, alive)
        found.append((grid, values))
    losses = np.stack([p.losses(values) for _, values in found])
    if not options.per_row:
        losses = losses.sum(axis=1, keepdims=True)
    best = losses.argmin(axis=0)[:, None]
    steps = np.choose(best, [grid.scale for grid, _ in found])
    values = np.choose(best, [values for _, values in found])
    weights = _coded(p, steps, values, alive, options)
    return Solution(weights=weights, loss=float(losses.min(axis=0).sum()))


def _swept(p: Problem, grid: CodeGrid, start: Array, alive: Array, order: str) -> Array:
    def solve(of: Array, q: Quadratic) -> Tensor:
        rounding = grid.rounding(of, q)
        mask, begin = tensor(alive[of], q), tensor(start[of], q)
        return sweep(q, rounding, order=order, mask=mask, start=begin)[0]

    return per_row(p, solve)


def _greedy(p: Problem, grid: CodeGrid, alive: Array, max_memory: int) -> Array:
    """OBQ: what is pruned goes first, which leaves the least-squares weights of the mask."""

    def solve(of: Array, q: Quadratic) -> Tensor:
        import torch

        found = []
        for part in row_blocks(len(of), p.columns, max_memory):
            rounding = grid.rounding(of[part], q)
            dead = tensor(~alive[of[part]], q)

            def target(
                v: Tensor, at: Tensor, r: CodeRounding = rounding, dead: Tensor = dead
            ) -> Tensor:
                return r(v, at).masked_fill(dead.gather(1, at), 0.0)

            tolerance = rounding.scale * (_SLACK / 2)
            done = eliminate(
                q.best[part], q.inverse, target=target, first=dead, tolerance=tolerance
            )
            found.append(done.values)
        return torch.cat(found)

    return per_row(p, solve)


def _descended(p: Problem, grid: CodeGrid, values: Array, alive: Array) -> Array:
    def solve(of: Array, q: Quadratic) -> Tensor:
        now, mask = tensor(values[of], q), tensor(alive[of], q)
        return descend(q, now, grid.rounding(of, q), mask=mask, passes=1)

    return per_row(p, solve)


def _rescaled(
    p: Problem, grid: CodeGrid, values: Array, *, per_row_scale: bool
) -> tuple[CodeGrid, Array]:
    """The best step for the codes as they are: ``s = c H w / c H c``."""

    def products(of: Array, q: Quadratic) -> Tensor:
        import torch

        now = tensor(values[of], q)
        moved = now @ q.hessian
        return torch.stack([(moved * q.best).sum(dim=1), (moved * now).sum(dim=1)], dim=1)

    both = per_row(p, products)
    if not per_row_scale:
        both = np.broadcast_to(both.sum(axis=0), both.shape)
    factor = np.where(
        (both > 0).all(axis=1), both[:, 0] / np.where(both[:, 1] > 0, both[:, 1], 1), 1.0
    )
    return (dataclasses.replace(grid, scale=grid.scale * factor[:, None]), values * factor[:, None])


def _coded(
    p: Problem, steps: Array, values: Array, alive: Array, options: GridOptions
) -> tuple[Weight, ...]:
    codes = np.where(alive, np.rint(values / steps), 0).astype(np.int32)
    weights = []
    parts = zip(
        p.block,
        unstacked(p.block, codes),
        unstacked(p.block, steps),
        unstacked(p.block, alive),
        strict=True,
    )
    for q, code, scale, kept in parts:
        first = scale.reshape(len(code), -1)[:, 0]
        shape = (-1,) + (1,) * (code.ndim - 1)
        stored = first.reshape(shape) if options.per_row else first[0]
        had_mask = q.weight.mask is not None or not kept.all()
        weights.append(
            Weight(
                code,
                scale=stored,
                bits=options.bits,
                mask=kept if had_mask else None,
                levels=code_levels(options.bits, options.clip),
            )
        )
    return tuple(weights)
