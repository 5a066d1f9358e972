"""Programs of random networks on real Lava: many in one run, as starting one takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from snndeploy.ir.arrays import Array, size
from snndeploy.ir.program import Program
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.lava.engine import run_lava
from snndeploy.simulate.lava.env import LavaEnv
from tests.fuzz.networks import draw
from tests.fuzz.relations import Refused, Subject
from tests.support.conformance_programs import pack

STEPS, SAMPLES, PER_RUN = 6, 2, 12


def programs(first: int) -> Iterator[tuple[Program, dict[str, Array]]]:
    """Programs of cases from ``first`` on that have one, with data of one size."""
    for seed in range(first, first + 1000):
        subject = Subject(draw(seed))
        try:
            messages = subject.messages
        except Refused:
            continue
        groups = subject.program.on_chip
        if sum(size(g.shape) for g in groups) <= 80:
            yield subject.program, {n: of_one_size(x) for n, x in messages.items()}


def of_one_size(x: Array) -> Array:
    """The data again and again, cut."""
    long = np.concatenate([x] * STEPS)[:STEPS]
    return np.concatenate([long] * SAMPLES, axis=1)[:, :SAMPLES]


def on_lava(first: int, lava: LavaEnv) -> None:
    found = programs(first)
    some = [next(found) for _ in range(PER_RUN)]
    packed = pack([program for program, _ in some])
    data = {f"{i}/{n}": x for i, (_, inputs) in enumerate(some) for n, x in inputs.items()}
    names = [g.name for g in packed.on_chip if g.kind != "constant"]
    wanted = run_integer(packed, data, record_states=names)
    real = run_lava(packed, data, record_states=names, lava=lava, timeout_s=240)
    for kind in ("spikes", "u", "v"):
        one, other = getattr(real, kind), getattr(wanted, kind)
        for name in names:
            np.testing.assert_array_equal(one[name], other[name], f"{kind} of {name}")


@pytest.mark.lava
def test_a_dozen_networks_on_lava(lava: LavaEnv) -> None:
    on_lava(0, lava)


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", range(1000, 20_000, 1000))
def test_many_networks_on_lava(first: int, lava: LavaEnv) -> None:
    on_lava(first, lava)
