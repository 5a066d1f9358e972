"""What a core of Loihi must obey."""

from __future__ import annotations

from ...counting import CoreRule

RULES = (
    CoreRule(
        code="core-compartments",
        resources=("compartments",),
        sentence="A core holds a limited number of compartments; a subtracting reset takes two per "
        "neuron.",
        shrinks=True,
    ),
    CoreRule(
        code="synapse-memory",
        resources=("synapse_words",),
        sentence="The synapse lists of a core must fit its synapse memory; dense lists store their "
        "zeros.",
        of_memory=True,
        shrinks=True,
    ),
    CoreRule(
        code="axon-words",
        resources=("axon_words",),
        sentence="The synapse list behind one input axon has a largest length.",
        of_memory=True,
        shrinks=True,
    ),
    CoreRule(
        code="input-axons",
        resources=("in_axons",),
        sentence="Every source neuron of a dense layer takes an input axon on each core of the layer.",
        shrinks=True,
    ),
    CoreRule(
        code="output-axons",
        resources=("out_axons",),
        sentence="Every neuron takes output axons for each core that its spikes go to.",
        shrinks=True,
    ),
    CoreRule(
        code="profiles",
        resources=("compartment_profiles", "threshold_profiles", "synapse_formats"),
        sentence="A core has few registers for different decays, thresholds and synapse formats.",
    ),
    CoreRule(
        code="delay-memory",
        resources=("delay_slots",),
        sentence="The longer the delays on a core, the fewer compartments it holds.",
    ),
)
