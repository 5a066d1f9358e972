"""A program as the registers and memories of the chip hold it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....errors import LoweringRefused
from ....ir.arrays import Array, size
from ....ir.linear.unroll import unroll
from ....ir.program import CompartmentGroup, Program
from .rules import blocks, hidden_groups


@dataclass(frozen=True, kw_only=True, eq=False)
class Connections:
    """Synapses of one memory, sources ascending: int64 source, target and weight, before the shift."""

    source: Array
    target: Array
    weight: Array
    shift: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Configuration:
    """What a Xylo is configured with: neurons are numbered in the order of the program's groups.

    Attributes:
        channels: of the host.
        inputs: synapses of the host's channels on hidden neurons.
        hidden: those between hidden neurons.
        outputs: those of hidden neurons on output neurons.
        dash_syn: decays of u of all neurons, hidden ones first.
        dash_mem: likewise of v.
        threshold: likewise.
        bias: likewise.
        neurons: hidden neurons.
    """

    channels: int
    inputs: Connections
    hidden: Connections
    outputs: Connections
    dash_syn: Array
    dash_mem: Array
    threshold: Array
    bias: Array
    neurons: int


def configuration_of(program: Program, largest_threshold: int) -> Configuration:
    """The configuration that runs ``program``.

    A neuron that is read, rather than spikes, gets the ``largest_threshold``.

    Raises:
        LoweringRefused: its synapses go where no memory holds them, wait, or have several shifts.
    """
    hidden = hidden_groups(program)
    outputs = [g for g in program.groups if g.role == "output"]
    inputs = [g for g in program.groups if g.kind == "input"]
    place = {**_places(inputs), **_places(hidden), **_places(outputs)}
    memories = {
        name: _connections(program, name, place) for name in ("inputs", "hidden neurons", "outputs")
    }
    groups = [*hidden, *outputs]

    def column(of: list[Array]) -> Array:
        parts = [np.broadcast_to(x, g.shape).reshape(-1) for x, g in zip(of, groups, strict=True)]
        return np.concatenate(parts).astype(np.int64)

    top = np.asarray(largest_threshold)
    return Configuration(
        channels=_neurons(inputs),
        inputs=memories["inputs"],
        hidden=memories["hidden neurons"],
        outputs=memories["outputs"],
        dash_syn=column([g.du for g in groups]),
        dash_mem=column([g.dv for g in groups]),
        threshold=column([top if g.rule is None else g.vth for g in groups]),
        bias=column([g.bias for g in groups]),
        neurons=_neurons(hidden),
    )


def _connections(program: Program, name: str, place: dict[str, int]) -> Connections:
    columns, shifts = [np.zeros((3, 0), np.int64)], set()
    for s in blocks(program)[name]:
        shifts.add(s.exponent)
        matrix = unroll(s.ops, s.mantissa, program.source_shape(s))
        for o in s.sources:
            source = program.group(o.group)
            host = source.kind == "input"
            if source.role == "output" or host != (name == "inputs"):
                raise _refused(s.name, f"no memory holds synapses from {o.group} to {s.target}")
            if (o.latency != 1).any():
                raise _refused(s.name, "its spikes would have to wait")
            columns.append(
                np.stack(
                    [matrix.cols + place[o.group], matrix.rows + place[s.target], matrix.values]
                )
            )
    if len(shifts) > 1:
        raise _refused(name, f"weights of {name} have the shifts {sorted(shifts)}")
    source, target, weight = np.concatenate(columns, axis=1)
    order = np.argsort(source, kind="stable")
    return Connections(
        source=source[order],
        target=target[order],
        weight=weight[order],
        shift=shifts.pop() if shifts else 0,
    )


def _refused(where: str, message: str) -> LoweringRefused:
    return LoweringRefused(
        "xylo-configuration", message, where=where, hint="`snndeploy check` tells all violations"
    )


def _places(groups: list[CompartmentGroup]) -> dict[str, int]:
    starts = np.cumsum([0, *(size(g.shape) for g in groups)])
    return {g.name: int(start) for g, start in zip(groups, starts, strict=False)}


def _neurons(groups: list[CompartmentGroup]) -> int:
    return sum(size(g.shape) for g in groups)
