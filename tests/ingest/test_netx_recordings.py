"""Recordings that come with lava-dl, of networks with spikes, through its own files.

SLAYER shifts what blocks answer, so recordings are some steps late.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from snndeploy import read_netx
from snndeploy.ir.arrays import Array
from snndeploy.ir.program import Program
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.lava.engine import run_lava
from snndeploy.simulate.recording import Recording
from tests.support.netx_files import dense, net

ENGINES = [
    "integer",
    pytest.param("lava", marks=[pytest.mark.lava, pytest.mark.slow, pytest.mark.timeout(3000)]),
]
"""Both run every recording."""


def run(engine: str, program: Program, data: Array, request: pytest.FixtureRequest) -> Recording:
    if engine == "integer":
        return run_integer(program, data)
    lava = request.getfixturevalue("lava")
    return run_lava(program, data, lava=lava)


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "nir_models/lava_dl"


def recording(folder: Path, name: str) -> Mapping[str, Array]:
    with np.load(folder / f"{name}_ground_truth.npz", allow_pickle=False) as data:
        return {k: v.astype(np.int64) for k, v in data.items()}


@pytest.mark.parametrize("engine", ENGINES)
def test_ntidigits(engine: str, folder: Path, request: pytest.FixtureRequest) -> None:
    """Delays of 0…62 steps, one per output: 22,572 spikes in 3,000 steps, none otherwise."""
    rec = recording(folder, "ntidigits")
    program = read_netx(folder / "ntidigits.net")
    data = rec["input"].T.reshape(3000, 1, *program.groups[0].shape)
    spikes = run(engine, program, data, request).spikes["dense-4"][:, 0].reshape(3000, 242)
    np.testing.assert_array_equal(spikes[:-4], rec["output"].T[4:])
    assert int(rec["output"].sum()) == 22_572
    assert max(int(s.sources[0].latency.max()) for s in program.synapses) == 63


@pytest.mark.parametrize("engine", ENGINES)
def test_tiny(engine: str, folder: Path, request: pytest.FixtureRequest) -> None:
    """An image that drives neurons, and two convolutions."""
    rec = recording(folder, "tiny")
    program = read_netx(folder / "tiny.net")
    own = int(program.group("input-0").bias_mant)  # the recorded image holds it already
    image = np.repeat((rec["input_bias"].T - own)[np.newaxis, np.newaxis], 16, axis=0)
    found = run(engine, program, image, request)
    for group, name in (("input-0", "input"), ("conv-1", "layer1"), ("conv-2", "output")):
        expected = np.moveaxis(rec[name][0], -1, 0)[1:]
        np.testing.assert_array_equal(found.spikes[group][:-1, 0], expected, group)
        assert expected.any()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_dense_block(
    engine: str, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """2,000 steps of 200 inputs into 256 neurons."""
    rec = recording(folder, "dense")
    path = net(tmp_path, dense(rec["weight"], neuron=(4096, 415, 6)))
    data = rec["in"].T[:, np.newaxis]
    spikes = run(engine, read_netx(path), data, request).spikes["dense-0"][:, 0]
    np.testing.assert_array_equal(spikes[:-1], rec["out"].T[1:])
    assert int(rec["out"].sum()) == 1_826
