"""Grids of weights: the levels that codes may take, and rounding to them with gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ....errors import PassRefused
from ....ir.arrays import Array, frozen
from ....ir.weights import Levels, Weight, levels_of


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightGrid:
    """A weight is ``levels[i] * scale``, for the increasing integers that ``kind`` and ``bits`` name.

    ``scale`` broadcasts against the weight; ``bits`` is the width that `Weight` records. Where
    ``absent`` is True the code is 0 whatever the levels: a synapse that one-bit codes leave out.
    """

    kind: Levels
    scale: Array
    bits: int
    absent: Array | None = None

    @property
    def levels(self) -> Array:
        """All codes of the grid, increasing."""
        return frozen(levels_of(self.kind, self.bits))

    @classmethod
    def of(cls, weight: Weight) -> WeightGrid:
        """The grid that a quantised weight lies on.

        Raises:
            PassRefused: a living code is none of its levels.
        """
        if weight.scale is None or weight.bits is None:
            raise ValueError("a real-valued weight lies on no grid")
        kind, off = weight.grid_levels, weight.off_grid()
        if kind is None or off:
            raise PassRefused(
                "codes-off-grid",
                f"{off} of its codes are no {kind or 'known'} levels of {weight.bits} bits, "
                "and training would move them",
                hint="quantize the real-valued network again",
            )
        absent = None
        if kind == "symmetric" and weight.bits == 1:
            absent = weight.data == 0
        return cls(kind=kind, scale=weight.scale, bits=weight.bits, absent=absent)


class WeightRounding:
    """Rounds tensors to a grid."""

    def __init__(self, grid: WeightGrid) -> None:
        self.grid = grid
        self._levels = torch.tensor(grid.levels, dtype=torch.float64)
        self._scale = torch.tensor(grid.scale, dtype=torch.float64)
        self._present = None if grid.absent is None else torch.tensor(~grid.absent)

    def _on(self, device: torch.device) -> None:
        if self._levels.device != device:
            self._levels, self._scale = self._levels.to(device), self._scale.to(device)
            self._present = None if self._present is None else self._present.to(device)

    def codes(self, weight: Tensor) -> Tensor:
        """The nearest level of each weight (the lower one of two equally near), float64."""
        self._on(weight.device)
        between = (self._levels[1:] + self._levels[:-1]) / 2
        found: Tensor = self._levels[torch.bucketize(weight / self._scale, between)]
        return found if self._present is None else found * self._present

    def round(self, weight: Tensor) -> Tensor:
        """``weight`` on the grid, exactly as its codes times the scale; gradients pass through."""
        rounded = (self.codes(weight.detach()) * self._scale).to(weight.dtype)
        return rounded + (weight - weight.detach())
