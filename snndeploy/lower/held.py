"""Back from the registers to real numbers: the neuron that a compartment group really is."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..chip import Target, family_of
from ..ir.neurons import Neuron
from ..ir.program import CompartmentGroup
from .decays import kept
from .neurons import registers


def held_neuron(neuron: Neuron, group: CompartmentGroup, target: Target) -> Neuron:
    """``neuron`` with its parameters rounded as ``group`` of ``target`` holds them, in network units.

    v is a whole number on the chip. Where the threshold is only compared with, it is set half a unit
    off, to the side on which the comparison comes out as the integer one does whatever the noise of
    floating point. A bias that passes the synaptic filter arrives by synapses and stays as it is.
    """
    family = family_of(target)
    arithmetic = family.arithmetic
    held = dataclasses.replace(group, **registers(neuron, group.kind, group.scale, family))
    bias = held.bias / held.scale
    filtered = neuron.syn_leak is not None
    changed = dataclasses.replace(
        neuron,
        leak=kept(held.dv, arithmetic),
        syn_leak=kept(held.du + arithmetic.u_decay_offset, arithmetic) if filtered else None,
        bias=neuron.bias if filtered else bias,
        drive=bias if filtered else np.zeros(()),
        v_floor=None if held.v_floor is None else held.v_floor / held.scale,
    )
    if neuron.threshold is None:
        return changed
    threshold = (held.vth << arithmetic.state_shift).astype(np.float64)
    if held.reset == "zero" and held.spikes_per_step == "one":
        threshold += 0.5 if held.compare == ">" else -0.5
    return dataclasses.replace(changed, compare=held.compare, threshold=threshold / held.scale)
