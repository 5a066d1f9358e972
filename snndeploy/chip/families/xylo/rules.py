"""What programs and the one core of a Xylo must obey."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ....ir.arrays import Array, size
from ....ir.linear.unroll import unroll
from ....ir.program import CompartmentGroup, Program, SynapseGroup
from ...counting import Breach, CoreRule, ProgramRule
from ...schema import Limit

_TOO_LARGE = 1 << 24
"""Synapses from which on single neurons are not looked at: nothing so large is near the limits."""


def _over(where: str, resource: str, used: int, limit: Limit) -> Iterator[Breach]:
    if used > limit.limit:
        yield Breach(
            where=where,
            resource=resource,
            used=used,
            limit=limit.limit,
            unit=limit.unit,
            source=limit.source,
            certainty=limit.certainty,
            message=f"{resource.replace('_', ' ')}: {used:,} of {limit.limit:,} {limit.unit}",
        )


def _never(family: Any, where: str, resource: str, message: str) -> Breach:
    neurons = family.target.neurons
    return Breach(
        where=where,
        resource=resource,
        source=neurons.source,
        certainty=neurons.certainty,
        message=message,
    )


def inputs(family: Any, program: Program) -> Iterator[Breach]:
    """Channels of all inputs together."""
    groups = [g for g in program.groups if g.kind == "input"]
    channels = sum(size(g.shape) for g in groups)
    yield from _over(_names(groups), "inputs", channels, family.target.ends.inputs)


def layers(family: Any, program: Program) -> Iterator[Breach]:
    """The ways that synapses go: into hidden neurons, between them, and from them to outputs."""
    for s in program.synapses:
        into = program.group(s.target)
        for source in (program.group(o.group) for o in s.sources):
            what = ""
            if source.role == "output":
                what = f"output neurons ({source.name}) send to the host alone"
            elif source.kind == "input" and into.role == "output":
                what = f"output neurons ({into.name}) hear hidden neurons alone, not the host"
            if what:
                yield _never(family, s.name, "layers", what)


def delays(family: Any, program: Program) -> Iterator[Breach]:
    """Spikes that would have to wait: the chip holds none back."""
    for s in program.synapses:
        longest = max(int(o.latency.max()) for o in s.sources)
        if longest > 1 + family.target.synapse.delay_max.limit:
            what = (
                f"its spikes arrive {longest - 1} step{'s' * (longest > 2)} later than the chip's"
            )
            message = f"{what} (a way around a layer, or a trained delay)"
            limit = family.target.synapse.delay_max
            yield Breach(
                where=s.name,
                resource="latency",
                used=longest,
                limit=1 + limit.limit,
                unit=limit.unit,
                source=limit.source,
                certainty=limit.certainty,
                message=message,
            )


def shifts(family: Any, program: Program) -> Iterator[Breach]:
    """One weight shift for each block of weights."""
    for name, block in blocks(program).items():
        if len({s.exponent for s in block}) > 1:
            told = ", ".join(f"{s.name}: {s.exponent}" for s in block)
            message = f"weights of {name} have several shifts ({told})"
            yield _never(family, _names(block), "weight_shift", message)


def fan_out(family: Any, program: Program) -> Iterator[Breach]:
    """Recurrent connections of single neurons."""
    limit = family.target.synapse.fan_out_max
    for group in hidden_groups(program):
        most = int(sum(fan_outs(program, group), np.zeros(1, np.int64)).max())
        yield from _over(group.name, "fan_out", most, limit)


def ends(family: Any, program: Program) -> Iterator[Breach]:
    """Hidden neurons that hear the host or feed outputs, where only some of them can."""
    limits, core = family.target.ends, family.target.core
    if limits.fed_by_inputs.limit >= core["hidden_neurons"].limit:
        return
    groups = hidden_groups(program)
    heard = [
        g for g in groups if any(program.group(o.group).kind == "input" for o in _into(program, g))
    ]
    feeding = [
        g
        for g in groups
        if any(program.group(s.target).role == "output" for s in program.outgoing(g.name))
    ]
    ahead = _neurons(groups[: 1 + max((groups.index(g) for g in heard), default=-1)])
    behind = _neurons(groups[min((groups.index(g) for g in feeding), default=len(groups)) :])
    yield from _over(_names(heard), "fed_by_inputs", ahead, limits.fed_by_inputs)
    yield from _over(_names(feeding), "feeding_outputs", behind, limits.feeding_outputs)


def hidden_groups(program: Program) -> list[CompartmentGroup]:
    """Groups of hidden neurons, in the order in which their neurons are numbered."""
    return [g for g in program.groups if g.kind != "input" and g.role != "output"]


def blocks(program: Program) -> dict[str, list[SynapseGroup]]:
    """Synapses by the memory that holds them: into hidden neurons, between them, into outputs."""
    found: dict[str, list[SynapseGroup]] = {"inputs": [], "hidden neurons": [], "outputs": []}
    for s in program.synapses:
        source = program.group(s.sources[0].group)
        name = "inputs" if source.kind == "input" else "hidden neurons"
        found["outputs" if program.group(s.target).role == "output" else name].append(s)
    return found


def fan_outs(program: Program, group: CompartmentGroup) -> Iterator[Array]:
    """Recurrent connections of every neuron of a group, by synapse group."""
    for s in program.outgoing(group.name):
        if program.group(s.target).role == "output":
            continue
        if s.op.fan_in * size(program.group(s.target).shape) > _TOO_LARGE:
            yield np.zeros(size(group.shape), np.int64)
            continue
        matrix = unroll(s.ops, s.mantissa, program.source_shape(s))
        yield np.bincount(matrix.cols, minlength=matrix.shape[1])


def _into(program: Program, group: CompartmentGroup) -> Iterator[Any]:
    for s in program.incoming(group.name):
        yield from s.sources


def _neurons(groups: list[CompartmentGroup]) -> int:
    return sum(size(g.shape) for g in groups)


def _names(parts: list[Any]) -> str:
    return " + ".join(part.name for part in parts) or "network"


PROGRAM_RULES = (
    ProgramRule(
        code="xylo-inputs", sentence="The host has a limited number of input channels.", run=inputs
    ),
    ProgramRule(
        code="xylo-layers",
        sentence="Inputs reach hidden neurons alone, and outputs hear and are heard by no other.",
        run=layers,
    ),
    ProgramRule(
        code="xylo-latency",
        sentence="Spikes take one step from neuron to neuron, and none from the host.",
        run=delays,
    ),
    ProgramRule(
        code="xylo-shift",
        sentence="All weights into hidden neurons from inputs, all from hidden ones, and all into "
        "outputs have one shift each.",
        run=shifts,
    ),
    ProgramRule(
        code="xylo-fan-out",
        sentence="A hidden neuron has a limited number of recurrent connections.",
        run=fan_out,
        shrinks=True,
    ),
    ProgramRule(
        code="xylo-ends",
        sentence="On some chips only the first hidden neurons hear inputs and the last feed outputs.",
        run=ends,
        shrinks=True,
    ),
)

CORE_RULES = (
    CoreRule(
        code="xylo-neurons",
        resources=("hidden_neurons", "output_neurons"),
        sentence="The chip has a limited number of hidden and of output neurons.",
        shrinks=True,
    ),
    CoreRule(
        code="xylo-recurrent",
        resources=("recurrent_entries",),
        sentence="All recurrent connections together must fit their memory.",
        of_memory=True,
        shrinks=True,
    ),
)
