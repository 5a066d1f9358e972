"""Interval bounds: how large the accumulators of a population can become, whatever spikes arrive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ir.arrays import Array, Shape
from ..ir.linear.apply import apply_chain
from ..ir.neurons import Neuron
from ..ir.ops import Op
from ..ir.program import CompartmentGroup, Headroom
from ..ir.step import Arithmetic
from .decays import kept


@dataclass(frozen=True, eq=False)
class Interval:
    """Worst-case input per neuron and step: ``low <= input <= high``, with ``low <= 0 <= high``."""

    low: Array
    high: Array

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high)

    def __mul__(self, factor: Array | float) -> Interval:
        return Interval(self.low * factor, self.high * factor)

    def shifted(self, exponent: int) -> Interval:
        """Times ``2**exponent``; what a negative one drops is dropped downward."""
        low, high = self.low * 2.0**exponent, self.high * 2.0**exponent
        return Interval(np.floor(low), np.floor(high)) if exponent < 0 else Interval(low, high)

    @property
    def peak(self) -> Array:
        """Largest magnitude per neuron."""
        return np.maximum(-self.low, self.high)


def input_interval(
    ops: tuple[Op, ...], weight: Array, shape: Shape, peak: int, signed: bool
) -> Interval:
    """Bounds of one projection whose sources send 0...``peak``, or -peak...peak where ``signed``."""
    full = np.full((1, *shape), peak, np.int64)
    high = apply_chain(ops, np.maximum(weight, 0), full)[0]
    low = apply_chain(ops, np.minimum(weight, 0), full)[0]
    return Interval(low - high, high - low) if signed else Interval(low, high)


def geometric(interval: Interval, factor: Array) -> Interval:
    """Bounds of a leaky sum ``y = factor * y + input``; infinite for a factor of 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = 1.0 / (1.0 - factor)
        return Interval(
            np.where(interval.low < 0, interval.low * gain, 0.0),
            np.where(interval.high > 0, interval.high * gain, 0.0),
        )


def headroom(group: CompartmentGroup, synaptic: Interval, arithmetic: Arithmetic) -> Headroom:
    """Exact worst case of a lowered group; ``synaptic`` bounds its input a (weight units)."""
    shift, limit = arithmetic.state_shift, arithmetic.state_max
    du, dv = group.du + arithmetic.u_decay_offset, group.dv
    u = geometric(synaptic * float(1 << shift), kept(du, arithmetic))
    bias = group.bias
    per_step = Interval(np.minimum(u.low + bias, 0), np.maximum(u.high + bias, 0))
    bounded = geometric(per_step, kept(dv, arithmetic))
    low, high = bounded.low, bounded.high
    if resets_below_threshold(group):
        high = np.minimum(high, (group.vth << shift) + per_step.high)
    if group.v_floor is not None:
        low = np.maximum(low, np.minimum(group.v_floor, 0) + per_step.low)
    peak = np.maximum(-low, high)
    clips = peak > limit
    fastest = np.maximum(
        np.maximum(-per_step.low, per_step.high)[np.broadcast_to(clips, per_step.low.shape)], 1
    )
    return Headroom(
        u_peak=int(np.ceil(u.peak.max(initial=0.0))),
        v_peak=int(min(np.ceil(peak.max(initial=0.0)), limit)),
        limit=limit,
        clip_steps=int(limit // fastest.max()) if clips.any() else None,
    )


def v_may_wrap(arithmetic: Arithmetic) -> bool:
    """Whether a v beyond its register changes its sign, rather than stay at the limit.

    The adder must hold a whole v, u and bias for saturation to come first.
    """
    match arithmetic.v_overflow:
        case "wrap":
            return True
        case "saturate":
            return arithmetic.sum_bits < arithmetic.state_bits + 2


def resets_below_threshold(neuron: Neuron | CompartmentGroup) -> bool:
    """Whether v is at most the threshold after every step: reset to zero, or by all its multiples."""
    if isinstance(neuron, CompartmentGroup) and neuron.kind == "readout":
        return False
    return neuron.reset_timing == "immediate" and (
        neuron.reset == "zero"
        or (
            neuron.reset == "subtract"
            and neuron.spikes_per_step == "many"
            and not neuron.max_spikes
        )
    )
