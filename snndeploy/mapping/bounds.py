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

import numpy as np

from ..ir.arrays import Array, size
from ..ir.ops import Conv
from ..ir.placement import Bounds, Verdict, VerdictKind
from ..ir.program import CompartmentGroup
from ..target import Target
from .memory import MIN_DELAY_BITS, WORD, Memory, Resources, delay_bits, doubled, with_pool
from .reach import Fan
from .split import in_layer_order

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


def fewest_cores(bounds: Mapping[str, GroupBound], target: Target) -> tuple[int, str]:
    """The fewest cores where slices share them, and the resource that says so."""
    slices = sum(b.slices for b in bounds.values())
    spent = {name: sum(b.spent.get(name, 0.0) for b in bounds.values()) for name in target.core}
    spent["groups"] = slices
    needs = {
        name: _ceil(spent[name] / max(limit.limit, 1))
        for name, limit in target.core.items()
        if name not in ("axon_words", "delay_slots")  # not sums over slices
    }
    resource = max(needs, key=lambda name: needs[name])
    return max(1, needs[resource]), resource


def judge(
    bounds: Mapping[str, GroupBound], target: Target, slices: Mapping[str, int], *, cores: int,
    available: int, shared: bool, broken: bool, tried: int,
) -> Verdict:  # fmt: skip
    """What is proved about a placement.

    Args:
        bounds: of every group.
        target: the chip.
        slices: how many slices every group was cut into.
        cores: cores that were taken.
        available: cores of the board.
        shared: whether slices were allowed to share cores.
        broken: whether a core exceeds a limit.
        tried: grids that the search counted.
    """
    least, resource = fewest_cores(bounds, target)
    total = sum(b.slices for b in bounds.values())
    bound = least if shared else max(total, 1)
    alone = [(name, b.impossible) for name, b in bounds.items() if b.impossible]
    layers = sorted(bounds, key=lambda name: (-bounds[name].slices, name))
    told = [f"{n} takes {bounds[n].slices} ({_words(bounds[n].resource)})" for n in layers[:3]]
    rest = f", {len(layers) - 3} more layers" if len(layers) > 3 else ""
    split = f"no cut takes fewer slices than {total}: at least {', '.join(told)}{rest}"
    share = f"all layers together fill {least} cores ({_words(resource)})"
    if alone:
        name, why = alone[0]
        kind: VerdictKind = "impossible"
        reason = f"a neuron of {name} does not fit a core even alone: {why}"
    elif least > available:
        kind, reason = "impossible", share
    elif broken or cores > available:
        kind, reason = "not-found", share
    elif cores <= bound:
        kind, reason = "optimal", share if shared else split
    else:
        kind, reason = "gap", share
        if not shared:
            loose = [n for n in layers if slices.get(n, 0) > bounds[n].slices]
            reason = "; ".join(
                f"{n} took {slices[n]} slices, at least {bounds[n].slices} "
                f"({_words(bounds[n].resource)})" for n in loose[:3]
            ) + (f"; {len(loose) - 3} more layers" if len(loose) > 3 else "")  # fmt: skip
    return Verdict(
        kind=kind, cores=cores, available=available, bound=bound, shared=shared, tried=tried,
        reason=reason,
    )  # fmt: skip


def _words(resource: str) -> str:
    return resource.replace("_", " ")


def _slots(memory: Memory, group: CompartmentGroup, found: Mapping[str, GroupBound]) -> Array:
    """Output axon slots that each neuron takes at least: its targets do not fit on fewer cores."""
    slots = np.zeros(group.shape, np.int64)
    axons = memory.target.axons
    if memory.target.memory_model != "loihi1" or axons.out_discrete is None:
        return slots
    for s in memory.out_of[group.name]:
        fan = memory.fans[s.name]
        whole = tuple((0, n) for n in fan.target_shape)
        into = fan.into(whole)
        reached = (into.stored > 0).astype(np.int64)
        if fan.plain and s.target in found:
            reached = -(-into.stored // max(found[s.target].largest, 1))
        cost = axons.out_discrete.limit
        if fan.separable and axons.out_population is not None:
            cost = min(cost, axons.out_population.limit)
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
        each, once = self.each(), self.once()
        largest, slices = {}, {"neurons": 1}
        for name, values in each.items():
            room = self._limits[name] - once.get(name, 0.0)
            order = np.cumsum(np.sort(values.reshape(-1)))
            largest[name] = int(np.searchsorted(order, room + _EPSILON, "right"))
            if order[-1] > 0:
                slices[name] = _ceil(order[-1] / room) if room > 0 else neurons
        impossible = self._impossible(each)
        if len(group.shape) == 1 and impossible is None:
            count, resource, longest = self._intervals()
            slices[resource] = max(slices.get(resource, 1), count)
            largest[resource] = min(largest.get(resource, neurons), longest)
        elif len(group.shape) > 1 and any(fan.separable for fan in self._fans):
            largest["kernels"] = self._largest_extents()
        tightest = min(largest, key=lambda name: largest[name])
        fits = max(1, largest[tightest])
        slices[tightest] = max(slices.get(tightest, 1), _ceil(neurons / fits))
        resource = max(slices, key=lambda name: slices[name])
        most = slices[resource]
        spent = {name: most * value for name, value in once.items()}
        for name, values in each.items():
            spent[name] = spent.get(name, 0.0) + float(values.sum())
        kernels = self._kernels()
        for name in ("synapse_words", "pool_words"):
            if name in spent:
                spent[name] += max(0.0, kernels - most * self._kernel_once)
        return GroupBound(most, resource, fits, spent, impossible)

    @property
    def _limits(self) -> dict[str, int]:
        return {name: limit.limit for name, limit in self.memory.target.core.items()}

    @property
    def _fans(self) -> list[Fan]:
        return [self.memory.fans[s.name] for s in self.memory.into[self.group.name]]

    @property
    def _two(self) -> bool:
        return self.memory.target.memory_model == "loihi2"

    def _bits(self, fan: Fan) -> int:
        """The fewest bits of a synapse in a list; only Loihi 2 stores an index in every encoding."""
        target = self.memory.target
        index = min(target.synapse.index.widths) if self._two else 0
        return target.synapse.weight.holding(fan.synapses.weight_bits) + delay_bits(fan) + index

    def each(self) -> dict[str, Array]:
        """What every neuron adds to the box it is in, whichever that is."""
        g, target = self.group, self.memory.target
        ones = np.ones(g.shape)
        words, axons = np.zeros(g.shape), np.zeros(g.shape)
        for fan in self._fans:
            if fan.one_to_one:  # a list of its own, of a word or more
                alone = fan.synapses_per_target > 0
                words += alone * fan.delay_patterns
                axons += alone * len(fan.synapses.sources)
            elif not fan.separable:
                bits = self._bits(fan) * fan.delay_patterns
                words += fan.synapses_per_target * bits / WORD
        if self._two:
            model = target.neurons
            state = model.program_words if g.kind == "custom" else model.words
            entries = ones * self._lists
            return {
                "neurons": ones, "synapse_words": words, "axon_in": axons, "axon_map": entries,
                "pool_words": ones * state + words + axons + entries,
            }  # fmt: skip
        extra = float(doubled(g, target))
        compartments = ones * (1 + extra)
        delays = max((delay_bits(fan) for fan in self._fans), default=0)
        return {
            "compartments": compartments, "synapse_words": words + extra,
            "in_axons": axons + extra, "out_axons": self.slots + extra,
            "delay_slots": compartments * 2 ** max(delays, MIN_DELAY_BITS),
        }  # fmt: skip

    def once(self) -> dict[str, float]:
        """What every box takes on top, however small it is."""
        words, axons = 0.0, 0.0
        for fan in self._fans:
            if not (fan.one_to_one or fan.separable):
                heard = int(fan.synapses_per_target.min())
                header = self.memory.target.synapse.header_bits.limit
                words += heard * header * fan.delay_patterns / WORD
                axons += heard * len(fan.synapses.sources)
            elif fan.separable:
                axons += self._fewest_axons(fan, np.ones(len(self.group.shape) - 1, int)[:, None])[
                    0
                ]
        words += self._kernel_once
        if self._two:
            return {
                "groups": 1.0, "synapse_words": words, "axon_in": axons,
                "pool_words": 1 + words + axons,
            }  # fmt: skip
        return {"synapse_words": words, "in_axons": axons, "synapse_formats": len(self._fans)}

    @property
    def _lists(self) -> bool:
        """Whether spikes of this group surely go to the host or to lists, neuron by neuron."""
        return self.group.role == "output" or any(
            not fan.separable and fan.synapses_per_target.any()
            for fan in (self.memory.fans[s.name] for s in self.memory.out_of[self.group.name])
        )

    @property
    def _kernel_once(self) -> float:
        """Words of convolutions into one neuron."""
        one = np.ones(len(self.group.shape) - 1, int)[:, None]
        return float(sum(self._words(f, np.array([1]), one)[0] for f in self._fans if f.separable))

    def _kernels(self) -> float:
        """Words of convolutions over all boxes: each channel is in some box, in its encoding."""
        synapse = self.memory.target.synapse
        total = 0.0
        for fan in self._fans:
            op = fan.synapses.op
            if not fan.separable or not isinstance(op, Conv):
                continue
            lists = fan.synapses_per_target.reshape(op.out_channels, -1).sum(axis=1)
            lists = lists * self._bits(fan) * fan.delay_patterns
            if self._two:
                stored = synapse.weight.holding(fan.synapses.weight_bits) + delay_bits(fan)
                rows = op.in_channels // op.groups * fan.taps
                kernel = rows * (stored + 1) * len(fan.latencies)
                total += float(np.minimum(lists, kernel).sum()) / WORD
            else:  # the neuron with most weights has them all in its box, in any encoding
                weights = fan.weights_per_target.reshape(op.out_channels, -1).max(axis=1)
                total += float(np.minimum(lists, weights * self._bits(fan)).sum()) / WORD
        return total

    def _words(self, fan: Fan, channels: Array, extents: Array) -> Array:
        """Words of a convolution into boxes of so many channels and (axis, box) spatial extents."""
        synapse, op = self.memory.target.synapse, fan.synapses.op
        assert isinstance(op, Conv)
        heard = int(fan.synapses_per_target.min())
        bits = self._bits(fan)
        header = synapse.header_bits.limit
        neurons = channels * extents.prod(axis=0)
        lists = heard * (neurons * bits + header) / WORD * fan.delay_patterns
        stored = synapse.weight.holding(fan.synapses.weight_bits) + delay_bits(fan)
        if self._two:
            groups = -(-channels // (op.out_channels // op.groups))
            row = -(-(channels * (stored + 1) + header * groups) // WORD)
            kernel = op.in_channels // op.groups * fan.taps * np.maximum(groups, row)
        else:
            assert synapse.base_count is not None
            weights = channels * int(fan.weights_per_target.min())
            shifts = -(-extents.prod(axis=0) // synapse.base_count.limit)
            kernel = weights * (stored + min(synapse.index.widths)) / WORD * shifts
        return np.asarray(np.minimum(lists, kernel * len(fan.latencies)))

    def _fewest_axons(self, fan: Fan, extents: Array) -> Array:
        """Input axons of a convolution into boxes of so much extent per spatial (axis, box)."""
        heard = int(fan.synapses_per_target.min())
        sources = len(fan.synapses.sources)
        if self._two:
            kernel = self.memory.target.axons.in_kernel
            assert kernel is not None
            return np.full(extents.shape[1], min(kernel.limit, heard) * sources)
        places = np.ones(extents.shape[1], np.int64)
        for axis, extent in enumerate(extents):
            places = places * fan.fewest_places(axis)[extent - 1]
        return np.minimum(places, heard if fan.nonzero is not None else places) * sources

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
        target, limits = self.memory.target, self._limits
        places = extents.prod(axis=0)
        neurons = channels * places
        words, axons = np.zeros(len(places)), np.zeros(len(places))
        for fan in self._fans:
            if fan.separable:
                words = words + self._words(fan, channels, extents)
                axons = axons + self._fewest_axons(fan, extents)
        plain = {name: values.min() for name, values in self.each().items()}
        words = words + neurons * plain["synapse_words"]
        if self._two:
            leaves = bool(self.memory.out_of[self.group.name]) and not self._lists
            entries = neurons * plain["axon_map"] + places * leaves
            axons = axons + neurons * plain["axon_in"]
            state = target.neurons
            each = state.program_words if self.group.kind == "custom" else state.words
            used = {
                "neurons": neurons, "synapse_words": words, "axon_in": axons, "axon_map": entries,
                "pool_words": 1 + neurons * each + words + axons + entries,
            }  # fmt: skip
        else:
            used = {
                "compartments": neurons * plain["compartments"], "synapse_words": words,
                "in_axons": axons + neurons * plain["in_axons"],
                "out_axons": neurons * plain["out_axons"],
                "delay_slots": neurons * plain["delay_slots"],
            }  # fmt: skip
        fits = np.ones(len(places), bool)
        for name, values in used.items():
            fits &= values <= limits[name] + _EPSILON
        return fits

    def _least(self, low: int, high: int) -> Resources:
        """What no encoding undercuts, of an interval or (flat indices) of the neurons in one box."""
        bounds: Bounds = ((low, high),)
        used = self.memory.least(self.group, bounds)
        if self._two:
            used["axon_map"] += (high - low) * self._lists
            return with_pool(used)
        used["out_axons"] += int(self.slots[low:high].sum())
        return used

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
                why = self._over(self._least(start, end + 1)) or "neurons"
                ended[why] = ended.get(why, 0) + 1
            start, count = end, count + 1
        resource = max(ended, key=lambda name: ended[name]) if ended else "neurons"
        heard = sum(size(fan.source_shape) for fan in self._fans)
        longest = length
        if count > 1 and length * first * heard <= _EXACT_WORK:
            longest, end = 1, 1
            for start in range(length):
                end = max(end, start + 1)
                while end < length and self._over(self._least(start, end + 1)) is None:
                    end += 1
                longest = max(longest, end - start)
        return count, resource, longest

    def _reach(self, start: int, low: int) -> int:
        """The end of the longest interval from ``start`` that fits (one neuron if none does)."""
        (high,) = self.group.shape
        while low < high:
            middle = (low + high + 1) // 2
            if self._over(self._least(start, middle)) is None:
                low = middle
            else:
                high = middle - 1
        return low

    def _impossible(self, each: Mapping[str, Array]) -> str | None:
        """What one of the neurons that take most exceeds even alone, if any does."""
        shape = self.group.shape
        loads = [values for name, values in each.items() if values.size]
        loads += [fan.synapses_per_target for fan in self._fans]
        for load in loads:
            place = np.unravel_index(int(load.argmax()), shape)
            box = tuple((int(i), int(i) + 1) for i in place)
            used = self.memory.least(self.group, box)
            if self._two:
                used["axon_map"] += int(self._lists)
                used = with_pool(used)
            else:
                used["out_axons"] += int(self.slots[place])
            name = self._over(used)
            if name is not None:
                return f"{name.replace('_', ' ')} {used[name]:,} of {self._limits[name]:,}"
        return None


def _ceil(value: float) -> int:
    """Round up, forgiving what floating point adds."""
    return math.ceil(value - _EPSILON * max(1.0, value))
