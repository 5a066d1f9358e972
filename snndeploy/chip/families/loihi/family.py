"""What both Loihi families answer alike."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ....ir.fan.fan import Fan
from ....ir.fan.fan_in import FanIn
from ....ir.finding import Certainty
from ....ir.neurons import Neuron
from ....ir.program import CompartmentGroup
from ....ir.step import LOIHI, Arithmetic
from ...counting import Stored
from ...family import Family, Form, NoForm, OutsideSimulator, Realisation, WeightFormat
from ...forms import neuron_form, way_of
from . import MANTISSA_BITS
from .tables import ListTarget


@dataclass(frozen=True)
class LoihiFamily(Family):
    """Registers, weights and neurons of Loihi chips."""

    target: ListTarget

    @cached_property
    def arithmetic(self) -> Arithmetic:
        return replace(LOIHI, state_bits=self.target.numeric.state_bits.limit)

    @property
    def weights(self) -> WeightFormat:
        span = self.target.synapse.mantissa
        return WeightFormat(bits=MANTISSA_BITS, low=span.low, high=span.high, mixed_step=2)

    @property
    def judge(self) -> OutsideSimulator | None:
        """Lava, whose processes have the registers of the chips that exist."""
        return "lava" if self.arithmetic == LOIHI else None

    def form(self, neuron: Neuron) -> Form | NoForm:
        return neuron_form(neuron, self.target)

    def way(self, group: CompartmentGroup) -> Realisation:
        return way_of(group, self.target)

    def store(
        self, fan: Fan, into: FanIn, neurons: int, group: CompartmentGroup, parts: int
    ) -> Stored:
        return min(
            self.encodings(fan, into, neurons), key=self.cost(fan, into, neurons, group, parts)
        )

    @abstractmethod
    def cost(
        self, fan: Fan, into: FanIn, neurons: int, group: CompartmentGroup, parts: int
    ) -> Callable[[Stored], Any]:
        """What the best encoding has least of."""

    @abstractmethod
    def least_words(self, fan: Fan, into: FanIn, neurons: int, parts: list[Stored]) -> int:
        """The least words of any encoding, never more for a smaller box."""

    def cheapest(self, fan: Fan, into: FanIn, neurons: int) -> Stored:
        parts = self.encodings(fan, into, neurons)
        return Stored(
            encoding="sparse",
            words=self.least_words(fan, into, neurons, parts),
            longest=min(p.longest for p in parts),
            axons=min(p.axons for p in parts),
            slots=min(p.slots for p in parts),
            synapses=0,
            nonzero=0,
            skips_zeros=True,
        )

    @property
    def memory_certainties(self) -> tuple[Certainty, ...]:
        synapse = self.target.synapse
        return synapse.index.certainty, synapse.header_bits.certainty
