"""Memory counted anew and slowly: every synapse listed, every formula written out, nothing shared.

Nothing of the mapping's counting is used: matrices come from multiplying out the operators, and each
slice, list and axon is counted by itself. Only the target's numbers are the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from snndeploy.chip import Target
from snndeploy.ir.arrays import Array
from snndeploy.ir.linear.unroll import unroll
from snndeploy.ir.ops import Conv, Dense, Reshape, SumPool
from snndeploy.ir.placement import Placement, Slice
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup

Used = dict[str, int]


class Recount:
    """Counts the slices of one placement."""

    def __init__(self, program: Program, placement: Placement, target: Target) -> None:
        self.program, self.placement = program, placement
        self.target: Any = target  # of either family: each has keys of its own
        self.two = target.family == "loihi2"
        self.wired = {
            s.name: _matrix(program, s, np.ones_like(s.mantissa)) for s in program.synapses
        }
        self.kept = {s.name: _matrix(program, s, s.mantissa != 0) for s in program.synapses}
        self.stored: dict[tuple[str, int], tuple[str, int, int, int, Array, int]] = {
            (s.name, part): self._stored(s, part)
            for s in program.synapses
            for part in range(len(placement.slices))
            if placement.slices[part].group == s.target
        }

    def cores(self) -> dict[int, Used]:
        """What every core uses of each resource."""
        result: dict[int, Used] = {}
        longest: dict[int, int] = {}
        for number, part in enumerate(self.placement.slices):
            group = self.program.group(part.group)
            used = self._slice(number, part, group)
            core = result.setdefault(part.core, {})
            delay = used.pop("delay", 0)
            longest[part.core] = max(longest.get(part.core, 0), delay)
            for name, n in used.items():
                core[name] = (
                    max(core.get(name, 0), n) if name == "axon_words" else core.get(name, 0) + n
                )
        if not self.two:
            for core, used in result.items():
                used["delay_slots"] = used["compartments"] * 2 ** max(3, longest[core])
        return result

    def _members(self, part: Slice) -> Array:
        return part.members(self.program.group(part.group).shape)

    def _stored(self, s: SynapseGroup, number: int) -> tuple[str, int, int, int, Array, int]:
        """(encoding, words, longest list, axons, sources with an axon, slots of each of these) of the
        cheapest encoding."""
        part = self.placement.slices[number]
        full = (self.wired[s.name][self._members(part)] != 0).sum(0)
        lists = self.kept[s.name][self._members(part)] != 0
        kept = lists.sum(0)
        neurons, target = part.neurons, self.target
        delays = sorted({int(v) for o in s.sources for v in np.ravel(o.latency)})
        entry = min(w for w in (*target.synapse.weight.widths, 99) if w >= s.weight_bits)
        entry = (s.weight_bits if entry == 99 else entry) + _bits(delays[-1] - 1)
        index = min(
            (w for w in target.synapse.index.widths if w >= _bits(max(neurons - 1, 1))),
            default=_bits(max(neurons - 1, 1)),
        )
        patterns = len({np.asarray(o.latency).tobytes() for o in s.sources})
        single = 1 if self.two else target.axons.out_discrete.limit
        options = [
            ("dense", full, [self._list(int(n), entry, index, "dense") for n in full if n]),
            ("sparse", kept, [self._list(int(n), entry, index, "sparse") for n in kept if n]),
        ]
        if (
            not self.two
            and target.synapse.skip
            and isinstance(s.op, Dense)
            and all(isinstance(o, (Dense, Reshape)) for o in s.ops)
        ):
            targets = [[int(i) for i in np.flatnonzero(column)] for column in lists.T]
            widths = [
                [self._run_length(t, entry, index, skip) for t in targets if t]
                for skip in target.synapse.skip.widths
            ]
            options.append(("run-length", kept, min(widths, key=sum)))
        found = [
            (
                name,
                sum(words) * patterns,
                max(words, default=0),
                len(words) * len(s.sources),
                counts > 0,
                single,
            )
            for name, counts, words in options
        ]
        if (
            isinstance(s.ops[-1], Conv)
            and all(isinstance(o, SumPool) for o in s.ops[:-1])
            and full.any()
        ):
            kernels = (
                [(*self._kernel2(s, part, entry), 1)]
                if self.two
                else self._kernels1(s, part, entry, index)
            )
            for words, longest, axons, slots in kernels:
                found.append(
                    ("conv", words * len(delays), longest, axons * len(s.sources), full > 0, slots)
                )
        limits = {name: max(limit.limit, 1) for name, limit in target.core.items()}

        def cost(option: tuple[str, int, int, int, Array, int]) -> tuple[bool, float, float]:
            _, words, longest, axons, heard, slots = option
            if self.two:
                here = (words + axons) / limits["synapse_words"]
                return False, max(here, axons / limits["axon_in"]), 0
            rooms = [
                (target.core[name].limit - self._extra(part))
                // len(self.program.incoming(s.target))
                for name in ("synapse_words", "in_axons")
            ]
            over = words > rooms[0] or axons > rooms[1] or longest > limits["axon_words"]
            sent = slots * int(heard.sum())
            shares = (
                words / limits["synapse_words"],
                axons / limits["in_axons"],
                sent / limits["out_axons"],
            )
            return over, max(shares), sum(shares)

        return min(found, key=cost)

    def _extra(self, part: Slice) -> int:
        """Second compartments, each with an axon and a synapse that resets the first."""
        reset = self.program.group(part.group).reset
        two = self.target.neurons.subtract_reset == "two-compartments"
        return part.neurons if reset == "subtract" and two else 0

    def _run_length(self, targets: list[int], entry: int, index: int, skip: int) -> int:
        """One list: entries of up to 64 synapses, each less than ``2 ** skip`` behind the last."""
        entries, length = 1, 1
        for last, this in itertools.pairwise(targets):
            length += 1
            if this - last >= 2**skip or length > 64:
                entries, length = entries + 1, 1
        header = self.target.synapse.header_bits.limit
        return math.ceil((len(targets) * (entry + skip) + entries * (header + index)) / 64)

    def _list(self, n: int, entry: int, index: int, encoding: str) -> int:
        header = self.target.synapse.header_bits.limit
        if self.two:
            return math.ceil((n * (entry + index) + header) / 64)
        blocks = math.ceil(n / 64)
        if encoding == "dense":
            return math.ceil((n * entry + blocks * (header + index)) / 64)
        return math.ceil((n * (entry + index) + blocks * header) / 64)

    def _kernel2(self, s: SynapseGroup, part: Slice, entry: int) -> tuple[int, int, int]:
        op = s.ops[-1]
        assert isinstance(op, Conv)
        offsets = 1
        for axis in range(len(op.kernel)):
            offsets *= len(set(_offsets(s, axis)))
        words = rows = 0
        for g in range(op.groups):
            size = op.out_channels // op.groups
            low, high = part.bounds[0]
            channels = len(set(range(low, high)) & set(range(g * size, (g + 1) * size)))
            if channels:
                each = math.ceil(
                    (channels * (entry + 1) + self.target.synapse.header_bits.limit) / 64
                )
                rows += op.in_channels // op.groups * offsets
                words += op.in_channels // op.groups * offsets * each
        return words, words // rows, self.target.axons.in_kernel.limit

    def _kernels1(
        self, s: SynapseGroup, part: Slice, entry: int, index: int
    ) -> list[tuple[int, int, int, int]]:
        """Lists of all source channels at one position of each border case: padded to the longest, with
        an axon for every position, or as they are, with an axon for every neuron."""
        op = s.ops[-1]
        assert isinstance(op, Conv)
        shape = self.program.source_shape(s)
        cases: dict[tuple[tuple[int, ...], ...], tuple[int, ...]] = {}
        places = 0
        for place in np.ndindex(*shape[1:]):
            taps = [
                _reached(s, shape, axis, x, part.bounds[1 + axis]) for axis, x in enumerate(place)
            ]
            if all(taps):
                places += 1
                cases.setdefault(tuple(tuple(t) for t in taps), place)
        kept = (self.kept[s.name][self._members(part)] != 0).sum(0).reshape(shape)
        lowest, highest = _channels(op, part.bounds[0])
        by_channel = [
            [
                self._list(int(kept[(c, *place)]), entry, index, "sparse")
                if kept[(c, *place)]
                else 0
                for c in range(lowest, highest)
            ]
            for place in cases.values()
        ]
        per_case = [max(row) for row in by_channel]
        outputs = math.prod(high - low for low, high in part.bounds[1:])
        copies = math.ceil(outputs / self.target.synapse.base_count.limit)
        neurons = int((self.wired[s.name][self._members(part)] != 0).any(0).sum())
        return [
            (
                sum(per_case) * (highest - lowest) * copies,
                max(per_case),
                places,
                self.target.axons.out_population.limit,
            ),
            (
                sum(map(sum, by_channel)) * copies,
                max(per_case),
                neurons,
                self.target.axons.out_discrete.limit,
            ),
        ]

    def _slice(self, number: int, part: Slice, group: CompartmentGroup) -> Used:
        incoming = [s for s in self.program.synapses if s.target == group.name]
        stored = [self.stored[s.name, number] for s in incoming]
        words, axons = sum(s[1] for s in stored), sum(s[3] for s in stored)
        if self.two:
            neurons = self.target.neurons
            used = {
                "neurons": part.neurons,
                "groups": 1,
                "axon_in": axons,
                "synapse_words": words,
                **self._map(part, group),
            }
            state = part.neurons * (
                neurons.program_words if group.kind == "custom" else neurons.words
            )
            pool = 1 + state + axons + words + used["axon_map"] + used["axon_mem"]
            return {**used, "pool_words": pool}
        extra = self._extra(part)
        twice = extra > 0
        delays = [_bits(max(int(np.max(o.latency)) for o in s.sources) - 1) for s in incoming]
        return {
            "compartments": math.ceil((part.neurons + extra) / 4) * 4,
            "synapse_words": words + extra,
            "axon_words": max((s[2] for s in stored), default=0),
            "in_axons": axons + extra,
            "out_axons": extra + self._slots(part, group),
            "compartment_profiles": self._profiles(part, group, ("du", "dv")) + twice,
            "threshold_profiles": self._profiles(part, group, ("vth",)),
            "synapse_formats": len(stored) + twice,
            "delay": max(delays, default=0),
        }

    def _profiles(self, part: Slice, group: CompartmentGroup, fields: tuple[str, ...]) -> int:
        values = [np.broadcast_to(getattr(group, f), group.shape).ravel() for f in fields]
        return len({tuple(int(v[i]) for v in values) for i in self._members(part)})

    def _destinations(self, group: CompartmentGroup) -> Iterator[tuple[Slice, bool, Array, int]]:
        """Slices that hear a group, whether through a kernel, which neurons, and slots of each."""
        for s in self.program.synapses:
            if group.name not in {o.group for o in s.sources}:
                continue
            for number, part in enumerate(self.placement.slices):
                if part.group == s.target:
                    encoding, _, _, _, heard, slots = self.stored[s.name, number]
                    yield part, encoding == "conv", heard, slots

    def _slots(self, part: Slice, group: CompartmentGroup) -> int:
        axons, per_chip = self.target.axons, self.placement.cores_per_chip
        assert axons.out_off_chip
        slots, mine = 0, self._members(part)
        for other, _, heard, cost in self._destinations(group):
            if other.core // per_chip != part.core // per_chip:
                cost += axons.out_off_chip.limit
            slots += cost * int(heard[mine].sum())
        return slots

    def _map(self, part: Slice, group: CompartmentGroup) -> Used:
        destinations = list(self._destinations(group))
        mine = self._members(part)
        lists = group.role == "output" or any(
            not kernel and heard.any() for _, kernel, heard, _ in destinations
        )
        kernels = np.zeros(mine.size, int)
        for _, kernel, heard, _ in destinations:
            if kernel:
                kernels += heard[mine]
        places = kernels.reshape(part.shape).max(0) if len(part.shape) > 1 else kernels
        places = np.ravel(places)
        return {
            "axon_map": part.neurons
            if lists
            else places.size * any(heard.any() for *_, heard, _ in destinations),
            "axon_mem": int(places[places > 1].sum()),
        }


def _matrix(program: Program, s: SynapseGroup, weight: Array) -> Array:
    return unroll(s.ops, weight.astype(np.int64), program.source_shape(s)).dense()


def _bits(value: int) -> int:
    return int(value).bit_length()


def _channels(op: Conv, outputs: tuple[int, int]) -> tuple[int, int]:
    """Input channels of the groups that a range of output channels belongs to."""
    per_in, per_out = op.in_channels // op.groups, op.out_channels // op.groups
    groups = {c // per_out for c in range(*outputs)}
    return min(groups) * per_in, (max(groups) + 1) * per_in


def _offsets(s: SynapseGroup, axis: int) -> list[int]:
    """Where the taps of one axis fall among the sources, relative to the first."""
    op = s.ops[-1]
    assert isinstance(op, Conv)
    offsets = [tap * op.dilation[axis] for tap in range(op.kernel[axis])]
    for pool in reversed(s.ops[:-1]):
        assert isinstance(pool, SumPool)
        offsets = [o * pool.stride[axis] + i for o in offsets for i in range(pool.kernel[axis])]
    return offsets


def _reached(
    s: SynapseGroup, shape: tuple[int, ...], axis: int, source: int, outputs: tuple[int, int]
) -> list[int]:
    """Taps (sorted, each as often) that connect a source to outputs of one axis."""
    op = s.ops[-1]
    assert isinstance(op, Conv)
    lengths = [shape[1 + axis]]
    for pool in s.ops[:-1]:
        assert isinstance(pool, SumPool)
        n = lengths[-1] + 2 * pool.padding[axis]
        lengths.append((n - pool.kernel[axis]) // pool.stride[axis] + 1)
    places = [source]
    for pool, length in zip(s.ops[:-1], lengths[1:], strict=True):
        assert isinstance(pool, SumPool)
        places = [
            out
            for p in places
            for out in range(length)
            if 0 <= p + pool.padding[axis] - out * pool.stride[axis] < pool.kernel[axis]
        ]
    return sorted(
        tap
        for p, out, tap in itertools.product(places, range(*outputs), range(op.kernel[axis]))
        if out * op.stride[axis] + tap * op.dilation[axis] - op.padding[axis][0] == p
    )


def over_limits(used: Mapping[int, Used], target: Target) -> set[tuple[int, str, int]]:
    """(core, resource, used) of everything beyond its limit."""
    return {
        (core, name, parts[name])
        for core, parts in used.items()
        for name in parts
        if name in target.core and parts[name] > target.core[name].limit
    }
