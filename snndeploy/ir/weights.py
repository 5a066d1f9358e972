"""Weights: float values, or integer codes with a scale; and which synapses were pruned."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .arrays import Array, Shape, frozen


@dataclass(frozen=True, eq=False)
class Weight:
    """The weight of one projection's weighted operator.

    Before quantisation ``data`` holds real values and ``scale`` is None. After it, ``data`` holds
    integer codes, the real weight is ``data * scale``, and the codes are the truth: nothing is ever
    re-derived from dequantised floats. Pruned synapses are recorded in ``mask`` (True = alive), so
    that *pruned* and *rounded to zero* stay distinct.

    ``bits`` = b tells the number of levels, at most 2^b. Codes of a symmetric grid are -(2^(b-1) - 1)
    … 2^(b-1) - 1, those of a grid without a zero the odd integers -(2^b - 1) … 2^b - 1.
    """

    data: Array
    scale: Array | None = None
    bits: int | None = None
    mask: Array | None = field(default=None)

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

    @property
    def shape(self) -> Shape:
        return self.data.shape

    @property
    def quantized(self) -> bool:
        return self.scale is not None

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
