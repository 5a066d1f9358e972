"""How a core of Loihi can store a synapse group, and what each way takes."""

from __future__ import annotations

import numpy as np

from ....ir.arrays import Array
from ....ir.fan.fan import Fan
from ....ir.fan.fan_in import FanIn
from ...counting import Stored
from ..loihi.lists import WORD, entry_bits, in_words, index_bits, list_words, lists, too_many
from .tables import Loihi1Target


def encodings(fan: Fan, into: FanIn, neurons: int, target: Loihi1Target) -> list[Stored]:
    """What can be chosen from: lists with and without zeros, then kernels of convolutions."""
    index, entry = index_bits(neurons, target), entry_bits(fan, target)
    slots = target.axons.out_discrete.limit
    kernels = []
    if into.kernel is not None and into.full.any():
        kernels = _kernels(fan, into, index, target)
        if too_many(into, fan, entry, kernels[-1]):
            return kernels
    words = list_words(into.full, entry, target, index)
    dense = lists("dense", fan, into, into.full, words, slots=slots, skips=False)
    if into.stored is into.full:
        return [dense, *kernels]
    words = list_words(into.stored, entry + index, target, 0)
    sparse = lists("sparse", fan, into, into.stored, words, slots=slots, skips=True)
    found = [dense, sparse]
    skip = target.synapse.skip
    if skip is not None and into.lists is not None:
        least = int(into.stored.sum()) * (entry + min(skip.widths)) // WORD * fan.delay_patterns
        if least < min(dense.words, sparse.words):
            words = run_length_words(into.lists, entry, target, index)
            found.append(
                lists("run-length", fan, into, into.stored, words, slots=slots, skips=True)
            )
    return [*found, *kernels]


def run_length_words(rows: Array, bits: int, target: Loihi1Target, index: int) -> Array:
    """Words of lists whose synapses each store how far the next target is, at the best width.

    ``ceil((n * (weight + delay + skip) + entries * (header + index)) / 64)``: an entry names its first
    target, and a new one starts where a step does not fit ``skip`` bits, and after 64 synapses.

    Args:
        rows: which targets (first axis) each list (second axis) has a synapse to.
        bits: of a weight with its delay.
        target: the chip, which has a width for skips.
        index: bits of an entry's first target.
    """
    synapse = target.synapse
    assert synapse.skip is not None
    column, row = np.nonzero(rows.T)
    first = np.diff(column, prepend=-1) > 0
    step = np.where(first, 0, np.diff(row, prepend=0))
    counts = np.bincount(column, minlength=rows.shape[1])
    best = None
    for skip in synapse.skip.widths:
        starts = np.flatnonzero(first | (step >= 2**skip))
        runs = np.diff(starts, append=len(column))
        entries = np.bincount(
            column[starts], weights=-(-runs // synapse.entry_synapses.limit), minlength=len(counts)
        ).astype(np.int64)
        words = in_words(counts * (bits + skip) + entries * (synapse.header_bits.limit + index))
        if best is None or words.sum() < best.sum():
            best = words
    assert best is not None
    return best


def least_kernel_words(fan: Fan, into: FanIn, neurons: int, target: Loihi1Target) -> int:
    """Words of shared lists, never more for a smaller box.

    How many lists a box cuts its kernel into need not grow with the box, but the longest list of every
    input channel does, and each has one.
    """
    assert into.kernel is not None
    longest = into.kernel.stored.max(axis=1, initial=0)
    entry = entry_bits(fan, target) + index_bits(neurons, target)
    return int(list_words(longest, entry, target, 0).sum()) * len(fan.latencies)


def _kernels(fan: Fan, into: FanIn, index: int, target: Loihi1Target) -> list[Stored]:
    """A convolution, whose source positions that are cut off alike at the border share lists.

    Either each position has one population axon for all its channels, whose lists are then padded to
    one length; or each neuron has a discrete axon, which takes more input axons and fewer slots of the
    sender. The offset of an axon reaches 256 compartments, so more output positions need copies.
    """
    assert into.kernel is not None
    synapse, axons, kernel = target.synapse, target.axons, into.kernel
    counts, sources = kernel.stored, len(fan.synapses.sources)
    words = list_words(counts, entry_bits(fan, target) + index, target, 0)
    copies = len(fan.latencies) * -(-kernel.places_out // synapse.base_count.limit)
    padded = int(words.max(axis=0, initial=0).sum()) * counts.shape[0]

    def shared(words_once: int, heard: int, slots: int) -> Stored:
        return Stored(
            encoding="conv",
            words=words_once * copies,
            longest=int(words.max(initial=0)),
            axons=heard * sources,
            slots=slots,
            synapses=int(counts.sum()) * copies,
            nonzero=int(counts.sum()) * copies,
            shared=True,
        )

    return [
        shared(padded, kernel.places, axons.out_population.limit),
        shared(int(words.sum()), int((into.full > 0).sum()), axons.out_discrete.limit),
    ]
