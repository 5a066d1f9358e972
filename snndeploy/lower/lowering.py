"""`lower`: from a `Network` to the `Program` that runs it, step for step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ..chip import Family, Target, family_of
from ..errors import LoweringRefused
from ..ir.arrays import frozen
from ..ir.finding import Finding
from ..ir.network import Network, Population
from ..ir.program import CompartmentGroup, Program, SynapseGroup
from .coding import InputCoding
from .decays import to_decay
from .incoming import Incoming, bias_incoming, incoming_of
from .neurons import Lowered, lower_population
from .timing import depths


def lower(
    network: Network,
    target: Target,
    *,
    inputs: InputCoding | Mapping[str, InputCoding] | None = None,
    observed: Mapping[str, float] | None = None,
    steps: int = 64,
) -> Program:
    """Turn real numbers into the integers that ``target`` computes with.

    Each population gets the largest scale (v units per unit of the network) for which no accumulator
    can overflow whatever spikes arrive; weights that were quantised stay exact.

    Args:
        network: float or quantised.
        target: number formats and neuron features.
        inputs: how the data enter, for all inputs or by name. Default: graded spikes where the target
            has them and the network uses many spikes per step, else binary spikes.
        observed: largest |u| per population seen on calibration data (network units). Where given, it
            replaces the worst case with 1.25 times what was seen.
        steps: length of a sample, which bounds a leakless readout.

    Returns:
        A verified program. Its ``rounding`` and ``headroom`` say what integers cost and prove; its
        ``findings`` tell every deviation from the network.

    Raises:
        LoweringRefused: no declared integer form exists on this target.
    """
    family = family_of(target)
    bits = family.weights.bits
    late = [p.name for p in network.projections if p.bias is not None]
    network = _with_biases_at_once(network)
    depth = depths(network)
    coding = _codings(network, target, inputs)
    groups: list[CompartmentGroup] = []
    synapses: list[SynapseGroup] = []
    lowered: dict[str, Lowered] = {}
    for population in network.populations:
        if population.role == "input":
            groups.append(_input_group(population, coding[population.name]))
            continue
        incoming = [
            incoming_of(network, p, depth, coding, bits) for p in network.incoming(population.name)
        ]
        constant = bias_incoming(population, bits)
        if constant is not None:
            groups.append(_constant_group(constant, depth[population.name], family))
            incoming.append(constant)
        result = lower_population(
            population,
            incoming,
            family,
            depth=depth[population.name],
            steps=steps,
            observed=None if observed is None else observed.get(population.name),
        )
        lowered[population.name] = result
        groups.append(result.group)
        synapses.extend(result.synapses)
    findings = [f for result in lowered.values() for f in result.findings]
    findings += [_delayed_bias(name) for name in late]
    return Program(
        arithmetic=family.arithmetic,
        target=target.name,
        groups=tuple(groups),
        synapses=tuple(synapses),
        headroom={name: result.headroom for name, result in lowered.items()},
        rounding={name: result.rounding for name, result in lowered.items()},
        findings=tuple(findings),
    ).verify()


def _codings(
    network: Network, target: Target, inputs: InputCoding | Mapping[str, InputCoding] | None
) -> dict[str, InputCoding]:
    names = [p.name for p in network.with_role("input")]
    if inputs is None:
        many = any(p.neuron and p.neuron.spikes_per_step == "many" for p in network.populations)
        graded = many and target.neurons.graded_spikes
        inputs = InputCoding.named("graded" if graded else "binary")
    codings = dict.fromkeys(names, inputs) if isinstance(inputs, InputCoding) else dict(inputs)
    for name in names:
        if name not in codings:
            raise LoweringRefused("input-coding", f"no coding is given for input {name!r}")
        if codings[name].kind != "binary" and not target.neurons.graded_spikes:
            raise LoweringRefused(
                "graded-input",
                f"{target.name} has binary spikes only, the data of {name!r} are {codings[name].kind}",
                hint="encode the data as spikes (rate, latency), or compile for loihi2",
            )
    return codings


def _input_group(population: Population, coding: InputCoding) -> CompartmentGroup:
    return CompartmentGroup(
        name=population.name,
        shape=population.shape,
        role="input",
        kind="input",
        depth=0,
        scale=frozen(coding.scale),
        message_bits=coding.message_bits,
    )


def _constant_group(incoming: Incoming, depth: int, family: Family) -> CompartmentGroup:
    """One compartment that spikes at every step, one chip step before its target needs it."""
    return CompartmentGroup(
        name=incoming.sources[0].group,
        shape=(1,),
        role="hidden",
        kind="constant",
        depth=depth - 1,
        du=to_decay(
            np.zeros(()),
            family.arithmetic.u_decay_offset,
            family.target.numeric.decay_max.limit,
            family.arithmetic,
        ),
        route="a compartment that spikes at every step carries the bias through the synaptic filter",
    )


def _with_biases_at_once(network: Network) -> Network:
    """``network`` with the biases of delayed projections among those of the neurons they arrive at."""
    biased = [p for p in network.projections if p.bias is not None]
    populations = []
    for name in dict.fromkeys(p.target for p in biased):
        population = network.population(name)
        neuron, shape = population.neuron, population.shape
        assert neuron is not None
        total = sum(np.broadcast_to(p.bias, shape) for p in biased if p.target == name)  # type: ignore[arg-type, misc]
        populations.append(
            dataclasses.replace(population, neuron=neuron.changed(shape, bias=neuron.bias + total))
        )
    projections = [dataclasses.replace(p, bias=None) for p in biased]
    return network.replace(populations, projections)


def _delayed_bias(name: str) -> Finding:
    return Finding(
        code="delayed-bias",
        severity="warning",
        where=name,
        message="the bias of this delayed projection acts from the first step on; "
        "in the trained network it was missing until the delay had passed",
    )
