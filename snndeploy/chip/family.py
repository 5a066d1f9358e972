"""`Family`: everything that only one family of chips knows, behind one abstract class.

Lowering, mapping, reports and simulators ask the family of a target; none of them knows a name. A new
family is a folder beside those in `families` (or in a package of its own) and a target file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..ir.arrays import Array
from ..ir.fan.fan import Fan
from ..ir.fan.fan_in import FanIn
from ..ir.finding import Certainty
from ..ir.neurons import Neuron
from ..ir.placement import Bounds
from ..ir.program import CompartmentGroup, Kind, Program, SignMode
from ..ir.step import Arithmetic, Compare
from .counting import CoreRule, Count, Cuts, Cycles, ProgramRule, Resources, Sent, Stored, added
from .floor import Boxes, Floor, NoFloor
from .schema import Target

Realisation = Literal["native", "program", "two-compartments"]
"""How a chip realises a neuron: by itself, by a program, or by two of its own compartments."""


OutsideSimulator = Literal["lava", "xylosim"]
"""Simulators from outside that run programs."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form of a neuron on a chip: the kind of compartment, how it is realised, and in words."""

    kind: Kind
    way: Realisation
    route: str


@dataclass(frozen=True, kw_only=True)
class NoForm:
    """Why a chip has no form of a neuron, and what would help."""

    reason: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class WeightFormat:
    """Integers that a synapse multiplies with.

    Attributes:
        bits: of a stored weight; codes are at most ``2**(bits - 1)`` in magnitude.
        low: the smallest mantissa.
        high: the largest.
        mixed_step: mantissas of both signs are multiples of it (2 where the sign takes a bit).
    """

    bits: int
    low: int
    high: int
    mixed_step: int

    @property
    def code_max(self) -> int:
        """The largest code that weights are rounded to, the same for both signs."""
        return int(2 ** (self.bits - 1) - 1)

    def step(self, mode: SignMode) -> int:
        """What mantissas are multiples of."""
        return self.mixed_step if mode == "mixed" else 1

    def reach(self, mode: SignMode) -> tuple[int, int]:
        """The smallest and the largest mantissa among weights of these signs."""
        match mode:
            case "mixed":
                step = self.mixed_step
                return -(-self.low // step * step), self.high // step * step
            case "excitatory":
                return 0, self.high
            case "inhibitory":
                return -self.high, 0


@dataclass(frozen=True, kw_only=True)
class OwnNeuron:
    """The one kind of neuron that a chip has, where it has only one.

    It subtracts the threshold at once, as often as v holds it, and compares as the family's
    ``native_compare`` says.

    Attributes:
        most: spikes of a hidden neuron in a step.
        most_of_outputs: those of an output neuron.
        most_of_inputs: those that an input channel takes.
        shortest_u_decay: the smallest decay constant of u; a smaller one lets no spike through.
    """

    most: int
    most_of_outputs: int
    most_of_inputs: int
    shortest_u_decay: int


@dataclass(frozen=True)
class Family(ABC):
    """One chip of a family, which answers for all that the family alone knows.

    Attributes:
        name: what target files call the family.
        tables: the keys of its target files, and the resources that it counts per core.
        rules: what a core of this family must obey, beside the rules of programs and boards.
        unsummed: resources of a core that are more or less than the sum over its slices.
        sent_resource: the resource that neurons take per destination (None: sending is free).
        neuron_resource: the resource that is the number of neurons of a core, if one is.
        filled: the resource that `contents` adds up to.
        synapse_resource: the resource that synapses alone take.
        program_rules: what programs for chips of this family must obey beside the rules for all.
        native_compare: how the chip's own neurons compare v with the threshold.
        whole: whether a chip is one core that holds the whole network, or none of it.
        target: the chip.
    """

    name: ClassVar[str]
    tables: ClassVar[type[Target]]
    rules: ClassVar[tuple[CoreRule, ...]]
    unsummed: ClassVar[frozenset[str]] = frozenset()
    sent_resource: ClassVar[str | None] = None
    neuron_resource: ClassVar[str | None] = None
    filled: ClassVar[str]
    synapse_resource: ClassVar[str]
    program_rules: ClassVar[tuple[ProgramRule, ...]] = ()
    native_compare: ClassVar[Compare] = ">"
    whole: ClassVar[bool] = False

    target: Any

    @property
    def limits(self) -> dict[str, int]:
        """How much of every resource a core has."""
        return {name: limit.limit for name, limit in self.target.core.items()}

    # Registers

    @property
    @abstractmethod
    def arithmetic(self) -> Arithmetic:
        """The registers of its neurons, with the widths of the target."""

    @property
    @abstractmethod
    def weights(self) -> WeightFormat:
        """The integers that synapses multiply with."""

    @property
    def threshold_sets(self) -> int | None:
        """How many different thresholds a core holds (None: one per neuron)."""
        return None

    @property
    def judge(self) -> OutsideSimulator | None:
        """The outside simulator that programs of this chip are held against (None: there is none)."""
        return None

    # Neurons

    @abstractmethod
    def form(self, neuron: Neuron) -> Form | NoForm:
        """How the chip realises a spiking neuron, or why it cannot."""

    @abstractmethod
    def way(self, group: CompartmentGroup) -> Realisation:
        """How the chip realises the neurons of a lowered group that it has a form of."""

    @property
    def own_neuron(self) -> OwnNeuron | None:
        """The only kind of neuron that the chip has (None: it has several, or programs)."""
        return None

    # Memory

    @abstractmethod
    def encodings(self, fan: Fan, into: FanIn, neurons: int) -> list[Stored]:
        """The ways to store a synapse group for a slice of ``neurons``, the simplest first."""

    @abstractmethod
    def store(
        self, fan: Fan, into: FanIn, neurons: int, group: CompartmentGroup, parts: int
    ) -> Stored:
        """The best of `encodings` for a slice of ``group`` that ``parts`` synapse groups end in."""

    @abstractmethod
    def cheapest(self, fan: Fan, into: FanIn, neurons: int) -> Stored:
        """The least that any encoding takes of each resource, alone; never more for a smaller box."""

    @abstractmethod
    def incoming(
        self, group: CompartmentGroup, bounds: Bounds, stored: Sequence[Stored], fans: Sequence[Fan]
    ) -> Resources:
        """Resources of a slice's neurons and of all that arrives at them, in the order of ``fans``."""

    @abstractmethod
    def outgoing(self, sent: Sent) -> Resources:
        """Resources that the spikes of one slice take where they leave."""

    @abstractmethod
    def outgoing_grid(self, sent: Sent, cuts: Cuts) -> dict[str, Array]:
        """`outgoing` of all tiles that cuts along each axis make, as arrays over the tiles."""

    @property
    def off_chip_slots(self) -> int:
        """Output axon slots that an axon takes on top where it leaves its chip."""
        return 0

    @property
    def list_slots(self) -> int:
        """Output axon slots from a neuron to a slice that holds its synapses as a list."""
        return 1

    def completed(self, used: Mapping[str, Count]) -> dict[str, Count]:
        """A slice's resources in both directions, with those that follow from the others."""
        return dict(used)

    def combined(self, parts: Iterable[Mapping[str, int]]) -> Resources:
        """What slices take together on one core."""
        return added(list(parts))

    # Bounds

    def least_slots(self, fan: Fan) -> int:
        """The fewest output axon slots from a neuron to one slice that hears it."""
        del fan
        return 0

    def floor(self, boxes: Boxes) -> Floor:
        """What no box of a group undercuts; a family that knows nothing proves less."""
        return NoFloor(boxes)

    # Reports

    @abstractmethod
    def contents(
        self, group: str, used: Mapping[str, int], stored: Mapping[str, Stored]
    ) -> Iterator[tuple[str, int]]:
        """What a slice holds, thing by thing, in units of `filled`; ``stored`` by synapse group."""

    @abstractmethod
    def axons_in(self, used: Mapping[str, int]) -> int:
        """Input axons among the resources of a slice or core."""

    @abstractmethod
    def axons_out(self, used: Mapping[str, int]) -> int:
        """What its spikes take where they leave."""

    @property
    @abstractmethod
    def memory_certainties(self) -> tuple[Certainty, ...]:
        """How sure the widths are that stored synapses are counted with."""

    @property
    def published(self) -> Target | None:
        """The chip as its published compiler uses it (None: this is how).

        What a family counts may be what the chip could do, by a format that no published tool was seen
        to write.
        """
        return None

    @property
    def format_certainties(self) -> tuple[Certainty, ...]:
        """How sure all is that the counts of memory rest on: widths, and formats that may be chosen."""
        return self.memory_certainties

    # Time

    def cycles(self, program: Program, active: Mapping[str, Array]) -> Cycles | None:
        """Clock cycles of steps, by a formula for the whole chip (None: none is known).

        Args:
            program: what runs.
            active: for every group that spikes, which neurons do, (steps, *shape) of zeros and ones or
                of probabilities.
        """
        del program, active
        return None

    def updates(self, used: Mapping[str, int], neurons: int) -> int:
        """State updates of a slice in a step."""
        del used
        return neurons
