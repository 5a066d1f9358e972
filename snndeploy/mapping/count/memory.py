"""What a slice takes of a core's memory, counted by the family of the target and remembered."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from ...chip import Target, family_of
from ...chip.counting import Resources, Stored, neurons_in
from ...ir.arrays import Array
from ...ir.fan.fan import fans
from ...ir.placement import Bounds
from ...ir.program import CompartmentGroup, Program


class Memory:
    """Counts slices of one program on one target; what it has counted once it remembers."""

    def __init__(self, program: Program, target: Target) -> None:
        self.program, self.target = program, target
        self.family = family_of(target)
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
        into, end = fan.into(bounds), fan.synapses.target
        stored = self.family.store(
            fan, into, neurons_in(bounds), self.program.group(end), len(self.into[end])
        )
        counts = into.stored if stored.skips_zeros else into.full
        self._stored[key], self._reached[key] = stored, counts > 0

    def incoming(self, group: CompartmentGroup, bounds: Bounds) -> Resources:
        """Resources of a slice's neurons and of all that arrives at them."""
        return self._core(
            group, bounds, [self.stored(s.name, bounds) for s in self.into[group.name]]
        )

    def least(self, group: CompartmentGroup, bounds: Bounds) -> Resources:
        """A lower bound of `incoming`, whatever the encodings, that no box inside exceeds."""
        fans = [self.fans[s.name] for s in self.into[group.name]]
        neurons = neurons_in(bounds)
        return self._core(
            group, bounds, [self.family.cheapest(f, f.into(bounds), neurons) for f in fans]
        )

    def _core(self, group: CompartmentGroup, bounds: Bounds, stored: list[Stored]) -> Resources:
        fans = [self.fans[s.name] for s in self.into[group.name]]
        return self.family.incoming(group, bounds, stored, fans)
