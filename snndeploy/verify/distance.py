"""How far apart two spike trains are in time: van Rossum, Neural Computation 13(4), 2001, section 2."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..ir.arrays import Array


@dataclass(frozen=True, eq=False)
class SquaredDistances:
    """D squared per train: between the two, and of each to silence."""

    between: Array
    first: Array
    second: Array


def van_rossum(a: Array, b: Array, tau: float) -> SquaredDistances:
    """Squared van Rossum distances of pairs of trains.

    Every spike at step t becomes a decaying exponential ``exp(-(s - t) / tau)`` for all times s >= t,
    beyond the end of the sample too; D squared is the integral of the squared difference of the two
    sums, divided by ``tau``. Between steps nothing happens, so the integral has a closed form: with
    ``k = exp(-1 / tau)`` and ``d[t] = k * d[t - 1] + a[t] - b[t]``,

        D² = ((1 - k²) * sum over t of d[t]² + k² * d[last]²) / 2

    One spike that the other train lacks gives 1/2, and two spikes n steps apart give 1 - exp(-n / tau).

    Args:
        a: ``(steps, trains)`` spikes per step; several per step add up.
        b: the same shape.
        tau: time constant in steps.
    """
    keep = math.exp(-1.0 / tau)
    trace_a, trace_b = np.zeros(a.shape[1:]), np.zeros(a.shape[1:])
    sums = [np.zeros(a.shape[1:]) for _ in range(3)]
    for x, y in zip(a, b, strict=True):
        trace_a = keep * trace_a + x
        trace_b = keep * trace_b + y
        for total, trace in zip(sums, (trace_a - trace_b, trace_a, trace_b), strict=True):
            total += trace**2
    ends = (trace_a - trace_b, trace_a, trace_b)
    between, first, second = (
        ((1 - keep**2) * total + keep**2 * end**2) / 2
        for total, end in zip(sums, ends, strict=True)
    )
    return SquaredDistances(between, first, second)
