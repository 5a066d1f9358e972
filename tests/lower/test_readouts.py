"""Networks that end without spikes: leaky integrators and bare linear layers answer with v."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import snndeploy
from snndeploy.chip import load_target
from snndeploy.data import Samples
from snndeploy.ingest import read_network, read_netx
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import Program
from snndeploy.ir.weights import Weight
from snndeploy.lower import lower
from snndeploy.mapping import check_program, place_program
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import inputs, lif, project
from tests.support.commands import check, run
from tests.support.nir_graphs import chain, written
from tests.support.nir_graphs import lif as nir_lif

FRAMEWORKS = ("snntorch", "norse", "nir")
STEPS, SAMPLES, WIDTH, CLASSES = 12, 6, 8, 4


def model(folder: Path, readout: str) -> Path:
    """Linear -> LIF -> Linear (-> LI)."""
    rng = np.random.default_rng(0)
    layers: list[Any] = [
        nir.Linear(rng.normal(size=(16, WIDTH)).astype(np.float32)),
        nir_lif(16),
        nir.Linear(rng.normal(size=(CLASSES, 16)).astype(np.float32)),
    ]
    if readout == "LI":
        full = np.full(CLASSES, 1.0)
        layers.append(nir.LI(tau=full * 2e-3, r=full * 2.0, v_leak=full * 0))
    return written(folder, chain(WIDTH, *layers))


def data(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    x = (rng.random((SAMPLES, STEPS, WIDTH)) < 0.4).astype(np.uint8)
    np.savez(folder / "x.npz", x=x, y=np.arange(SAMPLES) % CLASSES)
    return folder / "x.npz"


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
@pytest.mark.parametrize("readout", ["LI", "Linear"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_readouts_fit_and_follow_the_membrane(
    framework: str, readout: str, target: str, tmp_path: Path
) -> None:
    network = read_network(
        model(tmp_path, readout), framework, dt=1e-3, reset="zero", reset_timing="immediate"
    )
    compiled = snndeploy.compile(network, target=target, recipe=None)
    assert compiled.fits, [f.message for f in compiled.findings]
    (output,) = (g for g in compiled.program.groups if g.role == "output")
    assert (output.kind, output.vth.tolist()) == ("readout", 0)
    x = np.random.default_rng(1).integers(0, 2, (STEPS, SAMPLES, WIDTH))
    trained = run_float(network, x.astype(float), dtype="float64")
    chip = run_integer(compiled.program, x)
    v = chip.spikes[output.name] / output.scale
    error = np.abs(v - trained.spikes[output.name])  # a hidden spike or two differ by rounding
    assert np.median(error) < 0.01 * np.abs(v).max()
    agree = chip.predictions(output.name) == trained.predictions(output.name)
    assert agree.sum() >= SAMPLES - 1


@pytest.mark.lava
@pytest.mark.slow
@pytest.mark.parametrize("readout", ["LI", "Linear"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_readouts_run_on_lava_from_the_command_line(
    framework: str, readout: str, lava: object, tmp_path: Path
) -> None:
    options = ("--frontend", framework, "--dt", "0.001", "--reset", "zero", "-r", "none")
    path, samples = model(tmp_path, readout), data(tmp_path)
    late = ("--reset-timing", "immediate")
    for target in ("loihi1", "loihi2"):
        found = run(
            *("simulate", path, "-d", samples, "-e", "integer,lava", "-t", target, "--json"),
            *(*options, *late),
        )
        check(found, 0)
        report = json.loads(found.stdout)
        (pair,) = report["comparisons"]
        assert set(pair["differing"].values()) == {0}
        assert report["accuracy"]["integer"] == report["accuracy"]["lava"]


def netx_readout(folder: Path) -> Path:
    """Dense with neurons, then dense without any: lava-dl's networks that count in a last membrane."""
    import h5py

    rng = np.random.default_rng(2)
    with h5py.File(folder / "net.net", "w") as file:
        for i, (n_out, n_in) in enumerate(((16, WIDTH), (CLASSES, 16))):
            group = file.create_group(f"layer/{i}")
            group["type"] = np.array(["dense"], "S10")
            group["shape"] = np.array([n_out])
            group["weight"] = (rng.integers(-60, 61, (n_out, n_in)) * 2).astype(np.float32)
            if i == 0:
                group["neuron/type"] = np.bytes_("CUBA")
                for name, value in (("iDecay", 4096), ("vDecay", 128), ("vThMant", 80)):
                    group[f"neuron/{name}"] = value
    return folder / "net.net"


def test_a_netx_file_with_a_readout_fits(tmp_path: Path) -> None:
    program, target = read_netx(netx_readout(tmp_path)), load_target("loihi2")
    assert program.groups[-1].kind == "readout"
    placement = place_program(program, target)
    assert not [f for f in check_program(program, placement, target) if f.severity == "error"]


@pytest.mark.lava
@pytest.mark.slow
def test_a_netx_file_with_a_readout_runs_on_lava(lava: object, tmp_path: Path) -> None:
    found = run(
        *("simulate", netx_readout(tmp_path), "-d", data(tmp_path), "-e", "integer,lava", "--json")
    )
    check(found, 0)
    report = json.loads(found.stdout)
    (pair,) = report["comparisons"]
    assert set(pair["differing"].values()) == {0}


def scaled_rows() -> tuple[Network, Program]:
    """A readout of two neurons whose codes have different steps: the chip holds v in two units."""
    codes = Weight(np.array([[7, 7], [7, 6]]), np.array([[0.125], [1.0]]), 4)
    network = Network(
        (inputs((2,)), lif("output", (2,), "output", leak=1.0, threshold=None)),
        (project("fc", "input", "output", Dense(2, 2), codes),),
    ).verify()
    return network, lower(network, load_target("loihi2"), steps=4)


def test_membranes_in_different_units_are_compared_in_the_network_s() -> None:
    network, program = scaled_rows()
    assert program.group("output").scale.size == 2
    x = np.zeros((4, 1, 2), np.int64)
    x[:, 0, 1] = 1  # 7/8 against 6, and in the chip's units 7 against 6
    chip = run_integer(program, x)
    assert chip.counts("output").argmax(axis=1).tolist() == [0]
    assert chip.predictions("output").tolist() == [1]
    assert run_float(network, x.astype(float)).predictions("output").tolist() == [1]
    report = snndeploy.pipeline.run_compiled(
        snndeploy.compile(network, recipe=None), Samples(x, np.array([1])), ("float", "integer")
    )
    assert report["accuracy"] == {"float": 1.0, "integer": 1.0}
