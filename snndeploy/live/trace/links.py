"""Chains of links: when two are the same, what they do, and how they become operators of the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ...errors import InputError
from ...ingest.normal_form.chains import UNROLL_LIMIT
from ...ingest.normal_form.linear import LinearStage
from ...ir.arrays import Array, Shape, size
from ...ir.ops import Conv, Dense, Pointwise, Reshape, SumPool
from .entries import SparseMap
from .signals import ChainLink, SignalPath


def link_key(link: ChainLink) -> tuple[object, ...]:
    """Equal for links that do the same."""
    if isinstance(link, SparseMap):
        arrays = (link.rows, link.columns, link.values)
        return ("entries", link.n_out, link.n_in, *(hash(a.tobytes()) for a in arrays))
    weight = link.weight
    if weight is None:
        return ("stage", link.op, link.in_shape)
    root = weight
    while isinstance(root.base, np.ndarray):
        root = root.base
    told: object = hash(weight.tobytes())
    if not root.flags.owndata:  # a parameter, where it lies in the module
        told = (weight.__array_interface__["data"][0], weight.strides)
    return ("stage", link.op, link.in_shape, told)


def is_positive(link: ChainLink) -> bool:
    """Whether it makes nothing negative of what is not."""
    weight = link.values if isinstance(link, SparseMap) else link.weight
    return weight is None or bool((weight >= 0).all())


def only_counts(link: ChainLink) -> bool:
    """Whether it only moves and adds what arrives."""
    if isinstance(link, SparseMap):
        return bool((link.values == 1).all())
    return isinstance(link.op, SumPool)


def picked_by(path: SignalPath, size: int) -> Array | None:
    """Where a path delivers a value, at most one each; None where it does more than picking."""
    picked: Array = np.ones(size)
    for link in path.links:
        if not isinstance(link, SparseMap) or not link.picks:
            return None
        picked = np.zeros(size)
        if link is path.links[-1]:
            picked[link.rows] = 1
    return picked


def stages_of(
    links: Sequence[ChainLink], before: Shape, after: Shape, where: str
) -> tuple[LinearStage, ...]:
    """Links as stages with shapes.

    Args:
        links: a chain between flat signals.
        before: shape of what it starts from.
        after: shape of what it ends in.
        where: for messages.

    Raises:
        InputError: a map that is neither one of the network's operators nor small enough for a matrix.
    """
    chain = list(links)
    while (at := _first_entries(chain)) is not None:
        chain = _step(chain, at, before, after, where)
    shaped: list[LinearStage] = []
    shape = before
    for stage in chain:
        if not isinstance(stage, LinearStage):
            raise TypeError("all entries were folded")
        stage = _fitted(stage, shape)
        if stage.in_shape != shape:
            shaped.append(LinearStage("", Reshape(stage.in_shape), shape))
        shaped.append(stage)
        shape = stage.out_shape
    if shape != after:
        shaped.append(LinearStage("", Reshape(after), shape))
    return tuple(shaped)


def _fitted(stage: LinearStage, shape: Shape) -> LinearStage:
    """A flat factor per value, in the shape of the signal it meets."""
    if not isinstance(stage.op, Pointwise) or stage.weight is None:
        return stage
    weight = stage.weight if stage.weight.size == 1 else stage.weight.reshape(shape)
    return LinearStage(stage.node, Pointwise(shape, weight.shape), shape, weight)


def _first_entries(chain: Sequence[ChainLink]) -> int | None:
    return next((i for i, link in enumerate(chain) if isinstance(link, SparseMap)), None)


def _step(
    chain: list[ChainLink], at: int, before: Shape, after: Shape, where: str
) -> list[ChainLink]:
    """The chain with the entries at ``at`` merged with a neighbour, moved on, or made a stage."""
    entries = chain[at]
    if not isinstance(entries, SparseMap):
        raise TypeError("no entries here")
    if entries.is_identity:
        return [*chain[:at], *chain[at + 1 :]]
    left = chain[at - 1] if at else None
    right = chain[at + 1] if at + 1 < len(chain) else None
    padding = entries.pads and isinstance(right, LinearStage) and isinstance(right.op, Conv)
    if left is not None and not padding and (merged := _after(left, entries)) is not None:
        return [*chain[: at - 1], *merged, *chain[at + 1 :]]
    if right is not None and (both := _before(entries, right)) is not None:
        return [*chain[:at], *both, *chain[at + 2 :]]
    inside = left.out_shape if isinstance(left, LinearStage) else before
    outside = right.in_shape if isinstance(right, LinearStage) else after
    return [*chain[:at], _alone(entries, inside, outside, where), *chain[at + 1 :]]


def _after(left: ChainLink, entries: SparseMap) -> list[ChainLink] | None:
    """First ``left``, then the entries, as what replaces both."""
    if isinstance(left, SparseMap):
        return [left.then(entries)]
    weight, op = left.weight, left.op
    match op:
        case Pointwise() if weight is not None:
            return [SparseMap.scaling(np.broadcast_to(weight, left.in_shape)).then(entries)]
        case Dense() if weight is not None and entries.n_out * op.in_features <= UNROLL_LIMIT:
            return [_dense(left, entries.after_matrix(weight))]
        case Conv() if weight is not None and op.groups == 1:
            shape = left.out_shape
            if _one_to_a_place(op) and (factors := entries.sums(shape)) is not None:
                # what each place weighs alike may as well be summed first
                height, width = left.in_shape[1:]
                pool = SumPool((height, width), (height, width))
                product = weight.reshape(len(weight), -1) * factors[:, None]
                return [LinearStage("", pool, left.in_shape), _dense(left, product)]
            count = entries.n_out // size(shape[1:])
            matrix = entries.channels(shape, (count, *shape[1:]))
            if matrix is None:
                return None
            product = np.tensordot(matrix, weight, 1).astype(weight.dtype)
            return [
                dataclasses.replace(
                    left, op=dataclasses.replace(op, out_channels=count), weight=product
                )
            ]
        case Pointwise() | Dense() | Conv() | SumPool() | Reshape():
            return None


def _one_to_a_place(op: Conv) -> bool:
    """Whether each place of a map is weighted by itself."""
    alone = op.kernel == op.stride == (1, 1)
    return alone and not any(p for pads in op.padding for p in pads)


def _before(entries: SparseMap, right: ChainLink) -> list[ChainLink] | None:
    """First the entries, then ``right``, as what replaces both."""
    if isinstance(right, SparseMap):
        return [entries.then(right)]
    weight, op = right.weight, right.op
    match op:
        case Pointwise() if weight is not None:
            full = np.broadcast_to(weight, right.in_shape)
            return [entries.then(SparseMap.scaling(full))]
        case Dense() if weight is not None:
            return [_dense(right, entries.before_matrix(weight))]
        case Conv() if weight is not None:
            return _before_conv(entries, right, op, weight)
        case SumPool():
            space = right.in_shape[1:]
            shape = (entries.n_in // size(space), *space)
            matrix = entries.channels(shape, right.in_shape)
            if matrix is None:
                return None
            pooled = dataclasses.replace(right, in_shape=shape)
            return [pooled, _over_channels(matrix, size(pooled.out_shape[1:]))]
        case Pointwise() | Dense() | Conv() | Reshape():
            return None


def _before_conv(
    entries: SparseMap, right: LinearStage, op: Conv, weight: Array
) -> list[ChainLink] | None:
    if (
        entries.pads
        and size(entries.before) == entries.n_in
        and entries.before[0] == op.in_channels
    ):
        space = entries.pads[len(entries.pads) - len(op.kernel) :]
        rest = entries.pads[: len(entries.pads) - len(op.kernel)]
        if all(p == (0, 0) for p in rest) and len(entries.before) == 1 + len(op.kernel):
            pairs = zip(op.padding, space, strict=True)
            padding = tuple((a + c, b + d) for (a, b), (c, d) in pairs)
            padded = dataclasses.replace(op, padding=padding)
            return [dataclasses.replace(right, op=padded, in_shape=entries.before)]
    space_shape = right.in_shape[1:]
    shape = (entries.n_in // size(space_shape), *space_shape)
    matrix = entries.channels(shape, right.in_shape)
    if matrix is None or op.groups > 1:
        return None
    product = np.moveaxis(np.tensordot(weight, matrix, axes=([1], [0])), -1, 1)
    changed = dataclasses.replace(op, in_channels=shape[0])
    return [
        dataclasses.replace(right, op=changed, in_shape=shape, weight=product.astype(weight.dtype))
    ]


def _over_channels(matrix: Array, places: int) -> SparseMap:
    rows, columns = np.nonzero(matrix)
    place = np.arange(places)
    return SparseMap.of(
        (rows[:, None] * places + place).reshape(-1),
        (columns[:, None] * places + place).reshape(-1),
        np.repeat(matrix[rows, columns], places),
        matrix.shape[0] * places,
        matrix.shape[1] * places,
    )


def _dense(stage: LinearStage, product: Array) -> LinearStage:
    weight = product.astype(np.asarray(stage.weight).dtype)
    op = Dense(*weight.shape)
    return LinearStage(stage.node, op, (op.in_features,), weight)


def _alone(entries: SparseMap, before: Shape, after: Shape, where: str) -> LinearStage:
    """A map as a stage of its own: factors, a convolution over channels, or a matrix."""
    if entries.is_in_place:
        return LinearStage(
            "", Pointwise((entries.n_in,), (entries.n_in,)), (entries.n_in,), entries.values
        )
    for shape in (before, after):
        space = shape[1:]
        if len(space) not in (1, 2) or entries.n_in % size(space) or entries.n_out % size(space):
            continue
        inside = (entries.n_in // size(space), *space)
        outside = (entries.n_out // size(space), *space)
        matrix = entries.channels(inside, outside)
        if matrix is not None:
            ones = (1,) * len(space)
            n_out, n_in = matrix.shape
            op = Conv(n_out, n_in, ones, ones, ((0, 0),) * len(space), ones)
            weight = matrix.reshape(op.weight_shape)
            return LinearStage("", op, inside, weight.astype(np.float32))
    if entries.n_in * entries.n_out > UNROLL_LIMIT:
        raise InputError(
            "live-too-large",
            f"a map of {entries.n_in:,} to {entries.n_out:,} values that is no convolution would need "
            "a matrix of that size",
            where=where,
            hint="put it behind a layer with weights, or where the signal is smaller",
        )
    op_dense = Dense(entries.n_out, entries.n_in)
    return LinearStage("", op_dense, (entries.n_in,), entries.dense().astype(np.float32))
