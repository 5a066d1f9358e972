"""Gradients of leaks, from what the compiled way back leaves: products with the states a step before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.arrays import Array


def membranes_before(decided: Array, out: Array, v: Array, constants: tuple[Any, ...]) -> Array:
    """The membrane potential that each step began with, ``(steps, samples, neurons)``.

    Args:
        decided: the membrane as it was compared with the threshold, of every step.
        out: what was emitted.
        v: before the first step, ``(samples, neurons)``.
        constants: `NeuronState.constants`.
    """
    _, _, threshold, v_floor, _, _, has, spiking, at_threshold, _, _, reset, timing, *_ = constants
    before = np.empty_like(decided)
    for t in range(len(before)):
        before[t] = v
        end = decided[t]
        if spiking and timing != 1 and reset == 2:
            taken = out[t]
            if timing == 2:  # what the step took off already, for the state that it began with
                taken = taken - ((v > threshold) | (at_threshold & (v == threshold)))
            end = end - taken * threshold
        elif spiking and timing == 0 and reset == 1:
            end = np.where(out[t] > 0, 0, end)
        v = np.maximum(end, v_floor) if has[3] else end
    return before


def currents_before(arriving: Sequence[Array], u: Array, constants: tuple[Any, ...]) -> Array:
    """The synaptic state that each step began with, ``(steps, samples, neurons)``.

    Args:
        arriving: at every step, ``(samples, neurons)``.
        u: before the first one.
        constants: `NeuronState.constants`.
    """
    syn_leak, bias = constants[1], constants[4]
    before = np.empty((len(arriving), *u.shape), u.dtype)
    for t, x in enumerate(arriving):
        before[t] = u
        u = syn_leak * u + (x + bias)
    return before


def leak_gradients(
    for_drive: Array, for_u: Array, v: Array, u: Array, constants: tuple[Any, ...]
) -> tuple[Array, Array]:
    """Gradients of ``leak`` and ``syn_leak``, ``(neurons,)`` each.

    Args:
        for_drive: gradients of what arrived, ``(steps, samples, neurons)``.
        for_u: of the synaptic state at the end, ``(samples, neurons)``.
        v: `membranes_before`.
        u: `currents_before`.
        constants: `NeuronState.constants`.
    """
    through_u = np.concatenate([for_drive[1:] * constants[1], for_u[None]])
    return ((for_drive - through_u) * v).sum((0, 1)), (for_drive * u).sum((0, 1))
