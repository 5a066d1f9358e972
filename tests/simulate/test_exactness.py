"""Where integers can represent a network, float, integer and Lava engines give the same spikes."""

from __future__ import annotations

import numpy as np
import pytest

from snndeploy.chip import load_target
from snndeploy.ir.program import Program
from snndeploy.lower import infer_coding, lower
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.recording import Recording
from tests.support.conformance_programs import pack
from tests.support.exact_networks import FAMILIES, STEPS, exact_inputs, exact_network

SEEDS = 4
LOIHI2 = load_target("loihi2")


def lowered(family: str, seed: int) -> tuple[Program, np.ndarray, Recording]:
    """A network's program, its input, and what the float engine says of it."""
    network = exact_network(family, seed)
    x = exact_inputs(network, family, seed)
    program = lower(network, LOIHI2, inputs=infer_coding(x), steps=STEPS)
    return program, x, run_float(network, x, dtype="float64")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(8))
def test_float_equals_integer(family: str, seed: int) -> None:
    program, x, trained = lowered(family, seed)
    assert all(r.exact for r in program.rounding.values()), program.rounding
    chip = run_integer(program, x)
    for name, spikes in trained.spikes.items():
        np.testing.assert_array_equal(spikes, chip.spikes[name], err_msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_spike_in_every_population(family: str) -> None:
    """Networks without activity would agree for the wrong reason."""
    totals: dict[str, float] = {}
    for seed in range(SEEDS):
        trained = lowered(family, seed)[2]
        for name, spikes in trained.spikes.items():
            totals[name] = totals.get(name, 0) + float(spikes.sum())
    assert min(totals.values()) > 0, totals


@pytest.mark.lava
@pytest.mark.parametrize("seed", range(SEEDS))
def test_float_equals_lava(seed: int, lava: object) -> None:
    """All families of one seed in one Lava run: 44 networks over the seeds."""
    from snndeploy.simulate.lava.engine import run_lava

    cases = [lowered(family, seed) for family in FAMILIES]
    data = {f"{i}/input": x for i, (_, x, _) in enumerate(cases)}
    on_lava = run_lava(pack([program for program, _, _ in cases]), data)
    for i, (_, _, trained) in enumerate(cases):
        for name, spikes in trained.spikes.items():
            np.testing.assert_array_equal(spikes, on_lava.spikes[f"{i}/{name}"], err_msg=name)
