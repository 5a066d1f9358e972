"""The fewest slices and cores that any cut into boxes takes: what verdicts rest on.

Every bound follows from counts that no box undercuts, whatever its encoding and whatever the cut of
the layers behind. Four arguments are tried per group, and the strongest wins:

1. Sum: what is spent neuron by neuron is spent by all boxes together, however they are cut.
2. Largest box: if no box that fits holds more than M of N neurons, there are at least ``N / M``.
3. Largest extents (convolutions): M is found over all heights and widths of boxes, since kernels take
   room by channels and input axons by the positions that a box hears.
4. Longest interval (groups of one axis): no box inside another takes more than it (`Memory.least`),
   so cutting off the longest interval that fits, again and again, takes the fewest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...chip.counting import Resources
from ...chip.floor import Boxes, Floor
from ...ir.arrays import Array, size
from ...ir.fan.fan import Fan
from ...ir.placement import Bounds
from ...ir.program import CompartmentGroup
from ..count.memory import Memory
from ..cut.split import in_layer_order

_EXACT_WORK = 20_000_000
"""Synapses that the search for the longest of all intervals may look at."""
_EPSILON = 1e-9


@dataclass(frozen=True)
class GroupBound:
    """At least ``slices`` boxes, because of ``resource``; no box that fits holds over ``largest``.

    ``spent`` is what all boxes of the group take together at least. ``impossible`` tells what a
    single neuron exceeds, if one does.
    """

    slices: int
    resource: str
    largest: int
    spent: Mapping[str, float]
    impossible: str | None = None


def group_bounds(memory: Memory) -> dict[str, GroupBound]:
    """The fewest boxes of every group, counted from the output to the input."""
    found: dict[str, GroupBound] = {}
    for group in reversed(in_layer_order(memory.program)):
        found[group.name] = _Bounder(memory, group, _slots(memory, group, found)).bound()
    return found


def _slots(memory: Memory, group: CompartmentGroup, found: Mapping[str, GroupBound]) -> Array:
    """Output axon slots that each neuron takes at least: its targets do not fit on fewer cores."""
    slots = np.zeros(group.shape, np.int64)
    for s in memory.out_of[group.name]:
        fan = memory.fans[s.name]
        cost = memory.family.least_slots(fan)
        if not cost:
            continue
        whole = tuple((0, n) for n in fan.target_shape)
        into = fan.into(whole)
        reached = (into.stored > 0).astype(np.int64)
        if fan.plain and s.target in found:
            reached = -(-into.stored // max(found[s.target].largest, 1))
        slots[tuple(slice(*b) for b in into.region)] += reached * cost
    return slots


@dataclass(frozen=True, eq=False)
class _Bounder:
    """Bounds one group; ``slots`` are the output axon slots of each neuron."""

    memory: Memory
    group: CompartmentGroup
    slots: Array

    def bound(self) -> GroupBound:
        """The strongest of all arguments."""
        group, neurons = self.group, size(self.group.shape)
        each, once = self.each, self.once
        largest, slices = {}, {"neurons": 1}
        for name, values in each.items():
            room = self._limits[name] - once.get(name, 0.0)
            order = np.cumsum(np.sort(values.reshape(-1)))
            largest[name] = int(np.searchsorted(order, room + _EPSILON, "right"))
            if order[-1] > 0:
                slices[name] = round_up(order[-1] / room) if room > 0 else neurons
        # No box inside another takes more: what fits as one box needs no search.
        whole = self._over(self._least(tuple((0, n) for n in group.shape))) is None
        impossible = None if whole else self._impossible()
        if len(group.shape) == 1 and not whole and impossible is None:
            count, resource, longest = self._intervals()
            slices[resource] = max(slices.get(resource, 1), count)
            largest[resource] = min(largest.get(resource, neurons), longest)
        elif len(group.shape) > 1 and any(fan.separable for fan in self.fans):
            largest["kernels"] = self._largest_extents()
        largest["neurons"] = min(largest.get("neurons", neurons), neurons)
        tightest = min(largest, key=lambda name: largest[name])
        fits = max(1, largest[tightest])
        slices[tightest] = max(slices.get(tightest, 1), round_up(neurons / fits))
        resource = max(slices, key=lambda name: slices[name])
        most = slices[resource]
        spent = {name: most * value for name, value in once.items()}
        for name, values in each.items():
            spent[name] = spent.get(name, 0.0) + float(values.sum())
        for name, more in self.floor.of_all_boxes(most).items():
            spent[name] += more
        return GroupBound(most, resource, fits, spent, impossible)

    @cached_property
    def _limits(self) -> dict[str, int]:
        return self.memory.family.limits

    @cached_property
    def fans(self) -> list[Fan]:
        """The synapse groups into this one."""
        return [self.memory.fans[s.name] for s in self.memory.into[self.group.name]]

    @cached_property
    def floor(self) -> Floor:
        """What the family says that no box undercuts."""
        boxes = Boxes(
            group=self.group,
            fans=self.fans,
            slots=self.slots,
            listed=self._lists,
            heard=any(
                self.memory.fans[s.name].synapses_per_target.any()
                for s in self.memory.out_of[self.group.name]
            ),
        )
        return self.memory.family.floor(boxes)

    @cached_property
    def each(self) -> dict[str, Array]:
        """What every neuron adds to the box it is in, whichever that is."""
        return self.floor.each()

    @cached_property
    def once(self) -> dict[str, float]:
        """What every box takes on top, however small it is."""
        return self.floor.once()

    @cached_property
    def _lists(self) -> bool:
        """Whether spikes of this group surely go to the host or to lists, neuron by neuron."""
        return self.group.role == "output" or any(
            not fan.separable and fan.synapses_per_target.any()
            for fan in (self.memory.fans[s.name] for s in self.memory.out_of[self.group.name])
        )

    def _largest_extents(self) -> int:
        """The most neurons of any box, by its channels and its extent along each spatial axis."""
        channels, *spatial = self.group.shape
        ranges = [np.arange(1, n + 1) for n in spatial]
        extents = np.stack([e.reshape(-1) for e in np.meshgrid(*ranges, indexing="ij")])
        low, high = np.zeros(extents.shape[1], int), np.full(extents.shape[1], channels)
        while (low < high).any():
            middle = (low + high + 1) // 2
            fits = self._fits(middle, extents)
            low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
        return int((low * extents.prod(axis=0)).max())

    def _fits(self, channels: Array, extents: Array) -> Array:
        """Whether boxes of so many channels and spatial extents may fit."""
        plain = {name: float(values.min()) for name, values in self.each.items()}
        used = self.floor.extents(channels, extents, plain)
        fits = np.ones(extents.shape[1], bool)
        for name, values in used.items():
            fits &= values <= self._limits[name] + _EPSILON
        return fits

    def _least(self, bounds: Bounds) -> Resources:
        """What no encoding and no cut behind undercuts, of one box."""
        slots = self.slots[tuple(slice(*b) for b in bounds)]
        return self.floor.sending(self.memory.least(self.group, bounds), slots)

    def _over(self, used: Mapping[str, float]) -> str | None:
        over = {n: used[n] / max(m, 0.5) for n, m in self._limits.items() if used.get(n, 0) > m}
        return max(over, key=lambda name: over[name]) if over else None

    def _intervals(self) -> tuple[int, str, int]:
        """The fewest intervals, the resource that ended most of them, and the longest interval."""
        (length,) = self.group.shape
        ended: dict[str, int] = {}
        start = count = 0
        first = 1
        while start < length:
            end = self._reach(start, start + 1)
            first = max(first, end - start) if count == 0 else first
            if end < length:
                why = self._over(self._least(((start, end + 1),))) or "neurons"
                ended[why] = ended.get(why, 0) + 1
            start, count = end, count + 1
        resource = max(ended, key=lambda name: ended[name]) if ended else "neurons"
        heard = sum(size(fan.source_shape) for fan in self.fans)
        longest = length
        if count > 1 and length * first * heard <= _EXACT_WORK:
            longest, end = 1, 1
            for start in range(length):
                end = max(end, start + 1)
                while end < length and self._over(self._least(((start, end + 1),))) is None:
                    end += 1
                longest = max(longest, end - start)
        return count, resource, longest

    def _reach(self, start: int, low: int) -> int:
        """The end of the longest interval from ``start`` that fits (one neuron if none does)."""
        (high,) = self.group.shape
        while low < high:
            middle = (low + high + 1) // 2
            if self._over(self._least(((start, middle),))) is None:
                low = middle
            else:
                high = middle - 1
        return low

    def _impossible(self) -> str | None:
        """What one of the neurons that take most exceeds even alone, if any does."""
        shape = self.group.shape
        loads = list(self.each.values())
        loads += [fan.synapses_per_target for fan in self.fans]
        for load in loads:
            place = np.unravel_index(int(load.argmax()), shape)
            box = tuple((int(i), int(i) + 1) for i in place)
            used = self._least(box)
            name = self._over(used)
            if name is not None:
                return f"{name.replace('_', ' ')} {used[name]:,} of {self._limits[name]:,}"
        return None


def round_up(value: float) -> int:
    """Round up, forgiving what floating point adds."""
    return math.ceil(value - _EPSILON * max(1.0, value))
