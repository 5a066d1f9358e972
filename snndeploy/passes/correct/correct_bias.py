"""Give back to each neuron the mean membrane potential that compression took from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ...calibrate.listen import listen
from ...ir.arrays import Array
from ...ir.linear.float_chain import float_chain
from ...ir.network import Network
from ..base import PassStage
from .correction import Correction


@dataclass(frozen=True, kw_only=True)
class CorrectBias(Correction):
    """Shift every neuron's bias by the mean change of its input current on the calibration samples.

    The current of each neuron, averaged over samples and steps (and over the positions of a channel),
    is compared between the network before the first pass and the one now, population after
    population, so that later ones are corrected for what the earlier corrections leave. On a chip a
    bias costs nothing but its register, except behind a synaptic filter, where it needs synapses.
    """

    name: ClassVar[str] = "correct-bias"
    stage: ClassVar[PassStage] = "any"

    strength: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The fraction of the mean change that is given back."""

    def corrected(
        self, net: Network, source: Network, name: str, inputs: Mapping[str, Array]
    ) -> tuple[Network, Mapping[str, float]]:
        """Shift by the mean change of the current, per neuron or channel."""
        population = net.population(name)
        neuron = population.neuron
        assert neuron is not None
        wanted = _mean_current(source, name, inputs)
        shift = self.strength * (wanted - _mean_current(net, name, inputs))
        if len(population.shape) > 1:
            axes = tuple(range(1, len(population.shape)))
            shift = np.broadcast_to(shift.mean(axis=axes, keepdims=True), population.shape)
        shifted = neuron.changed(population.shape, bias=neuron.bias + shift)
        changed = net.replace(populations=[dataclasses.replace(population, neuron=shifted)])
        return changed, {"mean_shift": float(np.abs(shift).mean())}


def _mean_current(net: Network, name: str, inputs: Mapping[str, Array]) -> Array:
    """Mean over samples and steps of what arrives at each neuron of ``name``, its bias included."""
    import torch

    incoming = net.incoming(name)
    sources = {s.population for p in incoming for s in p.sources}
    sums: dict[str, Array] = {}
    count = 0
    for chunk in listen(net, sources, inputs):
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
