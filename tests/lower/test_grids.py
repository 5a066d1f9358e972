"""What is proved of thousands of neurons with small numbers: none leaves it, and it is what it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from snndeploy.ir.arrays import Array
from snndeploy.ir.program import Headroom, Program
from snndeploy.lower.exact import _registers, saturating, truncated
from snndeploy.lower.proofs.headroom import (
    Interval,
    WorstCase,
    headroom,
    held_spikes,
    input_interval,
    most_spikes,
    worst_case,
)
from snndeploy.lower.proofs.paced import paced
from snndeploy.lower.proofs.rounding import unproved
from tests.support.grids import CASES, grid, reached
from tests.support.recorded import Record, fields, text


def proved(program: Program) -> tuple[dict[str, WorstCase], dict[str, Array]]:
    """How far states go, and how often neurons spike per step, in the order of groups."""
    a = program.arithmetic
    worst: dict[str, WorstCase] = {}
    most = {g.name: np.asarray(g.largest) for g in program.groups}
    most |= {g.name: held_spikes(g, a) for g in program.on_chip if g.kind != "readout"}
    for group in program.on_chip:
        total = Interval(np.zeros(group.shape), np.zeros(group.shape))
        for s in program.incoming(group.name):
            (o,) = s.sources
            source = program.group(o.group)
            signed = bool(source.kind == "input" and source.message_bits and not source.max_spikes)
            one = input_interval(s.ops, s.mantissa, source.shape, most[o.group], signed)
            total = total + one.shifted(s.exponent)
        worst[group.name] = worst_case(group, total, a)
        if group.kind != "readout":
            most[group.name] = most_spikes(group, worst[group.name], a)
    return worst, most


def told(case: int) -> Iterator[str]:
    """All that is proved of a program, and what is not."""
    program = grid(case)
    a = program.arithmetic
    worst, most = proved(program)
    rooms = {name: headroom(w, a) for name, w in worst.items()}
    for name, w in worst.items():
        group, into = program.group(name), program.incoming(name)
        yield f"worst {name} {fields(w)}"
        yield f"room {name} {fields(rooms[name])} {text(most[name])} {text(held_spikes(group, a))}"
        for steps in (1, 7, 40):
            lost = truncated(group, into, w, steps, a)
            reasons = list(_registers(group, w, steps, 1022.0 + steps, a))
            yield f"within {steps} {name} {text(w.within(steps))} {text(lost)} {text(reasons)}"
            for f in saturating(group, w, steps, a):
                yield f"finding {fields(f)}"
        for f in unproved(group, rooms[name], 900.0 + 200 * (case % 2), a, proved_by_data=False):
            yield f"finding {fields(f)}"
    for name, room in paced(_with(program, rooms), most, worst).items():
        yield f"paced {name} {fields(room)}"


def _with(program: Program, rooms: dict[str, Headroom]) -> Program:
    return dataclasses.replace(program, headroom=rooms)


RECORD = Record(Path(__file__).with_name("grids.txt"), {str(c): partial(told, c) for c in CASES})


@pytest.mark.parametrize("case", RECORD.cases)
def test_it_is_as_it_was(case: str) -> None:
    RECORD.check(case)


@pytest.mark.parametrize("case", CASES)
def test_no_run_leaves_what_is_proved(case: int) -> None:
    """Of each neuron; where pauses count, of each group."""
    program = grid(case)
    a, (worst, most) = program.arithmetic, proved(program)
    if a.arrival == "in-turn":
        pytest.skip("tests/certify does it")
    rooms = {name: headroom(w, a) for name, w in worst.items()}
    rooms |= paced(_with(program, rooms), most, worst)
    for name, ends in reached(program).items():
        w, room = worst[name], rooms[name]
        if w.u.peak.max() > a.state_max or (a.v_overflow == "wrap" and room.clip_steps is not None):
            break  # what wrapped can be anything, and so can what hears of it
        assert (ends["u_high"] <= w.u.high).all()
        assert (ends["u_low"] >= w.u.low).all()
        assert (ends["v_high"] <= w.v.high).all()
        assert (ends["v_low"] >= w.v.low).all()
        assert max(ends["u_high"].max(), -ends["u_low"].min()) <= room.u_peak
        if room.clip_steps is None:
            assert max(ends["v_high"].max(), -ends["v_low"].min()) <= room.v_peak
        if program.group(name).kind != "readout":
            assert (ends["spikes"] <= most[name]).all()
