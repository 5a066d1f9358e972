"""Running sums of second moments over samples, a block of projections each, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np

from ..ir.arrays import Array, size
from ..ir.linear.delays import arriving
from ..ir.network import Population, Projection, Source
from ..ir.ops import SumPool
from ..simulate.recording import Recording
from .columns import arrivals, patches, profiles_of
from .maps import MapMoments, merged, read_places, summed
from .parts import PartSum

Response = Literal["current", "membrane", "long", "double", "integrator"]
Block = tuple[Projection, ...]

_BYTE = 255
"""What a byte holds at most: spikes of one neuron in one step."""
_LONG = 4.0
"""How many times the neuron's own time constant the ``"long"`` kernel has."""


_BAND = 2048
"""Columns of a product that are formed at once, beside the sums that they are added to."""


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


def pooled(a: Moments, b: Moments) -> Moments:
    """Moments over the samples of both."""
    share = a.count / (a.count + b.count)

    def mean(x: Array, y: Array) -> Array:
        found = share * x
        found += (1 - share) * y
        return np.asarray(found)

    return Moments(
        hessian=mean(a.hessian, b.hessian),
        mean=mean(a.mean, b.mean),
        cross=None if a.cross is None or b.cross is None else mean(a.cross, b.cross),
        group=a.group,
        count=a.count + b.count,
    )


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

    def late(delay: int) -> Array:
        before = np.zeros_like(x[:delay])
        return np.concatenate([before, x[: len(x) - delay]])[: len(x)] if delay else x

    found: Array = arriving(source, late)
    return found


class BlockSum:
    """Running sums of one block of projections."""

    def __init__(
        self, target: Population, block: Block, kernel: Response, positions: int | None, cross: bool
    ) -> None:
        self.neurons = size(target.shape)
        self.block, self.kernel, self.positions = block, kernel, positions
        self.by_element = block[0].op.one_to_one
        self.profiles, self.keys, self.group = _groups_of(target, block[0])
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
                _add_products(self.hessian, wanted, y, y)
                self.mean[wanted] += y.sum(axis=1)
                if self.cross is not None and dense:
                    y0 = _of(self._columns([x[span] for x in dense], places), parts)
                    _add_products(self.cross, wanted, y, y0)
                elif self.cross is not None and same:
                    _add_products(self.cross, wanted, y, y)
        self.steps = steps
        self.count += samples * (self._grid() if places is None else places.shape[1])

    def merge(self, later: PartSum) -> None:
        """Add what later samples came to."""
        assert isinstance(later, BlockSum)
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
        """The moments, which take the place of the sums."""
        for profile, found in self.maps.items():
            wanted = self.keys[:, 1] == profile
            self.hessian[wanted] += summed(found.square, found.places)
            self.mean[wanted] += np.append(found.total, 0.0)[found.places].sum(axis=0)
            if self.cross is not None and found.cross is not None:
                self.cross[wanted] += summed(found.cross, found.places)
        n = max(1, self.count)
        for total in (self.hessian, self.cross):
            if total is not None:
                total *= 2 / n
        return Moments(
            hessian=self.hessian,
            mean=self.mean / (n * max(1, self.steps)),
            cross=self.cross,
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


def _add_products(total: Array, which: Array, a: Array, b: Array) -> None:
    """Add ``a^T b`` (groups, d, d) to the groups ``which`` of ``total``, in place.

    Small ones are formed at once. Of large ones a band of columns is formed at a time, and of products
    of a matrix with itself half, so that no second array of their size is held.
    """
    d = total.shape[-1]
    if d <= _BAND and len(which) > 1:
        total[which] += np.matmul(a.transpose(0, 2, 1), b)
        return
    for into, x, y in zip((total[k] for k in which), a, b, strict=True):
        for low in range(0, d, _BAND):
            band = slice(low, low + _BAND)
            if a is not b:
                into[:, band] += x.T @ y[:, band]
                continue
            into[band, band] += x[:, band].T @ x[:, band]
            if low:
                above = x[:, :low].T @ x[:, band]
                into[:low, band] += above
                into[band, :low] += above.T


def matrices_of(target: Population, block: Block) -> tuple[int, int]:
    """How many Hessians a block of projections has, and the columns of each."""
    _, keys, _ = _groups_of(target, block[0])
    return len(keys), sum(rows(p, p.weight.data).shape[1] for p in block)


def _groups_of(
    target: Population, projection: Projection
) -> tuple[list[tuple[float, float | None]], Array, Array]:
    """Different neurons, (part of the operator, neurons) of each group of rows, and each row's group."""
    count = projection.op.weight_rows
    profiles, profile = profiles_of(target, projection, count)
    own = np.arange(count) // (count // projection.op.blocks)
    keys, group = np.unique(np.stack([own, profile], axis=1), axis=0, return_inverse=True)
    return profiles, keys, group.reshape(-1)
