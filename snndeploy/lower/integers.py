"""Real numbers to the chip's number formats: weight mantissas and exponents, decays, biases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..chip import WeightFormat
from ..ir.arrays import Array, frozen
from ..ir.program import SignMode
from ..ir.weights import Weight

USUAL_BITS = 8
"""Bits that real weights are rounded to where no chip is known."""
_NOTHING = 2.0**-900
"""Weights below this are none: a scale for them, or its square, is beyond float64."""
_FLOAT_NOISE = 1e-12
"""Relative differences below this come from float64 arithmetic, not from rounding to integers."""


@dataclass(frozen=True, eq=False)
class Codes:
    """Integer codes with the real step they stand for (``value = code * step``).

    ``error`` is the largest difference from the weights, relative to the largest weight of the row
    (what one neuron or channel receives) that loses most. ``real`` holds weights that were rounded.
    """

    codes: Array
    step: Array
    error: float = 0.0
    real: Array | None = None

    @property
    def exact(self) -> bool:
        return self.error == 0.0

    @property
    def values(self) -> Array:
        """What the weights are to be."""
        return self.codes * self.step if self.real is None else self.real


def integer_codes(weight: Weight, bits: int = USUAL_BITS) -> Codes:
    """Integer codes of a weight: its own, an exact dyadic grid, or rounded to ``bits``.

    Trained weights that were not quantised lose precision here; weights that already lie on a
    power-of-two grid of so many bits do not.
    """
    if weight.scale is not None:
        return Codes(weight.data, weight.scale)
    values = weight.data.astype(np.float64)
    peak = float(np.abs(values).max())
    if peak < _NOTHING:
        error = 1.0 if peak else 0.0
        return Codes(np.zeros(values.shape, np.int64), np.ones(()), error, values if peak else None)
    limit = 2 ** (bits - 1) - 1
    finest = 2.0 ** np.ceil(np.log2(peak / limit))
    # A coarser grid than the finest is never needed: its codes are the finest's, shifted.
    on_grid = np.rint(values / finest)
    if (on_grid * finest == values).all():
        return Codes(on_grid.astype(np.int64), np.asarray(finest))
    return rounded_codes(values, np.asarray(peak / limit))


def rounded_codes(values: Array, step: Array) -> Codes:
    """The codes nearest to real weights on a grid, one for all or one per row."""
    codes = np.rint(values / step)
    lost = rows(np.abs(codes * step - values)).max(axis=1)
    error = float((lost / np.maximum(rows(np.abs(values)).max(axis=1), _NOTHING)).max())
    return Codes(codes.astype(np.int64), step, error, values)


def rows(values: Array) -> Array:
    """Weights by what they arrive at: one row per output or channel."""
    return values.reshape(values.shape[0] if values.ndim > 1 else 1, -1)


@dataclass(frozen=True, eq=False)
class Mantissas:
    """Weights as the synapse memory holds them: ``value = mantissa * 2**exponent``."""

    mantissa: Array
    exponent: int
    sign_mode: SignMode
    weight_bits: int
    error: float

    @property
    def floored(self) -> float:
        """The most that a negative exponent drops of a sum, relative to the largest weight."""
        unit = 1 << max(-self.exponent, 0)
        if not (self.mantissa % unit).any():
            return 0.0
        return (unit - 1) / float(np.abs(self.mantissa).max())


def to_mantissas(
    wanted: Array, exponent_min: int, weights: WeightFormat, factor: Array | float = 1.0
) -> Mantissas:
    """Round real ``wanted`` weights to mantissas with the finest exponent that holds them.

    On Loihi a mantissa is even where both signs are present (-256...254): the sign takes one of its
    bits (lava-nc 0.10.0, ``utils/weightutils.py``). ``error`` is the largest rounding error relative
    to the largest weight, both in the network's units: ``factor`` of them are one of ``wanted``.
    """
    low, high = float(wanted.min()), float(wanted.max())
    mode: SignMode = "mixed" if low < 0 < high else "inhibitory" if low < 0 else "excitatory"
    grid, reach = weights.step(mode), weights.reach(mode)
    exponent = exponent_min
    if low < 0 or high > 0:
        sides = [(high, reach[1]), (low, reach[0])]
        needed = max(
            np.log2(abs(value)) - np.log2(abs(limit)) for value, limit in sides if value and limit
        )
        exponent = max(exponent_min, int(np.ceil(needed - 1e-12)))
    mantissa = (np.rint(wanted / 2.0**exponent / grid) * grid).astype(np.int64)
    mantissa = np.clip(mantissa, *reach)
    lost = np.abs(mantissa * 2.0**exponent - wanted)
    lost = np.where(lost > _FLOAT_NOISE * np.abs(wanted), lost, 0.0) / factor
    error = float(lost.max() / (np.abs(wanted) / factor).max()) if lost.any() else 0.0
    return Mantissas(
        frozen(mantissa), exponent, mode, _stored_bits(mantissa, grid, weights.bits), error
    )


def _stored_bits(mantissa: Array, grid: int, bits: int) -> int:
    """Bits that the stored field needs: trailing zeros common to all mantissas are not stored."""
    used = int(np.bitwise_or.reduce(np.abs(mantissa), axis=None)) if mantissa.size else 0
    if used == 0:
        return 1
    trailing = (used & -used).bit_length() - 1
    return bits + (grid.bit_length() - 1) - trailing


def to_bias(
    bias: Array, mantissa_max: int, exponent_max: int, exponent_min: int = 0
) -> tuple[Array, int]:
    """Mantissas and the one exponent of a population's biases: the finest exponent that holds them.

    Values beyond the format saturate; the caller chooses a scale for which none is.
    """
    peak = float(np.abs(bias).max())
    exponent = 0 if peak <= mantissa_max else int(np.ceil(np.log2(peak / mantissa_max)))
    exponent = min(max(exponent, exponent_min if peak else 0), exponent_max)
    mantissa = np.clip(np.rint(bias / 2.0**exponent), -mantissa_max, mantissa_max)
    return frozen(mantissa.astype(np.int64)), exponent
