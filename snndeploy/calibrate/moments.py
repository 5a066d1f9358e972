"""Second moments of what arrives at a layer, as its neurons' membranes see it.

A layer ``x -> W x`` drives neurons whose reset-free response to an input current is linear: ``v = M W
x``, with M acting on time alone. The error of the membrane that another weight makes is therefore a
quadratic form, ``E |M (W - W0) x|^2 = 1/2 tr (W - W0) H (W - W0)^T`` with ``H = E 2 (M x)(M x)^T``,
the sum going over the steps of a sample. With M = 1 that is the Hessian of Optimal Brain Compression
(arXiv 2208.11580); with the neuron's own M that of OSBC and SBC (arXiv 2506.03996, eq. of the
surrogate membrane potential).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from ..ir.arrays import Array
from ..ir.digest.content import content_digest
from ..ir.network import Network, Population
from ..progress import Progress, silent
from ..simulate.recording import Recording
from ..workers import HERE, Workers
from .parts import in_parts
from .stream import MAX_MEMORY
from .sums import Block, BlockSum, Moments, Response, filtered, pooled, rows

__all__ = [
    "Block",
    "Moments",
    "Response",
    "filtered",
    "gather",
    "gather_joint",
    "moments_of_trains",
    "pooled",
    "rows",
]


def gather(
    network: Network,
    inputs: Array | Mapping[str, Array],
    projections: Iterable[str] | None = None,
    *,
    beside: Iterable[str] = (),
    kernel: Response = "membrane",
    reference: Network | None = None,
    positions: int | None = None,
    max_memory: int = MAX_MEMORY,
    workers: Workers = HERE,
    progress: Progress = silent,
) -> dict[str, Moments]:
    """Moments of several projections from one run over the samples.

    A one-to-one or dense operator followed by a pool is taken as if the pool were not there; a
    convolution followed by one is exact. Pools and reshapes come first, then the filter over time,
    which commutes with them, then windows.

    Args:
        network: delivers the inputs x; for sequential calibration, with all predecessors compressed.
        inputs: ``(steps, samples, *shape)``, or one such array per input population.
        projections: names (default: all).
        beside: projections that are measured in other calls: the samples are run as for all of them,
            so that moments have the bits that they would have together.
        kernel: M. ``"membrane"`` is the receiving neuron's own response (leak and synaptic filter),
            ``"current"`` no filter, ``"long"`` four times its time constant, ``"double"`` its own
            twice (a membrane filtered as van Rossum does), ``"integrator"`` no leak.
        reference: a network of the same shape, usually the uncompressed one, for ``cross``.
        positions: output positions of a convolution drawn per sample (default: all of them). The
            draw depends on the sample alone, not on the chunks.
        max_memory: bytes for recordings and patches; the moments come on top.
        workers: who goes through the samples; the bits are the same.
        progress: is told ``(samples done, samples)``.

    Raises:
        InputError: inputs that do not fit, or an unknown projection.
    """
    known = {p.name: p for p in network.projections}
    names = list(known) if projections is None else list(projections)
    blocks = [(known[name],) for name in names]
    others = {s.population for name in beside for s in known[name].sources}
    found = _accumulate(
        network, inputs, blocks, others, kernel, reference, positions, max_memory, workers, progress
    )
    return dict(zip(names, found, strict=True))


def gather_joint(
    network: Network,
    inputs: Array | Mapping[str, Array],
    projections: Sequence[str],
    *,
    kernel: Response = "membrane",
    reference: Network | None = None,
    positions: int | None = None,
    max_memory: int = MAX_MEMORY,
    workers: Workers = HERE,
) -> Moments:
    """Moments of several projections into one population, their columns side by side.

    They must agree in rows and positions (dense with dense, or convolutions of equal output), and
    none of them be grouped.
    """
    block = tuple(next(p for p in network.projections if p.name == name) for name in projections)
    return _accumulate(
        network, inputs, [block], set(), kernel, reference, positions, max_memory, workers, silent
    )[0]


def moments_of_trains(
    network: Network,
    trains: Mapping[str, Array],
    projection: str,
    *,
    reference: Mapping[str, Array] | None = None,
    kernel: Response = "membrane",
    positions: int | None = None,
    max_memory: int = MAX_MEMORY,
) -> Moments:
    """Moments of one projection whose sources' trains (steps, samples, *shape) are known already.

    ``reference`` holds what they emit in a reference network, for ``cross``.
    """
    block = tuple(p for p in network.projections if p.name == projection)
    target = network.population(block[0].target)
    total = BlockSum(target, block, kernel, positions, reference is not None)
    dense = None if reference is None else Recording(engine="given", spikes=reference)
    total.add(0, Recording(engine="given", spikes=trains), dense, max_memory // 4)
    return total.finish()


def _accumulate(
    network: Network,
    inputs: Array | Mapping[str, Array],
    blocks: Sequence[Block],
    others: set[str],
    kernel: Response,
    reference: Network | None,
    positions: int | None,
    max_memory: int,
    workers: Workers,
    progress: Progress,
) -> list[Moments]:
    sources = others | {s.population for block in blocks for p in block for s in p.sources}
    targets = {block[0].target for block in blocks}
    receivers = tuple(p for p in network.populations if p.name in targets)
    what = (kernel, positions, reference is not None)
    share = max_memory // 4
    sums = in_parts(
        network,
        sources,
        inputs,
        partial(_nothing, receivers, blocks, *what),
        told=lambda: content_digest((receivers, blocks, *what)),
        reference=reference,
        memory=share // 16,  # one byte per spike becomes eight, twice
        share=share,
        workers=workers,
        progress=progress,
    )
    return [total.finish() for total in sums if isinstance(total, BlockSum)]


def _nothing(
    receivers: Sequence[Population],
    blocks: Sequence[Block],
    kernel: Response,
    positions: int | None,
    cross: bool,
) -> list[BlockSum]:
    """Sums of no samples yet."""
    known = {p.name: p for p in receivers}
    return [BlockSum(known[b[0].target], b, kernel, positions, cross) for b in blocks]
