"""Keys of a Loihi target."""

from __future__ import annotations

from typing import ClassVar, Literal

from ...schema import Axons, Limit, Neurons, Widths
from ..loihi.tables import ListSynapse, ListTarget


class Loihi1Synapse(ListSynapse):
    """Lists whose entries start with a header.

    ``entry_synapses`` and ``base_count`` are the synapses behind one header and the compartments that
    a shared kernel can be shifted over; ``skip`` (where there are run-length lists) is what leads from
    one target to the next.
    """

    entry_synapses: Limit
    base_count: Limit
    skip: Widths | None = None

    @property
    def per_entry(self) -> int | None:
        return self.entry_synapses.limit


class Loihi1Axons(Axons):
    """Slots of the sender per output axon; ``out_off_chip`` more where it leaves its chip."""

    out_discrete: Limit
    out_population: Limit
    out_off_chip: Limit | None = None


class Loihi1Neurons(Neurons):
    """A second compartment may reset by subtraction."""

    subtract_reset: Literal["native", "two-compartments", "none"]


class Loihi1Target(ListTarget):
    """A chip with Loihi's compartments and axons."""

    resources: ClassVar[tuple[str, ...]] = (
        "compartments",
        "synapse_words",
        "axon_words",
        "in_axons",
        "out_axons",
        "compartment_profiles",
        "threshold_profiles",
        "synapse_formats",
        "delay_slots",
    )

    synapse: Loihi1Synapse
    axons: Loihi1Axons
    neurons: Loihi1Neurons
