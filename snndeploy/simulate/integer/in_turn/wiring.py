"""All neurons of a chip in one row, and for each source its synapses in the order in which they act."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ....ir.arrays import Array, size
from ....ir.linear.unroll import unroll
from ....ir.program import CompartmentGroup, Program
from ....ir.step import Arithmetic, shifted, wrapped
from ..neurons.step import registers


@dataclass(frozen=True, kw_only=True, eq=False)
class Synapses:
    """Synapses by source: those of source ``i`` are ``first[i]:first[i + 1]``, in their order.

    Attributes:
        first: int64 (sources + 1,).
        target: the neuron that each ends on.
        state: which of its synaptic states it adds to.
        weight: what a spike adds.
        steps: until it arrives: 1 is the same step for the host's spikes, the next one for neurons'.
    """

    first: Array
    target: Array
    state: Array
    weight: Array
    steps: Array

    @classmethod
    def of(
        cls,
        sources: int,
        source: Array,
        target: Array,
        weight: Array | int,
        *,
        state: Array | int = 0,
        steps: Array | int = 1,
    ) -> Synapses:
        """Sort entries by source; those of one source keep their order."""
        order = np.argsort(source, kind="stable")
        columns = (
            np.broadcast_to(np.asarray(c, np.int64), np.shape(source))[order]
            for c in (target, state, weight, steps)
        )
        first = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=sources))])
        t, s, w, d = map(np.ascontiguousarray, columns)
        return cls(first=first.astype(np.int64), target=t, state=s, weight=w, steps=d)


@dataclass(frozen=True, kw_only=True, eq=False)
class Wiring:
    """A chip as it is configured: ``neurons`` in the order in which they act within a step.

    Attributes:
        arithmetic: of the chip.
        neurons: how many there are.
        host: synapses of the host's channels, which act first.
        inner: synapses of the neurons.
        du: int64 (neurons, states), decay constant of each synaptic state.
        dv: int64 (neurons,), that of v.
        threshold: v units.
        bias: added to v at every step.
        most: spikes of a step at the most.
        read: whether v is told instead of spikes.
        alias: int64 (pairs, 2): a neuron, and another that sends every spike of it as its own.
    """

    arithmetic: Arithmetic
    neurons: int
    host: Synapses
    inner: Synapses
    du: Array
    dv: Array
    threshold: Array
    bias: Array
    most: Array
    read: Array
    alias: Array = field(default_factory=lambda: np.zeros((0, 2), np.int64))

    @property
    def states(self) -> int:
        """Synaptic states of a neuron."""
        return int(self.du.shape[1])

    @property
    def aliases(self) -> Synapses:
        """Whom each neuron passes its spikes on to, by neuron."""
        return Synapses.of(self.neurons, self.alias[:, 0], self.alias[:, 1], 1)


def wiring_of(program: Program) -> Wiring:
    """The neurons and synapses of a program in one row, in the order of its groups.

    A group acts before those that follow it in the program, the host before all of them.

    Raises:
        ValueError: a neuron does something that no chip with this arithmetic does.
    """
    groups = [g for g in program.groups if g.kind != "input"]
    start = dict(zip((g.name for g in groups), _starts(groups), strict=True))
    inputs = [g for g in program.groups if g.kind == "input"]
    channel = dict(zip((g.name for g in inputs), _starts(inputs), strict=True))
    host: list[Array] = [np.zeros((4, 0), np.int64)]
    inner: list[Array] = [np.zeros((4, 0), np.int64)]
    for s in program.synapses:
        matrix = unroll(s.ops, s.mantissa, program.source_shape(s))
        weight = wrapped(shifted(matrix.values, s.exponent), program.arithmetic.state_bits)
        for o in s.sources:
            source = program.group(o.group)
            steps = np.broadcast_to(o.latency, source.shape).reshape(-1)
            rows, base = (
                (host, channel[o.group]) if source.kind == "input" else (inner, start[o.group])
            )
            rows.append(
                np.stack(
                    [
                        matrix.cols + base,
                        matrix.rows + start[s.target],
                        weight,
                        steps[matrix.cols] - (source.depth if source.kind == "input" else 0),
                    ]
                )
            )
    neurons = sum(size(g.shape) for g in groups)
    columns = [_columns(g, program.arithmetic) for g in groups]
    du, dv, threshold, bias, most, read = (np.concatenate(c) for c in zip(*columns, strict=True))
    h, i = np.concatenate(host, axis=1), np.concatenate(inner, axis=1)
    return Wiring(
        arithmetic=program.arithmetic,
        neurons=neurons,
        host=Synapses.of(sum(size(g.shape) for g in inputs), h[0], h[1], h[2], steps=h[3]),
        inner=Synapses.of(neurons, i[0], i[1], i[2], steps=i[3]),
        du=du[:, None],
        dv=dv,
        threshold=threshold,
        bias=bias,
        most=most,
        read=read > 0,
    )


def _starts(groups: list[CompartmentGroup]) -> list[int]:
    sizes = [size(g.shape) for g in groups]
    return [0, *np.cumsum(sizes).tolist()][: len(groups)]


def _columns(group: CompartmentGroup, arithmetic: Arithmetic) -> tuple[Array, ...]:
    rule = group.rule
    if group.kind == "constant" or group.v_floor is not None or group.beyond():
        raise ValueError(f"{group.name}: no chip that adds spikes in turn has such neurons")
    most, p = 1, registers(group, arithmetic)
    # The neuron of a readout is one whose threshold is the end of its register.
    threshold = np.asarray(arithmetic.state_max)
    if rule is not None:
        known = rule.compare == ">=" and rule.reset == "subtract"
        if not known or rule.reset_timing != "immediate":
            raise ValueError(f"{group.name}: no chip that adds spikes in turn has such neurons")
        threshold = p.threshold
        most = 1 if rule.spikes_per_step == "one" else rule.max_spikes or arithmetic.state_max
    read = np.asarray(rule is None)
    parameters = (p.du, p.dv, threshold, p.bias, np.asarray(most), read)
    return tuple(np.broadcast_to(x, group.shape).reshape(-1).astype(np.int64) for x in parameters)
