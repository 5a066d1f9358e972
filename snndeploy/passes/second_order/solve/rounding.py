"""Rounding to codes, and the loops over columns that spend their time on it, compiled.

Rows know nothing of each other, so each runs through a block of columns by itself. Results are those of
torch to the last bit: the same operations in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from ....ir.arrays import Array
from ....simulate.jit import compiled, has_numba, inlined

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class CodeRounding:
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


def compiles(rounding: object, values: Tensor) -> TypeGuard[CodeRounding]:
    """Whether `sweep_block` and `descend_block` can stand in for torch."""
    return isinstance(rounding, CodeRounding) and values.device.type == "cpu" and has_numba()


@inlined
def _nearest(value: float, scale: float, low: int, high: int, signs: bool) -> float:
    if signs:
        return -scale if value < 0 else scale
    return min(max(np.rint(value / scale), low), high) * scale  # type: ignore[no-any-return]


@compiled
def sweep_block(
    part: Array,
    own: Array,
    scale: Array,
    alive: Array,
    low: int,
    high: int,
    signs: bool,
    errors: Array,
) -> None:
    """Round the columns of ``part`` (rows, n) in turn, in place; ``own`` (n, n) is their part of U."""
    rows, n = part.shape
    for r in range(rows):
        for j in range(n):
            value = part[r, j]
            new = _nearest(value, scale[r, j], low, high, signs) if alive[r, j] else 0.0
            error = (value - new) / own[j, j]
            for k in range(j + 1, n):
                part[r, k] -= error * own[j, k]
            part[r, j], errors[r, j] = new, error


@compiled
def descend_block(
    w: Array,
    gradient: Array,
    own: Array,
    diagonal: Array,
    scale: Array,
    alive: Array,
    low: int,
    high: int,
    signs: bool,
) -> None:
    """One pass of coordinate descent over the columns of ``w`` (rows, n), in place, as ``gradient``.

    ``own`` (n, n) is their part of H.
    """
    rows, n = w.shape
    for r in range(rows):
        for j in range(n):
            if not alive[r, j]:
                continue
            aim = w[r, j] - gradient[r, j] / diagonal[j]
            step = _nearest(aim, scale[r, j], low, high, signs) - w[r, j]
            if step != 0:
                for k in range(n):
                    gradient[r, k] += step * own[j, k]
                w[r, j] += step
