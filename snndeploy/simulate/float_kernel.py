"""The update of `Neuron` as one loop over steps, samples and neurons, in the type of its arrays.

Every operation rounds as the torch one of `NeuronState` does, in the same order, so both give the same
bits. Types matter: a Python constant in arithmetic would make float32 sums float64, hence the typed
``zero`` and ``one``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.arrays import Array
from .exact.jit import compiled

RESETS = {"none": 0, "zero": 1, "subtract": 2}
TIMINGS = {"immediate": 0, "next-step": 1, "snntorch-immediate": 2}


@compiled
def run_neurons(
    x: Array,
    out: Array,
    u: Array,
    v: Array,
    fired: Array,
    leak: Array,
    syn_leak: Array,
    threshold: Array,
    v_floor: Array,
    bias: Array,
    drive: Array,
    has: tuple[bool, bool, bool, bool],
    spiking: bool,
    at_threshold: bool,
    many: bool,
    most: Any,
    reset: int,
    timing: int,
    zero: Any,
    one: Any,
) -> None:
    """Advance ``u``, ``v`` and ``fired`` (samples, neurons) over ``x`` (steps, samples, neurons).

    ``has`` tells which of bias, syn_leak, drive and v_floor there are. ``fired`` holds the spikes of
    the step before, which the reset timing "next-step" needs.
    """
    has_bias, has_syn_leak, has_drive, has_floor = has
    steps, samples, neurons = x.shape
    for s in range(samples):
        for t in range(steps):
            for i in range(neurons):
                before = v[s, i]
                now = x[t, s, i]
                if has_bias:
                    now = now + bias[i]
                if has_syn_leak:
                    now = syn_leak[i] * u[s, i] + now
                u[s, i] = now
                new = leak[i] * before + now
                if has_drive:
                    new = new + drive[i]
                spikes = zero
                if spiking:
                    edge = threshold[i]
                    back = zero
                    if timing == 1:
                        back = fired[s, i]
                    elif timing == 2:
                        back = one if before > edge else zero
                    if timing != 0:
                        if reset == 2:
                            new = new - back * edge
                        elif reset == 1 and back > zero:
                            new = zero
                    if new > edge or (at_threshold and new == edge):
                        spikes = min(np.floor(new / edge), most) if many else one
                    if timing == 1:
                        fired[s, i] = spikes
                    elif reset == 2:
                        new = new - (spikes - back) * edge
                    elif reset == 1 and spikes > zero:
                        new = zero
                if has_floor and new < v_floor[i]:
                    new = v_floor[i]
                v[s, i] = new
                out[t, s, i] = spikes if spiking else new
