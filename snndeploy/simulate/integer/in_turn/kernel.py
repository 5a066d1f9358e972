"""The reference as one compiled loop per sample; `fits` says for which chips it shows the same bits."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ....ir.arrays import Array
from ....ir.step import Arithmetic
from ...jit import compiled, has_numba, inlined
from .plain import TurnTrace
from .wiring import Wiring

_LARGEST_MESSAGE = 1 << 15
"""Times a weight of 16 bits it stays within the adder."""


def fits(wiring: Wiring, messages: Array) -> bool:
    """Whether the kernel may run: it was written for these registers, and sums stay in the adder."""
    arithmetic = wiring.arithmetic
    known = Arithmetic(
        state_bits=16,
        u_overflow="saturate-full",
        v_overflow="saturate-full",
        decay="floor-shift",
        decay_bits=arithmetic.decay_bits,
        u_decay_offset=0,
        state_shift=0,
        sum_bits=32,
        arrival="in-turn",
        v_step=arithmetic.v_step,
    )
    small = not messages.size or int(messages.max()) < _LARGEST_MESSAGE
    shifts = (wiring.du, wiring.dv)
    held = all(not d.size or (int(d.min()) >= 0 and int(d.max()) < 32) for d in shifts)
    biases = not wiring.bias.size or int(np.abs(wiring.bias).max()) < _LARGEST_MESSAGE
    return has_numba() and arithmetic == known and small and held and biases


def run_compiled(wiring: Wiring, messages: Array, *, states: bool = True) -> TurnTrace:
    """`run_plain`, compiled; ``states`` asks for u and v too (else they are empty)."""
    steps, samples, _ = messages.shape
    n = wiring.neurons
    spikes = np.zeros((steps, samples, n), np.int64)
    kept = steps if states else 0
    u = np.zeros((kept, samples, n, wiring.states), np.int64)
    v = np.zeros((kept, samples, n), np.int64)
    aliases = wiring.aliases
    steps_back = int(max(wiring.host.steps.max(initial=1), wiring.inner.steps.max(initial=1)))
    run: Any = _run
    run(
        np.ascontiguousarray(messages, np.int64),
        *_flat(wiring.host),
        *_flat(wiring.inner),
        aliases.first,
        aliases.target,
        np.ascontiguousarray(wiring.du),
        wiring.dv,
        wiring.threshold,
        wiring.bias,
        wiring.most,
        wiring.read,
        wiring.arithmetic.v_step == "held",
        steps_back,
        spikes,
        u,
        v,
    )
    return TurnTrace(spikes, u, v)


def _flat(synapses: Any) -> tuple[Array, ...]:
    return tuple(getattr(synapses, f.name) for f in dataclasses.fields(synapses))


@inlined
def _held(x: Any) -> Any:
    return min(max(x, -32768), 32767)


@inlined
def _wrapped(x: Any) -> Any:
    return ((x + 32768) & 65535) - 32768


@inlined
def _lost(x: Any, d: Any) -> Any:
    """What a step takes off a state."""
    q = x >> d
    if q == 0 and x != 0:
        q = 1 if x > 0 else -1
    return q


@compiled
def _arrive(
    sent: Array,
    t: int,
    late: int,
    back: int,
    first: Array,
    target: Array,
    state: Array,
    weight: Array,
    steps: Array,
    u: Array,
) -> None:
    for i in range(first.size - 1):
        if back == 1 and (t - 1 + late < 0 or sent[t - 1 + late, i] == 0):
            continue
        for k in range(first[i], first[i + 1]):
            then = t - steps[k] + late
            if then < 0:
                continue
            n = sent[then, i]
            if n != 0:
                u[target[k], state[k]] = _held(u[target[k], state[k]] + n * weight[k])


@compiled
def _run(
    messages: Array,
    host_first: Array,
    host_target: Array,
    host_state: Array,
    host_weight: Array,
    host_steps: Array,
    first: Array,
    target: Array,
    state: Array,
    weight: Array,
    steps: Array,
    alias_first: Array,
    alias_target: Array,
    du: Array,
    dv: Array,
    threshold: Array,
    bias: Array,
    most: Array,
    read: Array,
    held: bool,
    back: int,
    spikes: Array,
    us: Array,
    vs: Array,
) -> None:
    n, states = du.shape
    for s in range(messages.shape[1]):
        u = np.zeros((n, states), np.int64)
        v = np.zeros(n, np.int64)
        passed = np.zeros(n, np.int64)
        x, sent = messages[:, s], spikes[:, s]
        for t in range(messages.shape[0]):
            _arrive(x, t, 1, back, host_first, host_target, host_state, host_weight, host_steps, u)
            _arrive(sent, t, 0, back, first, target, state, weight, steps, u)
            passed[:] = 0
            for i in range(n):
                current = np.int64(0)
                for j in range(states):
                    u[i, j] -= _lost(u[i, j], du[i, j])
                    current += u[i, j]
                old = v[i]
                if held:
                    change = _held(_wrapped(-_lost(old, dv[i])) + current)
                    new = _held(old + _held(change + bias[i]))
                else:
                    new = _held(old - _lost(old, dv[i]) + current + bias[i])
                fired, theta = passed[i], threshold[i]
                if theta > 0:
                    if new >= theta:
                        own = min(new // theta, max(most[i] - fired, 0))
                        new -= own * theta
                        fired += own
                else:
                    while new >= theta and fired < most[i]:
                        new = _wrapped(new - theta)
                        fired += 1
                v[i] = new
                sent[t, i] += fired
                for k in range(alias_first[i], alias_first[i + 1]):
                    other = alias_target[k]
                    if other > i:
                        passed[other] = min(passed[other] + fired, most[other])
                    else:
                        sent[t, other] = min(sent[t, other] + fired, most[other])
            if us.shape[0]:
                us[t, s], vs[t, s] = u, v
            # those that are read send nothing
            for i in range(n):
                if read[i]:
                    sent[t, i] = v[i]
