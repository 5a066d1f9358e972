"""What a network costs, counted: neurons, stored weights, synapses and bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..ir.arrays import Array, Shape, size
from ..ir.network import Network, Projection
from ..ir.ops import Conv, Dense, Pointwise, Weighted, chain_shapes, weighted_index


@dataclass(frozen=True, kw_only=True)
class LayerMetrics:
    """Counts of one projection.

    ``weights`` are stored, ``alive`` of them were not pruned, ``nonzero`` are not zero;
    ``synapses`` is how many (output, input) pairs of the weighted operator the alive weights make,
    which for a convolution is many times the number of weights. ``bits`` is the width of a weight.
    """

    weights: int
    alive: int
    nonzero: int
    synapses: int
    bits: int

    @property
    def sparsity(self) -> float:
        """Fraction of the stored weights that is pruned."""
        return 1 - self.alive / self.weights

    @property
    def storage_bits(self) -> int:
        """Bits of the alive weights, without indices."""
        return self.alive * self.bits


@dataclass(frozen=True, kw_only=True)
class NetworkMetrics:
    """Counts of a network: per projection, and the neurons of each population."""

    layers: Mapping[str, LayerMetrics]
    neurons: Mapping[str, int]

    def total(self, count: str) -> int:
        """Sum of one count (``alive``, ``storage_bits``, …) over all projections."""
        return sum(int(getattr(layer, count)) for layer in self.layers.values())


def measure(net: Network) -> NetworkMetrics:
    """Count a network."""
    return NetworkMetrics(
        layers={p.name: _layer(net, p) for p in net.projections},
        neurons={p.name: size(p.shape) for p in net.populations},
    )


def _layer(net: Network, projection: Projection) -> LayerMetrics:
    weight = projection.weight
    before = weighted_index(projection.ops)
    in_shape = chain_shapes(projection.ops[:before], net.source_shape(projection))[-1]
    uses = np.broadcast_to(weight_uses(projection.op, in_shape), weight.shape)
    return LayerMetrics(
        weights=weight.data.size,
        alive=weight.alive,
        nonzero=weight.nonzero,
        synapses=int(uses.sum() if weight.mask is None else uses[weight.mask].sum()),
        bits=weight.bits or weight.data.dtype.itemsize * 8,
    )


def weight_uses(op: Weighted, in_shape: Shape) -> Array:
    """How many synapses share each stored weight, broadcastable to the weight's shape."""
    match op:
        case Conv():
            return _tap_uses(op, in_shape)
        case Pointwise():
            return np.asarray(size(op.shape) // size(op.weight_shape))
        case Dense():
            return np.ones((), dtype=np.int64)


def _tap_uses(op: Conv, in_shape: Shape) -> Array:
    """How many output positions use each tap of the kernel; those on padding do not count."""
    uses = np.ones((), dtype=np.int64)
    for axis, (length, out) in enumerate(
        zip(in_shape[1:], op.out_shape(in_shape)[1:], strict=True)
    ):
        first = np.arange(op.kernel[axis]) * op.dilation[axis] - op.padding[axis][0]
        position = first[:, None] + np.arange(out)[None, :] * op.stride[axis]
        inside = ((position >= 0) & (position < length)).sum(axis=1)
        uses = uses[..., None] * inside
    return uses
