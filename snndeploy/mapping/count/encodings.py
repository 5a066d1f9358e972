"""How a slice can store a synapse group, and what each way takes.

For each input axon a core holds a list of the synapses behind it, in 64-bit words. The two memory
models differ in what an entry of a list holds, in how lists are shared, and in what the axons cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...chip import Target
from ...ir.arrays import Array
from ..fan.fan import Fan
from ..fan.fan_in import FanIn

WORD = 64
"""Bits of a word of synapse memory."""

Encoding = Literal["dense", "sparse", "run-length", "conv"]
LISTS_WITHOUT_ZEROS = ("sparse", "run-length")
"""Encodings whose lists leave zeros out, and the axons of sources with no other synapses too."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A synapse group as stored for one slice.

    ``words`` and ``longest`` (the longest list of one axon) are 64-bit words, ``axons`` input axons,
    ``slots`` the output axon slots of each neuron that it hears (1 where the target has no slots),
    ``synapses`` the entries held in memory and ``nonzero`` those of them that are not zero.
    """

    encoding: Encoding
    words: int
    longest: int
    axons: int
    slots: int
    synapses: int
    nonzero: int


@dataclass(frozen=True)
class Room:
    """What a synapse group may take of a core."""

    words: int
    axons: int


def list_words(counts: Array, bits: int, target: Target, index: int) -> Array:
    """Words of lists of ``counts`` synapses whose entries take ``bits`` each.

    Loihi 2: ``ceil((n * (weight + delay + index) + header) / 64)``. Loihi starts an entry with a
    header every 64 synapses; ``index`` bits name its first target where its synapses do not.
    """
    entry = target.synapse.entry_synapses
    headers = 1 if entry is None else -(-counts // entry.limit)
    words = _words(counts * bits + headers * (target.synapse.header_bits.limit + index))
    return np.where(counts > 0, words, 0)


def run_length_words(lists: Array, bits: int, target: Target, index: int) -> Array:
    """Words of lists whose synapses each store how far the next target is, at the best width.

    ``ceil((n * (weight + delay + skip) + entries * (header + index)) / 64)``: an entry names its first
    target, and a new one starts where a step does not fit ``skip`` bits, and after 64 synapses.

    Args:
        lists: which targets (first axis) each list (second axis) has a synapse to.
        bits: of a weight with its delay.
        target: the chip, which has a width for skips.
        index: bits of an entry's first target.
    """
    synapse = target.synapse
    assert synapse.skip is not None
    assert synapse.entry_synapses is not None
    column, row = np.nonzero(lists.T)
    first = np.diff(column, prepend=-1) > 0
    step = np.where(first, 0, np.diff(row, prepend=0))
    counts = np.bincount(column, minlength=lists.shape[1])
    best = None
    for skip in synapse.skip.widths:
        starts = np.flatnonzero(first | (step >= 2**skip))
        runs = np.diff(starts, append=len(column))
        entries = np.bincount(
            column[starts], weights=-(-runs // synapse.entry_synapses.limit), minlength=len(counts)
        ).astype(np.int64)
        words = _words(counts * (bits + skip) + entries * (synapse.header_bits.limit + index))
        if best is None or words.sum() < best.sum():
            best = words
    assert best is not None
    return best


def _words(bits: Array) -> Array:
    return -(-bits // WORD)


def kernel_words(rows: Iterable[tuple[int, int]], bits: int, target: Target) -> int:
    """Words of a kernel that all positions of a Loihi 2 core share.

    A row holds the weights of all output channels for one input channel and tap; one more bit per
    weight and a header never under-count the ten rows that Intel's compiler printed.
    """
    header = target.synapse.header_bits.limit
    return sum(n * -(-(channels * (bits + 1) + header) // WORD) for n, channels in rows)


def store(fan: Fan, into: FanIn, neurons: int, target: Target, room: Room) -> Stored:
    """The cheapest encoding of a synapse group for a slice of ``neurons``.

    Cheapest is what leaves most room: the smallest share of synapse memory, of input axons or (Loihi)
    of the output axons of a sender, whichever is largest. Between equal ones of those that fit, the sum
    of the shares decides, then the simpler encoding.
    """
    core = {name: max(limit.limit, 1) for name, limit in target.core.items()}
    sources, reached = len(fan.synapses.sources), int((into.full > 0).sum())

    def shared(s: Stored) -> float:
        return max((s.words + s.axons) / core["synapse_words"], s.axons / core["axon_in"])

    def listed(s: Stored) -> tuple[bool, float, float]:
        over = s.words > room.words or s.axons > room.axons or s.longest > core["axon_words"]
        sent = s.slots * (reached if s.encoding == "conv" else s.axons // sources)
        shares = (
            s.words / core["synapse_words"],
            s.axons / core["in_axons"],
            sent / core["out_axons"],
        )
        return over, max(shares), sum(shares)

    return min(
        encodings(fan, into, neurons, target),
        key=shared if target.memory_model == "loihi2" else listed,
    )


def cheapest(fan: Fan, into: FanIn, neurons: int, target: Target) -> Stored:
    """The least that any encoding takes of each resource, alone; never more for a smaller box.

    Shared kernels of Loihi need care: how many lists a box cuts its kernel into need not grow with
    the box, but the longest list of every input channel does, and each has one.
    """
    parts = encodings(fan, into, neurons, target)
    words = [p.words for p in parts if p.encoding != "conv" or target.memory_model == "loihi2"]
    if into.kernel is not None and into.full.any() and target.memory_model == "loihi1":
        words.append(_least_kernel1(fan, into, neurons, target))
    return Stored(
        encoding="sparse",
        words=min(words),
        longest=min(p.longest for p in parts),
        axons=min(p.axons for p in parts),
        slots=min(p.slots for p in parts),
        synapses=0,
        nonzero=0,
    )


def _least_kernel1(fan: Fan, into: FanIn, neurons: int, target: Target) -> int:
    assert into.kernel is not None
    longest = into.kernel.stored.max(axis=1, initial=0)
    entry = _entry(fan, target) + index_bits(neurons, target)
    return int(list_words(longest, entry, target, 0).sum()) * len(fan.latencies)


def encodings(fan: Fan, into: FanIn, neurons: int, target: Target) -> list[Stored]:
    """What can be chosen from: lists with and without zeros, then kernels of convolutions."""
    two, index, entry = (
        target.memory_model == "loihi2",
        index_bits(neurons, target),
        _entry(fan, target),
    )
    slots = 1 if target.axons.out_discrete is None else target.axons.out_discrete.limit
    copies, sources = fan.delay_patterns, len(fan.synapses.sources)

    def lists(encoding: Encoding, counts: Array, words: Array) -> Stored:
        return Stored(
            encoding=encoding,
            words=int(words.sum()) * copies,
            longest=int(words.max(initial=0)),
            axons=int((counts > 0).sum()) * sources,
            slots=slots,
            synapses=int(counts.sum()) * copies,
            nonzero=int(into.stored.sum()) * copies,
        )

    kernels = []
    if into.kernel is not None and into.full.any():
        kernels = [_kernel2(fan, into, target)] if two else _kernels1(fan, into, index, target)
        # Lists of the same synapses without rounding: when that is too much, don't count further.
        least = int(into.stored.sum()) * (entry + index * two) // WORD
        last = kernels[-1]
        if least > last.words and int((into.stored > 0).sum()) * sources >= last.axons:
            return kernels
    # Loihi 2 charges an index per synapse in dense lists too: its printed tables say so.
    per_synapse, per_entry = (entry + index, 0) if two else (entry, index)
    dense = lists("dense", into.full, list_words(into.full, per_synapse, target, per_entry))
    if into.stored is into.full:
        return [dense, *kernels]
    sparse = lists("sparse", into.stored, list_words(into.stored, entry + index, target, 0))
    found = [dense, sparse]
    if target.synapse.skip is not None and into.lists is not None:
        least = int(into.stored.sum()) * (entry + min(target.synapse.skip.widths)) // WORD * copies
        if least < min(dense.words, sparse.words):
            words = run_length_words(into.lists, entry, target, index)
            found.append(lists("run-length", into.stored, words))
    return [*found, *kernels]


def _kernel2(fan: Fan, into: FanIn, target: Target) -> Stored:
    """A convolution on Loihi 2: one kernel per core, whatever the number of positions."""
    assert into.kernel is not None
    assert target.axons.in_kernel is not None
    s, rows = fan.synapses, into.kernel.rows
    copies = len(fan.latencies)
    entries = sum(n * channels for n, channels in rows)
    kept = entries if fan.nonzero is None else round(entries * float(fan.nonzero.mean()))
    words = kernel_words(rows, _entry(fan, target), target)
    return Stored(
        encoding="conv",
        words=words * copies,
        longest=words // max(sum(n for n, _ in rows), 1),
        axons=target.axons.in_kernel.limit * len(s.sources),
        slots=1,
        synapses=entries * copies,
        nonzero=kept * copies,
    )


def _kernels1(fan: Fan, into: FanIn, index: int, target: Target) -> list[Stored]:
    """A convolution on Loihi, whose source positions that are cut off alike at the border share lists.

    Either each position has one population axon for all its channels, whose lists are then padded to
    one length; or each neuron has a discrete axon, which takes more input axons and fewer slots of the
    sender. The offset of an axon reaches 256 compartments, so more output positions need copies.
    """
    assert into.kernel is not None
    synapse, axons, kernel = target.synapse, target.axons, into.kernel
    assert synapse.base_count is not None
    assert axons.out_population is not None
    assert axons.out_discrete is not None
    counts, sources = kernel.stored, len(fan.synapses.sources)
    words = list_words(counts, _entry(fan, target) + index, target, 0)
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
        )

    return [
        shared(padded, kernel.places, axons.out_population.limit),
        shared(int(words.sum()), int((into.full > 0).sum()), axons.out_discrete.limit),
    ]


def index_bits(neurons: int, target: Target) -> int:
    """Bits that tell the neurons of a slice apart in a list."""
    return target.synapse.index.holding(max(neurons - 1, 1).bit_length())


def delay_bits(fan: Fan) -> int:
    """Bits of the delay field of each synapse (0 where every spike takes one step)."""
    return (fan.latencies[-1] - 1).bit_length()


def _entry(fan: Fan, target: Target) -> int:
    """Bits of a weight with its delay."""
    return target.synapse.weight.holding(fan.synapses.weight_bits) + delay_bits(fan)
