"""How long a step takes: the cycles that rockpool 3.1.0 counts (``power_cycles_model.py``)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....ir.arrays import Array, size
from ....ir.program import CompartmentGroup, Program
from ...counting import Cycles
from .rules import blocks, fan_outs, hidden_groups
from .tables import XyloTarget

PER_INPUT, PER_NEURON, PER_OUTPUT = 1.0, 22.0, 12.0
"""Cycles of every input channel, hidden and output neuron in a step."""
PER_EVENT = 3.0
"""Cycles of a hidden neuron that spikes, however often."""
PER_INPUT_SYNAPSE, PER_RECURRENT, PER_OUTPUT_SYNAPSE = 3.5, 7.0, 8.0
"""Cycles of a spiking source and each neuron that it may reach."""
_MICRO = 1e6


def cycles(target: XyloTarget, program: Program, active: Mapping[str, Array]) -> Cycles:
    """Cycles of the steps that ``active`` holds: several spikes of a neuron cost as one.

    On Audio 2 an input spike visits all hidden neurons, on the others those with an input weight; so it
    is with hidden neurons and outputs.
    """
    hidden, outputs = hidden_groups(program), [g for g in program.groups if g.role == "output"]
    inputs = [g for g in program.groups if g.kind == "input"]
    neurons, out = _neurons(hidden), _neurons(outputs)
    everywhere = target.ends.fed_by_inputs.limit >= target.core["hidden_neurons"].limit
    memory = blocks(program)
    heard = {s.target for s in memory["inputs"]}
    feeding = {o.group for s in memory["outputs"] for o in s.sources}
    reached = neurons if everywhere else _neurons([g for g in hidden if g.name in heard])
    steps = len(next(iter(active.values())))
    none = np.zeros(steps)

    def events(groups: list[CompartmentGroup]) -> Array:
        found = (active[g.name].reshape(steps, -1).sum(axis=1) for g in groups if g.name in active)
        return np.asarray(sum(found, none))

    recurrent = none
    for g in hidden:
        if g.name in active:
            fan_out = sum(fan_outs(program, g), np.zeros(size(g.shape), np.int64))
            recurrent = recurrent + active[g.name].reshape(steps, -1) @ fan_out
    sending = hidden if everywhere else [g for g in hidden if g.name in feeding]
    clock = target.clock.default_khz
    return Cycles(
        parts={
            "input spikes": PER_INPUT_SYNAPSE * reached * events(inputs)
            + PER_INPUT * _neurons(inputs),
            "recurrent spikes": PER_RECURRENT * recurrent + PER_EVENT * events(hidden),
            "spikes to outputs": (1 + PER_OUTPUT_SYNAPSE * out) * events(sending),
            "neuron updates": np.full(steps, PER_NEURON * neurons + PER_OUTPUT * out),
        },
        ns=_MICRO / clock.limit,
        certainty=clock.certainty,
        not_counted=("input and output", f"the clock may be set: this is for {clock.limit:,} kHz"),
    )


def _neurons(groups: list[CompartmentGroup]) -> int:
    return sum(size(g.shape) for g in groups)
