"""How a core of Loihi 2 can store a synapse group, and what each way takes."""

from __future__ import annotations

from collections.abc import Iterable

from ....ir.fan.fan import Fan
from ....ir.fan.fan_in import FanIn
from ...counting import Stored
from ..loihi.lists import WORD, entry_bits, index_bits, list_words, lists, too_many
from .tables import Loihi2Target


def encodings(fan: Fan, into: FanIn, neurons: int, target: Loihi2Target) -> list[Stored]:
    """What can be chosen from: lists with and without zeros, then the kernel of a convolution.

    An index per synapse is charged in dense lists too: the printed tables say so.
    """
    entry = entry_bits(fan, target) + index_bits(neurons, target)
    kernels = []
    if into.kernel is not None and into.full.any():
        kernels = [_kernel(fan, into, target)]
        if too_many(into, fan, entry, kernels[-1]):
            return kernels
    words = list_words(into.full, entry, target, 0)
    dense = lists("dense", fan, into, into.full, words, slots=1, skips=False)
    if into.stored is into.full or not target.synapse.sparse.limit:
        return [dense, *kernels]
    words = list_words(into.stored, entry, target, 0)
    sparse = lists("sparse", fan, into, into.stored, words, slots=1, skips=True)
    return [dense, sparse, *kernels]


def kernel_words(rows: Iterable[tuple[int, int]], bits: int, target: Loihi2Target) -> int:
    """Words of a kernel that all positions of a core share.

    A row holds the weights of all output channels for one input channel and tap; one more bit per
    weight and a header never under-count the ten rows that Intel's compiler printed.
    """
    header = target.synapse.header_bits.limit
    return sum(n * -(-(channels * (bits + 1) + header) // WORD) for n, channels in rows)


def _kernel(fan: Fan, into: FanIn, target: Loihi2Target) -> Stored:
    """A convolution: one kernel per core, whatever the number of positions."""
    assert into.kernel is not None
    s, rows = fan.synapses, into.kernel.rows
    copies = len(fan.latencies)
    entries = sum(n * channels for n, channels in rows)
    kept = entries if fan.nonzero is None else round(entries * float(fan.nonzero.mean()))
    words = kernel_words(rows, entry_bits(fan, target), target)
    return Stored(
        encoding="conv",
        words=words * copies,
        longest=words // max(sum(n for n, _ in rows), 1),
        axons=target.axons.in_kernel.limit * len(s.sources),
        slots=1,
        synapses=entries * copies,
        nonzero=kept * copies,
        shared=True,
    )
