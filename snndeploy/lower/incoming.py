"""What arrives at a population: its projections, and its bias where that must pass a synapse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import LoweringRefused
from ..ir.arrays import Array, Shape, frozen, size
from ..ir.network import Network, Population, Projection
from ..ir.ops import Dense, Op, Reshape
from ..ir.program import SynapseSource
from ..ir.weights import Weight
from .coding import InputCoding
from .headroom import Interval, input_interval
from .integers import Codes, integer_codes
from .timing import latency

MANY_SPIKES = 15
"""Spikes per neuron and step that head-room assumes of a neuron without an upper bound."""


@dataclass(frozen=True, eq=False)
class Incoming:
    """A projection ready to be scaled: integer codes, their real step, and what its sources send.

    ``step`` is in network units per integer message: already divided by the input's scale.
    ``constant`` tells a bias, which a spike at every step carries.
    """

    name: str
    ops: tuple[Op, ...]
    sources: tuple[SynapseSource, ...]
    source_shape: Shape
    codes: Codes
    step: Array
    alive: Array | None
    peak: int
    signed: bool
    constant: bool = False

    def interval(self, weight: Array) -> Interval:
        """Bounds of the projection's input for integer ``weight``; its sources may all add up."""
        one = input_interval(self.ops, weight, self.source_shape, self.peak, self.signed)
        return one * float(len(self.sources))


def incoming_of(
    network: Network,
    projection: Projection,
    depth: dict[str, int],
    coding: Mapping[str, InputCoding],
    bits: int,
) -> Incoming:
    """Describe a projection of ``network`` whose real weights are rounded to ``bits``.

    Raises:
        LoweringRefused: its sources send in different units, or a source sends real values.
    """
    peaks, scales, signed = [], set(), False
    for source in projection.sources:
        population = network.population(source.population)
        if population.role == "input":
            c = coding[population.name]
            peaks.append(c.message_peak)
            scales.add(c.scale)
            signed |= c.kind != "binary"
        else:
            peaks.append(_spikes_per_step(population))
            scales.add(1.0)
    if len(scales) > 1:
        raise LoweringRefused(
            "mixed-sources",
            "analog input and spikes are added before the same weight",
            where=projection.name,
            hint="encode the input as spikes",
        )
    codes = integer_codes(projection.weight, bits)
    return Incoming(
        name=projection.name,
        ops=projection.ops,
        sources=tuple(
            SynapseSource(s.population, latency(depth, s, projection.target))
            for s in projection.sources
        ),
        source_shape=network.source_shape(projection),
        codes=codes,
        step=codes.step / scales.pop(),
        alive=projection.weight.mask,
        peak=max(peaks),
        signed=signed,
    )


def _spikes_per_step(population: Population) -> int:
    neuron = population.neuron
    if neuron is None or not neuron.spiking:
        raise LoweringRefused(
            "analog-source",
            "it emits its membrane potential to other populations; chips send spikes",
            where=population.name,
            hint="only outputs may be non-spiking; replace it by a spiking population",
        )
    if neuron.spikes_per_step == "one":
        return 1
    return MANY_SPIKES if neuron.max_spikes is None else min(neuron.max_spikes, MANY_SPIKES)


def bias_incoming(population: Population, bits: int) -> Incoming | None:
    """The bias of a population with a synaptic filter, as synapses from a constant spike source.

    On the chip a bias adds to the membrane; what must pass the synaptic filter has to be a spike.
    """
    neuron = population.neuron
    if neuron is None or neuron.syn_leak is None or not neuron.bias.any():
        return None
    n = size(population.shape)
    values = np.broadcast_to(neuron.bias, population.shape).reshape(n, 1)
    codes = integer_codes(Weight(values), bits)
    return Incoming(
        name=f"{population.name}.bias",
        ops=(Dense(n, 1), Reshape(population.shape)),
        sources=(SynapseSource(f"{population.name}.always", frozen(1, np.int64)),),
        source_shape=(1,),
        codes=codes,
        step=codes.step,
        alive=None,
        peak=1,
        signed=False,
        constant=True,
    )
