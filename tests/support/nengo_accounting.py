"""What nengo-loihi counts for some layers; run by an interpreter that has it, JSON in, JSON out.

Standard library, NumPy and nengo-loihi only: the project is not installed there.
"""

import json
import sys

import nengo
import numpy as np
from nengo_loihi.block import Axon, Synapse
from nengo_loihi.conv import conv2d_loihi_weights


def dense(inputs, outputs):
    synapse = Synapse(inputs)
    synapse.set_weights(np.ones((inputs, outputs)))
    return synapse


def sparse(inputs, outputs, per_list):
    """Lists with an index for every synapse; the last target is the last neuron of the core."""
    indices = np.linspace(0, outputs - 1, per_list).astype(int)[None]
    synapse = Synapse(inputs)
    synapse.set_population_weights(
        [np.ones((1, per_list))] * inputs, [indices] * inputs, None, None, pop_type=0
    )
    return synapse


def conv(channels, filters, extent, padding):
    shape = (channels, extent, extent)
    options = {"kernel_size": (3, 3), "padding": padding, "channels_last": False}
    kernel = np.ones((3, 3, channels, filters))
    layer = nengo.Convolution(filters, shape, init=kernel, **options)
    synapse = Synapse(extent * extent)
    synapse.set_population_weights(*conv2d_loihi_weights(layer), pop_type=32)
    return synapse


def slots(synapse):
    """Output axon slots of one neuron that sends to the synapse."""
    axon = Axon(1)
    axon.target = synapse
    axon.set_compartment_axon_map(np.array([0]), atoms=np.array([0]))
    return axon.axon_slots()


KINDS = {"dense": dense, "sparse": sparse, "conv": conv}
found = []
for kind, *arguments in json.load(sys.stdin):
    synapse = KINDS[kind](*arguments)
    bits = synapse.bits()
    assert bits % 64 == 0
    found.append({"words": bits // 64, "in_axons": synapse.n_axons, "out_slots": slots(synapse)})
json.dump(found, sys.stdout)
