"""Chips that take spike after spike in turn (Xylo): their engine, and what the one core holds.

Every spike is added to u by itself and saturates; u decays after all of them, v by its own register. All
neurons run from the first step on, so the engine runs in the chip's time and keeps, of every group, the
steps of the sample. Nothing waits: a spike arrives in the next step, the host's in the same one.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from .engine import apply, decayed, shift, signed
from .files import At


def run_in_turn(program: Any, inputs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """As `engine.run`, but how large u and v become is told by steps of the chip, which are more.

    The largest of v are those of what a step adds to it, too, which has a register as wide.
    """
    a, (steps, samples) = program.arithmetic, next(iter(inputs.values())).shape[:2]
    groups = [g for g in program.groups if g.kind != "input"]
    total = steps + max(g.depth for g in groups) - 1
    sent = {g.name: np.zeros((total, samples, *g.shape), np.int64) for g in program.groups}
    for g in (g for g in program.groups if g.kind == "input"):
        sent[g.name][:steps] = np.minimum(inputs[g.name], g.max_spikes)
    rank = {g.name: (g.kind != "input", i) for i, g in enumerate(program.groups)}
    heard = {g.name: _in_order(program, g, rank) for g in groups}
    u = {g.name: np.zeros((samples, *g.shape), np.int64) for g in groups}
    v = {name: x.copy() for name, x in u.items()}
    peaks = {g.name: np.zeros((2, total, samples), np.int64) for g in groups}
    for t in range(total):
        for g in groups:
            x, peak = u[g.name], peaks[g.name][:, t]
            for source, i, weight, late in heard[g.name]:
                if t >= late and (n := sent[source][t - late].reshape(samples, -1)[:, i]).any():
                    x = x + n.reshape(-1, *[1] * len(g.shape)) * weight
                    peak[0] = np.maximum(peak[0], _largest(x))
                    x = _held(x, a)
            u[g.name] = x = decayed(x, g.decay_u, a)
            change = signed(decayed(v[g.name], g.dv, a) - v[g.name], a.state_bits) + x
            biased = _held(change, a) + g.bias
            x = v[g.name] + _held(biased, a)
            peak[1] = np.max([_largest(y) for y in (change, biased, x)], axis=0)
            x = _held(x, a)
            # A neuron that is read has the end of its register as threshold.
            theta = (1 << (a.state_bits - 1)) - 1 if g.kind == "readout" else g.theta
            n = np.where(x >= theta, x // np.maximum(theta, 1), 0)
            n = np.minimum(n, 1 if g.spikes_per_step == "one" else g.max_spikes or n)
            v[g.name] = x - n * theta
            sent[g.name][t] = v[g.name] if g.kind == "readout" else n
    return {g.name: sent[g.name][g.depth - 1 :][:steps] for g in groups}, peaks


def _largest(x: Any) -> Any:
    return np.abs(x).reshape(len(x), -1).max(axis=1)


def _held(x: Any, a: Any) -> Any:
    return np.clip(x, -(1 << (a.state_bits - 1)), (1 << (a.state_bits - 1)) - 1)


def _in_order(program: Any, g: Any, rank: Any) -> list[tuple[str, int, Any, int]]:
    """Every source neuron that a group hears, in the order of the chip: weights, and when."""
    found = []
    for k, leg in enumerate(program.legs[g.name]):
        one = np.eye(prod(leg.source.shape), dtype=np.int64).reshape(-1, *leg.source.shape)
        weight = apply(leg.synapses.ops, leg.synapses.mantissa, one)
        weight = signed(shift(weight, leg.synapses.exponent), program.arithmetic.state_bits)
        late = leg.delay + g.depth - leg.source.depth - (leg.source.kind == "input")
        some = np.ones(len(one), bool) if leg.only is None else leg.only.reshape(-1)
        for i in np.flatnonzero(some & weight.reshape(len(one), -1).any(axis=1)).tolist():
            found.append((rank[leg.source.name], i, k, leg.source.name, weight[i], late))
    found.sort(key=lambda entry: entry[:3])
    return [(name, i, weight, late) for _, i, _, name, weight, late in found]


def check_xylo(program: Any, placement: Any, target: Any) -> dict[str, float]:
    """Recount what the chip holds against the target's limits; returns the share of each."""
    used, place = {"input": 0, "hidden": 0, "output": 0}, {}
    for g in program.groups:  # where it starts among those of its role
        place[g.name] = used[g.role]
        used[g.role] += prod(g.shape)
    fan_out = {g.name: np.zeros(prod(g.shape), np.int64) for g in program.groups}
    shifts: dict[tuple[bool, bool], set[int]] = {}
    ends = {"fed_by_inputs": 0, "feeding_outputs": 0}
    for leg in (leg for legs in program.legs.values() for leg in legs):
        s, source, into = leg.synapses, leg.source, program.group[leg.synapses.target]
        ways = {("input", "hidden"), ("hidden", "hidden"), ("hidden", "output")}
        at = At("program.npz", s.name)
        at.need((source.role, into.role) in ways, "ends", ways, (source.role, into.role))
        at.same("latency", 1, leg.delay + into.depth - source.depth)
        shifts.setdefault((source.role == "input", into.role == "output"), set()).add(s.exponent)
        one = np.eye(prod(source.shape), dtype=np.int64).reshape(-1, *source.shape)
        hits = (apply(s.ops, s.mantissa, one) != 0).reshape(len(one), -1).sum(axis=1)
        if source.role == "input":
            ends["fed_by_inputs"] = max(ends["fed_by_inputs"], place[into.name] + prod(into.shape))
        elif into.role == "output":
            behind = used["hidden"] - place[source.name]
            ends["feeding_outputs"] = max(ends["feeding_outputs"], behind)
        else:
            fan_out[source.name] += hits
    for (host, out), found in shifts.items():
        where = "inputs" if host else "outputs" if out else "hidden neurons"
        At("program.npz", where).same("weight shifts of a block", 1, len(found))
    recurrent = sum(int(n.sum()) for n in fan_out.values())
    stated = {"hidden_neurons": used["hidden"], "output_neurons": used["output"]}
    for name, n in {**stated, "recurrent_entries": recurrent}.items():
        told = sum(part.resources.get(name, 0) for part in placement.slices)
        At("placement.json", "the chip").same(name, told, n)
    core, limits = target["core"], target["ends"]
    counted = {
        "inputs": (used["input"], limits["inputs"]),
        "hidden neurons": (used["hidden"], core["hidden_neurons"]),
        "output neurons": (used["output"], core["output_neurons"]),
        "recurrent entries": (recurrent, core["recurrent_entries"]),
        "fan out": (max(int(n.max()) for n in fan_out.values()), target["synapse"]["fan_out_max"]),
        **{name: (n, limits[name]) for name, n in ends.items()},
    }
    for what, (n, limit) in counted.items():
        At("placement.json", "the chip").within(what, 0, n, limit)
    return {what: n / max(limit, 1) for what, (n, limit) in counted.items()}
