"""A group's parameters as the compiled neuron kernels take them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.arrays import Array, Shape, size
from ....ir.program import DECAY_ONE, STATE_SHIFT, CompartmentGroup
from .kernel import IMMEDIATE, NEXT_STEP, NONE, SNNTORCH, SUBTRACT, ZERO, neuron_kernel

_RESETS = {"zero": ZERO, "subtract": SUBTRACT, "none": NONE}
_TIMINGS = {"immediate": IMMEDIATE, "next-step": NEXT_STEP, "snntorch-immediate": SNNTORCH}
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, eq=False)
class PackedNeurons:
    """The kernel of a group, its ``parameters`` per run of equal neurons, and the most spikes per step.

    ``remembers``: the kernel needs to know what was fired a step before.
    """

    kernel: Callable[..., None]
    parameters: Array
    most: int
    remembers: bool


def pack_neurons(group: CompartmentGroup) -> PackedNeurons | None:
    """The group for int32 kernels, or None where its parameters may leave their range."""
    if not fits_int32(group):
        return None
    custom = group.kind == "custom"
    threshold = group.vth.astype(np.int64) << STATE_SHIFT
    silent = threshold - 1 if custom and group.compare == ">=" else threshold
    bias = np.asarray(group.bias, np.int64)
    columns = [
        DECAY_ONE - (group.du.astype(np.int64) + 1),
        DECAY_ONE - group.dv.astype(np.int64),
        np.clip(silent, _INT32.min, _INT32.max),
        np.clip(threshold, _INT32.min, _INT32.max),
        ((bias + 2**31) & (2**32 - 1)) - 2**31,  # what is added wraps, so its high bits never count
        np.asarray(0 if group.v_floor is None else group.v_floor, np.int64),
    ]
    timing = _TIMINGS[group.reset_timing] if custom else IMMEDIATE
    kernel = neuron_kernel(
        group.kind == "readout",
        _RESETS[group.reset] if custom else ZERO,
        timing,
        custom and group.spikes_per_step == "many",
        custom and group.v_floor is not None,
    )
    most = _INT32.max if group.max_spikes is None else group.max_spikes
    return PackedNeurons(kernel, _runs(columns, group.shape), most, timing == NEXT_STEP)


def fits_int32(group: CompartmentGroup) -> bool:
    """Whether int32 registers show the same bits as unbounded ones, from the parameters alone."""
    if not (_within(group.du, -1, 4095) and _within(group.dv, 0, 4096)):
        return False
    if group.kind != "custom":
        return True
    # what a reset subtracts from a v of 24 bits has to leave room for the next step
    threshold = group.vth.astype(np.int64) << STATE_SHIFT
    lowest = 0 if group.spikes_per_step == "many" else -(2**24)
    floor = np.asarray(0 if group.v_floor is None else group.v_floor)
    return _within(threshold, lowest, 2**24) and _within(floor, -(2**30), 2**30)


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
