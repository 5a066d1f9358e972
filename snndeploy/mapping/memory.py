"""What a slice takes of a core's memory, for both memory models.

Both store, for each input axon, a list of the synapses behind it, in 64-bit words. They differ in
how lists are shared, in what the axons cost, and in the limits, which come from the target's file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from ..ir.arrays import Array, Shape, size
from ..ir.placement import Bounds
from ..ir.program import CompartmentGroup, Program
from ..target import Target
from .fan_in import FanIn
from .reach import Fan, fans

WORD = 64
"""Bits of a word of synapse memory."""
UPDATE_GROUP = 4
"""Compartments are serviced in fours on Loihi (numUpdates of nengo-loihi and NxTF)."""
MIN_DELAY_BITS = 3
"""Delay bits that a Loihi core reserves per compartment (nengo-loihi and NxTF: delayBits = 3)."""
NOT_ADDED = ("axon_words", "delay_slots")
"""Resources of a core that are more or less than the sum over its slices."""

Encoding = Literal["dense", "sparse", "conv"]
Resources = dict[str, int]
_Count = TypeVar("_Count", int, Array)
"""Of one slice, or of all tiles of a grid."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A synapse group as stored for one slice.

    ``words`` and ``longest`` (the longest list of one axon) are 64-bit words, ``axons`` input axons,
    ``synapses`` the entries held in memory and ``nonzero`` those of them that are not zero.
    """

    encoding: Encoding
    words: int
    longest: int
    axons: int
    synapses: int
    nonzero: int


def list_words(counts: Array, bits: int, target: Target, index: int) -> Array:
    """Words of lists of ``counts`` synapses whose entries take ``bits`` each.

    Loihi 2: ``ceil((n * (weight + delay + index) + header) / 64)``. Loihi starts an entry with a
    header every 64 synapses; ``index`` bits name its first target where its synapses do not.
    """
    entry = target.synapse.entry_synapses
    headers = 1 if entry is None else -(-counts // entry.limit)
    total = counts * bits + headers * (target.synapse.header_bits.limit + index)
    return np.where(counts > 0, -(-total // WORD), 0)


def kernel_words(rows: Iterable[tuple[int, int]], bits: int, target: Target) -> int:
    """Words of a kernel that all positions of a Loihi 2 core share.

    A row holds the weights of all output channels for one input channel and tap; one more bit per
    weight and a header never under-count the ten rows that Intel's compiler printed.
    """
    header = target.synapse.header_bits.limit
    return sum(n * -(-(channels * (bits + 1) + header) // WORD) for n, channels in rows)


def store(fan: Fan, into: FanIn, neurons: int, target: Target) -> Stored:
    """The cheapest encoding of a synapse group for a slice of ``neurons``.

    Cheapest is what leaves most room: the smallest share of synapse memory or input axons, whichever
    is larger. Equal costs go to the simpler encoding.
    """
    inputs = "axon_in" if target.memory_model == "loihi2" else "in_axons"
    words, axons = target.core["synapse_words"].limit, target.core[inputs].limit

    def share(stored: Stored) -> float:
        pooled = stored.words + stored.axons if target.memory_model == "loihi2" else 0
        return max(stored.words / words, stored.axons / axons, pooled / words)

    return min(_encodings(fan, into, neurons, target), key=share)


def cheapest(fan: Fan, into: FanIn, neurons: int, target: Target) -> Stored:
    """The least that any encoding takes of each resource, alone; never more for a smaller box.

    Shared kernels of Loihi need care: how many lists a box cuts its kernel into need not grow with
    the box, but the longest list of every input channel does, and each has one.
    """
    parts = _encodings(fan, into, neurons, target)
    words = [p.words for p in parts if p.encoding != "conv" or target.memory_model == "loihi2"]
    if into.kernel is not None and into.full.any() and target.memory_model == "loihi1":
        words.append(_least_kernel1(fan, into, neurons, target))
    return Stored(
        encoding="sparse", words=min(words), longest=min(p.longest for p in parts),
        axons=min(p.axons for p in parts), synapses=0, nonzero=0,
    )  # fmt: skip


def _least_kernel1(fan: Fan, into: FanIn, neurons: int, target: Target) -> int:
    assert into.kernel is not None
    index = target.synapse.index.holding(max(neurons - 1, 1).bit_length())
    entry = target.synapse.weight.holding(fan.synapses.weight_bits) + delay_bits(fan) + index
    longest = into.kernel.stored.max(axis=1, initial=0)
    return int(list_words(longest, entry, target, 0).sum()) * len(fan.latencies)


def _encodings(fan: Fan, into: FanIn, neurons: int, target: Target) -> list[Stored]:
    """Dense, sparse and (for convolutions) shared kernel, in this order."""
    s, two = fan.synapses, target.memory_model == "loihi2"
    index = target.synapse.index.holding(max(neurons - 1, 1).bit_length())
    entry = target.synapse.weight.holding(s.weight_bits) + delay_bits(fan)
    copies, sources = fan.delay_patterns, len(s.sources)

    def lists(encoding: Encoding, counts: Array) -> Stored:
        # Loihi 2 charges an index per synapse in dense lists too: its printed tables say so.
        per_synapse = two or encoding == "sparse"
        words = list_words(counts, entry + index * per_synapse, target, 0 if per_synapse else index)
        return Stored(
            encoding=encoding, words=int(words.sum()) * copies,
            longest=int(words.max(initial=0)), axons=int((counts > 0).sum()) * sources,
            synapses=int(counts.sum()) * copies, nonzero=int(into.stored.sum()) * copies,
        )  # fmt: skip

    kernels = []
    if into.kernel is not None and into.full.any():
        kernels = [_kernel2(fan, into, target) if two else _kernel1(fan, into, index, target)]
        # Lists of the same synapses without rounding: when that is too much, don't count further.
        least = int(into.stored.sum()) * (entry + index * two) // WORD
        if least > kernels[0].words and int((into.stored > 0).sum()) > kernels[0].axons:
            return kernels
    dense = lists("dense", into.full)
    sparse = [] if into.stored is into.full else [lists("sparse", into.stored)]
    return [dense, *sparse, *kernels]


def _kernel2(fan: Fan, into: FanIn, target: Target) -> Stored:
    """A convolution on Loihi 2: one kernel per core, whatever the number of positions."""
    assert into.kernel is not None
    assert target.axons.in_kernel is not None
    s, rows = fan.synapses, into.kernel.rows
    copies = len(fan.latencies)
    bits = target.synapse.weight.holding(s.weight_bits) + delay_bits(fan)
    entries = sum(n * channels for n, channels in rows)
    kept = entries if fan.nonzero is None else round(entries * float(fan.nonzero.mean()))
    words = kernel_words(rows, bits, target)
    return Stored(
        encoding="conv", words=words * copies, longest=words // max(sum(n for n, _ in rows), 1),
        axons=target.axons.in_kernel.limit * len(s.sources),
        synapses=entries * copies, nonzero=kept * copies,
    )  # fmt: skip


def _kernel1(fan: Fan, into: FanIn, index: int, target: Target) -> Stored:
    """A convolution on Loihi: population axons, one per source position, whose lists are shared.

    Positions whose taps are cut off alike share a list; the lists of a population have one length;
    the offset of an axon reaches 256 compartments, so more output positions need further copies.
    """
    assert into.kernel is not None
    assert target.synapse.base_count is not None
    s, kernel = fan.synapses, into.kernel
    counts = kernel.stored
    entry = target.synapse.weight.holding(s.weight_bits) + delay_bits(fan) + index
    words = list_words(counts, entry, target, 0)
    copies = len(fan.latencies) * -(-kernel.places_out // target.synapse.base_count.limit)
    return Stored(
        encoding="conv", words=int(words.max(axis=0, initial=0).sum()) * counts.shape[0] * copies,
        longest=int(words.max(initial=0)), axons=kernel.places * len(s.sources),
        synapses=int(counts.sum()) * copies, nonzero=int(counts.sum()) * copies,
    )  # fmt: skip


def delay_bits(fan: Fan) -> int:
    """Bits of the delay field of each synapse (0 where every spike takes one step)."""
    return (fan.latencies[-1] - 1).bit_length()


def doubled(group: CompartmentGroup, target: Target) -> bool:
    """Whether every neuron takes a second compartment that resets it by subtraction."""
    return group.reset == "subtract" and target.neurons.subtract_reset == "two-compartments"


class Memory:
    """Counts slices of one program on one target; what it has counted once it remembers."""

    def __init__(self, program: Program, target: Target) -> None:
        self.program, self.target = program, target
        self.fans = fans(program)
        self.into = {g.name: program.incoming(g.name) for g in program.groups}
        self.out_of = {g.name: program.outgoing(g.name) for g in program.groups}
        self._stored: dict[tuple[str, Hashable], Stored] = {}
        self._reached: dict[tuple[str, Hashable], Array] = {}
        # What `axons.fan_outs` summed up last for each synapse group, and for which tiles.
        self.last_fan_out: dict[str, tuple[object, Any]] = {}

    def stored(self, synapses: str, bounds: Bounds) -> Stored:
        """How a synapse group is stored for a box of its target."""
        key = (synapses, self.fans[synapses].signature(bounds))
        if key not in self._stored:
            self._count(key, bounds)
        return self._stored[key]

    def reaching(self, synapses: str, bounds: Bounds) -> tuple[Bounds, Array, Stored]:
        """Which source neurons (of a region) need an axon to a box, and how synapses are stored."""
        fan = self.fans[synapses]
        key = (synapses, fan.signature(bounds))
        if key not in self._stored:
            self._count(key, bounds)
        return fan.region(bounds), self._reached[key], self._stored[key]

    def _count(self, key: tuple[str, Hashable], bounds: Bounds) -> None:
        fan = self.fans[key[0]]
        into = fan.into(bounds)
        stored = store(fan, into, _neurons(bounds), self.target)
        counts = into.stored if stored.encoding == "sparse" else into.full
        self._stored[key], self._reached[key] = stored, counts > 0

    def incoming(self, group: CompartmentGroup, bounds: Bounds) -> Resources:
        """Resources of a slice's neurons and of all that arrives at them."""
        return self._core(
            group, bounds, [self.stored(s.name, bounds) for s in self.into[group.name]]
        )

    def least(self, group: CompartmentGroup, bounds: Bounds) -> Resources:
        """A lower bound of `incoming`, whatever the encodings, that no box inside exceeds."""
        parts = [
            cheapest(
                self.fans[s.name], self.fans[s.name].into(bounds), _neurons(bounds), self.target
            )
            for s in self.into[group.name]
        ]
        return self._core(group, bounds, parts)

    def _core(self, group: CompartmentGroup, bounds: Bounds, stored: list[Stored]) -> Resources:
        if self.target.memory_model == "loihi2":
            return _core2(group, bounds, stored, self.target)
        delays = max((delay_bits(self.fans[s.name]) for s in self.into[group.name]), default=0)
        return _core1(group, bounds, stored, delays, self.target)


def _core1(
    group: CompartmentGroup, bounds: Bounds, stored: list[Stored], delays: int, target: Target
) -> Resources:
    neurons, twice = _neurons(bounds), doubled(group, target)
    compartments = neurons * (2 if twice else 1)
    compartments = -(-compartments // UPDATE_GROUP) * UPDATE_GROUP
    # The second compartment hears its neuron's spikes over an axon with one synapse.
    extra = neurons if twice else 0
    return {
        "compartments": compartments,
        "synapse_words": sum(s.words for s in stored) + extra,
        "axon_words": max((s.longest for s in stored), default=0),
        "in_axons": sum(s.axons for s in stored) + extra,
        "out_axons": extra,
        "compartment_profiles": _profiles((group.du, group.dv), group.shape, bounds) + twice,
        "threshold_profiles": _profiles((group.vth,), group.shape, bounds),
        "synapse_formats": len(stored) + twice,
        "delay_slots": compartments << max(delays, MIN_DELAY_BITS),
    }


def _core2(
    group: CompartmentGroup, bounds: Bounds, stored: list[Stored], target: Target
) -> Resources:
    neurons, model = _neurons(bounds), target.neurons
    used = {
        "neurons": neurons,
        "groups": 1,
        "neuron_words": neurons * (model.program_words if group.kind == "custom" else model.words),
        "axon_in": sum(s.axons for s in stored),
        "synapse_words": sum(s.words for s in stored),
        "axon_map": 0,
        "axon_mem": 0,
    }
    return with_pool(used)


def with_pool(used: Mapping[str, _Count]) -> dict[str, _Count]:
    """Loihi 2's shared pool of words: everything but the count of neurons itself."""
    pool = (
        used["groups"] + used["neuron_words"] + used["axon_in"] + used["synapse_words"]
        + used["axon_map"] + used["axon_mem"]
    )  # fmt: skip
    return {**used, "pool_words": pool}


def _profiles(parameters: tuple[Array, ...], shape: Shape, bounds: Bounds) -> int:
    """Number of different parameter sets in a box."""
    if all(p.size == 1 for p in parameters):
        return 1
    box = tuple(slice(*b) for b in bounds)
    columns = [np.broadcast_to(p, shape)[box].reshape(-1) for p in parameters]
    return len(np.unique(np.stack(columns), axis=1).T)


def _neurons(bounds: Bounds) -> int:
    return size(high - low for low, high in bounds)


def combined(parts: Iterable[Mapping[str, int]]) -> Resources:
    """What slices take together on one core."""
    total: Resources = {}
    slots = 0
    for part in parts:
        for name, used in part.items():
            joined = max(total.get(name, 0), used) if name == "axon_words" else (
                total.get(name, 0) + used
            )  # fmt: skip
            total[name] = joined
        if part.get("compartments"):  # all compartments of a core reserve the longest delay
            slots = max(slots, part["delay_slots"] // part["compartments"])
    if slots:
        total["delay_slots"] = total["compartments"] * slots
    return total
