"""How large the accumulators can become, whatever arrives: intervals per neuron, from the integers.

A register that decays rounds toward zero, so from zero it climbs to the smallest value that stays in
place under the largest input, and reaches it: bounds of u fed by inputs are attained, not only safe.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from .engine import apply, decayed, shift, thresholds

FAR = 1 << 61
"""Stands for infinity."""


def settle(drive: Any, d: Any, arithmetic: Any) -> Any:
    """Where ``x = decayed(x) + drive`` climbs to from zero, for a drive that is not negative."""
    drive, d = np.broadcast_arrays(np.minimum(drive, FAR >> 32), d)
    if arithmetic.decay != "multiply":
        return drive << np.minimum(d, 28)
    lost = ((np.maximum(drive, 1) - 1) << arithmetic.decay_bits) // np.maximum(d, 1) + 1
    return np.where(drive <= 0, 0, np.where(d > 0, lost, FAR))


def bounds(program: Any) -> dict[str, SimpleNamespace]:
    """Largest |u| and |v| of every group, per neuron, and the drive per step of a v that may clip."""
    limit, found = (1 << (program.arithmetic.state_bits - 1)) - 1, {}
    ends = {g.name: _sends(g, limit) for g in program.groups}
    sends = {g.name: np.stack([np.full(g.shape, x) for x in ends[g.name]]) for g in program.groups}
    computed = [g for g in program.groups if g.kind not in ("input", "constant")]
    computed.sort(key=lambda g: g.depth)
    for _ in range(3):  # a sender's own bound may say that it sends less
        before = dict(sends)
        for g in computed:
            found[g.name] = b = _group(program, g, sends, limit)
            if g.message_bits:
                low, high = np.minimum(b.v_low, limit + 1), np.minimum(b.v_high, limit)
                spikes = high // np.maximum(g.theta, 1)
                now = (-low, high) if g.kind == "readout" else (0 * low, spikes)
                sends[g.name] = np.clip(sends[g.name], *now)
        if all((sends[name] == x).all() for name, x in before.items()):
            break
    return found


def _sends(group: Any, limit: int) -> tuple[int, int]:
    """The least and the most that a neuron sends in a step."""
    if group.kind == "input" and group.message_bits and group.max_spikes:
        return 0, min((1 << (group.message_bits - 1)) - 1, group.max_spikes)
    if group.message_bits and group.kind == "input":
        most = (1 << (group.message_bits - 1)) - 1
        return -most, most
    if group.message_bits and group.kind == "readout":
        return -limit - 1, limit
    if group.message_bits and group.spikes_per_step == "many":
        return 0, group.max_spikes or limit
    return 0, 1  # of a constant, too: what is late has not arrived in the first steps


def _group(program: Any, g: Any, sends: dict[str, Any], limit: int) -> SimpleNamespace:
    a, sums = program.arithmetic, 0
    total = np.zeros((2, *g.shape), np.int64)  # the least and the most that arrives in a step
    for leg in program.legs[g.name]:
        ops, w = leg.synapses.ops, leg.synapses.mantissa
        pair = sends[leg.source.name] * (1 if leg.only is None else leg.only)
        part = apply(ops, np.maximum(w, 0), pair) + apply(ops, np.minimum(w, 0), pair[::-1])
        sums = max(sums, int(np.abs(part).max()))
        total += shift(part, leg.synapses.exponent)
    fall, rise = np.maximum(total * np.array([-1, 1]).reshape(-1, *[1] * len(g.shape)), 0)
    sums = max(sums, int(rise.max()), int(fall.max())) << a.state_shift
    u_high, u_low = (settle(x << a.state_shift, g.decay_u, a) for x in (rise, fall))
    u = np.maximum(u_high, u_low)
    safe = sums < 1 << (a.sum_bits - 1) and int(u.max()) <= limit
    if not safe:  # a register that wrapped can hold anything
        u_high = u_low = np.full_like(u, limit + 1)
    rise, fall = np.maximum(u_high + g.bias, 0), np.maximum(u_low - g.bias, 0)
    if g.reset == "subtract":  # takes a negative threshold off: adds it
        rise = rise + np.maximum(-g.theta, 0)
    v_high, v_low = settle(rise, g.dv, a), settle(fall, g.dv, a)
    if g.kind != "readout":
        v_high, v_low = _reset(g, a, rise, fall, v_high, v_low)
    ends = {"u_high": u_high, "u_low": u_low, "v_high": v_high, "v_low": v_low}
    drive = np.maximum(np.where(v_high > limit, rise, 0), np.where(v_low > limit, fall, 0))
    return SimpleNamespace(u=u, v=np.maximum(v_high, v_low), safe=safe, drive=drive, **ends)


def _reset(g: Any, a: Any, rise: Any, fall: Any, high: Any, low: Any) -> tuple[Any, Any]:
    """Bounds of v before its reset, from those without: what a reset leaves is at most the threshold."""
    (least, most), late = thresholds(g, a), 0
    theta = np.maximum(most, 0)
    if g.reset_timing != "immediate" and g.reset == "subtract":
        # A late reset subtracts from a v that has leaked since: it can go below by what leaked.
        late = (top := np.minimum(high, FAR >> 32)) - decayed(top, g.dv, a)
        # And by what the threshold has risen, as often as it is taken.
        late = late + (most - least) * _sends(g, int(top.max()))[1]
        low = np.maximum(low, fall + late)
    elif g.reset_timing == "immediate" and g.reset != "none":
        once = rise + decayed(np.minimum(theta, high), g.dv, a)
        if g.reset == "subtract" and (g.spikes_per_step == "one" or g.max_spikes):
            taken = theta * (g.max_spikes or 1)
            once = np.maximum(once, settle(np.maximum(rise - taken, 0), g.dv, a) + taken)
        high = np.minimum(high, once)
    if g.v_floor is not None:
        rest = decayed(np.minimum(low, np.maximum(-g.v_floor, 0)), g.dv, a)
        low = np.minimum(low, fall + np.maximum(rest, late))
    return high, low
