"""Lists of synapses in 64-bit words.

For each input axon a core holds a list of the synapses behind it. The families differ in what an entry
of a list holds, in how lists are shared, and in what the axons cost.
"""

from __future__ import annotations

import numpy as np

from ....ir.arrays import Array
from ....ir.fan.fan import Fan
from ....ir.fan.fan_in import FanIn
from ...counting import Stored
from .tables import ListTarget

WORD = 64
"""Bits of a word of synapse memory."""


def in_words(bits: Array) -> Array:
    """Whole words that hold so many bits."""
    return -(-bits // WORD)


def list_words(counts: Array, bits: int, target: ListTarget, index: int) -> Array:
    """Words of lists of ``counts`` synapses whose entries take ``bits`` each.

    Loihi 2: ``ceil((n * (weight + delay + index) + header) / 64)``. Loihi starts an entry with a
    header every 64 synapses; ``index`` bits name its first target where its synapses do not.
    """
    per_entry = target.synapse.per_entry
    headers = 1 if per_entry is None else -(-counts // per_entry)
    words = in_words(counts * bits + headers * (target.synapse.header_bits.limit + index))
    return np.where(counts > 0, words, 0)


def index_bits(neurons: int, target: ListTarget) -> int:
    """Bits that tell the neurons of a slice apart in a list."""
    return target.synapse.index.holding((neurons - 1).bit_length())


def entry_bits(fan: Fan, target: ListTarget) -> int:
    """Bits of a weight with its delay."""
    return target.synapse.weight.holding(fan.synapses.weight_bits) + fan.delay_bits


def lists(
    encoding: str, fan: Fan, into: FanIn, counts: Array, words: Array, *, slots: int, skips: bool
) -> Stored:
    """A list per source neuron: ``counts`` synapses each, which take ``words``."""
    copies = fan.delay_patterns
    return Stored(
        encoding=encoding,
        words=int(words.sum()) * copies,
        longest=int(words.max(initial=0)),
        axons=int(np.count_nonzero(counts)) * len(fan.synapses.sources),
        slots=slots,
        synapses=int(counts.sum()) * copies,
        nonzero=int(into.stored.sum()) * copies,
        skips_zeros=skips,
    )


def too_many(into: FanIn, fan: Fan, bits: int, kernel: Stored) -> bool:
    """Whether lists of the same synapses, without rounding, take more than a kernel of everything."""
    least = int(into.stored.sum()) * bits // WORD
    axons = int(np.count_nonzero(into.stored)) * len(fan.synapses.sources)
    return least > kernel.words and axons >= kernel.axons
