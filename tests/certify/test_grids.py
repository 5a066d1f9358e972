"""Bounds of thousands of neurons with small numbers: none leaves them, and they are what they were."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from snndeploy.certify.bounds import bounds, pause
from snndeploy.certify.runs import engine
from tests.support.checked import checked
from tests.support.grids import CASES, grid, reached, trains
from tests.support.recorded import Record, fields, text


def told(case: int) -> Iterator[str]:
    """How far all registers go, and how long neurons pause."""
    read = checked(grid(case))
    for name, b in bounds(read).items():
        yield f"{name} {fields(b)} pause={text(pause(read.group[name], read.arithmetic, b))}"


RECORD = Record(Path(__file__).with_name("grids.txt"), {str(c): partial(told, c) for c in CASES})


@pytest.mark.parametrize("case", RECORD.cases)
def test_it_is_as_it_was(case: str) -> None:
    RECORD.check(case)


@pytest.mark.parametrize("case", CASES)
def test_no_run_leaves_the_bounds(case: int) -> None:
    """Of each neuron; of groups, where spikes are taken in turn."""
    program = grid(case)
    a, read = program.arithmetic, checked(program)
    found = bounds(read)
    if a.arrival == "in-turn":
        peaks = engine(read, trains(program))[1]
        ends = {name: {"u": x[0].max(), "v": x[1].max()} for name, x in peaks.items()}
        for b in found.values():
            b.u, b.v = b.u.max(), b.v.max()
    else:
        ends = reached(program)
    for name, b in found.items():
        if not b.safe or (a.v_overflow == "wrap" and b.v.max() > a.state_max):
            break  # what wrapped can be anything, and so can what hears of it
        for end, most in ends[name].items():
            if end != "spikes":
                assert (np.abs(most) <= getattr(b, end)).all(), (name, end)
