"""Keys of a Loihi target beside those of every chip."""

from __future__ import annotations

from ...schema import Limit, Synapse, Target, Widths


class ListSynapse(Synapse):
    """How synapses are stored.

    A list of n synapses takes n x (weight + delay + index) + header bits, in 64-bit words.
    """

    index: Widths
    header_bits: Limit

    @property
    def per_entry(self) -> int | None:
        """Synapses behind one header (None: all of a list)."""
        return None


class ListTarget(Target):
    """A chip that holds a list of synapses for each input axon."""

    synapse: ListSynapse
