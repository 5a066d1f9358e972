"""What a core of Loihi 2 must obey."""

from __future__ import annotations

from ...counting import CoreRule

RULES = (
    CoreRule(
        code="core-neurons",
        resources=("neurons",),
        sentence="A core holds a limited number of neurons.",
        shrinks=True,
    ),
    CoreRule(
        code="core-groups",
        resources=("groups",),
        sentence="A core holds neurons of a limited number of groups.",
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
        code="input-axons",
        resources=("axon_in",),
        sentence="Every source neuron of a dense layer takes an input axon on each core of the layer.",
        of_memory=True,
        shrinks=True,
    ),
    CoreRule(
        code="axon-map",
        resources=("axon_map",),
        sentence="Every neuron (in front of convolutions: every position) takes an entry of the axon "
        "map.",
        of_memory=True,
        shrinks=True,
    ),
    CoreRule(
        code="axon-memory",
        resources=("axon_mem",),
        sentence="Positions whose spikes go to several cores take axon memory for each.",
        of_memory=True,
        shrinks=True,
    ),
    CoreRule(
        code="core-memory",
        resources=("pool_words",),
        sentence="Neurons, axons and synapses of a core share one pool of memory.",
        of_memory=True,
        shrinks=True,
    ),
)
