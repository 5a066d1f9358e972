"""How large the accumulators can become, whatever arrives: intervals per neuron, from the integers.

A register that decays rounds toward zero, so from zero it climbs to the smallest value that stays in
place under the largest input, and reaches it: bounds of u fed by inputs are attained, not only safe.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from .engine import apply, decayed, pull, run, shift
from .turns import run_in_turn

FAR = 1 << 61
"""Stands for infinity."""
MANY = 15
"""Spikes of a step that any stated head-room holds for, whatever more a neuron might send."""


def settle(drive: Any, d: Any, arithmetic: Any) -> Any:
    """Where ``x = decayed(x) + drive`` climbs to from zero, for a drive that is not negative."""
    drive, d = np.broadcast_arrays(np.minimum(drive, FAR >> 32), d)
    if arithmetic.decay != "multiply":
        return drive << np.minimum(d, 28)
    lost = ((np.maximum(drive, 1) - 1) << arithmetic.decay_bits) // np.maximum(d, 1) + 1
    return np.where(drive <= 0, 0, np.where(d > 0, lost, FAR))


def bounds(program: Any, *, stated: bool) -> dict[str, SimpleNamespace]:
    """Largest |u| and |v| of every group, per neuron, and the drive per step of a v that may clip.

    With ``stated``, senders of messages send only what the program's own head-room is for; without,
    everything that they can.
    """
    a, found = program.arithmetic, {}
    limit = (1 << (a.state_bits - 1)) - 1
    ends = {g.name: _sends(g, limit, stated) for g in program.groups}
    sends = {g.name: np.stack([np.full(g.shape, x) for x in ends[g.name]]) for g in program.groups}
    for _ in range(1 if stated else 3):  # a sender's own bound may say that it sends less
        for g in (g for g in program.groups if g.kind not in ("input", "constant")):
            found[g.name] = b = _group(program, g, sends, limit)
            if g.kind == "readout" and g.message_bits:
                sends[g.name] = np.clip(np.stack([-b.v_low, b.v_high]), -limit, limit)
            elif g.spikes_per_step == "many" and g.message_bits and not stated:
                most = np.minimum(b.v_high, limit) // np.maximum(g.theta, 1)
                sends[g.name] = np.minimum(sends[g.name], np.stack([most, most]))
    return found


def _sends(group: Any, limit: int, stated: bool) -> tuple[int, int]:
    """The least and the most that a neuron sends in a step."""
    if group.kind == "input" and group.message_bits and group.max_spikes:
        most = (1 << (group.message_bits - 1)) - 1
        return 0, min(most // 2 + 1 if stated else most, group.max_spikes)
    if group.kind == "input" and group.message_bits:
        most = (1 << (group.message_bits - 1)) - 1
        return (-(most // 2) - 1, most // 2 + 1) if stated else (-most, most)
    if group.spikes_per_step == "many" and group.message_bits:
        return 0, min(group.max_spikes or limit, MANY if stated else limit)
    return int(group.kind == "constant"), 1


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
    v_high, v_low = settle(rise, g.dv, a), settle(fall, g.dv, a)
    if g.kind != "readout":
        v_high, v_low = _reset(g, a, rise, fall, v_high, v_low)
    ends = {"u_high": u_high, "u_low": u_low, "v_high": v_high, "v_low": v_low}
    drive = np.maximum(np.where(v_high > limit, rise, 0), np.where(v_low > limit, fall, 0))
    return SimpleNamespace(u=u, v=np.maximum(v_high, v_low), safe=safe, drive=drive, **ends)


def _reset(g: Any, a: Any, rise: Any, fall: Any, high: Any, low: Any) -> tuple[Any, Any]:
    """Bounds of v before its reset, from those without: what a reset leaves is at most the threshold."""
    theta = np.maximum(g.theta, 0)
    if g.reset_timing != "immediate" or g.reset == "none":
        # A late reset subtracts from a v that has leaked since: it can go below by what leaked.
        low = np.maximum(low, fall + high - decayed(np.minimum(high, FAR >> 32), g.dv, a))
    else:
        once = rise + decayed(np.minimum(theta, high), g.dv, a)
        if g.reset == "subtract" and (g.spikes_per_step == "one" or g.max_spikes):
            taken = theta * (g.max_spikes or 1)
            once = np.maximum(once, settle(np.maximum(rise - taken, 0), g.dv, a) + taken)
        high = np.minimum(high, once)
    if g.v_floor is not None:
        low = np.minimum(low, fall + decayed(np.minimum(low, np.maximum(-g.v_floor, 0)), g.dv, a))
    return high, low


def worst_inputs(program: Any, found: Any, steps: int = 48) -> dict[str, tuple[int, str]]:
    """The largest |u| of every group that a simple search reaches, and by which input, on the engine.

    Inputs send their most all the time, or with the signs that push one neuron of some group: that
    with the largest bound, followed backwards through the synapses.
    """
    tried = ["every input at its most"]
    ends = {g.name: (*_sends(g, 0, False), g.shape) for g in program.groups}
    inputs = [g.name for g in program.groups if g.kind == "input"]
    batch = {name: [np.full(ends[name][2], ends[name][1])] for name in inputs}
    for name, b in found.items() if len(found) < 99 else ():
        place = np.zeros((1, *ends[name][2]))
        place.reshape(-1)[int(np.argmax(b.u))] = 1
        push, waiting = {name: place}, [name]
        for target in waiting:
            for leg in program.legs[target]:
                if leg.source.name not in push:
                    w = leg.synapses.mantissa.astype(np.float64)
                    back = pull(leg.synapses.ops, w, push[target], leg.source.shape)
                    push[leg.source.name] = back / max(np.abs(back).max(), 1e-30)
                    waiting.append(leg.source.name)
        for sign, what in ((1, "excited"), (-1, "inhibited")):
            tried.append(f"the neuron of {name} with the largest bound {what}")
            for source in inputs:
                low, high, shape = ends[source]
                toward = sign * push.get(source, np.zeros((1, *shape)))[0]
                batch[source].append(np.where(toward > 0, high, low))
    trains = {n: np.repeat(np.stack(x)[None], steps, axis=0) for n, x in batch.items()}
    peaks = (run_in_turn if program.arithmetic.arrival == "in-turn" else run)(program, trains)[1]
    return {name: (int(p.max()), tried[int(np.argmax(p))]) for name, p in peaks.items()}
