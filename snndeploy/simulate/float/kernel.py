"""The update of `Neuron` as one loop over steps, samples and neurons, in the type of its arrays.

Every operation rounds as that of `snndeploy.ir.step.step_float` does, in the same order, so both give
the same bits. Types matter: a Python constant in arithmetic would make float32 sums float64, hence the
typed ``zero`` and ``one``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.arrays import Array
from ...ir.fields import beyond
from ...ir.neurons import Neuron
from ...ir.step import NeuronRule
from ..jit import compiled, inlined

RESETS = {"none": 0, "zero": 1, "subtract": 2}
TIMINGS = {"immediate": 0, "next-step": 1, "snntorch-immediate": 2}

WRITTEN_FOR: dict[type, frozenset[str]] = {
    NeuronRule: frozenset({"compare", "reset", "reset_timing", "spikes_per_step", "max_spikes"}),
    Neuron: frozenset(
        {
            "leak",
            "syn_leak",
            "threshold",
            "compare",
            "reset",
            "reset_timing",
            "spikes_per_step",
            "max_spikes",
            "v_floor",
            "v_init",
            "bias",
            "drive",
        }
    ),
}
"""The fields that this loop and its gradient were written for. One with a value in another takes the
plain step, until someone teaches it to them and adds it here."""


def holds(neuron: Neuron) -> bool:
    """Whether the loop was written for all that ``neuron`` has."""
    parts: tuple[tuple[Any, type], ...] = (
        (neuron, Neuron),
        (neuron.rule or NeuronRule(), NeuronRule),
    )
    return not any(beyond(part, WRITTEN_FOR[known]) for part, known in parts)


@inlined
def _run(
    low: int,
    high: int,
    x: Array,
    out: Array,
    charged: Array,
    decided: Array,
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
    has_bias, has_syn_leak, has_drive, has_floor = has
    keep_charged, keep_decided = charged.size > 0, decided.size > 0
    moving = 1 if x.shape[0] > 1 else 0
    steps, _, neurons = out.shape
    for s in range(low, high):
        for t in range(steps):
            for i in range(neurons):
                before = v[s, i]
                now = x[t * moving, s, i]
                if has_bias:
                    now = now + bias[i]
                if has_syn_leak:
                    now = syn_leak[i] * u[s, i] + now
                u[s, i] = now
                new = leak[i] * before + now
                if has_drive:
                    new = new + drive[i]
                if keep_charged:
                    charged[t, s, i] = new
                spikes = zero
                if spiking:
                    edge = threshold[i]
                    back = zero
                    if timing == 1:
                        back = fired[s, i]
                    elif timing == 2:
                        back = one if (before > edge) | (at_threshold & (before == edge)) else zero
                    if timing != 0:
                        if reset == 2:
                            new = new - back * edge
                        elif reset == 1:
                            new = zero if back > zero else new
                    if keep_decided:
                        decided[t, s, i] = new
                    over = (new > edge) | (at_threshold & (new == edge))
                    if many:
                        spikes = min(np.floor(new / edge), most) if over else zero
                    else:
                        spikes = one if over else zero
                    if timing == 1:
                        fired[s, i] = spikes
                    elif reset == 2:
                        taken = spikes - back if timing == 2 else spikes
                        new = new - taken * edge
                    elif reset == 1:
                        new = zero if spikes > zero else new
                elif keep_decided:
                    decided[t, s, i] = new
                if has_floor:
                    new = v_floor[i] if new < v_floor[i] else new
                v[s, i] = new
                out[t, s, i] = spikes if spiking else new


@compiled
def run_neurons(
    low: int,
    high: int,
    x: Array,
    out: Array,
    charged: Array,
    decided: Array,
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
    """Advance ``u``, ``v`` and ``fired`` (samples, neurons) over the steps of ``out``.

    Flows are (steps, samples, neurons), ``x`` perhaps of one step that stands for all; only the samples
    ``low:high`` run. (Arrays are whole, since slices of them would not compile to vectors.)

    ``has`` tells which of bias, syn_leak, drive and v_floor there are. ``fired`` holds the spikes of
    the step before, which the reset timing "next-step" needs. ``charged`` and ``decided``, unless they
    are empty, get the membrane before any reset, and as it was compared with the threshold.
    """
    # Spelled out with constants, the common rules compile to vectors.
    if spiking and timing == 0 and not many:
        _run(
            low,
            high,
            x,
            out,
            charged,
            decided,
            u,
            v,
            fired,
            leak,
            syn_leak,
            threshold,
            v_floor,
            bias,
            drive,
            has,
            True,
            at_threshold,
            False,
            most,
            reset,
            0,
            zero,
            one,
        )
    else:
        _run(
            low,
            high,
            x,
            out,
            charged,
            decided,
            u,
            v,
            fired,
            leak,
            syn_leak,
            threshold,
            v_floor,
            bias,
            drive,
            has,
            spiking,
            at_threshold,
            many,
            most,
            reset,
            timing,
            zero,
            one,
        )
