"""`Loihi1`: what only Loihi knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ....ir.arrays import Array, Shape
from ....ir.fan.fan import Fan
from ....ir.fan.fan_in import FanIn
from ....ir.finding import Certainty
from ....ir.placement import Bounds
from ....ir.program import CompartmentGroup
from ...counting import CoreRule, Cuts, Resources, Sent, Stored, neurons_in, tile_sums
from ...floor import Boxes, Floor
from ...schema import Target
from ..loihi.family import LoihiFamily
from .encodings import encodings, least_kernel_words
from .floor import Floor1
from .rules import RULES
from .tables import Loihi1Target

UPDATE_GROUP = 4
"""Compartments are serviced in fours (numUpdates of nengo-loihi and NxTF)."""
MIN_DELAY_BITS = 3
"""Delay bits that a core reserves per compartment (nengo-loihi and NxTF: delayBits = 3)."""


@dataclass(frozen=True)
class Loihi1(LoihiFamily):
    """Loihi."""

    name: ClassVar[str] = "loihi1"
    tables: ClassVar[type[Target]] = Loihi1Target
    rules: ClassVar[tuple[CoreRule, ...]] = RULES
    unsummed: ClassVar[frozenset[str]] = frozenset({"axon_words", "delay_slots"})
    sent_resource: ClassVar[str | None] = "out_axons"
    neuron_resource: ClassVar[str | None] = "compartments"
    filled: ClassVar[str] = "synapse_words"
    synapse_resource: ClassVar[str] = "synapse_words"

    target: Loihi1Target

    def doubled(self, group: CompartmentGroup) -> bool:
        """Whether every neuron takes a second compartment that resets it by subtraction."""
        return (
            group.reset == "subtract" and self.target.neurons.subtract_reset == "two-compartments"
        )

    def encodings(self, fan: Fan, into: FanIn, neurons: int) -> list[Stored]:
        return encodings(fan, into, neurons, self.target)

    def cost(
        self, fan: Fan, into: FanIn, neurons: int, group: CompartmentGroup, parts: int
    ) -> Callable[[Stored], Any]:
        """Cheapest is what leaves most room: the smallest share of synapse memory, of input axons or
        of the output axons of a sender, whichever is largest. Between equal ones of those that fit an
        equal part of a core, the sum of the shares decides, then the simpler encoding.
        """
        core = {name: max(limit, 1) for name, limit in self.limits.items()}
        sources, reached = len(fan.synapses.sources), int((into.full > 0).sum())
        own = neurons * self.doubled(group)
        words = (self.limits["synapse_words"] - own) // parts
        axons = (self.limits["in_axons"] - own) // parts

        def listed(s: Stored) -> tuple[bool, float, float]:
            over = s.words > words or s.axons > axons or s.longest > core["axon_words"]
            sent = s.slots * (reached if s.shared else s.axons // sources)
            shares = (
                s.words / core["synapse_words"],
                s.axons / core["in_axons"],
                sent / core["out_axons"],
            )
            return over, max(shares), sum(shares)

        return listed

    def least_words(self, fan: Fan, into: FanIn, neurons: int, parts: list[Stored]) -> int:
        words = [p.words for p in parts if not p.shared]
        if into.kernel is not None and into.full.any():
            words.append(least_kernel_words(fan, into, neurons, self.target))
        return min(words)

    def incoming(
        self, group: CompartmentGroup, bounds: Bounds, stored: Sequence[Stored], fans: Sequence[Fan]
    ) -> Resources:
        neurons, twice = neurons_in(bounds), self.doubled(group)
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
            "delay_slots": compartments << _delays(fans),
        }

    def outgoing(self, sent: Sent) -> Resources:
        return {"out_axons": int(sent.slots.sum())}

    def outgoing_grid(self, sent: Sent, cuts: Cuts) -> dict[str, Array]:
        return {"out_axons": tile_sums(sent.slots, cuts)}

    @property
    def list_slots(self) -> int:
        return self.target.axons.out_discrete.limit

    @property
    def off_chip_slots(self) -> int:
        off = self.target.axons.out_off_chip
        return 0 if off is None else off.limit

    def combined(self, parts: Iterable[Mapping[str, int]]) -> Resources:
        total: Resources = {}
        slots = 0
        for part in parts:
            for name, used in part.items():
                before = total.get(name, 0)
                total[name] = max(before, used) if name == "axon_words" else before + used
            if part.get("compartments"):  # all compartments of a core reserve the longest delay
                slots = max(slots, part["delay_slots"] // part["compartments"])
        if slots:
            total["delay_slots"] = total["compartments"] * slots
        return total

    def least_slots(self, fan: Fan) -> int:
        axons = self.target.axons
        cost = axons.out_discrete.limit
        return min(cost, axons.out_population.limit) if fan.separable else cost

    def floor(self, boxes: Boxes) -> Floor:
        return Floor1(boxes, self.target, self.doubled(boxes.group), 2 ** _delays(boxes.fans))

    def contents(
        self, group: str, used: Mapping[str, int], stored: Mapping[str, Stored]
    ) -> Iterator[tuple[str, int]]:
        for name, s in stored.items():
            yield f"synapses of {name} ({s.encoding})", s.words
        listed = sum(s.words for s in stored.values())
        yield f"synapses that reset {group}", used["synapse_words"] - listed

    def axons_in(self, used: Mapping[str, int]) -> int:
        return used["in_axons"]

    def axons_out(self, used: Mapping[str, int]) -> int:
        """Output axon slots."""
        return used["out_axons"]

    @property
    def format_certainties(self) -> tuple[Certainty, ...]:
        skip = self.target.synapse.skip
        return (*self.memory_certainties, *(() if skip is None else (skip.certainty,)))

    def updates(self, used: Mapping[str, int], neurons: int) -> int:
        """Compartments are updated, not neurons."""
        return used.get("compartments", neurons)


def _delays(fans: Sequence[Fan]) -> int:
    """Delay bits that each compartment of a slice reserves."""
    return max((MIN_DELAY_BITS, *(fan.delay_bits for fan in fans)))


def _profiles(parameters: tuple[Array, ...], shape: Shape, bounds: Bounds) -> int:
    """Number of different parameter sets in a box."""
    if all(p.size == 1 for p in parameters):
        return 1
    box = tuple(slice(*b) for b in bounds)
    columns = [np.broadcast_to(p, shape)[box].reshape(-1) for p in parameters]
    return len(np.unique(np.stack(columns), axis=1).T)
