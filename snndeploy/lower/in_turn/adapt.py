"""A network whose neurons are those of the chip: what can be said exactly stays, the rest is told.

The chip has one kind of neuron (`OwnNeuron`). Leaks move to the nearest factor that its decays are; the
weights are multiplied by what keeps the charge of a spike, the sum over all steps of what it does to v::

    gain = (1 - a')(1 - b') / ((1 - a)(1 - b))

with the leaks a of u and b of v, as trained and as they are on the chip. A network that is adapted
already stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from ...chip import Family, OwnNeuron
from ...errors import LoweringRefused
from ...ir.arrays import Array
from ...ir.finding import Finding, Severity
from ...ir.network import Network, Population, Projection
from ...ir.neurons import Neuron
from ..decays import kept, to_decay
from ..scale import weight_factors


def fitted_in_turn(
    network: Network, family: Family, gains: Mapping[str, float] | None = None
) -> tuple[Network, tuple[Finding, ...]]:
    """The network that the chip's own neurons come nearest to.

    Args:
        network: as trained.
        family: of the chip; without an `OwnNeuron` nothing is changed.
        gains: factors on all that arrives at a population, beyond those that keep its charge.

    Returns:
        The network, and a finding for all that it does otherwise.

    Raises:
        LoweringRefused: a threshold that is not above 0, which would fire at rest.
    """
    own = family.own_neuron
    if own is None:
        return network, ()
    populations: list[Population] = []
    findings: list[Finding] = []
    factors: dict[str, Array] = {}
    for population in network.populations:
        neuron = population.neuron
        if neuron is None:
            continue
        biases = [p for p in network.incoming(population.name) if p.bias is not None]
        changed, gain = _neuron(population, neuron, biases, own, family)
        gain = gain * (gains or {}).get(population.name, 1.0)
        factors[population.name] = gain
        populations.append(dataclasses.replace(population, neuron=changed))
        findings += _told(population, neuron, changed, biases)
    projections = [
        dataclasses.replace(_scaled(p, factors[p.target], network), bias=None)
        for p in network.projections
    ]
    return network.replace(populations, projections), tuple(findings)


def _neuron(
    population: Population, neuron: Neuron, biases: list[Projection], own: OwnNeuron, family: Family
) -> tuple[Neuron, Array]:
    """The chip's neuron, and the factor on the weights that keeps their charge."""
    shape, arithmetic = population.shape, family.arithmetic
    if unknown := neuron.beyond():
        raise LoweringRefused(
            "neuron-unsupported",
            f"the chip has one kind of neuron, without {', '.join(unknown)}",
            where=population.name,
        )
    if neuron.threshold is not None and (neuron.threshold <= 0).any():
        raise LoweringRefused(
            "threshold-not-positive",
            "it spikes once per whole threshold in its membrane, and its threshold is not above 0",
            where=population.name,
            hint="give it a positive threshold",
        )
    longest = family.target.numeric.decay_max.limit
    syn_leak = np.zeros(()) if neuron.syn_leak is None else neuron.syn_leak
    du = np.maximum(to_decay(syn_leak, 0, longest, arithmetic), own.shortest_u_decay)
    dv = to_decay(neuron.leak, 0, longest, arithmetic)
    a, b = kept(du, arithmetic), kept(dv, arithmetic)
    of_v = _ratio(b, neuron.leak)
    bias = np.asarray(neuron.bias) + sum(np.asarray(p.bias) for p in biases)
    filtered = np.zeros(()) if neuron.syn_leak is None else neuron.syn_leak
    steady = bias / np.maximum(1 - filtered, 1e-9) if bias.any() else bias
    spiking: dict[str, object] = {}
    if neuron.threshold is not None:
        many = population.role != "output"
        most = own.most if many else own.most_of_outputs
        spiking = {
            "compare": family.native_compare,
            "reset": "subtract",
            "reset_timing": "immediate",
            "spikes_per_step": "many" if most > 1 else "one",
            "max_spikes": most if most > 1 else None,
        }
    changed = Neuron.create(
        shape,
        leak=b,
        syn_leak=a,
        threshold=neuron.threshold,
        drive=(neuron.drive + steady) * of_v,
        **spiking,
    )
    return changed, _ratio(a, syn_leak) * of_v


def _ratio(now: Array, before: Array) -> Array:
    """How much shorter a leak lasts: 1 where it does not end, before or now."""
    lasting = (now >= 1) | (before >= 1)
    return np.where(lasting, 1.0, (1 - now) / np.where(lasting, 1.0, 1 - before))


def _scaled(projection: Projection, gain: Array, network: Network) -> Projection:
    """Its weights times a factor per neuron; the mean of the factors, where weights are shared."""
    each = np.asarray(gain)
    if (each == 1).all():
        return projection
    if (each == each.flat[0]).all():
        each = np.asarray(each.flat[0])
    shape = network.population(projection.target).shape
    factor = _factor(each, projection, network, shape)
    weight = projection.weight
    if weight.scale is None:
        return dataclasses.replace(
            projection, weight=dataclasses.replace(weight, data=weight.data * factor)
        )
    scaled = dataclasses.replace(weight, scale=weight.scale * factor)
    return dataclasses.replace(projection, weight=scaled)


def _factor(each: Array, projection: Projection, network: Network, shape: tuple[int, ...]) -> Array:
    if each.ndim == 0:
        return each
    found = weight_factors(each, projection.ops, network.source_shape(projection), shape)
    return np.asarray(each.mean()) if found is None else found


def _told(
    population: Population, before: Neuron, now: Neuron, biases: list[Projection]
) -> Iterator[Finding]:
    """What the chip's neuron does otherwise, in one finding."""
    parts: list[str] = []
    severity: Severity = "note"

    def changes(what: str, *, felt: bool = False) -> None:
        nonlocal severity
        parts.append(what)
        severity = "warning" if felt else severity

    if before.v_init.any():
        changes("its membrane starts at 0", felt=True)
    if before.syn_leak is None:
        kept_ = float(np.max(now.syn_leak)) if now.syn_leak is not None else 0.0
        changes(f"input passes a synapse that keeps {kept_:g} of it per step", felt=True)
    elif not np.array_equal(before.syn_leak, now.syn_leak if now.syn_leak is not None else 0):
        changes(f"the leak of u moves from {_span(before.syn_leak)} to {_span(now.syn_leak)}")
    if not np.array_equal(before.leak, now.leak):
        changes(f"the leak of v moves from {_span(before.leak)} to {_span(now.leak)}")
    if before.spiking:
        if before.reset != "subtract":
            changes(f"its reset subtracts the threshold (trained: {before.reset})", felt=True)
        if before.reset_timing != "immediate":
            changes("its reset acts at once")
        if before.spikes_per_step != now.spikes_per_step or before.max_spikes != now.max_spikes:
            most = now.max_spikes or 1
            changes(f"it spikes up to {most} time{'s' * (most > 1)} per step", felt=most > 1)
        if before.compare != now.compare:
            changes(f"it fires at v {now.compare} threshold")
    if before.v_floor is not None:
        changes("its membrane has no floor", felt=True)
    late = before.syn_leak is not None and before.bias.any()
    if late or any(s.max_delay for p in biases for s in p.sources):
        changes("its bias acts on v from the first step on")
    if parts:
        yield Finding(
            code="neuron-adapted",
            severity=severity,
            where=population.name,
            message="the chip has one kind of neuron: " + "; ".join(parts),
        )


def _span(values: Array | None) -> str:
    if values is None:
        return "none"
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.4g}" if low == high else f"{low:.4g}…{high:.4g}"
