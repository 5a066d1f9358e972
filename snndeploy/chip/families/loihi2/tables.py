"""Keys of a Loihi 2 target."""

from __future__ import annotations

from typing import ClassVar, Literal

from ...schema import Axons, Limit, Neurons
from ..loihi.tables import ListSynapse, ListTarget


class Loihi2Synapse(ListSynapse):
    """``sparse`` says whether lists may leave zeros out (1) or not (0)."""

    sparse: Limit = Limit(limit=1, unit="", source="nothing is known", certainty="inferred")


class Loihi2Axons(Axons):
    """Input axons per kernel."""

    in_kernel: Limit


class Loihi2Neurons(Neurons):
    """``words`` and ``program_words`` are 64-bit words of state per native and programmed neuron."""

    subtract_reset: Literal["native", "program", "none"]
    words: int = 1
    program_words: int = 1


class Loihi2Target(ListTarget):
    """A chip with the memory of Loihi 2."""

    resources: ClassVar[tuple[str, ...]] = (
        "pool_words",
        "neurons",
        "groups",
        "axon_in",
        "synapse_words",
        "axon_map",
        "axon_mem",
    )

    synapse: Loihi2Synapse
    axons: Loihi2Axons
    neurons: Loihi2Neurons
