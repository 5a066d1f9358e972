"""Grids of weights: the levels that codes may take, and rounding to them with gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....ir.arrays import Array, frozen
from ....ir.weights import Weight
from ...clipping import code_limit


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightGrid:
    """A weight is ``levels[i] * scale``, for ``levels`` increasing integers.

    ``scale`` broadcasts against the weight; ``bits`` is the width that `Weight` records.
    """

    levels: Array
    scale: Array
    bits: int

    @classmethod
    def of(cls, weight: Weight, *, odd: bool = False) -> WeightGrid:
        """The grid that a quantised weight lies on.

        It is ReScaW's, which has no zero, where that is said (``odd``), or where codes are beyond
        the symmetric range.
        """
        if weight.scale is None or weight.bits is None:
            raise ValueError("a real-valued weight lies on no grid")
        peak = int(np.abs(weight.data).max(initial=0))
        odd = odd or peak > code_limit(weight.bits)
        levels = odd_levels(weight.bits) if odd else symmetric_levels(weight.bits)
        return cls(levels=levels, scale=weight.scale, bits=weight.bits)


def symmetric_levels(bits: int) -> Array:
    """-(2^(b-1) - 1) … 2^(b-1) - 1; for one bit the signs."""
    limit = code_limit(bits)
    return frozen(np.arange(-limit, limit + 1, 2 if bits == 1 else 1, dtype=np.int32))


def odd_levels(bits: int) -> Array:
    """-(2^b - 1), …, -1, 1, …, 2^b - 1: the 2^b levels of ReScaW."""
    top = (1 << bits) - 1
    return frozen(np.arange(-top, top + 1, 2, dtype=np.int32))


def power_levels(bits: int) -> Array:
    """0 and ± the powers of two, 2^b - 1 levels altogether (b ≥ 2)."""
    powers = 1 << np.arange((1 << (bits - 1)) - 1, dtype=np.int32)
    return frozen(np.concatenate([-powers[::-1], [0], powers]).astype(np.int32))


class WeightRounding:
    """Rounds tensors to a grid."""

    def __init__(self, grid: WeightGrid) -> None:
        self.grid = grid
        self._levels = torch.tensor(grid.levels, dtype=torch.float64)
        self._scale = torch.tensor(grid.scale, dtype=torch.float64)

    def _on(self, device: torch.device) -> None:
        if self._levels.device != device:
            self._levels, self._scale = self._levels.to(device), self._scale.to(device)

    def codes(self, weight: Tensor) -> Tensor:
        """The nearest level of each weight (the lower one of two equally near), float64."""
        self._on(weight.device)
        between = (self._levels[1:] + self._levels[:-1]) / 2
        found: Tensor = self._levels[torch.bucketize(weight / self._scale, between)]
        return found

    def round(self, weight: Tensor) -> Tensor:
        """``weight`` on the grid, exactly as its codes times the scale; gradients pass through."""
        rounded = (self.codes(weight.detach()) * self._scale).to(weight.dtype)
        return rounded + (weight - weight.detach())
