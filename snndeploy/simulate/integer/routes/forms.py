"""A leg's weights in the order in which events want them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ....ir.arrays import Array, Shape, size
from ....ir.linear.unroll import unroll
from ....ir.ops import Conv, Dense, Op, chain_shapes, weighted_index
from ..plan import Leg, chain_peaks, dense_macs
from . import events

_MOST_ENTRIES = 1 << 26
"""Synapses beyond which a chain is not written out one by one."""
_INT16, _INT32 = 1 << 15, 1 << 31
_NO_INDEX = np.empty(0, np.int32)

_EVENT, _ROW_VALUE, _WINDOW_VALUE, _ENTRY = 5.0, 0.03, 0.05, 0.6
_DENSE_MAC, _DENSE_VALUE, _DENSE_CALL = 0.04, 1.0, 1e5
"""Nanoseconds of an event, of a value it adds to a row, to a window, to any place; of a multiplication,
of a value that goes into or comes out of a product, and of calling the library. Measured on one core of
an AVX-512 machine; only their ratios matter."""
_LOADING = 1e9
"""Nanoseconds of loading that library, torch, where nothing has loaded it yet."""


@dataclass(frozen=True, eq=False)
class EventForm:
    """How the events of one leg are added up: ``add(pointer, index, message, acc)``.

    ``channels`` is above 1 where sums come channels-last; ``starts, targets`` list the inputs of the
    weighted operator that each neuron reaches (empty: itself); ``exponent`` is what is left to shift;
    ``event_cost`` are the modelled nanoseconds of one event.
    """

    add: Callable[..., None]
    channels: int
    exponent: int
    starts: Array
    targets: Array
    event_cost: float

    @property
    def fan_out(self) -> int:
        """Most events that one spike becomes."""
        return int(np.diff(self.starts).max(initial=1)) if self.starts.size else 1


def dense_cost(leg: Leg, rows: int) -> float:
    """Modelled nanoseconds per row (one step of one sample) of a product of ``rows`` rows."""
    values = size(leg.in_shape) + size(chain_shapes(leg.synapses.ops, leg.in_shape)[-1])
    call = _DENSE_CALL + (0 if "torch" in sys.modules else _LOADING)
    return dense_macs(leg) * _DENSE_MAC + values * _DENSE_VALUE + call / max(1, rows)


def event_form(leg: Leg) -> EventForm | None:
    """Prepare ``leg`` for events, or None where sums may not fit int32 or the synapses are too many."""
    ops, weight, exponent = leg.synapses.ops, leg.synapses.mantissa, leg.synapses.exponent
    if int(np.abs(weight.astype(np.int64)).max(initial=0)) >= _INT32 or abs(exponent) > 31:
        return None
    if exponent < 0 and not leg.graded and chain_peaks(ops, weight, 1)[-1] >= _INT32:
        return (
            None  # a right shift sees bits that int32 would have lost; graded sums wrap before it
        )
    k = weighted_index(ops)
    plain = all(op.is_view for op in ops[k + 1 :])
    op = ops[k]
    shapes = chain_shapes(ops, leg.in_shape)
    if plain and isinstance(op, Dense) and np.count_nonzero(weight) * 10 > weight.size:
        starts, targets = _through(ops[:k], leg.in_shape)
        rows, left = _folded(weight.T, exponent)
        return EventForm(
            lambda p, i, m, acc: events.add_rows(p, i, m, leg.graded, rows, acc),
            1,
            left,
            starts,
            targets,
            _EVENT + _ROW_VALUE * op.out_features,
        )
    if plain and isinstance(op, Conv):
        starts, targets = _through(ops[:k], leg.in_shape)
        block, table, shape = _windows(op, weight, shapes[k], shapes[k + 1])
        taps = block.shape[2] * block.shape[3] * block.shape[4]
        return EventForm(
            lambda p, i, m, acc: events.add_windows(p, i, m, leg.graded, block, table, shape, acc),
            op.out_channels,
            exponent,
            starts,
            targets,
            3 * _EVENT + _WINDOW_VALUE * taps,
        )
    entries = _entries(leg, op)
    if entries is None:
        return None
    starts, outputs, values = entries
    mean = values.size / max(size(leg.in_shape), 1)
    return EventForm(
        lambda p, i, m, acc: events.add_entries(p, i, m, leg.graded, starts, outputs, values, acc),
        1,
        exponent,
        _NO_INDEX,
        _NO_INDEX,
        _EVENT + _ENTRY * mean,
    )


def _narrow(weight: Array) -> Array:
    """C-contiguous weights in the smallest of int16 and int32 that holds them."""
    peak = int(np.abs(weight).max(initial=0))
    return np.ascontiguousarray(weight, np.int16 if peak < _INT16 else np.int32)


def _folded(weight: Array, exponent: int) -> tuple[Array, int]:
    """Weights with a positive exponent multiplied in where int16 still holds them."""
    shifted = weight.astype(np.int64) << max(exponent, 0)
    if exponent > 0 and int(np.abs(shifted).max(initial=0)) < _INT16:
        return _narrow(shifted), 0
    return _narrow(weight), exponent


def _through(ops: tuple[Op, ...], shape: Shape) -> tuple[Array, Array]:
    """Where each neuron arrives behind pools and reshapes, as (starts, targets)."""
    if all(op.is_view for op in ops):
        return _NO_INDEX, _NO_INDEX
    starts, targets, times = _by_input(unroll(ops, np.empty(0), shape))
    # pools that overlap may lead to the same place more than once
    ends = np.concatenate([[0], np.cumsum(times)])
    return ends[starts], np.repeat(targets, times)


def _by_input(matrix: Any) -> tuple[Array, Array, Array]:
    """A matrix listed input by input: (starts, outputs, values)."""
    order = np.argsort(matrix.cols, kind="stable")
    starts = np.searchsorted(matrix.cols[order], np.arange(matrix.shape[1] + 1))
    return (starts.astype(np.int64), matrix.rows[order].astype(np.int32), matrix.values[order])


def _entries(leg: Leg, op: Op) -> tuple[Array, Array, Array] | None:
    """Every synapse of a chain, input by input; None where there are too many."""
    ops, weight = leg.synapses.ops, leg.synapses.mantissa
    if len(ops) == 1 and isinstance(op, Dense):
        inputs, outputs = np.nonzero(weight.T)
        starts = np.searchsorted(inputs, np.arange(op.in_features + 1))
        return starts, outputs.astype(np.int32), _narrow(weight.T[inputs, outputs])
    shapes = chain_shapes(ops, leg.in_shape)
    fan = prod(op.fan_in for op in ops)
    if fan * max(size(shape) for shape in shapes) > _MOST_ENTRIES:
        return None
    starts, outputs, values = _by_input(unroll(ops, weight, leg.in_shape))
    if int(np.abs(values).max(initial=0)) >= _INT32:
        return None
    return starts, outputs, _narrow(values)


def _windows(op: Conv, weight: Array, shape: Shape, out: Shape) -> tuple[Array, Array, Array]:
    """Weights, table of places and shape for `events.add_windows`; one axis counts as height 1."""
    lead = 2 - len(op.kernel)
    kernel, stride, dilation = ((1,) * lead + tuple(x) for x in (op.kernel, op.stride, op.dilation))
    padding = ((0, 0),) * lead + tuple(op.padding)
    n_in, n_out = ((1,) * lead + tuple(s[1:]) for s in (shape, out))
    rows, columns = (
        _axis(n_in[a], n_out[a], kernel[a], stride[a], padding[a][0], dilation[a]) for a in (0, 1)
    )
    per_group = op.out_channels // op.groups
    full = weight.reshape(op.out_channels, -1, *kernel)
    by_input = full.reshape(op.groups, per_group, -1, *kernel).transpose(0, 2, 3, 4, 1)
    by_input = by_input.reshape(op.in_channels, *kernel, per_group)
    padded = np.pad(by_input, [(0, 0), (0, 1), (0, 1), (0, 0)])  # the last tap stands for none
    taps = padded[:, rows.taps[:, None, :, None], columns.taps[None, :, None, :]]
    block = taps.reshape(op.in_channels, -1, *taps.shape[3:])
    y, x = np.meshgrid(np.arange(n_in[0]), np.arange(n_in[1]), indexing="ij")
    table = np.stack(
        [
            rows.phase[y] * len(columns.taps) + columns.phase[x],
            rows.first[y] * n_out[1] + columns.first[x],
            rows.count[y],
            columns.count[x],
            rows.begin[y],
            columns.begin[x],
        ],
        axis=-1,
    ).reshape(-1, 6)
    # where a row or a column reaches nothing, the other one must not either
    table[(table[:, 2] == 0) | (table[:, 3] == 0)] = 0
    return _narrow(block), np.ascontiguousarray(table, np.int32), np.array([n_out[1], op.groups])


@dataclass(frozen=True, eq=False)
class _PositionAxis:
    """One axis of a convolution, seen from its input.

    ``taps[phase, r]`` is the kernel index through which an input of that phase reaches the r-th output
    of its run (the kernel's length: none). Per input place: its ``phase``, the ``first`` output that
    exists, their ``count``, and the index in the run at which they ``begin``.
    """

    taps: Array
    phase: Array
    first: Array
    count: Array
    begin: Array


def _axis(
    n_in: int, n_out: int, kernel: int, stride: int, pad: int, dilation: int
) -> _PositionAxis:
    runs: list[dict[int, int]] = []
    for phase in range(stride):
        reached = {
            (phase - tap * dilation) // stride: tap
            for tap in range(kernel)
            if (phase - tap * dilation) % stride == 0
        }
        runs.append(reached)
    lows = np.array([min(run, default=0) for run in runs])
    spans = np.array([max(run, default=-1) - min(run, default=0) + 1 for run in runs])
    taps = np.full((stride, max(int(spans.max()), 1)), kernel)
    for phase, run in enumerate(runs):
        for offset, tap in run.items():
            taps[phase, offset - lows[phase]] = tap
    quotient, phase_of = np.divmod(np.arange(n_in) + pad, stride)
    start = quotient + lows[phase_of]
    begin = np.maximum(0, -start)
    count = np.maximum(np.minimum(spans[phase_of], n_out - start) - begin, 0)
    return _PositionAxis(taps, phase_of, start + begin, count, begin)
