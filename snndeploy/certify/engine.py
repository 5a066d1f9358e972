"""A plain engine: a program in integers, step by step, as the arithmetic it names says.

It runs in sample time: a spike of step t arrives at step ``t + latency - (depth difference)``.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from .linear import apply

_BLOCK = 1 << 22
"""Values that are multiplied out at once."""


def legs(program: Any, target: str) -> Iterator[SimpleNamespace]:
    """Every delay at which a source reaches a group: which synapses, from where, which neurons."""
    for s in program.synapses:
        for source in s.sources if s.target == target else ():
            group = program.group[source.group]
            delays = source.latency - (program.group[target].depth - group.depth)
            for delay in np.unique(delays).tolist():
                only = None if delays.size == 1 else np.broadcast_to(delays == delay, group.shape)
                yield SimpleNamespace(synapses=s, source=group, delay=delay, only=only)


def signed(x: Any, bits: int) -> Any:
    """Two's complement overflow of a register of ``bits``."""
    half = 1 << (bits - 1)
    return ((x + half) & (2 * half - 1)) - half


def shift(x: Any, exponent: int) -> Any:
    """Times 2**exponent, rounded down."""
    return x << exponent if exponent >= 0 else x >> -exponent


def decayed(x: Any, d: Any, arithmetic: Any) -> Any:
    """What is left of a register after one step, rounded toward zero."""
    size = np.abs(x)
    if arithmetic.decay == "shift":
        return np.sign(x) * (size - (size >> d))
    return np.sign(x) * (size * ((1 << arithmetic.decay_bits) - d) >> arithmetic.decay_bits)


def constants(group: Any, arithmetic: Any) -> SimpleNamespace:
    """A group's numbers per neuron, in units of the state."""
    return SimpleNamespace(
        du=group.du.astype(np.int64) + arithmetic.u_decay_offset,
        dv=group.dv.astype(np.int64),
        threshold=group.vth.astype(np.int64) << arithmetic.state_shift,
        bias=shift(group.bias_mant.astype(np.int64), group.bias_exp),
        floor=None if group.v_floor is None else group.v_floor.astype(np.int64),
    )


def run(program: Any, inputs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run on ``inputs`` (steps, samples, shape): what groups emit, and the largest |u| per sample.

    The largest |u| is taken before the register wraps.
    """
    steps, samples = next(iter(inputs.values())).shape[:2]
    sent, peaks = {name: x.astype(np.int32) for name, x in inputs.items()}, {}
    for stage, loop in _stages(program):
        for g in stage:
            sent[g.name] = np.full((steps, samples, *g.shape), g.kind == "constant", np.int32)
        stage = [g for g in stage if g.kind != "constant"]
        states = {g.name: SimpleNamespace(u=0, v=0, fired=0, peak=0) for g in stage}
        held = {g.name: constants(g, program.arithmetic) for g in stage}
        largest = max((leg.source.size for g in stage for leg in program.legs[g.name]), default=1)
        largest = max([largest, *(g.size for g in stage)])
        block = 1 if loop else max(1, _BLOCK // (samples * largest))
        for first in range(0, steps, block):
            for g in stage:
                drive = _drive(program, g, sent, first, min(first + block, steps))
                for t, a in enumerate(drive, first):
                    sent[g.name][t] = step(g, held[g.name], program.arithmetic, states[g.name], a)
        peaks.update({name: state.peak for name, state in states.items()})
    return {name: x for name, x in sent.items() if name not in inputs}, peaks


def _stages(program: Any) -> Iterator[tuple[list[Any], bool]]:
    """Groups in an order that has sources first; those of loops, and behind them, go together."""
    waiting = {g.name: g for g in program.groups if g.kind != "input"}
    while waiting:
        sources = {n: {leg.source.name for leg in program.legs[n]} for n in waiting}
        ready = [n for n in waiting if not sources[n] & set(waiting)]
        for name in ready:
            yield [waiting[name]], False
        if not ready:
            yield sorted(waiting.values(), key=lambda g: int(g.depth)), True
        waiting = {n: g for n, g in waiting.items() if ready and n not in ready}


def _drive(program: Any, group: Any, sent: dict[str, Any], first: int, stop: int) -> Any:
    """Synaptic input of the steps from ``first`` to ``stop``."""
    bits, samples = program.arithmetic.sum_bits, sent[group.name].shape[1]
    drive = np.zeros((stop - first, samples, *group.shape), np.int64)
    for leg in program.legs[group.name]:
        x = sent[leg.source.name][max(first - leg.delay, 0) : max(stop - leg.delay, 0)]
        if len(x):
            x = x if leg.source.message_bits else x != 0  # a plain spike carries no number
            x = (x if leg.only is None else x * leg.only).reshape(-1, *leg.source.shape)
            sums = signed(apply(leg.synapses.ops, leg.synapses.mantissa, x), bits)
            sums = signed(shift(sums, leg.synapses.exponent), bits)
            sums = sums.reshape(-1, samples, *group.shape)
            drive[len(drive) - len(sums) :] += sums
    return signed(drive, bits)


def step(group: Any, c: Any, arithmetic: Any, state: Any, a: Any) -> Any:
    """One step of a group with input ``a``; changes ``state`` and returns what the group emits."""
    most = (1 << (arithmetic.state_bits - 1)) - 1
    wide = decayed(state.u, c.du, arithmetic) + (a << arithmetic.state_shift)
    state.peak = np.maximum(state.peak, np.abs(wide).reshape(len(wide), -1).max(axis=1))
    wide = signed(wide, 32)
    if arithmetic.u_overflow == "wrap":  # once, and +2**(bits - 1) stays: as lava-nc does
        low, half = wide <= -most - 1, most + 1
        state.u = np.where(wide > half, wide - 2 * half, np.where(low, wide + 2 * half, wide))
    else:
        state.u = np.clip(wide, -most, most)
    custom = group.kind == "custom"
    late = custom and group.reset_timing != "immediate"
    before = (
        _fires(group, state.v, c) if group.reset_timing == "snntorch-immediate" else state.fired
    )
    x = decayed(state.v, c.dv, arithmetic) + state.u + c.bias
    if late and group.reset == "subtract":
        x = x - before * c.threshold
    x = signed(x, 32)
    wraps = arithmetic.v_overflow == "wrap"
    v = signed(x, arithmetic.state_bits) if wraps else np.clip(x, -most, most)
    if group.kind == "readout":
        state.v = v
        return v
    if late and group.reset == "zero":
        v = np.where(before > 0, 0, v)
    fired = _fires(group, v, c)
    if custom and group.spikes_per_step == "many":
        many = fired * (v // np.maximum(c.threshold, 1))
        fired = many if group.max_spikes is None else np.minimum(many, group.max_spikes)
    if custom and group.reset_timing == "snntorch-immediate":
        v = v - (fired - before) * c.threshold
    elif custom and not late and group.reset == "subtract":
        v = v - fired * c.threshold
    elif not late and (not custom or group.reset == "zero"):
        v = np.where(fired > 0, 0, v)
    if custom and c.floor is not None:
        v = np.maximum(v, c.floor)
    state.v, state.fired = v, fired
    return fired


def _fires(group: Any, v: Any, c: Any) -> Any:
    at_threshold = group.kind == "custom" and group.compare == ">="
    return np.asarray(v >= c.threshold if at_threshold else v > c.threshold).astype(np.int64)
