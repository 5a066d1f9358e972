"""`Xylo`: everything that only this family knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ....ir.arrays import Array
from ....ir.fan.fan import Fan
from ....ir.fan.fan_in import FanIn
from ....ir.finding import Certainty
from ....ir.neurons import Neuron
from ....ir.placement import Bounds
from ....ir.program import CompartmentGroup, Program
from ....ir.step import Arithmetic, Compare
from ...counting import (
    CoreRule,
    Cuts,
    Cycles,
    ProgramRule,
    Resources,
    Sent,
    Stored,
    neurons_in,
    tile_sums,
)
from ...family import Family, Form, NoForm, OutsideSimulator, OwnNeuron, Realisation, WeightFormat
from ...schema import Target
from .clock import cycles
from .rules import CORE_RULES, PROGRAM_RULES
from .tables import XyloTarget

STATE_BITS = 16
"""Of what the vendor's simulator computes with; another width has no judge."""


@dataclass(frozen=True)
class Xylo(Family):
    """One core: inputs, hidden neurons with recurrent connections, outputs."""

    name: ClassVar[str] = "xylo"
    tables: ClassVar[type[Target]] = XyloTarget
    rules: ClassVar[tuple[CoreRule, ...]] = CORE_RULES
    program_rules: ClassVar[tuple[ProgramRule, ...]] = PROGRAM_RULES
    filled: ClassVar[str] = "recurrent_entries"
    synapse_resource: ClassVar[str] = "recurrent_entries"
    native_compare: ClassVar[Compare] = ">="
    whole: ClassVar[bool] = True

    target: XyloTarget

    @property
    def arithmetic(self) -> Arithmetic:
        numeric = self.target.numeric
        return Arithmetic(
            state_bits=numeric.state_bits.limit,
            u_overflow="saturate-full",
            v_overflow="saturate-full",
            decay="floor-shift",
            decay_bits=numeric.decay_max.limit,
            u_decay_offset=0,
            state_shift=0,
            sum_bits=32,
            arrival="in-turn",
            v_step="held",
        )

    @property
    def weights(self) -> WeightFormat:
        span, bits = self.target.synapse.mantissa, self.target.synapse.weight.largest
        return WeightFormat(bits=bits, low=span.low, high=span.high, mixed_step=1)

    @property
    def judge(self) -> OutsideSimulator | None:
        """The vendor's simulator, which has the registers of the chips that exist."""
        return "xylosim" if self.arithmetic.state_bits == STATE_BITS else None

    @property
    def own_neuron(self) -> OwnNeuron:
        """A synapse whose decay is 0 is empty before v hears of it, so 1 is the smallest."""
        neurons = self.target.neurons
        return OwnNeuron(
            most=neurons.most.limit,
            most_of_outputs=neurons.most_of_outputs.limit,
            most_of_inputs=neurons.most_of_inputs.limit,
            shortest_u_decay=1,
        )

    def form(self, neuron: Neuron) -> Form | NoForm:
        own = (
            neuron.reset == "subtract"
            and neuron.reset_timing == "immediate"
            and neuron.compare == self.native_compare
            and neuron.v_floor is None
            and not neuron.beyond()
        )
        if own:
            return Form(kind="custom", way="native", route="the chip's own neuron")
        return NoForm(
            reason=f"{self.target.name} has one kind of neuron, which subtracts its threshold at once",
            hint="adapt the network first",
        )

    def way(self, group: CompartmentGroup) -> Realisation:
        del group
        return "native"

    def encodings(self, fan: Fan, into: FanIn, neurons: int) -> list[Stored]:
        """Weights of inputs and of outputs have a place each; recurrent ones are a list."""
        del neurons
        synapses = int(into.stored.sum()) * len(fan.synapses.sources)
        heard = int((into.stored > 0).sum()) * len(fan.synapses.sources)
        longest = int(into.stored.max(initial=0))
        return [
            Stored(
                encoding="list",
                words=synapses,
                longest=longest,
                axons=heard,
                slots=1,
                synapses=synapses,
                nonzero=synapses,
                skips_zeros=True,
            )
        ]

    def store(
        self, fan: Fan, into: FanIn, neurons: int, group: CompartmentGroup, parts: int
    ) -> Stored:
        return self.encodings(fan, into, neurons)[0]

    def cheapest(self, fan: Fan, into: FanIn, neurons: int) -> Stored:
        return self.encodings(fan, into, neurons)[0]

    def incoming(
        self, group: CompartmentGroup, bounds: Bounds, stored: Sequence[Stored], fans: Sequence[Fan]
    ) -> Resources:
        """Recurrent entries are those whose source is no input: inputs have the smallest depth."""
        neurons = neurons_in(bounds)
        output = group.role == "output"
        return {
            "hidden_neurons": 0 if output else neurons,
            "output_neurons": neurons if output else 0,
            "recurrent_entries": 0 if output else self._recurrent(stored, fans),
            "heard": sum(s.axons for s in stored),
            "sent": 0,
        }

    @staticmethod
    def _recurrent(stored: Sequence[Stored], fans: Sequence[Fan]) -> int:
        return sum(s.words for s, fan in zip(stored, fans, strict=True) if not fan.from_host)

    def outgoing(self, sent: Sent) -> Resources:
        return {"sent": int(sent.slots.sum())}

    def outgoing_grid(self, sent: Sent, cuts: Cuts) -> dict[str, Array]:
        return {"sent": tile_sums(sent.slots, cuts)}

    def contents(
        self, group: str, used: Mapping[str, int], stored: Mapping[str, Stored]
    ) -> Iterator[tuple[str, int]]:
        if used["recurrent_entries"]:
            yield f"recurrent connections into {group}", used["recurrent_entries"]

    def axons_in(self, used: Mapping[str, int]) -> int:
        return used["heard"]

    def axons_out(self, used: Mapping[str, int]) -> int:
        return used["sent"]

    def cycles(self, program: Program, active: Mapping[str, Array]) -> Cycles:
        return cycles(self.target, program, active)

    @property
    def memory_certainties(self) -> tuple[Certainty, ...]:
        return (self.target.core["recurrent_entries"].certainty,)
