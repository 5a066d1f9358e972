"""Keys of a Xylo target beside those of every chip."""

from __future__ import annotations

from typing import ClassVar

from ...schema import Limit, Neurons, Strict, Synapse, Target


class XyloSynapse(Synapse):
    """``fan_out_max`` bounds the recurrent connections of one neuron; several synapses between the
    same two neurons are one of them, up to ``per_neuron`` synaptic states of a hidden neuron.
    """

    fan_out_max: Limit
    per_neuron: Limit


class XyloNeurons(Neurons):
    """Spikes that an input channel, a hidden and an output neuron have in a step at the most."""

    most_of_inputs: Limit
    most: Limit
    most_of_outputs: Limit


class Ends(Strict):
    """What may hear the host, and what may feed outputs: ``inputs`` channels, the first
    ``fed_by_inputs`` hidden neurons and the last ``feeding_outputs``.
    """

    inputs: Limit
    fed_by_inputs: Limit
    feeding_outputs: Limit


class Clock(Strict):
    """``default_khz`` is what the vendor's tools set."""

    default_khz: Limit


class XyloTarget(Target):
    """A chip of this family."""

    resources: ClassVar[tuple[str, ...]] = ("hidden_neurons", "output_neurons", "recurrent_entries")

    synapse: XyloSynapse
    neurons: XyloNeurons
    ends: Ends
    clock: Clock
