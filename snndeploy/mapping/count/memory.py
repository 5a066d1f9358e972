"""What a slice takes of a core's memory, for both memory models.

Synapses are counted in `encodings`; this adds the neurons and what is counted per core. The limits come
from the target's file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from ...chip import Target
from ...ir.arrays import Array, Shape, size
from ...ir.placement import Bounds
from ...ir.program import CompartmentGroup, Program, SynapseGroup
from ..fan.fan import fans
from .encodings import LISTS_WITHOUT_ZEROS, Room, Stored, cheapest, delay_bits, store

UPDATE_GROUP = 4
"""Compartments are serviced in fours on Loihi (numUpdates of nengo-loihi and NxTF)."""
MIN_DELAY_BITS = 3
"""Delay bits that a Loihi core reserves per compartment (nengo-loihi and NxTF: delayBits = 3)."""
NOT_ADDED = ("axon_words", "delay_slots")
"""Resources of a core that are more or less than the sum over its slices."""

Resources = dict[str, int]
_Count = TypeVar("_Count", int, Array)
"""Of one slice, or of all tiles of a grid."""


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
        into, neurons = fan.into(bounds), _neurons(bounds)
        stored = store(fan, into, neurons, self.target, self._room(fan.synapses, neurons))
        counts = into.stored if stored.encoding in LISTS_WITHOUT_ZEROS else into.full
        self._stored[key], self._reached[key] = stored, counts > 0

    def _room(self, s: SynapseGroup, neurons: int) -> Room:
        """An equal part of a core for each synapse group of a slice, after what resets its neurons."""
        core, parts = self.target.core, len(self.into[s.target])
        own = neurons * doubled(self.program.group(s.target), self.target)
        inputs = "axon_in" if self.target.memory_model == "loihi2" else "in_axons"
        return Room(
            words=(core["synapse_words"].limit - own) // parts,
            axons=(core[inputs].limit - own) // parts,
        )

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
        used["groups"]
        + used["neuron_words"]
        + used["axon_in"]
        + used["synapse_words"]
        + used["axon_map"]
        + used["axon_mem"]
    )
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
            joined = (
                max(total.get(name, 0), used)
                if name == "axon_words"
                else (total.get(name, 0) + used)
            )
            total[name] = joined
        if part.get("compartments"):  # all compartments of a core reserve the longest delay
            slots = max(slots, part["delay_slots"] // part["compartments"])
    if slots:
        total["delay_slots"] = total["compartments"] * slots
    return total
