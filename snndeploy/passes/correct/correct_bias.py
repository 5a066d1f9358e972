"""Give back to each neuron the mean membrane potential that compression took from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ...calibrate.stream import prefix, stream
from ...errors import PassRefused
from ...ir.arrays import Array
from ...ir.linear.float_chain import float_chain
from ...ir.network import Network
from ..base import Pass, PassContext, PassResult, Stage


@dataclass(frozen=True, kw_only=True)
class CorrectBias(Pass):
    """Shift every neuron's bias by the mean change of its input current on the calibration samples.

    The current of each neuron, averaged over samples and steps (and over the positions of a channel),
    is compared between the network before the first pass and the one now, population after
    population, so that later ones are corrected for what the earlier corrections leave. On a chip a
    bias costs nothing but its register, except behind a synaptic filter, where it needs synapses.
    """

    name: ClassVar[str] = "correct-bias"
    stage: ClassVar[Stage] = "any"

    strength: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The fraction of the mean change that is given back."""

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Measure and shift, in the order in which spikes pass."""
        inputs = ctx.samples(repr(self.name))
        source = reference_of(net, ctx)
        metrics: dict[str, dict[str, float]] = {}
        current = net
        names = [n for n in net.order if net.population(n).neuron is not None]
        for done, name in enumerate(names):
            ctx.progress("populations", done, len(names))
            population = current.population(name)
            neuron = population.neuron
            incoming = current.incoming(name)
            if neuron is None or not incoming:
                continue
            wanted = _mean_current(source, name, inputs)
            shift = self.strength * (wanted - _mean_current(current, name, inputs))
            if len(population.shape) > 1:
                axes = tuple(range(1, len(population.shape)))
                shift = np.broadcast_to(shift.mean(axis=axes, keepdims=True), population.shape)
            shifted = neuron.changed(population.shape, bias=neuron.bias + shift)
            current = current.replace(populations=[dataclasses.replace(population, neuron=shifted)])
            for p in incoming:
                metrics[p.name] = {"mean_shift": float(np.abs(shift).mean())}
        return PassResult(network=current, modified=True, metrics=metrics)


def reference_of(net: Network, ctx: PassContext) -> Network:
    """The network before the first pass, which must have the same neurons as ``net``.

    Raises:
        PassRefused: there is none.
    """
    source = ctx.source
    if source is None or [p.shape for p in source.populations] != [
        p.shape for p in net.populations
    ]:
        raise PassRefused(
            "no-reference",
            "there is no uncompressed network of the same shape to compare with",
            hint="run it in a recipe, after passes that keep all neurons",
        )
    return source


def _mean_current(net: Network, name: str, inputs: Mapping[str, Array]) -> Array:
    """Mean over samples and steps of what arrives at each neuron of ``name``, its bias included."""
    import torch

    incoming = net.incoming(name)
    sources = {s.population for p in incoming for s in p.sources}
    sums: dict[str, Array] = {}
    count = 0
    for chunk in stream(prefix(net, sources), inputs):
        spikes = chunk.recording.spikes
        for s in sources:
            sums[s] = sums.get(s, 0) + spikes[s].sum(axis=(0, 1), dtype=np.float64)
        count += (chunk.stop - chunk.start) * next(iter(spikes.values())).shape[0]
    population = net.population(name)
    bias = np.zeros(()) if population.neuron is None else population.neuron.bias
    total = np.broadcast_to(bias, population.shape).astype(np.float64)
    for p in incoming:
        # Operators are linear: the current of the mean is the mean current (delays shift its window).
        x = sum(sums[s.population] for s in p.sources) / count
        w = torch.tensor(p.weight.values(), dtype=torch.float64)
        total = total + float_chain(p.ops, w, torch.tensor(np.asarray(x)[None]))[0].numpy()
    return np.asarray(total)
