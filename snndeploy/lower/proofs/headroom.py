"""Interval bounds: how large the accumulators of a population can become, whatever spikes arrive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...ir.arrays import Array, Shape
from ...ir.linear.apply import apply_chain
from ...ir.neurons import Neuron
from ...ir.ops import Op
from ...ir.program import CompartmentGroup, Headroom
from ...ir.step import Arithmetic, NeuronRule, integer_thresholds
from ..decays import kept

ENDLESS = 1 << 60
"""Stands for the peak of a u that never forgets: the largest number that a certificate reads."""


@dataclass(frozen=True, eq=False)
class Interval:
    """Worst-case input per neuron and step: ``low <= input <= high``, with ``low <= 0 <= high``."""

    low: Array
    high: Array

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high)

    def __mul__(self, factor: Array | float) -> Interval:
        return Interval(self.low * factor, self.high * factor)

    def shifted(self, exponent: int, parts: int = 1) -> Interval:
        """Times ``2**exponent``; what a negative one drops is dropped downward, of each of ``parts``."""
        low, high = self.low * 2.0**exponent, self.high * 2.0**exponent
        if exponent >= 0:
            return Interval(low, high)
        return Interval(np.floor(low) - np.where(low < 0, parts - 1, 0), np.floor(high))

    def within(self, other: Interval) -> Interval:
        """What both allow."""
        return Interval(np.maximum(self.low, other.low), np.minimum(self.high, other.high))

    @property
    def peak(self) -> Array:
        """Largest magnitude per neuron."""
        return np.maximum(-self.low, self.high)


def input_interval(
    ops: tuple[Op, ...], weight: Array, shape: Shape, peak: Array, signed: bool
) -> Interval:
    """Bounds of one projection whose sources send 0...``peak``, or -peak...peak where ``signed``.

    ``peak`` is one number or one per source neuron.
    """
    full = np.array(np.broadcast_to(peak, (1, *shape)), np.int64)
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


@dataclass(frozen=True, eq=False)
class WorstCase:
    """How far the states of a lowered group go, whatever spikes arrive (v units, per neuron).

    Attributes:
        u: synaptic state.
        per_step: what a step adds to v.
        v: membrane before the reset, if its register were wide enough; infinite without a leak.
        late: how far below zero a reset takes v that comes when v has leaked since the spike.
        change: the largest that a step adds to v or takes off it, where a register holds that, else 0.
        arriving: that, without what decays.
    """

    u: Interval
    per_step: Interval
    v: Interval
    late: Array
    change: Array
    arriving: Array

    def within(self, steps: int) -> Interval:
        """v in a sample of so many steps."""
        return Interval(
            np.maximum(self.v.low, self.per_step.low * steps - self.late),
            np.minimum(self.v.high, self.per_step.high * steps),
        )


def worst_case(
    group: CompartmentGroup,
    synaptic: Interval,
    arithmetic: Arithmetic,
    apart: tuple[Interval, Interval] | None = None,
) -> WorstCase:
    """Bounds of a lowered group; ``synaptic`` bounds its input a (weight units).

    ``apart`` bounds u, and what u takes v to, in another way; what is smaller counts.
    """
    shift = arithmetic.state_shift
    du, dv = group.du + arithmetic.u_decay_offset, group.dv
    u = geometric(synaptic * float(1 << shift), kept(du, arithmetic))
    if apart is not None:
        u = u.within(apart[0])
    bias, rule = group.bias, group.rule
    subtracts = rule is not None and rule.subtracts
    least, most = thresholds_of(group, arithmetic)
    # A reset that takes a negative threshold off adds it, and a floor above zero lifts v to it.
    added = np.maximum(-least, 0) if subtracts else 0
    added = added + (0 if group.v_floor is None else np.maximum(group.v_floor, 0))
    passed = u
    if arithmetic.arrival == "in-turn":  # u has decayed when it reaches v
        left = u * kept(du, arithmetic)
        passed = Interval(np.floor(left.low), np.ceil(left.high))
    per_step = Interval(np.minimum(passed.low + bias, 0), np.maximum(passed.high + bias, 0) + added)
    bounded = geometric(per_step, kept(dv, arithmetic))
    low, high = bounded.low, bounded.high
    lowest = np.full(group.shape, -np.inf)
    if apart is not None and u.peak.max() <= arithmetic.state_max:
        alone = geometric(
            Interval(np.minimum(bias, 0.0), np.maximum(bias, 0.0) + added), kept(dv, arithmetic)
        )
        lowest, high = apart[1].low + alone.low, np.minimum(high, apart[1].high + alone.high)
    late = np.zeros(group.shape)
    if subtracts and rule is not None and rule.reset_timing != "immediate":
        leak = np.broadcast_to(1.0 - kept(dv, arithmetic), high.shape)
        np.multiply(high, leak, where=leak > 0, out=late)
        # A threshold that has moved since the spike takes more than v had.
        late = np.ceil(late) + (most - least) * min(rule.most, float(arithmetic.state_max))
        low = np.minimum(low, per_step.low - late)
    low = np.maximum(low, lowest - late)
    if resets_below_threshold(group):
        high = np.minimum(high, np.maximum(most, 0) + per_step.high)
    if group.v_floor is not None:
        low = np.maximum(low, np.minimum(np.minimum(group.v_floor, 0), -late) + per_step.low)
    change = arriving = np.zeros(group.shape)
    if arithmetic.v_step == "held":
        up, down = passed.high + np.maximum(bias, 0) + added, np.maximum(-bias, 0) - passed.low
        arriving = np.maximum(up, down)
        held = np.minimum([-low, high], arithmetic.state_max + 1)
        rising, falling = np.ceil(held * (1.0 - kept(dv, arithmetic)))
        change = np.maximum(up + rising, down + falling)
    return WorstCase(u, per_step, Interval(low, high), late, change, arriving)


def headroom(worst: WorstCase, arithmetic: Arithmetic) -> Headroom:
    """What the worst case is against the registers."""
    limit, per_step = arithmetic.state_max, worst.per_step
    peak = np.maximum(worst.v.peak, worst.change)
    clips = peak > limit
    # What decays of a v is less than what has been added to it: so many steps are enough for both.
    added = np.maximum(np.maximum(-per_step.low, per_step.high), worst.arriving)
    fastest = np.maximum(added[np.broadcast_to(clips, per_step.low.shape)], 1)
    return Headroom(
        u_peak=int(min(np.ceil(worst.u.peak.max()), ENDLESS)),
        v_peak=int(min(np.ceil(peak.max()), limit)),
        limit=limit,
        clip_steps=int(limit // fastest.max()) if clips.any() else None,
    )


def most_spikes(group: CompartmentGroup, worst: WorstCase, arithmetic: Arithmetic) -> Array:
    """The most spikes of a step, per neuron: thresholds in v, which its register holds at the most.

    Holds where neither u nor the sums that drive it wrap; see `held_spikes`.
    """
    if group.spikes_per_step == "one":
        return np.asarray(1, np.int64)
    most = np.minimum(worst.v.high, arithmetic.state_max) // threshold_units(group, arithmetic)
    most = np.asarray(np.maximum(most, 0), np.int64)
    return most if group.max_spikes is None else np.minimum(most, group.max_spikes)


def held_spikes(group: CompartmentGroup, arithmetic: Arithmetic) -> Array:
    """The most spikes of a step that registers can hold, whatever arrives."""
    if group.spikes_per_step == "one":
        return np.asarray(1, np.int64)
    most: Array = arithmetic.state_max // threshold_units(group, arithmetic)
    return most if group.max_spikes is None else np.minimum(most, group.max_spikes)


def threshold_units(group: CompartmentGroup, arithmetic: Arithmetic) -> Array:
    """What a spike of many takes, in v units."""
    return np.asarray(np.maximum(thresholds_of(group, arithmetic)[0], 1))


def thresholds_of(group: CompartmentGroup, arithmetic: Arithmetic) -> tuple[Array, Array]:
    """A group's least and most threshold, in v units; as they stand where it never spikes."""
    rule, p = group.rule or NeuronRule(), group.registers(arithmetic)
    least, most = integer_thresholds(rule, arithmetic, p)
    return np.asarray(least), np.asarray(most)


def v_may_wrap(arithmetic: Arithmetic) -> bool:
    """Whether a v beyond its register changes its sign, rather than stay at the limit.

    The adder must hold a whole v, u and bias for saturation to come first.
    """
    match arithmetic.v_overflow:
        case "wrap":
            return True
        case "saturate" | "saturate-full":
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
