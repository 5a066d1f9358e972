"""Rows of very different size in one layer: each neuron gets a scale of its own, where the chip can.

One grid for a layer rounds the weights of its smallest rows to nothing. A neuron whose weights all are
``2**-k`` of the layer's keeps them on a grid that much finer, if its threshold grows by ``2**k``: v is
then counted in smaller units. Powers of two keep the number of different thresholds small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..chip import Family
from ..ir.arrays import Array, Shape
from ..ir.finding import Finding
from ..ir.neurons import Neuron
from ..ir.program import SynapseGroup
from .incoming import Incoming
from .integers import rounded_codes, rows
from .scale import per_weight

_SMALL = 3
"""Rows below ``2**-3`` of the largest have less than five of eight bits; they get their own scale."""
_RAISED = 16.0
"""A small row's threshold may grow to so many times the largest of the layer: head-room is for all."""
_LOST = 0.25
"""Share of a row's drive (the sum of its weights' magnitudes) from which its loss is told."""
_LISTED = 8


def with_row_scales(
    incoming: Sequence[Incoming], neuron: Neuron, shape: Shape, family: Family
) -> list[Incoming]:
    """``incoming`` with finer steps for small rows, if all of it is free to follow."""
    parts = [i for i in incoming if not i.constant]
    if neuron.threshold is None or not parts or any(i.codes.real is None for i in parts):
        return list(incoming)
    per_row = np.ones((shape[0], *(1,) * (len(shape) - 1)))
    if shape[0] < 2 or any(
        per_weight(per_row, i, shape) is None
        or i.codes.codes.ndim < 2
        or i.codes.codes.shape[0] != shape[0]
        or i.step.size > 1
        for i in parts
    ):
        return list(incoming)
    powers = np.min([_powers(i.codes.values) for i in parts], axis=0)
    powers = _held(np.where(powers < _SMALL, 0, powers), neuron.threshold, shape, family)
    if not powers.any():
        return list(incoming)
    return [i if i.constant else _finer(i, powers) for i in incoming]


def _powers(values: Array) -> Array:
    """How many powers of two each row is smaller than the largest one."""
    peaks = rows(np.abs(values)).max(axis=1)
    with np.errstate(divide="ignore"):
        found = np.floor(np.log2(peaks.max()) - np.log2(peaks))
    return np.where(peaks > 0, found, 0).astype(np.int64)


def _held(powers: Array, threshold: Array, shape: Shape, family: Family) -> Array:
    """As much of ``powers`` as thresholds may grow by, and as a core has different thresholds for."""
    each = np.broadcast_to(np.abs(threshold), shape).reshape(shape[0], -1)
    room = _RAISED * each.max() / np.maximum(each.max(axis=1), 1e-300)
    powers = np.minimum(powers, np.floor(np.log2(np.maximum(room, 1.0))).astype(np.int64))
    sets = family.threshold_sets
    while sets is not None and powers.any():
        if np.unique(each * 2.0 ** powers[:, None]).size <= sets:
            break
        powers = np.minimum(powers, powers.max() - 1)
    return powers


def _finer(incoming: Incoming, powers: Array) -> Incoming:
    codes = incoming.codes
    factor = 2.0 ** -powers.reshape(-1, *(1,) * (codes.codes.ndim - 1))
    finer = rounded_codes(codes.values, codes.step * factor)
    return replace(incoming, codes=finer, step=incoming.step * factor)


def drive_lost(
    incoming: Incoming, synapses: SynapseGroup, unit: Array, name: str
) -> tuple[Finding, ...]:
    """Rows that lose a good part of their weights; ``unit`` is the weight of a mantissa of 1."""
    held = synapses.mantissa * (2.0**synapses.exponent * unit)
    values = np.broadcast_to(incoming.codes.values, held.shape)
    drive = rows(np.abs(values)).sum(axis=1)
    lost = rows(np.abs(held - values)).sum(axis=1)
    share = lost / np.maximum(drive, 1e-300)
    empty = ~rows(held).any(axis=1) & (incoming.quantised | (drive > 0))
    share = np.where(empty, 1.0, share)
    worst = np.flatnonzero(share > _LOST)
    if not len(worst):
        return ()
    listed = ", ".join(str(k) for k in worst[:_LISTED]) + (", …" if len(worst) > _LISTED else "")
    gone = f", {int(empty.sum())} of them all of it" if empty.any() else ""
    return (
        Finding(
            code="drive-lost",
            severity="warning",
            where=incoming.name,
            message=f"{len(worst)} of {len(share)} neurons or channels of {name} ({listed}) lose more "
            f"than {_LOST:.0%} of their input to rounding or pruning{gone}",
            used=float(share.max()),
            limit=_LOST,
            rule="Rounding should leave a neuron its input.",
        ),
    )
