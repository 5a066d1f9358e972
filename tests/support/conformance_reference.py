"""The obvious engine: a `Program` in chip time, one sample and one step after the other.

Written from the text of `snndeploy.ir.program` and `snndeploy.ir.neurons` alone. It shares nothing
with the engines: every projection is a plain matrix, a spike is looked up at the chip step it was
sent, and nothing is sent before a group's first step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snndeploy.ir.arrays import Array
from snndeploy.ir.ops import chain_shapes, index_map
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup
from snndeploy.simulate.recording import Recording

LIMIT = 2**23 - 1


def run_reference(program: Program, inputs: Mapping[str, Array]) -> Recording:
    """Run ``program``; inputs ``(steps, samples, *shape)`` by name. All states are recorded."""
    steps, samples = next(iter(inputs.values())).shape[:2]
    runs = [
        _run_sample(program, {name: data[:, sample] for name, data in inputs.items()}, steps)
        for sample in range(samples)
    ]
    joined = [
        {name: np.stack([run[kind][name] for run in runs], axis=1) for name in runs[0][kind]}
        for kind in range(3)
    ]
    return Recording(engine="reference", spikes=joined[0], u=joined[1], v=joined[2])


def matrix(program: Program, synapses: SynapseGroup) -> Array:
    """Weights ``(outputs, inputs)`` of the whole chain."""
    shape = program.source_shape(synapses)
    product = np.eye(int(np.prod(shape)), dtype=np.int64)
    shapes = chain_shapes(synapses.ops, shape)
    for op, in_shape in zip(synapses.ops, shapes[:-1], strict=True):
        m = index_map(op, in_shape)
        step = np.zeros((m.out_size, m.in_size), np.int64)
        weight = 1 if m.weight_index is None else synapses.mantissa.reshape(-1)[m.weight_index]
        np.add.at(step, (m.out_index, m.in_index), weight)
        product = step @ product
    return product


def _run_sample(
    program: Program, data: Mapping[str, Array], steps: int
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    size = {g.name: int(np.prod(g.shape)) for g in program.groups}
    weights = {s.name: matrix(program, s) for s in program.synapses}
    sent: dict[str, dict[int, Array]] = {g.name: {} for g in program.groups}
    state = {g.name: np.zeros((3, size[g.name]), np.int64) for g in program.groups}
    log: dict[str, list[tuple[Array, Array, Array]]] = {g.name: [] for g in program.groups}
    for chip_step in range(steps + program.depth):
        for group in program.groups:
            t = chip_step - group.depth
            if not 0 <= t < steps:
                continue
            if group.kind == "input":
                emitted = data[group.name][t].reshape(-1).astype(np.int64)
            elif group.kind == "constant":
                emitted = np.ones(size[group.name], np.int64)
            else:
                a = _arriving(program, group, weights, sent, chip_step)
                emitted = _update(group, state[group.name], a)
            sent[group.name][chip_step] = emitted
            u, v, _ = state[group.name]
            log[group.name].append((emitted.copy(), u.copy(), v.copy()))
    shaped = [
        {
            g.name: np.stack([row[kind] for row in log[g.name]]).reshape(-1, *g.shape)
            for g in program.groups
        }
        for kind in range(3)
    ]
    return shaped[0], shaped[1], shaped[2]


def _arriving(
    program: Program,
    group: CompartmentGroup,
    weights: Mapping[str, Array],
    sent: Mapping[str, Mapping[int, Array]],
    chip_step: int,
) -> Array:
    total = np.zeros(int(np.prod(group.shape)), np.int64)
    for synapses in program.incoming(group.name):
        for source in synapses.sources:
            sender = program.group(source.group)
            latency = np.broadcast_to(source.latency, sender.shape).reshape(-1)
            for steps in sorted(set(latency.tolist())):
                spikes = sent[source.group].get(chip_step - steps)
                if spikes is None:
                    continue
                spikes = np.where(latency == steps, spikes, 0)
                if sender.message_bits == 0:
                    spikes = (spikes != 0).astype(np.int64)
                acc = weights[synapses.name] @ spikes
                if sender.message_bits:
                    acc = _int32(acc)  # Lava multiplies graded messages in int32
                e = synapses.exponent
                total += _int32(acc << e if e >= 0 else acc >> -e)
    return _int32(total)


def _update(group: CompartmentGroup, state: Array, a: Array) -> Array:
    """Advance u, v and the last spike count in place; returns what the group sends."""
    size = state.shape[1]
    du, dv, vth, bias = (
        np.broadcast_to(x, group.shape).reshape(-1)
        for x in (group.du, group.dv, group.vth, group.bias)
    )
    floor = (
        None if group.v_floor is None else np.broadcast_to(group.v_floor, group.shape).reshape(-1)
    )
    for i in range(size):
        u, v, last = (int(x) for x in state[:, i])
        threshold = int(vth[i]) << 6
        u = _wrap(_one32(_decay(u, int(du[i]) + 1) + _one32(int(a[i]) << 6)))
        x = _decay(v, int(dv[i])) + u + int(bias[i])
        if group.kind != "custom":
            v = _clip(_one32(x))
            n = int(group.kind == "lif" and v > threshold)
            v = 0 if n else v
        else:
            n, v = _custom(group, x, v, last, threshold)
            if floor is not None:
                v = max(v, int(floor[i]))
        state[:, i] = u, v, n
    return (state[1] if group.kind == "readout" else state[2]).copy()


def _custom(group: CompartmentGroup, x: int, v: int, last: int, threshold: int) -> tuple[int, int]:
    """Spike count and v of one neuron whose decayed and driven potential is ``x``."""

    def above(value: int) -> bool:
        return value > threshold if group.compare == ">" else value >= threshold

    def count(value: int) -> int:
        if not above(value) or group.spikes_per_step == "one":
            return int(above(value))
        n = value // max(threshold, 1)
        return n if group.max_spikes is None else min(n, group.max_spikes)

    if group.reset_timing == "snntorch-immediate":
        r = int(above(v))
        v = _clip(_one32(x - r * threshold))
        n = count(v)
        return n, v - (n - r) * threshold
    if group.reset_timing == "next-step":
        if group.reset == "subtract":
            x -= last * threshold
        v = _clip(_one32(x))
        if group.reset == "zero" and last:
            v = 0
        return count(v), v
    v = _clip(_one32(x))
    n = count(v)
    if n and group.reset == "zero":
        v = 0
    if group.reset == "subtract":
        v -= n * threshold
    return n, v


def _decay(x: int, d: int) -> int:
    magnitude = (abs(x) * (4096 - d)) >> 12
    return magnitude if x >= 0 else -magnitude


def _wrap(x: int) -> int:
    if x > 2**23:
        return x - 2**24
    return x + 2**24 if x <= -(2**23) else x


def _clip(x: int) -> int:
    return max(-LIMIT, min(LIMIT, x))


def _one32(x: int) -> int:
    return (x + 2**31) % 2**32 - 2**31


def _int32(x: Array) -> Array:
    return x.astype(np.int32).astype(np.int64)
