"""How a leg adds to the synaptic input of a tile: products that exist, events, or plain int64."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ....ir.arrays import Array
from ....ir.linear.apply import apply_chain
from ....ir.step import shifted, wrapped
from ...jit import has_numba
from ..plan import Leg
from ..train import Train
from . import events
from .forms import EventForm

Adder = Callable[[int, int], None]


def _wrap32(sums: Array) -> Array:
    """What is left of sums in the int32 that all of these routes add in."""
    left: Array = wrapped(sums, 32)
    return left


class Scratch:
    """Buffers of one thread, reused from tile to tile: fresh memory costs as much as the work."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, Any], Array] = {}

    def empty(self, name: str, shape: tuple[int, ...], dtype: Any = np.int32) -> Array:
        """A contiguous array whose contents are whatever was there."""
        needed = prod(shape)
        buffer = self._buffers.get((name, dtype))
        if buffer is None or buffer.size < needed:
            buffer = self._buffers[name, dtype] = np.empty(needed, dtype)
        return buffer[:needed].reshape(shape)

    def zeros(self, name: str, shape: tuple[int, ...]) -> Array:
        """A contiguous int32 array of zeros."""
        array = self.empty(name, shape)
        array.fill(0)
        return array


def leg_adder(
    leg: Leg,
    form: EventForm | None,
    products: Array | None,
    train: Train,
    span: tuple[int, int],
    block: int,
    drive: Array,
    scratch: Scratch,
    slot: int,
) -> Adder:
    """A function ``(first, count)`` that adds a leg to the first ``count`` steps of ``drive``.

    Args:
        leg: what to add.
        form: its weights for events, if it has them.
        products: its sums for all steps of a block of samples, if they exist already.
        train: of its source.
        span: samples of the tile, counted from the chunk's first.
        block: sample at which ``products`` begin.
        drive: int32 ``(steps, samples, neurons)``, synaptic input of the tile.
        scratch: buffers of this thread.
        slot: tells the buffers of groups apart that are at work together.
    """
    if products is not None:
        return _product_adder(leg, products, span[0] - block, drive)
    if form is None:
        return lambda first, count: _add_wide(leg, train, first, span, drive[:count])
    return _event_adder(leg, form, train, span, drive, scratch, slot)


def _product_adder(leg: Leg, products: Array, low: int, drive: Array) -> Adder:
    exponent = leg.synapses.exponent
    if has_numba():
        return lambda first, count: events.add_products(
            products, first - leg.delay, low, exponent, leg.graded, drive[:count]
        )

    def add(first: int, count: int) -> None:
        begin = max(0, first - leg.delay)
        part = products[begin : max(0, first - leg.delay + count), low : low + drive.shape[1]]
        if part.size:
            sums = part.astype(np.int64)
            arriving = shifted(_wrap32(sums) if leg.graded else sums, exponent)
            drive[count - len(part) : count] += _wrap32(arriving).astype(np.int32)

    return add


def _event_adder(
    leg: Leg,
    form: EventForm,
    train: Train,
    span: tuple[int, int],
    drive: Array,
    scratch: Scratch,
    slot: int,
) -> Adder:
    length, samples = drive.shape[:2]
    low, high = train.base + span[0], train.base + span[1]
    spikes = train.values
    # one place more than can be filled: collecting writes before it knows whether to keep
    room = length * samples * max(spikes.shape[2] * form.fan_out, form.targets.size) + 8
    pointers = scratch.empty("pointer", (length * samples + 1,), np.int64)
    index = scratch.empty("index", (room,))
    message = scratch.empty("message", (room if leg.graded else 0,))
    direct = form.channels == 1 and form.exponent == 0
    sums = drive if direct else scratch.zeros(f"sums {slot}", drive.shape)
    general = leg.graded or leg.delays is not None or form.starts.size > 0 or spikes.itemsize > 1
    delays = np.empty(0, np.int64) if leg.delays is None else leg.delays

    def add(first: int, count: int) -> None:
        pointer, total = pointers[: count * samples + 1], sums[:count]
        if general:
            events.collect_messages(
                spikes,
                first,
                count,
                low,
                high,
                leg.delay,
                delays,
                form.starts,
                form.targets,
                leg.graded,
                pointer,
                index,
                message,
            )
        else:
            events.collect_spikes(spikes, first, count, low, high, leg.delay, pointer, index)
        form.add(pointer, index, message, total)
        if not direct:
            events.add_shifted(total, form.channels, form.exponent, drive[:count])

    return add


def _add_wide(leg: Leg, train: Train, first: int, span: tuple[int, int], drive: Array) -> None:
    """The plain way, for sums that may not fit: int64, one step of one leg."""
    ops, mantissa = leg.synapses.ops, leg.synapses.mantissa.astype(np.int64)
    for t in range(len(drive)):
        if first + t < leg.delay:
            continue
        spikes = train.values[first + t - leg.delay, train.base + span[0] : train.base + span[1]]
        if leg.delays is not None:
            spikes = np.where(leg.delays == leg.delay, spikes, 0)
        x = spikes.astype(np.int64) if leg.graded else (spikes != 0).astype(np.int64)
        sums = apply_chain(ops, mantissa, x.reshape(-1, *leg.in_shape)).reshape(len(x), -1)
        if leg.graded:
            sums = _wrap32(sums)
        drive[t] += _wrap32(shifted(sums, leg.synapses.exponent)).astype(np.int32)
