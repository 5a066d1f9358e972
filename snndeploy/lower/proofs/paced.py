"""Head-room where spikes of a source lie apart: after a reset a neuron takes time to the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...ir.arrays import Array
from ...ir.program import CompartmentGroup, Headroom, Program
from ...ir.step import Arithmetic
from ..decays import kept
from .headroom import Interval, WorstCase, headroom, input_interval, thresholds_of, worst_case

_LONGEST = 32
"""Steps beyond which it does not matter how long a neuron takes to its next spike."""
_ROUNDS = 2
"""Longer pauses leave less drive, which makes pauses longer."""


def paced(
    program: Program, most: Mapping[str, Array], worst: Mapping[str, WorstCase]
) -> dict[str, Headroom]:
    """Head-room of the groups for which it gets better when the pauses of their sources count.

    Args:
        program: with the head-room that takes every source to spike in every step.
        most: spikes of a step at the most, by group; the largest message of inputs.
        worst: by group, where every source spikes in every step.
    """
    a = program.arithmetic
    if a.decay != "multiply" or a.arrival != "summed" or a.v_overflow == "wrap":
        return {}
    drives = {name: _Drive(program, program.group(name), most) for name in worst}
    better: dict[str, WorstCase] = {}
    pauses: dict[str, Array] = {}
    for _ in range(_ROUNDS):
        before, now = pauses, {**worst, **better}
        pauses = {name: _pause(program.group(name), case, a) for name, case in now.items()}
        pauses = {name: n for name, n in pauses.items() if (n > 1).any()}
        if pauses.keys() == before.keys() and all((pauses[n] == before[n]).all() for n in pauses):
            break
        for name, drive in drives.items():
            if not pauses.keys().isdisjoint(drive.sources):
                better[name] = drive.where_spikes_lie_apart(pauses)
    found = {}
    for name, case in better.items():
        room, stated = headroom(case, a), program.headroom[name]
        u, v = min(room.u_peak, stated.u_peak), min(room.v_peak, stated.v_peak)
        found[name] = replace(room, u_peak=u, v_peak=v)
    return {name: room for name, room in found.items() if room != program.headroom[name]}


@dataclass(frozen=True)
class _Drive:
    """What arrives at a group."""

    program: Program
    group: CompartmentGroup
    most: Mapping[str, Array]

    @property
    def sources(self) -> frozenset[str]:
        return frozenset(o.group for s in self.program.incoming(self.group.name) for o in s.sources)

    def where_spikes_lie_apart(self, pauses: Mapping[str, Array]) -> WorstCase:
        """The same, where spikes of a source are so many steps apart."""
        a, group = self.program.arithmetic, self.group
        ku = np.broadcast_to(kept(group.du + a.u_decay_offset, a), group.shape)
        kv = np.broadcast_to(kept(group.dv, a), group.shape)
        u, v = (Interval(np.zeros(group.shape), np.zeros(group.shape)) for _ in range(2))
        heard = [pauses[name] for name in self.sources if name in pauses]
        for n in sorted({1, *(int(n) for p in heard for n in np.unique(p))}):
            arriving = self._arriving(pauses, n) * float(1 << a.state_shift)
            u = u + _times(arriving, _lasting(n, ku, np.zeros_like(ku)))
            v = v + _times(arriving, _lasting(n, ku, kv))
        return worst_case(group, self._arriving({}, 1), a, apart=(u, v))

    def _arriving(self, pauses: Mapping[str, Array], n: int) -> Interval:
        """Bounds of what arrives in a step from the neurons that pause for ``n`` steps."""
        total = Interval(np.zeros(self.group.shape), np.zeros(self.group.shape))
        for s in self.program.incoming(self.group.name):
            parts = sum(np.unique(o.latency).size for o in s.sources)
            one = Interval(np.zeros(self.group.shape), np.zeros(self.group.shape))
            for o in s.sources:
                source = self.program.group(o.group)
                chosen = pauses.get(o.group, np.ones(source.shape, np.int64)) == n
                if not chosen.any():
                    continue
                peak = np.where(chosen, np.broadcast_to(self.most[o.group], source.shape), 0)
                signed = source.kind == "input" and bool(source.message_bits)
                one = one + input_interval(s.ops, s.mantissa, source.shape, peak, signed)
            if not pauses:
                total = total + one.shifted(s.exponent, parts)
                continue
            # What is dropped is dropped of the sum of all sources, whatever their pauses.
            total = total + one * 2.0**s.exponent
            if n == 1 and s.exponent < 0:
                total = total + Interval(np.full(self.group.shape, -float(parts)), np.zeros(()))
        return total


def _pause(group: CompartmentGroup, worst: WorstCase, a: Arithmetic) -> Array:
    """Steps from a spike of each neuron to its next one, at the least."""
    found, rule = np.ones(group.shape, np.int64), group.rule
    if rule is None or rule.spikes_per_step == "many" or rule.reset == "none":
        return found
    if rule.reset_timing == "snntorch-immediate" or worst.u.peak.max() > a.state_max:
        return found
    least, most = thresholds_of(group, a)
    # One that moves is passed soonest, and takes least, at its least.
    threshold = np.broadcast_to(least, group.shape)
    keep, late = kept(group.dv, a), rule.reset_timing == "next-step"
    rise, left = worst.per_step.high, np.zeros(group.shape)
    if rule.subtracts:
        left = np.maximum((keep if late else 1.0) * worst.v.high - threshold, 0)
        # a step that adds less than the threshold leaves less; after others nothing waits
        if not late:
            left = np.where(least == most, np.minimum(left, rise), left)
    v = rise + (left if late else keep * left)
    waits: Array = threshold > 0
    if late and not rule.subtracts:  # in the step after a spike v is 0
        found = found + waits
    for _ in range(_LONGEST):
        waits = waits & ((v < threshold) if rule.compare == ">=" else (v <= threshold))
        if not waits.any():
            break
        found = found + waits
        v = keep * v + rise
    return np.asarray(found)


def _lasting(n: int, ku: Array, kv: Array) -> Array:
    """The most that spikes at least ``n`` steps apart, of weight 1, add up to in v behind u.

    ``ku`` and ``kv`` are what a step leaves of u and v. What a spike does to v rises and then falls, so
    a train does most where it is as dense as it may be; the largest of its ``n`` phases counts.
    """
    kv = np.where(ku == kv, kv + 1e-6, kv)  # of two that are one, the limit: a little more
    steps = np.arange(1, n + 1).reshape(-1, *(1,) * ku.ndim)
    with np.errstate(divide="ignore", invalid="ignore"):
        sums = (ku**steps / (1 - ku**n) - kv**steps / (1 - kv**n)) / (ku - kv)
    most = sums.max(axis=0) * (1 + 1e-8)
    return np.asarray(np.where((ku < 1) & (kv < 1), most, np.inf))


def _times(interval: Interval, factor: Array) -> Interval:
    """Zero stays zero, however long it lasts."""
    with np.errstate(invalid="ignore"):
        return Interval(
            np.where(interval.low < 0, interval.low * factor, 0.0),
            np.where(interval.high > 0, interval.high * factor, 0.0),
        )
