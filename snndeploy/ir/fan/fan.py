"""Which source neurons reach a box of the target, and through how many synapses.

Counting must be fast: a split tries thousands of boxes. A count at the target is therefore pulled
back through the chain of operators, and convolutions are handled one axis at a time instead of
listing their synapses.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..arrays import Array, Shape, size
from ..ops import Conv, Dense, IndexMap, Op, SumPool, chain_shapes, index_map
from ..ops import weighted_index as position_of_weights
from ..placement import Bounds
from ..program import Program, SynapseGroup
from .fan_in import FanIn, Kernel, contract, outer, pulled

_LONG_AXIS = 256
"""Outputs along an axis up to which every range is looked at."""


@dataclass(frozen=True, eq=False)
class _Axis:
    """The sources of a range of outputs along one axis of a convolution.

    ``reach`` counts outputs per (source in ``span``, tap), ``cases`` are its different rows that are
    not empty, and ``kind`` tells ranges that are alike.
    """

    span: tuple[int, int]
    reach: Array
    cases: Array
    kind: bytes


@dataclass(frozen=True, eq=False)
class Fan:
    """The synapses of one group, ready to be counted box by box.

    ``from_host`` tells that the host sends what they carry.
    """

    synapses: SynapseGroup
    source_shape: Shape
    target_shape: Shape
    from_host: bool = False

    @cached_property
    def nonzero(self) -> Array | None:
        """Where the mantissa is not zero (None: everywhere)."""
        mask = self.synapses.mantissa != 0
        return None if mask.all() else mask

    @cached_property
    def latencies(self) -> list[int]:
        """The different chip steps that spikes take, ascending."""
        return sorted({int(v) for o in self.synapses.sources for v in np.unique(o.latency)})

    @property
    def delay_bits(self) -> int:
        """Bits of the delay field of each synapse (0 where every spike takes one step)."""
        return (self.latencies[-1] - 1).bit_length()

    @cached_property
    def delay_patterns(self) -> int:
        """Sources share their lists unless their delays, which are part of a list, differ."""
        return len({(o.latency.shape, o.latency.tobytes()) for o in self.synapses.sources})

    @cached_property
    def _shapes(self) -> list[Shape]:
        return chain_shapes(self.synapses.ops, self.source_shape)

    @cached_property
    def _weighted(self) -> int:
        return position_of_weights(self.synapses.ops)

    @cached_property
    def _maps(self) -> tuple[IndexMap | None, ...]:
        """Index maps of the operators (None: counts pass unchanged, or are handled apart)."""

        def of(op: Op, shape: Shape) -> IndexMap | None:
            return None if op.is_view or isinstance(op, Dense) else index_map(op, shape)

        return tuple(of(op, s) for op, s in zip(self.synapses.ops, self._shapes[:-1], strict=True))

    @cached_property
    def separable(self) -> bool:
        """Whether this is a convolution (after any pooling) that the axis-wise count covers."""
        *before, last = self.synapses.ops
        return isinstance(last, Conv) and all(isinstance(op, SumPool) for op in before)

    @property
    def convolution(self) -> Conv:
        """The operator of a `separable` chain."""
        op = self.synapses.op
        assert isinstance(op, Conv)
        return op

    @property
    def pools(self) -> tuple[SumPool, ...]:
        """The operators in front of the convolution of a `separable` chain."""
        return tuple(op for op in self.synapses.ops[:-1] if isinstance(op, SumPool))

    @cached_property
    def one_to_one(self) -> bool:
        """Whether each neuron of a box hears the neuron in its own place and no other."""
        return len(self.synapses.ops) == 1 and self.synapses.op.one_to_one

    @cached_property
    def _listed(self) -> bool:
        """Whether the weights themselves are a list for every source neuron."""
        *before, last = self.synapses.ops
        return isinstance(last, Dense) and all(op.is_view for op in before)

    @cached_property
    def plain(self) -> bool:
        """Whether no pair of neurons counts twice: no ways that part meet again."""
        parted = False
        for op in self.synapses.ops:
            if parted and op.fan_in > 1:
                return False
            parted = parted or op.splits
        return True

    @cached_property
    def _taps(self) -> tuple[Array, ...]:
        """Per spatial axis, (source, tap, output): whether the tap connects the two."""
        op = self.convolution
        result = []
        for axis, kernel in enumerate(op.kernel):
            out, tap = np.ix_(np.arange(self._shapes[-1][1 + axis]), np.arange(kernel))
            place = out * op.stride[axis] + tap * op.dilation[axis] - op.padding[axis][0]
            length = self._shapes[-2][1 + axis]
            hit = (np.arange(length)[:, None, None] == place.T).astype(np.int64)
            for pool, shape in zip(
                reversed(self.pools), reversed(self._shapes[: len(self.pools)]), strict=True
            ):
                start = np.arange(hit.shape[0]) * pool.stride[axis] - pool.padding[axis]
                offset = np.arange(shape[1 + axis])[:, None] - start
                window = ((offset >= 0) & (offset < pool.kernel[axis])).astype(np.int64)
                hit = np.einsum("sp,pko->sko", window, hit)
            result.append(hit)
        return tuple(result)

    @cached_property
    def taps(self) -> int:
        """Taps of the kernel after folding the pooling in front of it into it."""
        op = self.convolution
        total = 1
        for axis, kernel in enumerate(op.kernel):
            offsets = {tap * op.dilation[axis] for tap in range(kernel)}
            for pool in reversed(self.pools):
                offsets = {
                    o * pool.stride[axis] + i for o in offsets for i in range(pool.kernel[axis])
                }
            total *= len(offsets)
        return total

    @cached_property
    def _axes(self) -> dict[tuple[int, tuple[int, int]], _Axis]:
        return {}

    def _axis(self, axis: int, outputs: tuple[int, int]) -> _Axis:
        key = (axis, outputs)
        if key not in self._axes:
            reach = self._taps[axis][:, :, slice(*outputs)].sum(2)
            hit = np.flatnonzero(reach.any(1))
            span = (int(hit[0]), int(hit[-1]) + 1) if hit.size else (0, 0)
            near = reach[slice(*span)]
            cases = np.unique(reach[hit], axis=0)
            kind = f"{outputs[1] - outputs[0]}:{near.shape}:".encode() + near.tobytes()
            self._axes[key] = _Axis(span, near, cases, kind)
        return self._axes[key]

    def region(self, bounds: Bounds) -> Bounds:
        """A box of the source that holds every neuron with synapses into ``bounds``."""
        if not (self.separable or self.one_to_one):
            return tuple((0, n) for n in self.source_shape)
        return tuple(self.span(axis, b) for axis, b in enumerate(bounds))

    def span(self, axis: int, outputs: tuple[int, int]) -> tuple[int, int]:
        """The sources along one axis that a range of the target's axis hears.

        Only where axes are independent (`separable` or `one_to_one`).
        """
        if self.one_to_one:
            return outputs
        return self._groups(outputs) if axis == 0 else self._axis(axis - 1, outputs).span

    def _groups(self, outputs: tuple[int, int]) -> tuple[int, int]:
        """Input channels of the convolution groups that a range of output channels belongs to."""
        op = self.convolution
        per_in, per_out = op.in_channels // op.groups, op.out_channels // op.groups
        low, high = outputs
        return low // per_out * per_in, ((high - 1) // per_out + 1) * per_in

    def signature(self, bounds: Bounds) -> Hashable:
        """Equal for boxes that are stored alike, such as all tiles away from the border."""
        return tuple(self.key(axis, b) for axis, b in enumerate(bounds))

    def key(self, axis: int, outputs: tuple[int, int]) -> Hashable:
        """The part of a box's signature that one axis gives."""
        low, high = outputs
        if self.one_to_one:
            return outputs if self.nonzero is not None else high - low
        if not self.separable:
            return outputs
        if axis > 0:
            return self._axis(axis - 1, outputs).kind
        op = self.convolution
        if self.nonzero is not None:
            return outputs
        if op.groups > 1:
            # Where a range starts within its convolution group is all that matters.
            return low % (op.out_channels // op.groups), high - low
        return high - low

    @cached_property
    def synapses_per_target(self) -> Array:
        """Synapses that are not zero into each neuron of the target, in its shape."""
        if self.separable:
            taps = [t.sum(axis=0, dtype=np.int64).T for t in self._taps]
            return contract(self._weights_per_output, taps)
        return self._push(np.ones(size(self.source_shape))).reshape(self.target_shape)

    @cached_property
    def weights_per_target(self) -> Array:
        """Different weights that are not zero behind each neuron of a convolution's output."""
        taps = [(t.sum(axis=0, dtype=np.int64) > 0).astype(np.int64).T for t in self._taps]
        return contract(self._weights_per_output, taps)

    @property
    def _weights_per_output(self) -> Array:
        op = self.synapses.op
        if self.nonzero is not None:
            return np.asarray(np.sum(self.nonzero, axis=1))
        return np.full((op.weight_shape[0], *op.weight_shape[2:]), op.weight_shape[1])

    def fewest_places(self, axis: int) -> Array:
        """The fewest source positions that ranges of 1, 2, … outputs along a spatial axis hear."""
        hit: Array = np.any(self._taps[axis], axis=1)
        length = hit.shape[1]
        if length > _LONG_AXIS:
            return np.full(length, hit.sum(0).min())
        least = np.full(length, hit.shape[0])
        for start in range(length):
            seen = np.logical_or.accumulate(hit[:, start:], axis=1).sum(0)
            least[: length - start] = np.minimum(least[: length - start], seen)
        return least

    def _push(self, counts: Array) -> Array:
        """Carry counts at source neurons through the operators to the targets."""
        for op, m in zip(self.synapses.ops, self._maps, strict=True):
            if isinstance(op, Dense):
                full = np.full(op.out_features, counts.sum())
                counts = full if self.nonzero is None else self.nonzero @ counts
            elif m is not None:
                weights = counts[m.in_index]
                if m.weight_index is not None and self.nonzero is not None:
                    weights = weights * self.nonzero.reshape(-1)[m.weight_index]
                counts = np.bincount(m.out_index, weights=weights, minlength=m.out_size)
        return counts.astype(np.int64)

    def into(self, bounds: Bounds) -> FanIn:
        """Count the synapses that end in a box of the target's shape."""
        if self.separable:
            return self._into_convolution(bounds)
        if self.one_to_one:
            return self._into_places(bounds)
        if self._listed:
            return self._into_rows(bounds[0])
        inside = np.zeros(self.target_shape, np.int64)
        inside[tuple(slice(*b) for b in bounds)] = 1
        counts = self._pull(inside.reshape(-1), slice(self._weighted + 1, None))
        full, stored = self._through_weights(counts)
        before = slice(0, self._weighted)
        full_in = self._pull(full, before).reshape(self.source_shape)
        stored_in = full_in
        if stored is not full:
            stored_in = self._pull(stored, before).reshape(self.source_shape)
        return FanIn(tuple((0, n) for n in self.source_shape), full_in, stored_in)

    def _into_rows(self, rows: tuple[int, int]) -> FanIn:
        """Of a dense matrix: every source has one synapse to every target, except for zeros."""
        region = tuple((0, n) for n in self.source_shape)
        full = np.full(self.source_shape, rows[1] - rows[0])
        if self.nonzero is None:
            return FanIn(region, full, full)
        lists = self.nonzero[slice(*rows)]
        return FanIn(region, full, lists.sum(0).reshape(self.source_shape), lists=lists)

    def _pull(self, counts: Array, part: slice) -> Array:
        """Carry counts from behind some operators to the neurons in front of them."""
        for m in reversed(self._maps[part]):
            if m is not None:
                counts = pulled(m, counts[m.out_index])
        return counts

    def _through_weights(self, counts: Array) -> tuple[Array, Array]:
        op, m = self.synapses.op, self._maps[self._weighted]
        if m is None:  # dense: no list of its synapses is needed
            rows = np.flatnonzero(counts)
            full = np.full(op.weight_shape[1], counts.sum())
            if self.nonzero is None:
                return full, full
            block = self.nonzero[rows]
            plain = bool((counts[rows] == 1).all())
            return full, block.sum(0) if plain else counts[rows] @ block
        full = pulled(m, counts[m.out_index])
        if self.nonzero is None:
            return full, full
        assert m.weight_index is not None
        return full, pulled(m, counts[m.out_index] * self.nonzero.reshape(-1)[m.weight_index])

    def _into_places(self, bounds: Bounds) -> FanIn:
        full = np.ones([high - low for low, high in bounds], np.int64)
        if self.nonzero is None:
            return FanIn(bounds, full, full)
        mask = np.broadcast_to(self.nonzero, self.source_shape)
        return FanIn(bounds, full, mask[tuple(slice(*b) for b in bounds)].astype(np.int64))

    def _into_convolution(self, bounds: Bounds) -> FanIn:
        op = self.convolution
        per_in, per_out = op.in_channels // op.groups, op.out_channels // op.groups
        low, high = bounds[0]
        channels = np.zeros(op.in_channels, np.int64)
        weights = np.zeros((op.in_channels, *op.kernel), np.int64)
        rows = []
        for group in range(low // per_out, (high - 1) // per_out + 1):
            first, last = max(low, group * per_out), min(high, (group + 1) * per_out)
            members = slice(group * per_in, (group + 1) * per_in)
            channels[members] = last - first
            if self.nonzero is not None:
                weights[members] = self.nonzero[first:last].sum(0)
            rows.append((per_in * self.taps, last - first))
        region = self.region(bounds)
        groups = region[0]
        channels, weights = channels[slice(*groups)], weights[slice(*groups)]
        axes = [self._axis(a, b) for a, b in enumerate(bounds[1:])]
        reach, cases = [a.reach for a in axes], [a.cases for a in axes]
        full = outer(channels, [r.sum(1) for r in reach])
        full_lists = outer(channels, [c.sum(1) for c in cases])
        stored, stored_lists = full, full_lists
        if self.nonzero is not None:
            stored = contract(weights, reach)
            stored_lists = contract(weights, cases)
        kernel = Kernel(
            rows=tuple(rows),
            places=size(int(r.any(1).sum()) for r in reach),
            places_out=size(hi - lo for lo, hi in bounds[1:]),
            full=full_lists.reshape(len(channels), -1),
            stored=stored_lists.reshape(len(channels), -1),
        )
        return FanIn(region, full, stored, kernel)


def fans(program: Program) -> dict[str, Fan]:
    """The synapse groups of a program, by name."""
    return {
        s.name: Fan(
            s,
            program.source_shape(s),
            program.group(s.target).shape,
            from_host=program.group(s.sources[0].group).kind == "input",
        )
        for s in program.synapses
    }
