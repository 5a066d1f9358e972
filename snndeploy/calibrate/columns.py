"""The rows and columns of a layer as a matrix: which neurons a row drives, what a column multiplies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..ir.arrays import Array, size
from ..ir.linear.apply import apply_chain, windows
from ..ir.network import Population, Projection
from ..ir.ops import Conv, Dense, Op, Pointwise, elements, weighted_index

_PROFILES = 8
"""Different leaks within one layer that are told apart; more are binned."""


def profiles_of(
    target: Population, projection: Projection, weight_rows: int
) -> tuple[list[tuple[float, float | None]], Array]:
    """The different (leak, syn_leak) among the rows of a weight, and which one each row has.

    A row that drives neurons of different leaks gets their mean; more than a few profiles are binned.
    """
    neuron, shape = target.neuron, target.shape
    if neuron is None:
        raise ValueError(f"{target.name} is an input: nothing projects into it")

    def per_row(values: Array) -> Array:
        full = np.broadcast_to(values, shape).astype(np.float64)
        if isinstance(projection.op, Pointwise):
            element = elements(projection.op)
            return np.bincount(element, full.reshape(-1)) / np.bincount(element)
        return np.asarray(full.reshape(weight_rows, -1).mean(axis=1))

    leak = per_row(neuron.leak)
    syn = np.zeros(weight_rows) if neuron.syn_leak is None else per_row(neuron.syn_leak)
    found, index = np.unique(np.stack([leak, syn], axis=1).round(12), axis=0, return_inverse=True)
    index = index.reshape(-1)
    if len(found) > _PROFILES:
        bins = np.array_split(np.arange(len(found)), _PROFILES)
        of = np.repeat(np.arange(_PROFILES), [len(b) for b in bins])
        found = np.stack([found[b].mean(axis=0) for b in bins])
        index = of[index]
    has_synapse = neuron.syn_leak is not None
    return [(float(a), float(b) if has_synapse else None) for a, b in found], index


def arrivals(projection: Projection, x: Array) -> Array:
    """What the weighted operator receives where its sources deliver ``x`` (steps, samples, *shape)."""
    before = projection.ops[: weighted_index(projection.ops)]
    out = apply_chain(before, np.zeros(0), x.reshape(-1, *x.shape[2:]))
    return out.reshape(*x.shape[:2], *out.shape[1:])


def patches(projection: Projection, x: Array, places: Array | None) -> Array:
    """What each row of the weight multiplies: (groups or elements, data rows, d).

    ``x`` is as `arrivals` gives it; data rows run over steps, samples and positions.
    """
    k = weighted_index(projection.ops)
    op = projection.op
    flat = x.reshape(-1, *x.shape[2:])
    match op:
        case Pointwise():
            order = np.argsort(elements(op), kind="stable")
            by_element = flat.reshape(len(flat), -1)[:, order].reshape(
                len(flat), op.weight_rows, -1
            )
            return by_element.transpose(1, 0, 2).reshape(op.weight_rows, -1, 1)
        case Dense():
            return flat[None]
        case Conv():
            tiled = None if places is None else np.tile(places, (len(x), 1))
            return _windows(op, projection.ops[k + 1 :], flat, tiled)


def _windows(op: Conv, after: Sequence[Op], flat: Array, places: Array | None) -> Array:
    """`patches` of a convolution, summed by what pools lie behind it."""
    n_axes = len(op.kernel)
    view = windows(flat, op.kernel, op.stride, op.padding, op.dilation)
    pools = [o for o in after if not o.is_view]
    if pools:
        taps = view.shape[2 + n_axes :]
        channels = np.moveaxis(view, (2, 3), (-2, -1)).reshape(len(flat), -1, *view.shape[2:4])
        pooled = apply_chain(pools, np.zeros(0), np.ascontiguousarray(channels))
        pooled = pooled.reshape(len(flat), view.shape[1], *taps, *pooled.shape[2:])
        view = np.moveaxis(pooled, (-2, -1), (2, 3))
    spatial = view.shape[2 : 2 + n_axes]
    view = np.moveaxis(view, 1, 1 + n_axes)  # (m, *positions, channels, *taps)
    if places is not None:
        index = np.unravel_index(places, spatial)
        view = view[(np.arange(len(flat))[:, None], *index)]
    d = size(op.weight_shape[1:])
    grouped = view.reshape(-1, op.groups, d)
    return np.ascontiguousarray(grouped.transpose(1, 0, 2))
