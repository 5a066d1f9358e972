"""Pools that a ``.net`` file has no place for, as part of the weights behind them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..ir.arrays import Array, Shape, size
from ..ir.network import Network, Projection
from ..ir.ops import Conv, Dense, Op, Reshape, SumPool, chain_shapes
from ..ir.weights import Weight


def in_single_blocks(network: Network) -> Network:
    """``network`` with a pool in front of weights written out in them, wherever that is exact.

    A sum over windows, then a convolution, is one convolution with larger strides, whose kernel holds
    every weight once for each place of a window; in front of a dense layer, a weight stands for each
    place. Nothing is rounded: codes, scales and masks are the same, repeated.
    """
    changed = [
        _single(p, network.population(p.sources[0].population).shape) for p in network.projections
    ]
    return network.replace(projections=changed)


def _single(projection: Projection, shape: Shape) -> Projection:
    shapes = chain_shapes(projection.ops, shape)
    acting = [
        (op, before) for op, before in zip(projection.ops, shapes, strict=False) if not op.is_view
    ]
    if len(acting) != 2 or not isinstance(pool := acting[0][0], SumPool):
        return projection
    before, (op, between) = acting[0][1], acting[1]
    apart = all(k <= s for k, s in zip(pool.kernel, pool.stride, strict=True))
    if not apart or any(pool.padding):
        return projection
    match op:
        case Dense():
            ops, weight = _dense(pool, before, op, projection.weight)
        case Conv() if _ends_with_windows(pool, before, between) or not any(map(any, op.padding)):
            ops, weight = _conv(pool, op, projection.weight)
        case _:
            return projection
    return dataclasses.replace(projection, ops=ops, weight=weight)


def _ends_with_windows(pool: SumPool, before: Shape, between: Shape) -> bool:
    """Whether no value lies behind the last window, where a padded convolution would hear it."""
    ends = zip(before[1:], between[1:], pool.stride, strict=True)
    return all(count * stride >= length for length, count, stride in ends)


def _dense(
    pool: SumPool, before: Shape, op: Dense, weight: Weight
) -> tuple[tuple[Op, ...], Weight]:
    places = _windows(pool, before)
    inside = places >= 0

    def repeated(values: Array) -> Array:
        return np.where(inside, values[:, np.maximum(places, 0)], 0).astype(values.dtype)

    n_in = size(before)
    full = bool(inside.all())
    return (Reshape((n_in,)), Dense(op.out_features, n_in)), _changed(weight, repeated, full)


def _windows(pool: SumPool, before: Shape) -> Array:
    """For each input value, flattened, the place of the window that it lies in; -1: in none."""
    channels, *space = before
    _, *counts = pool.out_shape(before)
    rows, columns = (
        np.where((at % s < k) & (at // s < n), at // s, -1)
        for at, s, k, n in (
            (np.arange(length), stride, kernel, count)
            for length, stride, kernel, count in zip(
                space, pool.stride, pool.kernel, counts, strict=True
            )
        )
    )
    place = np.where(
        (rows[:, None] >= 0) & (columns >= 0), rows[:, None] * counts[1] + columns, -1
    ).reshape(-1)
    channel = np.arange(channels)[:, None] * size(counts)
    whole: Array = np.where(place >= 0, place + channel, -1).reshape(-1)
    return whole


def _conv(pool: SumPool, op: Conv, weight: Weight) -> tuple[tuple[Op, ...], Weight]:
    apart = [s * d for s, d in zip(pool.stride, op.dilation, strict=True)]
    extents = [a * (n - 1) + k for a, n, k in zip(apart, op.kernel, pool.kernel, strict=True)]
    rows, columns = (
        np.where(at % a < k, at // a, -1)
        for at, a, k in zip(map(np.arange, extents), apart, pool.kernel, strict=True)
    )
    inside = (rows[:, None] >= 0) & (columns >= 0)

    def repeated(values: Array) -> Array:
        taken = values[:, :, np.maximum(rows, 0)[:, None], np.maximum(columns, 0)]
        return np.where(inside, taken, 0).astype(values.dtype)

    wider = Conv(
        op.out_channels,
        op.in_channels,
        tuple(extents),
        tuple(s * t for s, t in zip(pool.stride, op.stride, strict=True)),
        tuple((a * s, b * s) for s, (a, b) in zip(pool.stride, op.padding, strict=True)),
        (1, 1),
        op.groups,
    )
    return (wider,), _changed(weight, repeated, bool(inside.all()))


def _changed(weight: Weight, repeated: Callable[[Array], Array], full: bool) -> Weight:
    """The weight at all places of its windows; between windows there are no synapses."""
    mask = weight.mask if full or weight.mask is not None else np.ones(weight.shape, bool)
    return dataclasses.replace(
        weight, data=repeated(weight.data), mask=None if mask is None else repeated(mask)
    )
