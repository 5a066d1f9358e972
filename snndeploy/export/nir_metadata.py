"""What NIR's nodes cannot say of neurons, in the metadata of the graph and of nodes.

The names are those of a semantics profile: the graph has what all neurons share, a node what is its
own. A reader that does not know them reads the nodes alone.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from ..ir.finding import Finding
from ..ir.network import Network
from ..ir.neurons import Neuron
from ..ir.step import NeuronRule

_RULE = tuple(f.name for f in dataclasses.fields(NeuronRule))


def shared(network: Network, dt: float) -> dict[str, Any]:
    """Fields of a semantics profile that all neurons share."""
    neurons = [p.neuron for p in network.populations if p.neuron is not None and p.neuron.spiking]
    told: dict[str, Any] = {"frontend": "nir", "dt": dt}
    for field in _RULE:
        values = {getattr(n, field) for n in neurons}
        if len(values) == 1 and None not in values:
            told[field] = values.pop()
    return told


def own(neuron: Neuron, told: dict[str, Any]) -> dict[str, Any]:
    """Fields of a profile for one neuron that the graph's, ``told``, does not have."""
    fields: dict[str, Any] = {}
    if neuron.spiking:
        values = {field: getattr(neuron, field) for field in _RULE if field not in told}
        fields |= {field: value for field, value in values.items() if value is not None}
    if neuron.v_floor is not None and neuron.v_floor.size == 1:
        fields["v_floor"] = float(neuron.v_floor.reshape(()))
    return fields


def unsaid(network: Network) -> tuple[Finding, ...]:
    """What neither nodes nor metadata say, and other readers will not know."""
    found = []
    for population in network.populations:
        neuron = population.neuron
        if neuron is None:
            continue
        parts = []
        if neuron.v_floor is not None and neuron.v_floor.size > 1:
            parts.append("a floor of v for each neuron")
        if neuron.v_init.any():
            parts.append("what its membrane starts with")
        if parts:
            found.append(
                Finding(
                    code="nir-unsaid",
                    severity="warning",
                    where=population.name,
                    message=f"NIR cannot say {' and '.join(parts)}: snndeploy reads it from its own "
                    "record in the file, other readers do not",
                )
            )
    return tuple(found)
