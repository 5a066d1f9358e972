"""The update of `snndeploy.ir.step.step_integer` as compiled int32 loops, one per neuron model.

A kernel runs a tile of steps for a tile of samples. It holds for the parameters that `fits_int32` of
`snndeploy.simulate.integer.neurons.packed` admits; int32 then shows the same bits as int64, because
every register wraps or clips before it could tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ....ir.arrays import Array
from ...jit import compiled

ZERO, SUBTRACT, NONE = 0, 1, 2
IMMEDIATE, NEXT_STEP, SNNTORCH = 0, 1, 2


@compiled
def _decayed(x: Any, keep: Any) -> Any:
    """``sign(x) * (|x| * keep >> 12)`` without leaving int32: high and low 12 bits apart."""
    m = np.int32(abs(x))
    high = np.int32(np.int32(m >> 12) * keep)
    low = np.int32(np.int32(np.int32(m & 4095) * keep) >> 12)
    m = np.int32(high + low)
    return np.int32(-m) if x < 0 else m


@compiled
def _current(u: Any, a: Any, keep: Any) -> Any:
    half = np.int32(1 << 23)
    x = np.int32(_decayed(u, keep) + np.int32(a << 6))
    if x > half:
        x = np.int32(x - 2 * half)
    elif x <= -half:
        x = np.int32(x + 2 * half)
    return x


@cache
def neuron_kernel(
    readout: bool, reset: int, timing: int, many: bool, floored: bool
) -> Callable[..., None]:
    """The kernel of one neuron model (compiled on its first use).

    It takes ``(drive, u, v, fired, out, first, low, parameters, most)``: drive int32 (steps, samples,
    neurons), left at zero; states int32 (samples, neurons), changed in place; ``out`` is the whole
    train, written from step ``first`` and sample ``low``. ``parameters`` is int32 ``(6, runs)``:
    4095 - du, 4096 - dv, the largest v that does not fire, threshold, bias and floor of each run of
    neighbours that share them. ``most`` bounds the spikes of a step.
    """

    @compiled
    def update(u: Any, before: Any, last: Any, p: Any, most: Any) -> Any:
        """The new v, and what is emitted; ``p`` are dv's factor and what follows it."""
        limit = np.int32((1 << 23) - 1)
        keep, silent, threshold, bias, floor = p
        x = np.int32(np.int32(_decayed(before, keep) + u) + bias)
        n = np.int32(last)
        if timing == SNNTORCH:
            n = np.int32(1) if before > silent else np.int32(0)
        if timing != IMMEDIATE and reset == SUBTRACT:
            x = np.int32(x - np.int32(n * threshold))
        x = min(max(x, np.int32(-limit)), limit)
        if readout:
            return x, x
        if timing != IMMEDIATE and reset == ZERO and n > 0:
            x = np.int32(0)
        k = np.int32(1) if x > silent else np.int32(0)
        if many:
            # exact: the quotient of two integers below 2**24 is an integer or far enough from one
            count = np.int32(np.float64(x) / np.float64(max(threshold, np.int32(1))))
            k = min(count, np.int32(most)) if k > 0 else np.int32(0)
        if timing == SNNTORCH:
            x = np.int32(x - np.int32(np.int32(k - n) * threshold))
        elif timing == IMMEDIATE and reset == SUBTRACT:
            x = np.int32(x - np.int32(k * threshold))
        elif timing == IMMEDIATE and reset == ZERO and k > 0:
            x = np.int32(0)
        if floored:
            x = max(x, floor)
        return x, k

    @compiled
    def run(
        a: Array, u: Array, v: Array, fired: Array, out: Array, keep: Any, p: Any, most: Any
    ) -> None:
        """One step of neighbours that share their parameters."""
        for i in range(a.size):
            u[i] = _current(u[i], a[i], keep)
            a[i] = 0
            last = fired[i] if timing == NEXT_STEP else np.int32(0)
            x, k = update(u[i], v[i], last, p, most)
            v[i], out[i] = x, k
            if timing == NEXT_STEP:
                fired[i] = k

    @compiled
    def each(a: Array, u: Array, v: Array, fired: Array, out: Array, ps: Array, most: Any) -> None:
        """One step of neurons with parameters of their own."""
        du, dv, silent, threshold, bias, floor = ps[0], ps[1], ps[2], ps[3], ps[4], ps[5]
        for i in range(a.size):
            u[i] = _current(u[i], a[i], du[i])
            a[i] = 0
            last = fired[i] if timing == NEXT_STEP else np.int32(0)
            p = (dv[i], silent[i], threshold[i], bias[i], floor[i])
            x, k = update(u[i], v[i], last, p, most)
            v[i], out[i] = x, k
            if timing == NEXT_STEP:
                fired[i] = k

    @compiled
    def kernel(
        drive: Array,
        u: Array,
        v: Array,
        fired: Array,
        out: Array,
        first: int,
        low: int,
        parameters: Array,
        most: int,
    ) -> None:
        runs = parameters.shape[1]
        length = drive.shape[2] // runs
        for t in range(drive.shape[0]):
            for s in range(drive.shape[1]):
                a, us, vs, fs, emitted = drive[t, s], u[s], v[s], fired[s], out[first + t, low + s]
                if length == 1:
                    each(a, us, vs, fs, emitted, parameters, most)
                    continue
                # slices, because an index that might be negative keeps a loop from being vectorised
                for r in range(runs):
                    here = slice(r * length, (r + 1) * length)
                    p = (
                        parameters[1, r],
                        parameters[2, r],
                        parameters[3, r],
                        parameters[4, r],
                        parameters[5, r],
                    )
                    run(
                        a[here],
                        us[here],
                        vs[here],
                        fs[here],
                        emitted[here],
                        parameters[0, r],
                        p,
                        most,
                    )

    return kernel
