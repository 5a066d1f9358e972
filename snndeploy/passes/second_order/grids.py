"""Grids that weights are rounded to, and their steps."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ...ir.arrays import Array
from ..clipping import code_range, scale_for
from .layers import Problem, per_row, unstacked
from .solve.least_squares import Quadratic
from .solve.rounding import CodeRounding

if TYPE_CHECKING:
    from torch import Tensor

Clip = Literal["max", "mse", "minmax", "hessian"]
_TRIED = np.geomspace(0.2, 1.2, 40)
"""Step sizes that the search tries, as multiples of the one the largest weight asks for."""


def tensor(values: Array, q: Quadratic) -> Tensor:
    """``values`` where the problem is solved."""
    import torch

    return torch.as_tensor(np.ascontiguousarray(values), device=q.best.device)


@dataclass(frozen=True, kw_only=True, eq=False)
class CodeGrid:
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

    def rounding(self, of: Array, q: Quadratic) -> CodeRounding:
        """The grid of the rows ``of``, as tensors."""
        return CodeRounding(tensor(self.scale[of], q), self.low, self.high, self.signs)


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


def choose_grid(
    p: Problem, values: Array, options: GridOptions, tied: Array | None = None
) -> CodeGrid:
    """Step sizes for ``values`` (rows, d), the weights that are to be rounded.

    ``"max"`` and ``"mse"`` are those of `scale_for`. ``"minmax"`` is the grid that OBC, GPTQ and SBC
    are published with: step 2 max / (2^b - 1), codes -2^(b-1) … 2^(b-1) - 1. ``"hessian"`` has those
    codes, tries steps, and takes the one with the least membrane error after rounding to nearest.

    Args:
        p: the block.
        values: weights, pruned ones zero.
        options: the grids allowed.
        tied: a step per row (rows, 1), or one for all (1, 1), from which those chosen differ by
            powers of two.
    """
    low, high = code_range(options.bits, options.clip)
    widths = [part.reshape(len(values), -1).shape[1] for part in unstacked(p.block, values)]
    edges = np.cumsum([0, *widths])
    spans = [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]
    steps = np.ones_like(values)
    template = CodeGrid(scale=steps, low=low, high=high, signs=options.bits == 1)
    for columns in spans:
        own = values[:, columns]
        if tied is not None:
            steps[:, columns] = _dyadic(p, template, own, columns, tied)
        elif not options.dyadic:
            steps[:, columns] = _steps(p, template, own, columns, options, np.ones(1))
    if tied is None and options.dyadic:
        steps = _together(p, template, values, spans, options)
    return dataclasses.replace(template, scale=steps)


def _simple(values: Array, options: GridOptions) -> Array:
    """Steps (rows, 1) that look at the weights alone."""
    clip = "max" if options.clip == "hessian" else options.clip
    rows = values if options.per_row else values.reshape(1, -1)
    return np.broadcast_to(scale_for(rows, options.bits, clip)[:, None], (len(values), 1))


def _steps(
    p: Problem, grid: CodeGrid, own: Array, columns: slice, options: GridOptions, units: Array
) -> Array:
    """Steps for some columns, one per row in each column's ``units`` (columns of ``own``, or 1)."""
    steps = _simple(own / units, options) * units
    if options.clip == "hessian":
        return _search(p, grid, own, columns, steps, options.per_row)
    return steps


def _together(
    p: Problem, grid: CodeGrid, values: Array, spans: list[slice], options: GridOptions
) -> Array:
    """Steps (rows, d) that differ by a power of two between projections: each power by its error.

    Weights divided by their projection's power have one step per row, so it is chosen as for one
    projection.
    """
    units = np.ones(values.shape[1])
    first = _simple(values[:, spans[0]], options)
    steps = _steps(p, grid, values[:, spans[0]], spans[0], options, np.ones(1))
    for span in spans[1:]:
        so_far = slice(0, span.stop)
        own = values[:, so_far]
        near = int(np.rint(np.log2(np.median(_simple(values[:, span], options) / first))))
        found: list[tuple[float, float, Array]] = []
        for k in range(near - 2, near + 3):
            units[span] = 2.0**k
            tried = _steps(p, grid, own, so_far, options, units[so_far])
            found.append((float(_errors(p, grid, own, so_far, tried).sum()), 2.0**k, tried))
        _, units[span], steps = min(found, key=lambda one: one[0])
    return np.broadcast_to(steps, values.shape)


def _errors(p: Problem, grid: CodeGrid, own: Array, columns: slice, steps: Array) -> Array:
    """Membrane error of rounding ``own`` to nearest with ``steps`` (rows, 1 or its columns), per row.

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


def _search(
    p: Problem, grid: CodeGrid, own: Array, columns: slice, steps: Array, per_row_scale: bool
) -> Array:
    """Of multiples of ``steps``, those of least error, per row or for all rows."""
    errors = np.stack([_errors(p, grid, own, columns, steps * f) for f in _TRIED])
    if not per_row_scale:
        errors = errors.sum(axis=1, keepdims=True)
    return np.asarray(steps * _TRIED[errors.argmin(axis=0)][:, None])


def _dyadic(p: Problem, grid: CodeGrid, own: Array, columns: slice, tied: Array) -> Array:
    """The step ``tied * 2^k`` with one k for all rows that loses least."""
    ratios = np.abs(own).max(axis=1, initial=0.0) / (max(1, grid.high) * tied[:, 0])
    ratios = ratios[ratios > 0]
    near = int(np.rint(np.log2(np.median(ratios)))) if ratios.size else 0
    tried = [np.broadcast_to(tied * 2.0**k, (len(own), 1)) for k in range(near - 3, near + 4)]
    losses = [float(_errors(p, grid, own, columns, steps).sum()) for steps in tried]
    return tried[int(np.argmin(losses))]
