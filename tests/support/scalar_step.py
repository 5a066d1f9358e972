"""One step of one neuron in Python's own numbers: the outside judge of `snndeploy.ir.step`.

Written from the text of `snndeploy.ir.neurons.Neuron` and `snndeploy.ir.step.Arithmetic`, and sharing
nothing with the code that runs: if this called it too, an error in it would be an error nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from snndeploy.ir.step import Arithmetic, NeuronRule


def float_step(
    rule: NeuronRule | None, p: Mapping[str, float | None], s: dict[str, float], x: float
) -> float:
    """Advance ``s`` (u, v, n) by one step; ``p`` holds the parameters, None where there is none."""

    def par(name: str) -> float:
        value = p[name]
        return 0.0 if value is None else value

    before = s["v"]
    x += par("bias")
    s["u"] = x if p["syn_leak"] is None else par("syn_leak") * s["u"] + x
    v = par("leak") * before + s["u"] + par("drive")
    n = 0.0
    if rule is not None:
        threshold = par("threshold")

        def above(v: float) -> bool:
            return v > threshold or (rule.compare == ">=" and v == threshold)

        def spikes(v: float) -> float:
            if not above(v):
                return 0.0
            count = 1.0 if rule.spikes_per_step == "one" else float(math.floor(v / threshold))
            limited = rule.spikes_per_step == "many" and rule.max_spikes is not None
            return min(count, float(rule.max_spikes or 0)) if limited else count

        n, v = _fire(rule, spikes, float(above(before)), s["n"], v, threshold)
        s["n"] = n
    s["v"] = v if p["v_floor"] is None else max(v, par("v_floor"))
    return s["v"] if rule is None else n


def _fire(rule, spikes, r, last, v, threshold):  # type: ignore[no-untyped-def]
    """Spikes and v; ``r`` is whether v(t-1) was above the threshold, ``last`` what fired then."""
    if rule.reset_timing == "snntorch-immediate":
        v -= r * threshold
        n = spikes(v)
        return n, v - (n - r) * threshold
    if rule.reset_timing == "next-step":
        v = _reset(rule, v, last, threshold)
        return spikes(v), v
    n = spikes(v)
    return n, _reset(rule, v, n, threshold)


def _reset(rule, v, n, threshold):  # type: ignore[no-untyped-def]
    if rule.reset == "zero":
        return 0 if n > 0 else v
    return v - n * threshold if rule.reset == "subtract" else v


def integer_step(
    rule: NeuronRule | None,
    chip: Arithmetic,
    p: Mapping[str, int | None],
    s: dict[str, int],
    a: int,
) -> int:
    """Likewise in integers; ``p`` are the registers du, dv, vth, bias and v_floor of the program."""
    threshold = _int(p, "vth") * 2**chip.state_shift
    before = s["v"]
    du, dv, bias = _int(p, "du") + chip.u_decay_offset, _int(p, "dv"), _int(p, "bias")
    if chip.arrival == "summed":
        u = _register(_decay(s["u"], du, chip) + a * 2**chip.state_shift, chip.u_overflow, chip)
    else:
        u = _decay(_register(s["u"] + a * 2**chip.state_shift, chip.u_overflow, chip), du, chip)
    s["u"] = u
    v = _decay(before, dv, chip) + u + bias
    if chip.v_step == "held":
        lost = _wrap(_decay(before, dv, chip) - before, chip.state_bits)
        change = _register(lost + u, chip.v_overflow, chip)
        v = before + _register(change + bias, chip.v_overflow, chip)
    if rule is None:
        s["v"] = _register(v, chip.v_overflow, chip)
        return s["v"]

    def above(v: int) -> bool:
        return v > threshold or (rule.compare == ">=" and v == threshold)

    def spikes(v: int) -> int:
        if not above(v):
            return 0
        count = 1 if rule.spikes_per_step == "one" else v // max(threshold, 1)
        limited = rule.spikes_per_step == "many" and rule.max_spikes is not None
        return min(count, rule.max_spikes or 0) if limited else count

    r = int(above(before))
    if rule.reset_timing == "snntorch-immediate":
        v = _register(v - r * threshold, chip.v_overflow, chip)
        n = spikes(v)
        v -= (n - r) * threshold
    elif rule.reset_timing == "next-step":
        if rule.reset == "subtract":
            v -= s["n"] * threshold
        v = _register(v, chip.v_overflow, chip)
        if rule.reset == "zero" and s["n"]:
            v = 0
        n = spikes(v)
    else:
        v = _register(v, chip.v_overflow, chip)
        if chip.arrival == "in-turn" and rule.reset == "subtract":
            n, most = 0, 1 if rule.spikes_per_step == "one" else rule.max_spikes or 10**9
            while n < most and above(v):
                n, v = n + 1, _wrap(v - threshold, chip.state_bits)
        else:
            n = spikes(v)
            v = _reset(rule, v, n, threshold)
    s["n"] = n
    s["v"] = v if p["v_floor"] is None else max(v, _int(p, "v_floor"))
    return n


def _int(p: Mapping[str, int | None], name: str) -> int:
    value = p[name]
    assert value is not None
    return value


def _wrap(x: int, bits: int) -> int:
    return (x + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)


def _decay(x: int, d: int, chip: Arithmetic) -> int:
    if chip.decay == "floor-shift":
        return x - (x // 2**d or (x > 0) - (x < 0))
    left = {
        "multiply": abs(x) * (2**chip.decay_bits - d) // 2**chip.decay_bits,
        "shift": abs(x) - abs(x) // 2**d,
    }[chip.decay]
    return left if x >= 0 else -left


def _register(x: int, overflow: str, chip: Arithmetic) -> int:
    """First the adder, which wraps, then the register."""
    x = (x + 2 ** (chip.sum_bits - 1)) % 2**chip.sum_bits - 2 ** (chip.sum_bits - 1)
    half = 2 ** (chip.state_bits - 1)
    if overflow == "saturate":
        return max(1 - half, min(half - 1, x))
    if overflow == "saturate-full":
        return max(-half, min(half - 1, x))
    if x > half:
        return x - 2 * half
    return x + 2 * half if x <= -half else x
