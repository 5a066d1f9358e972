"""What arrives at a population: its projections, and its bias where that must pass a synapse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import LoweringRefused
from ..ir.arrays import Array, Shape, frozen, size
from ..ir.network import Network, Population, Projection
from ..ir.neurons import Neuron
from ..ir.ops import Dense, Op, Reshape
from ..ir.program import SynapseGroup, SynapseSource
from ..ir.weights import Weight
from .coding import InputCoding
from .integers import Codes, integer_codes
from .proofs.headroom import Interval, input_interval
from .timing import latency

MANY_SPIKES = 15
"""Spikes per neuron and step that scales in a loop are first chosen for, where nothing bounds them."""
REST = "-rest"
"""Ends the name of the synapses that carry what the first ones of a bias lose."""
_NOTICED = 2.0**-8
"""Part of its threshold by which a membrane may end up beside where its bias should bring it; of a
readout the part of its largest weight."""
_NOISE = 1e-12


@dataclass(frozen=True, eq=False)
class Incoming:
    """A projection ready to be scaled: integer codes, their real step, and what its sources send.

    ``step`` is in network units per integer message: already divided by the input's scale.
    ``peak`` is the most that sources send at a step, one number or one per source neuron; ``proved``
    is what it is known not to exceed, where a scale has to be chosen before that is known (a loop).
    ``constant`` tells a bias, which a spike at every step carries; ``rounded`` values that the host
    rounds before it sends them; ``quantised`` weights that came as codes.
    """

    name: str
    ops: tuple[Op, ...]
    sources: tuple[SynapseSource, ...]
    source_shape: Shape
    codes: Codes
    step: Array
    alive: Array | None
    peak: Array
    signed: bool
    proved: Array | None = None
    constant: bool = False
    rounded: bool = False
    quantised: bool = False

    @property
    def units(self) -> float:
        """Integer messages of the sources per unit of what they send in the network."""
        return float((self.codes.step / self.step).reshape(-1)[0])

    def interval(self, weight: Array, *, proved: bool = False) -> Interval:
        """Bounds of the projection's input for integer ``weight``; its sources may all add up."""
        peak = self.proved if proved and self.proved is not None else self.peak
        one = input_interval(self.ops, weight, self.source_shape, peak, self.signed)
        return one * float(len(self.sources))


def incoming_of(
    network: Network,
    projection: Projection,
    depth: dict[str, int],
    coding: Mapping[str, InputCoding],
    bits: int,
    most: MostSpikes,
) -> Incoming:
    """Describe a projection of ``network`` whose real weights are rounded to ``bits``.

    Args:
        network: that it is of.
        projection: to describe.
        depth: chip step at which a sample reaches each population.
        coding: how the data enter, by input.
        bits: of weights.
        most: how often populations spike per step.

    Raises:
        LoweringRefused: its sources send in different units, or a source sends real values.
    """
    peaks, proved, scales = [], [], set()
    signed = rounded = False
    for source in projection.sources:
        population = network.population(source.population)
        if population.role == "input":
            c = coding[population.name]
            peaks.append(np.asarray(c.message_peak))
            proved.append(peaks[-1])
            scales.add(c.scale)
            signed |= c.kind != "binary"
            rounded |= c.kind == "analog"
        else:
            refuse_analog(population)
            peaks.append(most.expected(population))
            proved.append(most.proved(population))
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
        peak=np.maximum.reduce(np.broadcast_arrays(*peaks)),
        proved=np.maximum.reduce(np.broadcast_arrays(*proved)),
        signed=signed,
        rounded=rounded,
        quantised=projection.weight.quantized,
    )


@dataclass
class MostSpikes:
    """How often neurons spike per step at the most, as far as their lowering has told.

    ``found`` are bounds by population, one per neuron or one for all. ``beyond`` are those of loops in
    which no bound holds itself up: what registers hold, too much to choose scales for.
    """

    found: dict[str, Array] = field(default_factory=dict)
    beyond: dict[str, Array] = field(default_factory=dict)

    def expected(self, population: Population) -> Array:
        """What scales are chosen for."""
        neuron = population.neuron
        assert neuron is not None
        if neuron.spikes_per_step == "one":
            return np.asarray(1)
        guess = np.asarray(MANY_SPIKES if neuron.max_spikes is None else neuron.max_spikes)
        return self.found.get(population.name, guess)

    def proved(self, population: Population) -> Array:
        """What is never exceeded."""
        expected = self.expected(population)
        return np.maximum(expected, self.beyond.get(population.name, 0))


def refuse_analog(population: Population) -> None:
    """Refuse a source that does not spike.

    Raises:
        LoweringRefused: ``analog-source``.
    """
    neuron = population.neuron
    if neuron is None or not neuron.spiking:
        raise LoweringRefused(
            "analog-source",
            "it emits its membrane potential to other populations; chips send spikes",
            where=population.name,
            hint="--adapt makes synapses of it where they do the same; or use spiking neurons",
        )


def bias_incoming(network: Network, population: Population, bits: int) -> list[Incoming]:
    """Biases of a population that synapses must carry, from a source that spikes at every step.

    On the chip a bias adds to the membrane, from the first step on. One that passes the synaptic filter
    has to be a spike, and so has one that arrives late: that of a delayed projection.
    """
    neuron = population.neuron
    if neuron is None:
        return []
    late: dict[int, Array] = {}
    if neuron.syn_leak is not None and neuron.bias.any():
        late[0] = np.broadcast_to(neuron.bias, population.shape)
    for projection in network.incoming(population.name):
        if projection.bias is not None and projection.bias.any():
            steps = projection.bias_delay
            bias = np.broadcast_to(projection.bias, population.shape)
            late[steps] = late.get(steps, np.zeros(())) + bias
    return [_constant(population, steps, late[steps], bits) for steps in sorted(late)]


def _constant(population: Population, late: int, bias: Array, bits: int) -> Incoming:
    """A bias that is missing for the first ``late`` steps."""
    n = size(population.shape)
    codes = integer_codes(Weight(bias.astype(np.float64).reshape(n, 1)), bits)
    return Incoming(
        name=f"{population.name}.bias" + (f"-{late}" if late else ""),
        ops=(Dense(n, 1), Reshape(population.shape)),
        sources=(SynapseSource(f"{population.name}.always", frozen(1 + late, np.int64)),),
        source_shape=(1,),
        codes=codes,
        step=codes.step,
        alive=None,
        peak=np.asarray(1),
        signed=False,
        constant=True,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Rest:
    """What is ``lost`` of a bias per neuron, or what other synapses are to carry of it."""

    lost: Array
    carried: Incoming | None


def largest_weight(incoming: Sequence[Incoming]) -> float:
    """The most that one spike adds: of what is heard, or of biases where nothing else is."""
    peaks = [
        [float(np.abs(i.codes.values).max()) for i in incoming if i.constant == constant]
        for constant in (False, True)
    ]
    return max(peaks[0], default=0.0) or max(peaks[1], default=0.0)


def rest_of_bias(
    incoming: Incoming,
    synapses: SynapseGroup,
    unit: Array,
    neuron: Neuron,
    shape: Shape,
    largest: float,
) -> Rest:
    """What ``synapses`` lose of a bias; ``unit`` is the weight of a mantissa of 1.

    What a readout would notice is told by the ``largest`` weight that it hears, as it has no threshold.

    A bias is there at every step, so what it loses adds up: behind a leak of 0.9 and a synaptic filter
    of 0.5 the membrane ends up twenty times as far off. Eight bits and one exponent for all neurons of
    a population are coarse where their scales differ, as they do after quantising per channel.
    """
    wanted = incoming.codes.values
    rest = wanted - synapses.mantissa * (2.0**synapses.exponent * unit)
    rest = np.where(np.abs(rest) > _NOISE * np.abs(wanted).max(), rest, 0.0)
    lost = np.abs(rest).reshape(shape)
    syn_leak = np.zeros(()) if neuron.syn_leak is None else neuron.syn_leak
    forgets = (1 - neuron.leak) * (1 - syn_leak)
    threshold = np.asarray(largest) if neuron.threshold is None else np.abs(neuron.threshold)
    finest = incoming.name.endswith(REST) or synapses.exponent <= 0
    if finest or not (lost > _NOTICED * forgets * threshold).any():
        return Rest(lost=lost, carried=None)
    codes = integer_codes(Weight(rest))
    more = replace(incoming, name=incoming.name + REST, codes=codes, step=codes.step)
    return Rest(lost=np.zeros(shape), carried=more)
