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
PAUSE = 64
"""Steps beyond which it does not matter how long a neuron takes to its next spike."""
RAISED = 64
"""Rounds in which what loops send may come to follow from itself."""


def settle(drive: Any, d: Any, arithmetic: Any) -> Any:
    """Where ``x = decayed(x) + drive`` climbs to from zero, for a drive that is not negative."""
    drive, d = np.broadcast_arrays(np.minimum(drive, FAR >> 32), d)
    if arithmetic.decay != "multiply":
        return drive << np.minimum(d, 28)
    lost = ((np.maximum(drive, 1) - 1) << arithmetic.decay_bits) // np.maximum(d, 1) + 1
    return np.where(drive <= 0, 0, np.where(d > 0, lost, FAR))


def lasting(n: int, ku: Any, kv: Any) -> Any:
    """The most that spikes at least ``n`` steps apart, of weight 1, add up to in v behind u.

    Registers keep ``ku`` and ``kv`` of themselves. A spike makes v rise and then fall, so spikes add up
    most where they are as close as they may be, at one of ``n`` phases.
    """
    kv = np.where(np.abs(ku - kv) < 1e-6, np.maximum(ku, kv) + 1e-6, kv)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = [ku ** (i + 1) / (1 - ku**n) - kv ** (i + 1) / (1 - kv**n) for i in range(n)]
        found = np.max(np.asarray(at) / (ku - kv), axis=0) * (1 + 1e-9)
    return np.where((ku < 1) & (kv < 1), found, np.inf)


def pause(g: Any, a: Any, b: Any) -> Any:
    """Steps from a spike to the next at the least: a reset leaves so much of v, and v has to climb."""
    late, subtracts = g.reset_timing == "next-step", g.reset == "subtract"
    known = g.kind in ("lif", "custom") and g.spikes_per_step == "one" and g.reset != "none"
    known = known and (late or g.reset_timing == "immediate") and a.v_overflow != "wrap"
    found = np.ones(g.shape, np.int64)
    if not known or a.decay != "multiply":
        return found
    most, rise = (np.minimum(x, FAR >> 32) for x in (b.v_high, b.rise))
    theta, _ = thresholds(g, a)  # one that moves is passed soonest, and takes least, at its least
    left = np.maximum((decayed(most, g.dv, a) if late else most) - theta, 0) if subtracts else 0
    x = rise + (left if late else decayed(left, g.dv, a))
    waits = theta > 0
    found += waits & (late and not subtracts)  # in the step after a spike v is 0
    for _ in range(PAUSE):
        waits = waits & (x < theta if g.compare == ">=" else x <= theta)
        if not waits.any():
            break
        found += waits
        x = decayed(x, g.dv, a) + rise
    return found


def bounds(program: Any) -> dict[str, SimpleNamespace]:
    """Largest |u| and |v| of every group, per neuron, and the drive per step of a v that may clip."""
    limit, found = (1 << (program.arithmetic.state_bits - 1)) - 1, {}
    ends = {g.name: _sends(g, limit) for g in program.groups}
    sends = {g.name: np.stack([np.full(g.shape, x) for x in ends[g.name]]) for g in program.groups}
    pauses = {g.name: np.ones(g.shape, np.int64) for g in program.groups}
    computed = [g for g in program.groups if g.kind not in ("input", "constant")]
    computed.sort(key=lambda g: g.depth)
    sends = _held_up(program, computed, sends, pauses, limit)
    times = dict.fromkeys(ends, 0)  # how often what a group sends was narrowed
    seen: dict[str, list[int]] = {}
    for _ in range(3):  # a sender's own bound may say that it sends less
        for g in computed:
            told = [times[leg.source.name] for leg in program.legs[g.name]]
            if seen.get(g.name) == told:
                continue
            seen[g.name] = told
            found[g.name] = b = _group(program, g, sends, pauses, limit)
            before = sends[g.name], pauses[g.name]
            pauses[g.name] = np.maximum(pauses[g.name], pause(g, program.arithmetic, b))
            if g.message_bits:
                sends[g.name] = _counts(program, g, b, sends, limit)
            after = sends[g.name], pauses[g.name]
            times[g.name] += not all(map(np.array_equal, before, after))
    return found


def _held_up(program: Any, computed: Any, sends: Any, pauses: Any, limit: int) -> Any:
    """``sends`` with what loops of many spikes send, where that follows from itself.

    Nothing was sent before the first step; if no step can send more than the steps before it were taken
    to have sent, none ever does. Raised from nothing until it is so, at last by doubling, or else left
    as it was.
    """
    legs = [(leg.source, g.depth) for g in computed for leg in program.legs[g.name]]
    loops = {source.name for source, depth in legs if source.depth >= depth and source.message_bits}
    now = {name: x * (name not in loops) for name, x in sends.items()}
    for i in range(RAISED if loops else 0):
        times = 1 + (i >= RAISED // 2)
        before = {name: np.clip(x * times, *sends[name]) for name, x in now.items()}
        now = dict(before)
        for g in (g for g in computed if g.message_bits):
            b = _group(program, g, now, pauses, limit)
            now[g.name] = _counts(program, g, b, sends, limit)
        if all((np.abs(now[name]) <= np.abs(before[name])).all() for name in loops):
            return now
    return sends


def _counts(program: Any, g: Any, b: Any, sends: Any, limit: int) -> Any:
    """What a group sends whose v stays within ``b``, which sends no more than ``sends`` anyhow."""
    low, high = np.minimum(b.v_low, limit + 1), np.minimum(b.v_high, limit)
    spikes = high // np.maximum(thresholds(g, program.arithmetic)[0], 1)
    return np.clip(sends[g.name], *((-low, high) if g.kind == "readout" else (0 * low, spikes)))


def _sends(group: Any, limit: int) -> tuple[int, int]:
    """The least and the most that a neuron sends in a step."""
    if group.message_bits and group.kind == "input":
        most = min((1 << (group.message_bits - 1)) - 1, group.message_peak or FAR)
        return (0, min(most, group.max_spikes)) if group.max_spikes else (-most, most)
    if group.message_bits and group.kind == "readout":
        return -limit - 1, limit
    if group.message_bits and group.spikes_per_step == "many":
        return 0, group.max_spikes or limit
    return 0, 1  # of a constant, too: what is late has not arrived in the first steps


def _group(program: Any, g: Any, sends: Any, pauses: Any, limit: int) -> SimpleNamespace:
    a, sums = program.arithmetic, 0
    total = np.zeros((2, *g.shape), np.int64)  # the least and the most that arrives in a step
    sides = np.array([-1, 1]).reshape(-1, *[1] * len(g.shape))
    for leg in program.legs[g.name]:
        part = _arrives(leg, sends[leg.source.name])
        sums = max(sums, int(np.abs(part).max()))
        total += shift(part, leg.synapses.exponent)
    fall, rise = np.maximum(total * sides, 0)
    sums = max(sums, int(rise.max()), int(fall.max())) << a.state_shift
    u_low, u_high = (settle(x << a.state_shift, g.decay_u, a) for x in (fall, rise))
    u_paced = v_paced = np.full((2, *g.shape), FAR)
    if any((pauses[leg.source.name] > 1).any() for leg in program.legs[g.name]):
        u_paced, v_paced = _paced(program, g, sends, pauses)
        u_low, u_high = np.minimum((u_low, u_high), u_paced)
    u = np.maximum(u_high, u_low)
    safe = sums < 1 << (a.sum_bits - 1) and int(u.max()) <= limit
    if not safe:  # a register that wrapped can hold anything
        u_high = u_low = np.full_like(u, limit + 1)
        v_paced = np.full_like(v_paced, FAR)
    if a.arrival == "in-turn":  # u has decayed when it reaches v
        u_high, u_low = decayed(u_high, g.decay_u, a), -decayed(-u_low, g.decay_u, a)
    rise, fall = np.maximum(u_high + g.bias, 0), np.maximum(u_low - g.bias, 0)
    added = np.maximum(-g.theta, 0) if g.reset == "subtract" else 0  # taking it off adds it
    added = added + (0 if g.v_floor is None else np.maximum(g.v_floor, 0))  # a floor may lift v
    rise = rise + added
    v_high, v_low = settle(rise, g.dv, a), settle(fall, g.dv, a)
    v_high = np.minimum(v_high, v_paced[1] + settle(np.maximum(g.bias, 0) + added, g.dv, a))
    v_paced = v_paced[0] + settle(np.maximum(-g.bias, 0), g.dv, a)
    if g.kind != "readout":
        v_high, v_low = _reset(g, a, rise, fall, v_high, v_low, v_paced)
    else:
        v_low = np.minimum(v_low, v_paced)
    drive = np.maximum(np.where(v_high > limit, rise, 0), np.where(v_low > limit, fall, 0))
    v = np.maximum(v_high, v_low)
    if a.v_step == "held":  # a register as wide as v holds what a step adds to it
        held = -np.minimum(v_low, limit), np.minimum(v_high, limit)
        lost = np.stack([np.abs(x - decayed(x, g.dv, a)) for x in held])
        added = np.maximum((u_high + g.bias + added, u_low - g.bias), (u_high + added, u_low))
        v = np.maximum(v, (added + lost).max(axis=0))
        drive = np.where(v > limit, np.maximum(drive, added.max(axis=0)), 0)
    told = {"u_high": u_high, "u_low": u_low, "v_high": v_high, "v_low": v_low, "rise": rise}
    return SimpleNamespace(u=u, v=v, safe=safe, drive=drive, **told)


def _arrives(leg: Any, pair: Any) -> Any:
    """The least and the most that comes through a leg whose sources send ``pair``."""
    ops, w = leg.synapses.ops, leg.synapses.mantissa
    pair = pair * (1 if leg.only is None else leg.only)
    return apply(ops, np.maximum(w, 0), pair) + apply(ops, np.minimum(w, 0), pair[::-1])


def _paced(program: Any, g: Any, sends: Any, pauses: Any) -> tuple[Any, Any]:
    """How far below and above zero u goes, and what u takes v to, where spikes lie apart."""
    a = program.arithmetic
    kept = (1 - d / (1 << a.decay_bits) for d in (g.decay_u, g.dv))
    ku, kv = (np.broadcast_to(k, g.shape) for k in kept)
    found = np.zeros((2, 2, *g.shape))
    for leg in program.legs[g.name]:
        apart, scale = pauses[leg.source.name], 2.0 ** (leg.synapses.exponent + a.state_shift)
        for n in np.unique(apart).tolist():
            part = _arrives(leg, sends[leg.source.name] * (apart == n))
            part = np.maximum(part * np.array([-1, 1]).reshape(-1, *[1] * len(g.shape)), 0) * scale
            factor = np.stack([lasting(n, ku, 0 * ku), lasting(n, ku, kv)])[:, None]
            with np.errstate(invalid="ignore"):
                found += np.where(part > 0, part * factor, 0)
        if leg.synapses.exponent < 0:  # what is dropped makes less of it
            dropped = np.stack([lasting(1, ku, 0 * ku), lasting(1, ku, kv)]) * (1 << a.state_shift)
            found[:, 0] += dropped
    u, v = np.ceil(np.minimum(found, FAR)).astype(np.int64)
    return u, v


def _reset(
    g: Any, a: Any, rise: Any, fall: Any, high: Any, low: Any, paced: Any
) -> tuple[Any, Any]:
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
    low = np.minimum(low, paced + late)
    if g.v_floor is not None:
        rest = decayed(np.minimum(low, np.maximum(-g.v_floor, 0)), g.dv, a)
        low = np.minimum(low, fall + np.maximum(rest, late))
    return high, low
