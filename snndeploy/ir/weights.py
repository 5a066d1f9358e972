"""Weights: float values, or integer codes with a scale; and which synapses were pruned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..brief import brief, brief_html
from .arrays import Array, Shape, frozen

Levels = Literal["symmetric", "complement", "odd", "powers"]
"""The grids that codes lie on, see `levels_of`."""


def levels_of(levels: Levels, bits: int) -> Array:
    """The codes that a grid of ``bits`` has, increasing.

    ``symmetric``: -(2^(b-1) - 1) … 2^(b-1) - 1, and for one bit the signs (beside them, the code 0
    stands for a synapse that is not there); ``complement``: -2^(b-1) … 2^(b-1) - 1, all of two's
    complement; ``odd``: ±1, ±3, … ±(2^b - 1), without a zero; ``powers``: 0, ±1, ±2, ±4, … ±2^(b-2).
    """
    top = max(1, (1 << (bits - 1)) - 1)
    if levels == "symmetric":
        return np.arange(-top, top + 1, 2 if bits == 1 else 1, dtype=np.int32)
    if levels == "complement":
        return np.arange(-(1 << (bits - 1)), (1 << (bits - 1)), dtype=np.int32)
    if levels == "odd":
        return np.arange(1 - (1 << bits), 1 << bits, 2, dtype=np.int32)
    powers = 1 << np.arange(max(1, bits - 1), dtype=np.int32)
    return np.concatenate([-powers[::-1], [0], powers]).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Weight:
    """The weight of one projection's weighted operator.

    Before quantisation ``data`` holds real values and ``scale`` is None. After it, ``data`` holds
    integer codes, the real weight is ``data * scale``, and the codes are the truth: nothing is ever
    re-derived from dequantised floats. Pruned synapses are recorded in ``mask`` (True = alive), so
    that *pruned* and *rounded to zero* stay distinct.

    ``bits`` = b tells the number of levels, at most 2^b, and ``levels`` which they are: it is recorded
    by whoever quantises, as codes alone do not tell (`grid_levels` decides for weights of other
    origin).
    """

    data: Array
    scale: Array | None = None
    bits: int | None = None
    mask: Array | None = field(default=None)
    levels: Levels | None = None

    __repr__ = brief
    _repr_html_ = brief_html

    def __post_init__(self) -> None:
        mask = None if self.mask is None else frozen(self.mask, bool)
        if mask is not None and mask.shape != self.data.shape:
            raise ValueError(f"mask {mask.shape} does not match weights {self.data.shape}")
        data = self.data if mask is None else np.where(mask, self.data, 0).astype(self.data.dtype)
        object.__setattr__(self, "data", frozen(data))
        object.__setattr__(self, "mask", mask)
        if self.scale is not None:
            object.__setattr__(self, "scale", frozen(self.scale, np.float64))
        if (self.scale is None) != (self.bits is None):
            raise ValueError("integer codes come with both a scale and a bit width")
        if self.scale is not None and not np.issubdtype(self.data.dtype, np.integer):
            raise ValueError("quantised weights hold integer codes")
        if self.levels is not None and self.scale is None:
            raise ValueError("real-valued weights lie on no levels")

    @property
    def shape(self) -> Shape:
        return self.data.shape

    @property
    def quantized(self) -> bool:
        return self.scale is not None

    @property
    def grid_levels(self) -> Levels | None:
        """The recorded levels; without a record, the first grid that holds every code.

        None for real values, and where no grid of so many bits holds them.
        """
        if self.levels is not None or self.bits is None:
            return self.levels
        codes = np.unique(self.data if self.mask is None else self.data[self.mask])
        kinds: tuple[Levels, ...] = ("symmetric", "complement", "odd", "powers")
        return next((k for k in kinds if self._holds(k, codes)), None)

    def off_grid(self) -> int:
        """Number of living codes that its levels do not have."""
        if self.bits is None:
            return 0
        alive = self.data if self.mask is None else self.data[self.mask]
        levels = self.grid_levels
        if levels is None:
            return int(alive.size)
        return int((~np.isin(alive, _held(levels, self.bits))).sum())

    def _holds(self, levels: Levels, codes: Array) -> bool:
        assert self.bits is not None
        return bool(np.isin(codes, _held(levels, self.bits)).all())

    def values(self) -> Array:
        """Real weights (dequantised where needed, zeros where pruned), float32 or float64."""
        return self.data if self.scale is None else self.data * self.scale

    @property
    def alive(self) -> int:
        """Number of stored weights that were not pruned."""
        return int(self.data.size if self.mask is None else self.mask.sum())

    @property
    def nonzero(self) -> int:
        """Number of stored weights whose value is not zero."""
        return int(np.count_nonzero(self.data))


def _held(levels: Levels, bits: int) -> Array:
    """The levels, and the zero of a synapse that is not there where signs are the levels."""
    found = levels_of(levels, bits)
    return np.append(found, 0) if levels == "symmetric" and bits == 1 else found
