"""Neurons that are connected as on no chip: by filters that send values, in loops that are too short."""

from __future__ import annotations

import dataclasses

from ...ir.finding import Finding
from ...ir.network import Network, Population
from ...lower.timing import Late, lengthened
from .filters import Filter, filters, folded
from .telling import told


def connected(network: Network) -> tuple[Network, tuple[Finding, ...]]:
    """The network as chips can connect it: filters are synapses, loops have a step per projection.

    Filters that no synapse can be stay where they are.
    """
    network, gone = _without_filters(network)
    network, late = lengthened(network)
    return network, (
        *(told(f.targets[0], _synapses(f), exact=True) for f in gone),
        *(told(hop.hop.target, _later(hop), exact=False) for hop in late),
    )


def unconnected(network: Network) -> tuple[Network, tuple[Finding, ...]]:
    """What no chip connects, each with what `Adapt` makes of it; and a network to count budgets by.

    In it, a filter that no synapse can be is a population that spikes.
    """
    findings = []
    made, gone = _without_filters(network)
    for population in filters(network):
        ways = [
            told("", _synapses(f), exact=True).message for f in gone if f.name == population.name
        ]
        helps = "; ".join(ways) or (
            "nothing that is known; budgets are counted as if it spiked. Replace it by spiking neurons"
        )
        findings.append(
            Finding(
                code="analog-source",
                severity="error",
                where=population.name,
                message="it sends its membrane to other populations, and chips send spikes. "
                f"--adapt: {helps}",
            )
        )
    made = made.replace(_spiking(p) for p in filters(made))
    made, late = lengthened(made)
    for hop in late:
        findings.append(
            Finding(
                code="loop-too-short",
                severity="error",
                where=hop.hop.target,
                message=f"the loop {hop.loop} lacks {_steps(hop)} of delay: every projection takes one "
                f"on the chip. --adapt: {told('', _later(hop), exact=False).message}",
            )
        )
    return made, tuple(findings)


def _without_filters(network: Network) -> tuple[Network, list[Filter]]:
    gone: list[Filter] = []
    for population in filters(network):
        found = folded(network, population)
        if found is not None:
            network = found[0]
            gone.append(found[1])
    return network, gone


def _spiking(population: Population) -> Population:
    assert population.neuron is not None
    neuron = population.neuron.changed(population.shape, threshold=1.0)
    return dataclasses.replace(population, neuron=neuron)


def _synapses(gone: Filter) -> str:
    return (
        f"{gone.name} becomes the synapses of {', '.join(gone.targets)}, "
        f"and {gone.before:,} weights become {gone.after:,}"
    )


def _later(late: Late) -> str:
    return f"what {late.hop.source} sends to {late.hop.target} arrives {_steps(late)} later than trained"


def _steps(late: Late) -> str:
    return f"{late.steps} step{'s' * (late.steps > 1)}"
