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
from dataclasses import dataclass
from functools import partial, reduce
from typing import Literal

import numpy as np

from ..ir.arrays import Array, size
from ..ir.digest.content import content_digest
from ..ir.network import Network, Population, Projection, Source
from ..ir.ops import SumPool
from ..progress import Progress, silent
from ..simulate.recording import Recording
from ..workers import HERE, Workers
from .columns import arrivals, patches, profiles_of
from .maps import MapMoments, merged, read_places, summed
from .parts import PartSum, in_parts
from .stream import MAX_MEMORY

Response = Literal["current", "membrane", "long", "double", "integrator"]

_BYTE = 255
"""What a byte holds at most: spikes of one neuron in one step."""
_LONG = 4.0
"""How many times the neuron's own time constant the ``"long"`` kernel has."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """Moments of the filtered input of one layer, float64.

    The rows of the layer's weight (`rows`) that share inputs and neuron parameters form a group, and
    ``group[i]`` is the group of row i: one for a plain layer, one per group of a grouped convolution,
    and more where leaks differ between neurons.

    Attributes:
        hessian: ``(groups, d, d)``, mean over samples and positions of the sum over steps of
            2 (M x)(M x)^T.
        mean: ``(groups, d)``, mean over samples, positions and steps of M x.
        cross: ``(groups, d, d)``, the same of 2 (M x)(M x0)^T, x0 being what arrives in a reference
            network; None without one.
        group: ``(rows,)``.
        count: samples times positions.
    """

    hessian: Array
    mean: Array
    cross: Array | None
    group: Array
    count: int


def rows(projection: Projection, values: Array) -> Array:
    """``values``, shaped like the projection's weight, as ``(rows, d)``: the order of `Moments`."""
    return values.reshape(projection.op.weight_rows, -1)


def filtered(x: Array, leak: float, syn_leak: float | None, kernel: Response = "membrane") -> Array:
    """M x: the reset-free membrane (gain 1) driven by the current ``x`` (steps, …), float64."""
    y = x.astype(np.float64)
    if kernel == "current":
        return y
    if kernel == "integrator":
        return np.asarray(np.cumsum(y, axis=0))
    leaks = [1 - (1 - leak) / _LONG if kernel == "long" else leak]
    if syn_leak is not None:
        leaks.append(syn_leak)
    for factor in leaks * (2 if kernel == "double" else 1):
        if factor:
            for t in range(1, len(y)):
                y[t] += factor * y[t - 1]
    return y


def delayed(x: Array, source: Source) -> Array:
    """What the spikes ``x`` (steps, samples, *shape) of a source deliver, step by step."""
    if not source.max_delay:
        return x
    out = np.zeros_like(x)
    delays = np.broadcast_to(source.delay, x.shape[2:])
    for delay in np.unique(delays):
        arrived = x[: len(x) - delay]
        out[delay:] = np.where(delays == delay, arrived, out[delay:])
    return out


def gather(
    network: Network,
    inputs: Array | Mapping[str, Array],
    projections: Iterable[str] | None = None,
    *,
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
    found = _accumulate(
        network, inputs, blocks, kernel, reference, positions, max_memory, workers, progress
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
        network, inputs, [block], kernel, reference, positions, max_memory, workers, silent
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
    total = _BlockSum(target, block, kernel, positions, reference is not None)
    dense = None if reference is None else Recording(engine="given", spikes=reference)
    total.add(0, Recording(engine="given", spikes=trains), dense, max_memory // 4)
    return total.finish()


Block = tuple[Projection, ...]


def _accumulate(
    network: Network,
    inputs: Array | Mapping[str, Array],
    blocks: Sequence[Block],
    kernel: Response,
    reference: Network | None,
    positions: int | None,
    max_memory: int,
    workers: Workers,
    progress: Progress,
) -> list[Moments]:
    sources = {s.population for block in blocks for p in block for s in p.sources}
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
    return [total.finish() for total in sums if isinstance(total, _BlockSum)]


def _nothing(
    receivers: Sequence[Population],
    blocks: Sequence[Block],
    kernel: Response,
    positions: int | None,
    cross: bool,
) -> list[_BlockSum]:
    """Sums of no samples yet."""
    known = {p.name: p for p in receivers}
    return [_BlockSum(known[b[0].target], b, kernel, positions, cross) for b in blocks]


class _BlockSum:
    """Running sums of one block of projections."""

    def __init__(
        self, target: Population, block: Block, kernel: Response, positions: int | None, cross: bool
    ) -> None:
        self.neurons = size(target.shape)
        self.block, self.kernel, self.positions = block, kernel, positions
        first = block[0]
        op = first.op
        weight_rows = op.weight_rows
        self.by_element = op.one_to_one
        self.profiles, profile = profiles_of(target, first, weight_rows)
        own = np.arange(weight_rows) // (weight_rows // op.blocks)
        pairs = np.stack([own, profile], axis=1)
        self.keys, group = np.unique(pairs, axis=0, return_inverse=True)
        self.group: Array = group.reshape(-1)
        d = sum(rows(p, p.weight.data).shape[1] for p in block)
        self.hessian = np.zeros((len(self.keys), d, d))
        self.cross = np.zeros_like(self.hessian) if cross else None
        self.mean = np.zeros((len(self.keys), d))
        self.maps: dict[int, MapMoments] = {}
        self.count = 0
        self.steps = 0

    def add(self, start: int, run: Recording, reference: Recording | None, share: int) -> None:
        arrived = self._arrivals(run)
        same = reference is run
        originals = None if reference is None or same else self._arrivals(reference)
        steps, samples = arrived[0].shape[:2]
        places = self._places(start, samples)
        whole = self._whole_map(arrived, places, share)
        for index, profile in enumerate(self.profiles):
            wanted = np.flatnonzero(self.keys[:, 1] == index)
            mine = [filtered(x, *profile, self.kernel) for x in arrived]
            dense = originals and [filtered(x, *profile, self.kernel) for x in originals]
            if whole is not None:
                other = mine[0] if same else dense[0] if dense else None
                self._add_map(index, whole, mine[0], other)
                continue
            parts = self.keys[wanted, 0]
            per_row = 8 * size(mine[0].shape[2:]) + self._patch_bytes(places)
            block = max(1, share // max(1, per_row * samples))
            for low in range(0, steps, block):
                span = slice(low, low + block)
                y = _of(self._columns([x[span] for x in mine], places), parts)
                gram = _gram(y, y)
                self.hessian[wanted] += gram
                self.mean[wanted] += y.sum(axis=1)
                if self.cross is not None and dense:
                    y0 = _of(self._columns([x[span] for x in dense], places), parts)
                    self.cross[wanted] += _gram(y, y0)
                elif self.cross is not None and same:
                    self.cross[wanted] += gram
        self.steps = steps
        self.count += samples * (self._grid() if places is None else places.shape[1])

    def merge(self, later: PartSum) -> None:
        """Add what later samples came to."""
        assert isinstance(later, _BlockSum)
        self.hessian += later.hessian
        self.mean += later.mean
        self.cross = merged(self.cross, later.cross)
        for profile, found in later.maps.items():
            mine = self.maps.setdefault(profile, found)
            if mine is not found:
                mine.merge(found)
        self.count += later.count
        self.steps = later.steps

    def _whole_map(self, arrived: Sequence[Array], drawn: Array | None, share: int) -> Array | None:
        """Where windows read the map, if moments of all of it are the shorter way to theirs."""
        shape = arrived[0].shape[2:]
        if drawn is not None or len(arrived) > 1 or 3 * 8 * size(shape) ** 2 > share:
            return None
        return read_places(self.block[0], shape)

    def _add_map(self, profile: int, places: Array, mine: Array, dense: Array | None) -> None:
        x = mine.reshape(-1, size(mine.shape[2:]))
        found = self.maps.setdefault(profile, MapMoments(places, self.cross is not None))
        found.add(x, None if dense is None else x if dense is mine else dense.reshape(x.shape))

    def finish(self) -> Moments:
        for profile, found in self.maps.items():
            wanted = self.keys[:, 1] == profile
            self.hessian[wanted] += summed(found.square, found.places)
            self.mean[wanted] += np.append(found.total, 0.0)[found.places].sum(axis=0)
            if self.cross is not None and found.cross is not None:
                self.cross[wanted] += summed(found.cross, found.places)
        n = max(1, self.count)
        return Moments(
            hessian=self.hessian * (2 / n),
            mean=self.mean / (n * max(1, self.steps)),
            cross=None if self.cross is None else self.cross * (2 / n),
            group=self.group,
            count=self.count,
        )

    def _arrivals(self, run: Recording) -> list[Array]:
        """x of every projection, behind the operators before its weight: (steps, samples, …)."""
        out = []
        for p in self.block:
            pools = [size(o.kernel) for o in p.ops if isinstance(o, SumPool)]
            most = _BYTE * len(p.sources) * size(pools)
            spikes = (_exact(run.spikes[s.population], most) for s in p.sources)
            x = reduce(np.add, (delayed(x, s) for x, s in zip(spikes, p.sources, strict=True)))
            out.append(arrivals(p, x))
        return out

    def _grid(self) -> int:
        """Positions per sample at which a row of the weight is used."""
        return self.neurons // len(self.group)

    def _places(self, start: int, samples: int) -> Array | None:
        """Drawn positions (samples, n); None for all."""
        grid = self._grid()
        if self.positions is None or self.positions >= grid or self.by_element:
            return None
        draws = [np.random.default_rng([grid, start + i]) for i in range(samples)]
        return np.stack([g.permutation(grid)[: self.positions] for g in draws])

    def _patch_bytes(self, places: Array | None) -> int:
        width: int = self.hessian.shape[1] * (self._grid() if places is None else places.shape[1])
        groups = max(1, int(self.keys[:, 0].max()) + 1)
        return 3 * 8 * width * groups

    def _columns(self, inputs: Sequence[Array], places: Array | None) -> Array:
        """(conv groups or weight elements, rows of data, d) of filtered inputs."""
        parts = [patches(p, x, places) for p, x in zip(self.block, inputs, strict=True)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _exact(spikes: Array, most: int) -> Array:
    """Spikes in the smallest type that counts up to ``most`` of them, if they are bytes."""
    if spikes.dtype.kind not in "bu" or spikes.dtype.itemsize > 1:
        return spikes.astype(np.float64)
    return spikes.astype(np.int16 if most <= np.iinfo(np.int16).max else np.float32)


def _of(columns: Array, parts: Array) -> Array:
    """The groups ``parts`` of ``columns``, which are not copied where these are all."""
    return columns if np.array_equal(parts, np.arange(len(columns))) else columns[parts]


def _gram(a: Array, b: Array) -> Array:
    if len(a) == 1:  # one product of a matrix with itself: BLAS computes half of it
        return np.asarray(a[0].T @ (a[0] if b is a else b[0]))[None]
    return np.asarray(np.matmul(a.transpose(0, 2, 1), b))
