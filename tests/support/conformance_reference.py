"""The obvious engine: a `Program` in chip time, one sample and one step after the other.

Written from the text of `snndeploy.ir.program` alone. It shares only `snndeploy.ir.step` with the
engines, which `tests.support.scalar_step` judges by itself: every projection is a plain matrix, a spike
is looked up at the chip step it was sent, and nothing is sent before a group's first step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snndeploy.ir.arrays import Array
from snndeploy.ir.ops import chain_shapes, index_map
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup
from snndeploy.ir.step import Arithmetic, IntegerParameters, IntegerState, step_integer
from snndeploy.simulate.recording import Recording


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
                emitted = _update(group, program.arithmetic, state[group.name], a)
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
    bits = program.arithmetic.sum_bits
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
                    acc = _wrapped(acc, bits)  # Lava multiplies graded messages in int32
                e = synapses.exponent
                total += _wrapped(acc << e if e >= 0 else acc >> -e, bits)
    return _wrapped(total, bits)


def _update(group: CompartmentGroup, chip: Arithmetic, state: Array, a: Array) -> Array:
    """Advance u, v and the last spike count in place; returns what the group sends."""
    p = IntegerParameters(
        du=_flat(group.du, group) + chip.u_decay_offset,
        dv=_flat(group.dv, group),
        threshold=_flat(group.vth, group) << chip.state_shift,
        bias=_flat(group.bias, group),
        v_floor=None
        if group.v_floor is None or group.kind != "custom"
        else _flat(group.v_floor, group),
    )
    now = IntegerState(*state)
    sent: Array = step_integer(group.rule, chip, p, now, a)
    state[:] = now.u, now.v, now.fired
    return sent.copy()


def _flat(values: Array, group: CompartmentGroup) -> Array:
    return np.broadcast_to(values, group.shape).reshape(-1).astype(np.int64)


def _wrapped(x: Array, bits: int) -> Array:
    half = 2 ** (bits - 1)
    return (x + half) % (2 * half) - half
