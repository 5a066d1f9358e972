"""Which integers a ReLU network becomes: factors of layers, exponents, biases, thresholds.

ReLU is homogeneous: layer l may hold its activations times any factor f_l, with weights times
f_l / f_(l-1) and biases times f_l. The factor is the largest for which messages fit 16 bits and sums fit
the chip's register, on calibration data, and with which the largest weight is the largest code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...chip import Family
from ...ir.arrays import Array
from .layers import ReluLayer

FRACTION = 6
"""Fractional bits of weights, thresholds and biases."""
MESSAGE_BITS = 16
_ROOM = 0.9
"""Part of a register, or of a message, that calibration data may fill."""
_NOISE = 1e-5
"""Of float32 weights, in octaves."""
_OF_INPUT = 0.5
"""Thresholds of the input, relative to those of layers: what it holds back no layer gets to know."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerScale:
    """A layer's integers.

    Attributes:
        factor: integer activations in units of 2**-FRACTION per unit of the network's, over 2**FRACTION.
        mantissa: of the weights.
        exponent: of the weights.
        bias: in units of 2**-FRACTION of the scaled activation.
        threshold: likewise.
    """

    factor: float
    mantissa: Array
    exponent: int
    bias: Array
    threshold: int


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Of a layer on calibration data: the largest activation and sum, and the mean activation but 0."""

    activation: float
    sums: float
    mean: float


def seen_on(layers: Sequence[ReluLayer], frames: Array) -> tuple[Observed, ...]:
    """What the data do to each layer; the data themselves come first."""
    import torch

    x = torch.from_numpy(np.ascontiguousarray(frames, np.float32))
    found = [_seen(x, x)]
    with torch.no_grad():
        for layer in layers:
            sums = layer.sums(x)
            x = layer.activation(sums)
            found.append(_seen(x, sums))
    return tuple(found)


def _seen(x: object, sums: object) -> Observed:
    values, arriving = np.abs(np.asarray(x)), np.abs(np.asarray(sums))
    moved = values[values > 0]
    return Observed(
        activation=float(values.max(initial=0.0)),
        sums=float(arriving.max(initial=0.0)),
        mean=float(moved.mean()) if moved.size else 0.0,
    )


def layer_scales(
    layers: Sequence[ReluLayer],
    seen: Sequence[Observed],
    family: Family,
    *,
    threshold: float,
    bits: int,
    spike_exp: int,
    of_input: float,
) -> tuple[LayerScale, ...]:
    """The integers of every layer.

    Args:
        layers: of the network.
        seen: of the data and of every layer.
        family: of the chip: widths of weights, exponents and states.
        threshold: relative to the mean activation of a layer that is not 0.
        bits: of weights.
        spike_exp: fractional bits of messages beyond ``FRACTION``.
        of_input: factor of the input.
    """
    unit = 2.0 ** (FRACTION + spike_exp)
    largest = _ROOM * 2.0 ** (MESSAGE_BITS - 1) / unit
    most = _ROOM * 2.0 ** (family.arithmetic.state_bits - 1) / (unit * 2.0**FRACTION)
    before, found = of_input, []
    for i, (layer, here) in enumerate(zip(layers, seen[1:], strict=True)):
        last = i == len(layers) - 1
        room = most / max(here.sums, here.activation, 1e-9)
        reach = here.activation * (1 if layer.relu else 2)  # of a change, from end to end
        factor = room if last else min(room, largest / max(reach, 1e-9))
        factor = before * _filling(layer.weight * (factor / before), factor / before, bits)
        mantissa, exponent = _codes(layer.weight * (factor / before), bits, family)
        found.append(
            LayerScale(
                factor=factor,
                mantissa=mantissa,
                exponent=exponent,
                bias=np.rint(layer.bias * factor * 2**FRACTION).astype(np.int64),
                threshold=0 if last else threshold_of(threshold, here.mean * factor),
            )
        )
        before = factor
    return tuple(found)


def threshold_of(relative: float, mean: float) -> int:
    """A threshold in units of 2**-FRACTION."""
    return int(relative * mean * 2**FRACTION)


def input_threshold(relative: float, seen: Observed, factor: float) -> int:
    """That of the encoder."""
    return int(_OF_INPUT * threshold_of(relative, seen.mean * factor))


def _filling(weight: Array, ratio: float, bits: int) -> float:
    """The largest ratio up to ``ratio`` with which the largest weight is the largest code, 2^k times."""
    peak = float(np.abs(weight).max(initial=0.0))
    if not peak:
        return ratio
    octaves = np.log2((2 ** (bits - 1) - 1) / peak)
    return float(ratio * 2.0 ** (octaves - np.ceil(octaves)))


def _codes(weight: Array, bits: int, family: Family) -> tuple[Array, int]:
    """Mantissas of ``bits`` bits with signs, and the exponent with which they are largest."""
    step = family.weights.step("mixed") << max(family.weights.bits - bits, 0)
    top = 2 ** (bits - 1) - 1
    span = family.target.synapse.exponent
    peak = float(np.abs(weight).max(initial=0.0)) * 2**FRACTION
    grown = int(np.floor(np.log2(top * step / peak) + _NOISE)) if peak else 0
    grown = min(max(grown, -span.high), -span.low)
    codes = np.clip(
        np.rint(weight.astype(np.float64) * 2.0 ** (FRACTION + grown) / step), -top, top
    )
    return (codes * step).astype(np.int64), -grown
