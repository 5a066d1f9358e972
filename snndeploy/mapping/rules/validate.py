"""Whether a placement still is the program: every projection put together again from its slices.

Nothing here comes from the code that cuts: kernels are unfolded tap by tap, lists are what single
spikes deliver, and both are held against the synapses that the operators themselves list. What is
taken from the mapping is what it decided: the boxes, the encoding of each, and the axons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ...chip import Target, load_target
from ...ir.arrays import Array, Shape, size
from ...ir.finding import Finding
from ...ir.linear.apply import apply_chain
from ...ir.ops import Conv, Op, SumPool, chain_shapes, index_map
from ...ir.placement import Bounds, Placement, Slice
from ...ir.program import Program, SynapseGroup
from ..count.axons import recount
from ..count.memory import Memory

_BATCH = 1 << 22
"""Values that the answers to one batch of single spikes may hold."""

Entries = tuple[Array, Array]
"""A sparse matrix: places (row x columns + column, ascending, each once) and values other than 0."""


def validate_placement(
    program: Program, placement: Placement, target: Target | None = None
) -> tuple[Finding, ...]:
    """Rebuild every projection from the placed slices and compare it with the program.

    Args:
        program: what was placed.
        placement: where.
        target: the chip (None: the shipped one that the placement names).

    Returns:
        What is wrong: neurons that are on no core or on several, cores that do not exist, synapses
        that are missing, doubled or different, delays that their field does not hold. Empty if the
        placement is the program. Budgets are not looked at; that is `check_program`.

    Raises:
        TargetError: the placement's target is not shipped and none is given.
    """
    chip = load_target(placement.target) if target is None else target
    wrong = list(_misplaced(program, placement))
    if wrong:  # boxes that do not cover their groups cannot be put together
        return tuple(wrong)
    memory = Memory(program, chip)
    for s in program.synapses:
        wrong += _differing(memory, placement, s)
    return tuple(wrong)


def recounted(program: Program, placement: Placement, target: Target | None = None) -> Placement:
    """A placement whose slices take what they are counted to take, whatever they said before."""
    memory = Memory(program, load_target(placement.target) if target is None else target)
    slices = zip(placement.slices, recount(memory, placement), strict=True)
    return replace(placement, slices=tuple(replace(s, resources=used) for s, used in slices))


def _misplaced(program: Program, placement: Placement) -> Iterator[Finding]:
    groups = {g.name: g for g in program.on_chip}
    for s in placement.slices:
        if s.core < 0:
            yield _finding("core-unknown", s.group, f"a slice is on core {s.core}")
        if s.group not in groups:
            yield _finding("neurons-misplaced", s.group, "the program has no such group on chip")
            return
    for g in program.on_chip:
        times = np.zeros(g.shape, np.int64)
        for s in placement.of_group(g.name):
            if len(s.bounds) != len(g.shape) or any(
                not 0 <= low < high <= n for (low, high), n in zip(s.bounds, g.shape, strict=True)
            ):
                yield _finding("neurons-misplaced", g.name, f"{s.bounds} is no box of {g.shape}")
                break
            times[_box(s.bounds)] += 1
        else:
            if (times != 1).any():
                yield _finding(
                    "neurons-misplaced",
                    g.name,
                    f"{int((times == 0).sum())} neurons are on no core, "
                    f"{int((times > 1).sum())} on several",
                )


def _differing(memory: Memory, placement: Placement, s: SynapseGroup) -> Iterator[Finding]:
    program, fan = memory.program, memory.fans[s.name]
    slices = placement.of_group(s.target)
    shape = program.source_shape(s)
    want = listed(s, shape)
    got = _merged([*_unfolded(memory, s, slices), *_delivered(memory, s, slices)])
    if not (np.array_equal(want[0], got[0]) and np.array_equal(want[1], got[1])):
        places = np.setxor1d(want[0], got[0])
        both, mine, other = np.intersect1d(want[0], got[0], return_indices=True)
        differ = places.size + int((want[1][mine] != got[1][other]).sum())
        first = places[0] if places.size else both[want[1][mine] != got[1][other]][0]
        row, column = divmod(int(first), size(shape))
        yield _finding(
            "synapses-misplaced",
            s.name,
            f"{differ:,} of {want[0].size:,} synapses differ from the program, the first from "
            f"neuron {column} to neuron {row} of {s.target}",
        )
    field = (1 << fan.delay_bits) - 1
    for source in s.sources:
        lost = int(((source.latency - 1) & field != source.latency - 1).sum())
        if lost:
            yield _finding(
                "delays-misplaced",
                s.name,
                f"{lost} delays from {source.group} do not fit their field of {fan.delay_bits} bits",
            )


def listed(s: SynapseGroup, shape: Shape) -> Entries:
    """The program's own matrix (targets, sources): the operators' synapses, joined one by one."""
    n_in = size(shape)
    rows, columns = np.arange(n_in), np.arange(n_in)
    values = np.ones(n_in, np.int64)
    for op, before in zip(s.ops, chain_shapes(s.ops, shape)[:-1], strict=True):
        if op.is_view:
            continue
        m = index_map(op, before)
        order = np.argsort(m.in_index, kind="stable")
        first = np.searchsorted(m.in_index[order], rows)
        count = np.searchsorted(m.in_index[order], rows, side="right") - first
        old = np.repeat(np.arange(rows.size), count)
        new = order[np.arange(old.size) - np.repeat(np.cumsum(count) - count - first, count)]
        weight = 1 if m.weight_index is None else s.mantissa.reshape(-1)[m.weight_index[new]]
        rows, columns, values = m.out_index[new], columns[old], values[old] * weight
    return _merged([(rows * n_in + columns, values)])


def _unfolded(memory: Memory, s: SynapseGroup, slices: Sequence[Slice]) -> Iterator[Entries]:
    """Synapses of the slices that hold a kernel: tap by tap, over the positions with an axon."""
    op, shape = s.op, memory.program.source_shape(s)
    shapes = chain_shapes(s.ops, shape)
    for part in slices:
        region, axons, stored = memory.reaching(s.name, part.bounds)
        if not stored.shared:
            continue
        assert isinstance(op, Conv)
        heard = np.zeros(shape, bool)
        heard[_box(region)] = axons
        low, high = part.bounds[0]
        kernel = s.mantissa[low:high].astype(np.int64)  # all that the core keeps of the weights
        per_out = op.out_channels // op.groups
        first_in = np.arange(low, high) // per_out * kernel.shape[1]
        axes = [
            list(_taps(s.ops, shapes, axis, outputs))
            for axis, outputs in enumerate(part.bounds[1:])
        ]
        # Coordinates (output channel, input channel within its group, one pair per axis …).
        out, inp = np.ogrid[: kernel.shape[0], : kernel.shape[1]]
        grids = np.meshgrid(*(np.arange(len(a)) for a in axes), indexing="ij")
        pairs = [
            np.array(a, np.int64).reshape(-1, 3)[g.reshape(-1)]
            for a, g in zip(axes, grids, strict=True)
        ]
        place_out, place_in, tap = ([p[:, column] for p in pairs] for column in range(3))
        row = np.ravel_multi_index(
            np.broadcast_arrays((out + low)[..., None], *place_out), shapes[-1]
        )
        column = np.ravel_multi_index(
            np.broadcast_arrays((first_in[:, None] + inp)[..., None], *place_in), shape
        )
        values = kernel[(out[..., None], inp[..., None], *tap)]
        row = np.broadcast_to(row, values.shape)
        keep = heard.reshape(-1)[column]
        yield row[keep] * size(shape) + column[keep], values[keep]


def _taps(
    ops: Sequence[Op], shapes: Sequence[Shape], axis: int, outputs: tuple[int, int]
) -> Iterator[tuple[int, int, int]]:
    """(output, source, tap) along one axis of a convolution behind pooling, source by source."""
    *pools, last = ops
    assert isinstance(last, Conv)
    for out in range(*outputs):
        for tap in range(last.kernel[axis]):
            places = [out * last.stride[axis] + tap * last.dilation[axis] - last.padding[axis][0]]
            for pool, before, after in zip(
                reversed(pools), reversed(shapes[:-2]), reversed(shapes[1:-1]), strict=True
            ):
                assert isinstance(pool, SumPool)
                start = [
                    p * pool.stride[axis] - pool.padding[axis]
                    for p in places
                    if 0 <= p < after[1 + axis]
                ]
                places = [p + i for p in start for i in range(pool.kernel[axis])]
                places = [p for p in places if 0 <= p < before[1 + axis]]
            for place in places:
                if 0 <= place < shapes[0][1 + axis]:
                    yield out, place, tap


def _delivered(memory: Memory, s: SynapseGroup, slices: Sequence[Slice]) -> Iterator[Entries]:
    """Synapses of the slices that hold lists: what a spike of each neuron with an axon delivers."""
    shape, out_shape = memory.program.source_shape(s), memory.program.group(s.target).shape
    n_in, n_out = size(shape), size(out_shape)
    parts = []
    for part in slices:
        region, axons, stored = memory.reaching(s.name, part.bounds)
        if not stored.shared:
            heard = np.zeros(shape, bool)
            heard[_box(region)] = axons
            parts.append((part, heard.reshape(-1)))
    if not parts:
        return
    weight = s.mantissa.astype(np.int64)
    step = max(1, _BATCH // max(n_in, n_out))
    for first in range(0, n_in, step):
        sources = np.arange(first, min(first + step, n_in))
        spikes = np.zeros((sources.size, n_in), np.int64)
        spikes[np.arange(sources.size), sources] = 1
        answers = apply_chain(s.ops, weight, spikes.reshape(-1, *shape))
        for part, heard in parts:
            here = np.flatnonzero(heard[sources])
            lists = answers[here][(slice(None), *_box(part.bounds))].reshape(
                here.size, part.neurons
            )
            axon, neuron = np.nonzero(lists)
            rows = part.members(out_shape)[neuron]
            yield rows * n_in + sources[here][axon], lists[axon, neuron]


def _merged(parts: Sequence[Entries]) -> Entries:
    """One matrix of all entries; what falls on the same place adds up."""
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    places = np.concatenate([p for p, _ in parts])
    values = np.concatenate([v for _, v in parts])
    order = np.argsort(places, kind="stable")
    places, values = places[order], values[order]
    first = np.flatnonzero(np.diff(places, prepend=-1))
    sums = np.add.reduceat(values, first) if first.size else values
    kept = np.flatnonzero(sums)
    return places[first][kept], sums[kept]


def _box(bounds: Bounds) -> tuple[slice, ...]:
    return tuple(slice(*b) for b in bounds)


def _finding(code: str, where: str, message: str) -> Finding:
    return Finding(
        code=code,
        severity="error",
        where=where,
        message=message,
        rule="a placement is the program, slice by slice",
    )
