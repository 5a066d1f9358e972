"""The figures that papers on compressed spiking networks print, each with its definition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...ir.arrays import Array
from ...ir.network import Network
from ..base import Calibration
from ..metrics import measure
from .loop.data import Batches
from .loop.penalties import fan_outs
from .loop.trainer import accuracy, hits, rate
from .torch_network.module import TrainableNetwork

_REFERENCE_BITS = 32
"""Width of a weight that was never quantised, in every paper."""
_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a network costs, per sample and in memory.

    Attributes:
        accuracy: fraction of the samples answered right, or of the variance of target values explained.
        density: connections (weights that are not zero) that are left, of all stored ones.
        bits: mean width of a weight that is left; real-valued ones count 32.
        size_bits: weights that are left times their width.
        index_bits: what it takes to say which ones are left: per pruned layer, a bit for each weight
            or an address for each that is left, whichever is less.
        rate: spikes per neuron and step, inputs and readouts left out.
        synops: weights met by spikes, per sample, all steps (an input of 0 and 1 spikes as well).
        synops_per_step: the same per step, as QP-SNN counts them.
        input_macs: weights met by inputs that are not spikes, per sample.
        macs: weights met if every neuron answered once: the products of a conventional network of this
            shape.
        steps: length of a sample.
    """

    accuracy: float
    density: float
    bits: float
    size_bits: int
    index_bits: int
    rate: float
    synops: float
    synops_per_step: float
    input_macs: float
    macs: float
    steps: int

    def r_mem(self, reference: Figures) -> float:
        """Memory that is left of a reference's (its own size as stored), without indices."""
        return self.size_bits / reference.size_bits

    def r_ops(self, reference: Figures) -> float:
        """Spike-driven operations that are left of a reference's, over all of its steps."""
        return self.synops / reference.synops if reference.synops else math.nan


def figures(
    network: Network, samples: Calibration, *, steps: int = 0, device: str = "cpu"
) -> Figures:
    """Count ``network`` and run it on labelled ``samples``, ``steps`` of each (0: all)."""
    layers = measure(network).layers
    widths = {
        p.name: p.weight.bits if p.weight.bits is not None else _REFERENCE_BITS
        for p in network.projections
    }
    left = {name: layer.nonzero for name, layer in layers.items()}
    kept = {name: layer.alive for name, layer in layers.items()}
    total = sum(layer.weights for layer in layers.values())
    size = sum(kept[name] * widths[name] for name in layers)
    module = TrainableNetwork(network, learn=()).to(device)
    batches = Batches(samples, device, steps=steps)
    fan_out = fan_outs(module)
    inputs = {p.name for p in network.with_role("input")}
    synops = macs = fired = right = 0.0
    judged = 0
    with torch.no_grad():
        for x, labels in batches.in_order(_BATCH):
            run = module(x)
            fired += rate(run, network) * len(labels)
            answered, of = hits(run, network, labels, batches)
            right, judged = right + answered, judged + of
            for name, weights in fan_out.items():
                if name not in inputs:
                    synops += float((run.spikes[name] * weights).sum())
                    continue
                met = float(((x[name] != 0).sum((0, 1)) * weights).sum())
                binary = bool(((x[name] == 0) | (x[name] == 1)).all())
                synops, macs = (synops + met, macs) if binary else (synops, macs + met)
    n = len(batches)
    return Figures(
        accuracy=right / max(1, judged),
        density=sum(left.values()) / total,
        bits=size / max(1, sum(kept.values())),
        size_bits=size,
        index_bits=sum(
            _index_bits(layer.weights, layer.alive)
            for layer in layers.values()
            if layer.alive < layer.weights
        ),
        rate=fired / n,
        synops=synops / n,
        synops_per_step=synops / n / batches.steps,
        input_macs=macs / n,
        macs=float(sum(weights.sum() for weights in fan_out.values())),
        steps=batches.steps,
    )


def _index_bits(weights: int, alive: int) -> int:
    return min(weights, alive * math.ceil(math.log2(max(2, weights))))


def noise_curve(
    network: Network,
    images: Array,
    labels: Array,
    encode: Callable[[Array], Array],
    sigmas: Sequence[float],
    stream: np.random.Generator,
) -> dict[float, float]:
    """Accuracy under Gaussian input noise, by its standard deviation.

    Args:
        network: what answers.
        images: ``(samples, *shape)`` in 0 … 1; noise is added to them, and they are clipped to it.
        labels: their classes.
        encode: makes inputs ``(steps, samples, *shape)`` of images.
        sigmas: standard deviations.
        stream: one draw of the noise serves all of them, so that the curve is smooth.
    """
    noise = stream.standard_normal(images.shape)
    name = network.with_role("input")[0].name
    module = TrainableNetwork(network, learn=())
    found = {}
    for sigma in sigmas:
        noisy = np.clip(images + sigma * noise, 0.0, 1.0)
        found[float(sigma)] = accuracy(module, Batches(_Noisy({name: encode(noisy)}, labels)))
    return found


@dataclass(frozen=True, eq=False)
class _Noisy:
    inputs: dict[str, Array]
    labels: Array
    window: int = 1
