"""From an adapted network to the integers of a chip with a scale per neuron and a shift per block.

Weights are codes of 8 bits times ``2**shift``; a block (all synapses into hidden neurons, all into
outputs) has one shift. A neuron's scale is the largest that its codes hold, and its threshold follows
it. A larger shift rounds decays less and saturates sooner: it is the largest for which nothing
saturates, whatever arrives, or else in what is usual.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...chip import Family, OwnNeuron
from ...ir.arrays import frozen
from ...ir.finding import Finding
from ...ir.network import Network, Population, Projection
from ...ir.program import CompartmentGroup, Program, SignMode, SynapseGroup, SynapseSource
from ..coding import InputCoding
from ..decays import to_decay
from ..exact import saturating, truncated
from ..incoming import refuse_analog
from ..proofs.headroom import Interval, headroom, input_interval, worst_case
from ..proofs.rounding import rounding_of, unproved
from ..timing import depths, latency
from .scales import NeuronScales, neuron_scales

_MARGIN = 1.25
"""Room above what was seen on calibration data."""
_ROUNDED = "its states are whole numbers whose decays are rounded, and spikes add up in turn"

BlockName = Literal["hidden", "output"]


@dataclass(frozen=True, eq=False)
class _Lowering:
    """A population, what it is rounded to, and where it is."""

    population: Population
    incoming: tuple[Projection, ...]
    scales: NeuronScales
    depth: int

    @property
    def block(self) -> BlockName:
        return "output" if self.population.role == "output" else "hidden"


def lower_in_turn(
    network: Network,
    family: Family,
    own: OwnNeuron,
    *,
    coding: Mapping[str, InputCoding],
    observed: Mapping[str, float] | None,
    steps: int,
) -> Program:
    """Lower an adapted network; see `snndeploy.lower.lower` for the arguments.

    Raises:
        LoweringRefused: a loop takes more chip steps than its delays allow, or a source sends its v.
    """
    depth = depths(network)
    for source in dict.fromkeys(s.population for p in network.projections for s in p.sources):
        if network.population(source).role != "input":
            refuse_analog(network.population(source))
    parts = [
        _Lowering(p, network.incoming(p.name), neuron_scales(p, network, family), depth[p.name])
        for p in network.populations
        if p.neuron is not None
    ]
    peaks = {p.name: _most(p, coding, own) for p in network.populations}
    shifts = _shifts(parts, network, family, peaks, observed)
    found = [
        Finding(
            code="input-clipped",
            severity="warning",
            where=name,
            message=f"the data hold up to {c.largest} spikes of a channel in a step; "
            f"it takes {own.most_of_inputs}, and the rest is lost",
            used=c.largest,
            limit=own.most_of_inputs,
            unit="spikes",
            rule="What a channel sends in a step must not exceed what it takes.",
        )
        for name, c in coding.items()
        if c.largest > own.most_of_inputs
    ]
    groups: dict[str, CompartmentGroup] = {}
    for name in (p.name for p in network.with_role("input")):
        groups[name] = CompartmentGroup(
            name=name,
            shape=network.population(name).shape,
            role="input",
            kind="input",
            depth=0,
            message_bits=min(coding[name].message_bits, own.most_of_inputs.bit_length() + 1),
            message_peak=coding[name].message_peak if coding[name].message_bits else None,
            max_spikes=own.most_of_inputs,
        )
    synapses: list[SynapseGroup] = []
    room, rounding = {}, {}
    for part in parts:
        name, shift = part.population.name, shifts[part.block]
        group = groups[name] = _group(part, shift, family, own)
        mine = [_synapses(p, part, shift, depth) for p in part.incoming]
        synapses += mine
        worst = worst_case(group, _arriving(mine, network, peaks), family.arithmetic)
        room[name] = headroom(worst, family.arithmetic)
        found += unproved(
            group, room[name], 0.0, family.arithmetic, proved_by_data=observed is not None
        )
        found += saturating(group, worst, steps, family.arithmetic)
        neuron = part.population.neuron
        assert neuron is not None
        stated = rounding_of(neuron, group, part.scales.error, np.zeros(()), family.arithmetic)
        lost = truncated(group, mine, worst, steps, family.arithmetic)
        rounding[name] = dataclasses.replace(stated, truncation=lost, reasons=(_ROUNDED,))
    return Program(
        arithmetic=family.arithmetic,
        target=family.target.name,
        groups=tuple(groups[p.name] for p in network.populations),
        synapses=tuple(synapses),
        headroom=room,
        rounding=rounding,
        findings=tuple(found),
    ).verify()


def _most(population: Population, coding: Mapping[str, InputCoding], own: OwnNeuron) -> int:
    """Spikes that a neuron, or a channel of the host, sends in a step at the most."""
    if population.neuron is None:
        return min(coding[population.name].message_peak, own.most_of_inputs)
    return population.neuron.max_spikes or 1


def _shifts(
    parts: list[_Lowering],
    network: Network,
    family: Family,
    peaks: Mapping[str, int],
    observed: Mapping[str, float] | None,
) -> dict[BlockName, int]:
    """The shift of each block: the largest with room for all spikes, or for usual ones."""
    span, limit = family.target.synapse.exponent, family.arithmetic.state_max
    usual = {p.name: peaks[p.name] if p.role == "input" else 1 for p in network.populations}
    shifts: dict[BlockName, int] = {}
    blocks: tuple[BlockName, ...] = ("hidden", "output")
    for block in blocks:
        mine = [part for part in parts if part.block == block]
        formats = [part.scales.largest_shift for part in mine]
        most = min([span.high, *formats])

        def room(part: _Lowering, sent: Mapping[str, int]) -> float:
            neuron = part.population.neuron
            assert neuron is not None
            assert neuron.syn_leak is not None
            if observed is not None and part.population.name in observed:
                u = _MARGIN * observed[part.population.name] / float(np.min(neuron.syn_leak))
                u_peak = u * part.scales.scale
            else:
                u_peak = part.scales.peak_of(network, sent)
            lasting = 0.0 if neuron.threshold is None else neuron.threshold * part.scales.scale
            return float(np.max(u_peak + lasting))

        for sent in (peaks, usual):
            reach = max((room(part, sent) for part in mine), default=0.0)
            fits = [s for s in range(most + 1) if reach * 2.0**s <= limit]
            if fits:
                break
        shifts[block] = max(fits, default=0)
    return shifts


def _group(part: _Lowering, shift: int, family: Family, own: OwnNeuron) -> CompartmentGroup:
    population, neuron = part.population, part.population.neuron
    assert neuron is not None
    assert neuron.syn_leak is not None
    numeric, arithmetic = family.target.numeric, family.arithmetic
    scale = part.scales.scale * 2.0**shift
    spiking = neuron.threshold is not None
    many = neuron.spikes_per_step == "many"
    vth = np.zeros((), np.int64)
    if neuron.threshold is not None:
        wanted = np.rint(neuron.threshold * scale)
        vth = np.clip(wanted, 1, numeric.vth_max.limit).astype(np.int64)
    top = numeric.bias_mant_max.limit
    bias = np.clip(np.rint(neuron.drive * scale), -top, top).astype(np.int64)
    return CompartmentGroup(
        name=population.name,
        shape=population.shape,
        role=population.role,
        kind="custom" if spiking else "readout",
        depth=part.depth,
        scale=frozen(scale),
        message_bits=own.most.bit_length() + 1 if spiking and many else 0,
        du=to_decay(neuron.syn_leak, 0, numeric.decay_max.limit, arithmetic),
        dv=to_decay(neuron.leak, 0, numeric.decay_max.limit, arithmetic),
        vth=frozen(vth),
        bias_mant=frozen(bias if bias.any() else np.zeros((), np.int64)),
        compare=family.native_compare if spiking else ">",
        reset="subtract" if spiking else "zero",
        spikes_per_step=neuron.spikes_per_step if spiking else "one",
        max_spikes=neuron.max_spikes if spiking and many else None,
        route="the chip's own neuron" if spiking else "the chip's own neuron; v is read",
    )


def _synapses(
    projection: Projection, part: _Lowering, shift: int, depth: dict[str, int]
) -> SynapseGroup:
    mantissa = part.scales.mantissas[projection.name]
    low, high = int(mantissa.min()), int(mantissa.max())
    mode: SignMode = "mixed" if low < 0 < high else "inhibitory" if low < 0 else "excitatory"
    mask = projection.weight.mask
    return SynapseGroup(
        name=projection.name,
        sources=tuple(
            SynapseSource(s.population, latency(depth, s, projection.target))
            for s in projection.sources
        ),
        target=projection.target,
        ops=part.scales.ops[projection.name],
        mantissa=frozen(mantissa),
        exponent=shift,
        sign_mode=mode,
        weight_bits=part.scales.bits,
        alive=None if mask is None else frozen(np.broadcast_to(mask, mantissa.shape)),
    )


def _arriving(synapses: list[SynapseGroup], network: Network, peaks: Mapping[str, int]) -> Interval:
    shape = network.population(synapses[0].target).shape if synapses else ()
    total = Interval(np.zeros(shape), np.zeros(shape))
    for s in synapses:
        source = network.population(s.sources[0].group)
        peak = np.asarray(max(peaks[o.group] for o in s.sources))
        one = input_interval(s.ops, s.mantissa, source.shape, peak, False)
        total = total + (one * float(len(s.sources))).shifted(s.exponent)
    return total
