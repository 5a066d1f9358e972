"""A layer of a live module as the solvers take it: a network of one projection, and what arrives."""

from __future__ import annotations

import numpy as np

from ...errors import InputError
from ...ir.arrays import Array, Shape, frozen
from ...ir.network import Network, Population, Projection, Source
from ...ir.neurons import Neuron
from ...ir.ops import Conv, Dense
from ...ir.weights import Weight
from .hooks import Seen


def shape_of(seen: Seen) -> Shape:
    """Shape of what arrives at a step of a sample."""
    axes = seen.layer.weight.ndim - 1
    return tuple(seen.calls[-1].shape[-axes:])


def projection_of(seen: Seen) -> Network:
    """A network of this one layer: what arrives as input, and the neuron it drives."""
    layer = seen.layer
    weight = layer.weight.detach().double().cpu().numpy()
    weight = weight * seen.gain.reshape(-1, *(1,) * (weight.ndim - 1))
    shape = shape_of(seen)
    op: Dense | Conv
    if weight.ndim == 2:
        op = Dense(*weight.shape)
    else:
        if isinstance(layer.padding, str):
            raise InputError(
                "module-padding",
                f"padding {layer.padding!r} is not a number",
                where=seen.name,
                hint="give the padding in pixels",
            )
        pads = tuple((int(p), int(p)) for p in layer.padding)
        op = Conv(
            weight.shape[0],
            layer.in_channels,
            tuple(weight.shape[2:]),
            tuple(layer.stride),
            pads,
            tuple(layer.dilation),
            layer.groups,
        )
    out: Shape = op.out_shape(shape)
    neuron = Neuron.create(
        out, leak=0.0 if seen.leak is None else seen.leak, syn_leak=seen.syn_leak, threshold=1.0
    )
    source = Source("input", frozen(0, np.int64))
    return Network(
        (Population("input", shape, None, "input"), Population("output", out, neuron, "output")),
        (Projection(seen.name, (source,), "output", (op,), Weight(weight)),),
    )


def trains_of(seen: Seen) -> Array:
    """What arrived in the last run, (steps, samples, *shape); more axes count as samples."""
    import torch

    if seen.steps is None:  # called once per step
        x = torch.stack(seen.calls)
    else:
        x = seen.calls[-1]
        x = x.reshape(seen.steps, -1, *x.shape[1:]) if len(x) != seen.steps else x
    axes = seen.layer.weight.ndim - 1
    return np.asarray(x.reshape(x.shape[0], -1, *x.shape[x.ndim - axes :]).double().cpu().numpy())
