"""A group's parameters as the compiled neuron kernels take them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.arrays import Array, Shape, size
from ....ir.fields import beyond
from ....ir.program import CompartmentGroup
from ....ir.step import LOIHI, Arithmetic, NeuronRule, wrapped
from .kernel import IMMEDIATE, NEXT_STEP, NONE, SNNTORCH, SUBTRACT, ZERO, neuron_kernel
from .step import registers

_RESETS = {"zero": ZERO, "subtract": SUBTRACT, "none": NONE}
_TIMINGS = {"immediate": IMMEDIATE, "next-step": NEXT_STEP, "snntorch-immediate": SNNTORCH}
_INT32 = np.iinfo(np.int32)

WRITTEN_FOR: dict[type, frozenset[str]] = {
    Arithmetic: frozenset(
        {
            "state_bits",
            "u_overflow",
            "v_overflow",
            "decay",
            "decay_bits",
            "u_decay_offset",
            "state_shift",
            "sum_bits",
            "arrival",
            "v_step",
        }
    ),
    NeuronRule: frozenset({"compare", "reset", "reset_timing", "spikes_per_step", "max_spikes"}),
    CompartmentGroup: frozenset(
        {
            "name",
            "shape",
            "role",
            "kind",
            "depth",
            "scale",
            "message_bits",
            "du",
            "dv",
            "vth",
            "bias_mant",
            "bias_exp",
            "compare",
            "reset",
            "reset_timing",
            "spikes_per_step",
            "max_spikes",
            "v_floor",
            "dynamics",
            "route",
        }
    ),
}
"""The fields that the kernels were written for. What has a value in another takes the plain step, until
someone teaches it to the kernels and adds it here."""


@dataclass(frozen=True, eq=False)
class PackedNeurons:
    """The kernel of a group, its ``parameters`` per run of equal neurons, and the most spikes per step.

    ``remembers``: the kernel needs to know what was fired a step before.
    """

    kernel: Callable[..., None]
    parameters: Array
    most: int
    remembers: bool


def pack_neurons(group: CompartmentGroup, arithmetic: Arithmetic) -> PackedNeurons | None:
    """The group for int32 kernels, or None where they were not written for it."""
    if not fits_int32(group, arithmetic):
        return None
    rule = group.rule or NeuronRule()
    p = registers(group, arithmetic)
    columns = [
        arithmetic.decay_one - p.du,
        arithmetic.decay_one - p.dv,
        np.clip(p.threshold - (rule.compare == ">="), _INT32.min, _INT32.max),
        np.clip(p.threshold, _INT32.min, _INT32.max),
        wrapped(p.bias, 32),  # what is added wraps, so its high bits never count
        np.asarray(0) if p.v_floor is None else p.v_floor,
    ]
    timing = _TIMINGS[rule.reset_timing]
    kernel = neuron_kernel(
        group.rule is None,
        SUBTRACT if rule.subtracts else _RESETS[rule.reset],
        timing,
        rule.spikes_per_step == "many",
        p.v_floor is not None,
    )
    most = _INT32.max if rule.max_spikes is None else rule.max_spikes
    return PackedNeurons(kernel, _runs(columns, group.shape), most, timing == NEXT_STEP)


def fits_int32(group: CompartmentGroup, arithmetic: Arithmetic) -> bool:
    """Whether the int32 kernels show the bits of the plain step, from fields and values alone."""
    parts: tuple[tuple[Any, type], ...] = (
        (arithmetic, Arithmetic),
        (group.rule or NeuronRule(), NeuronRule),
        (group, CompartmentGroup),
    )
    if any(beyond(part, WRITTEN_FOR[known]) for part, known in parts):
        return False
    if arithmetic != LOIHI or group.dynamics is not None:
        return False
    p = registers(group, arithmetic)
    if not (_within(p.du, 0, arithmetic.decay_one) and _within(p.dv, 0, arithmetic.decay_one)):
        return False
    if group.kind != "custom":
        return True
    # what a reset subtracts from a v of 24 bits has to leave room for the next step
    lowest = 0 if group.spikes_per_step == "many" else -(2**24)
    floor = np.asarray(0) if p.v_floor is None else p.v_floor
    return _within(p.threshold, lowest, 2**24) and _within(floor, -(2**30), 2**30)


def _within(values: Array, low: int, high: int) -> bool:
    return not values.size or (int(values.min()) >= low and int(values.max()) <= high)


def _runs(columns: list[Array], shape: Shape) -> Array:
    """Stack parameters as ``(parameters, runs)``: neighbours in C order that share all of them."""
    joint = np.broadcast_shapes(*(np.shape(c) for c in columns))
    joint = (1,) * (len(shape) - len(joint)) + joint
    last = max((axis + 1 for axis, n in enumerate(joint) if n > 1), default=0)
    runs = shape[:last] + (1,) * (len(shape) - last)
    stacked: Any = [np.broadcast_to(c, runs).reshape(-1) for c in columns]
    if size(shape) and len(stacked[0]) > size(shape):
        raise ValueError(f"parameters of shape {runs} for {shape} neurons")
    return np.ascontiguousarray(np.stack(stacked), np.int32)
