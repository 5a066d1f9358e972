"""``.net`` files that we write, read by lava-dl's own reader and run on Lava.

$SNNDEPLOY_LAVA_DL_PYTHON names an interpreter with lava-nc 0.10.0, h5py and lava-dl 0.6.0; without it
these skip. On Python 3.10::

    pip install lava-nc==0.10.0 h5py
    pip install --no-deps lava-dl==0.6.0
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
import pytest

from snndeploy import compile, read_network, read_netx
from snndeploy.export import write_netx
from snndeploy.ir.program import Program
from snndeploy.simulate.integer.engine import run_integer
from tests.support.netx_files import net, resonators
from tests.support.nir_graphs import chain, conv2d, graph, lif

READER = Path(__file__).parents[1] / "support" / "netx_reader.py"
STEPS, SAMPLES = 20, 2


@pytest.fixture(scope="module")
def lava_dl() -> str:
    python = os.environ.get("SNNDEPLOY_LAVA_DL_PYTHON")
    if not python:
        pytest.skip("set SNNDEPLOY_LAVA_DL_PYTHON to a Python 3.10 with lava-dl")
    return python


def lowered(model: nir.NIRGraph) -> Program:
    network = read_network(model, "nir", dt=1e-3, reset="zero")
    return compile(network, recipe=None, layout="netx").program


def dense(_: Path) -> Program:
    rng = np.random.default_rng(0)
    nodes = [nir.Affine(rng.normal(size=(9, 6)), rng.normal(size=9) * 0.2), lif(9)]
    return lowered(chain(6, *nodes, nir.Linear(rng.normal(size=(4, 9))), lif(4)))


def convolution(_: Path) -> Program:
    """Stride, padding and axes of different lengths, and a flatten before a dense layer."""
    rng = np.random.default_rng(1)
    conv = conv2d(rng.normal(size=(3, 2, 3, 2)), stride=(2, 1), padding=(1, 0))
    nodes = [conv, lif((3, 3, 6)), nir.Flatten({"input": np.array([3, 3, 6])}, 0, -1)]
    return lowered(chain((2, 6, 7), *nodes, nir.Linear(rng.normal(size=(5, 54))), lif(5)))


def pooled(_: Path) -> Program:
    """Average pools between layers, which the weights behind them take in."""
    rng = np.random.default_rng(4)
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    nodes = [
        conv2d(rng.normal(size=(3, 2, 3, 3)) * 2, padding=(1, 1)),
        lif((3, 8, 12)),
        pool,
        conv2d(rng.normal(size=(4, 3, 3, 3)) * 2, padding=(1, 1)),
        lif((4, 4, 6)),
        pool,
        nir.Flatten({"input": np.array([4, 2, 3])}, 0, -1),
        nir.Linear(rng.normal(size=(5, 24)) * 3),
        lif(5),
    ]
    return lowered(chain((2, 8, 12), *nodes))


def late(_: Path) -> Program:
    """A delay for each input."""
    rng = np.random.default_rng(5)
    nodes = [nir.Delay(np.arange(6) % 4 * 1e-3), nir.Linear(rng.normal(size=(9, 6)) * 2), lif(9)]
    return lowered(chain(6, *nodes, nir.Linear(rng.normal(size=(4, 9)) * 2), lif(4)))


def recurrent(_: Path) -> Program:
    rng = np.random.default_rng(2)
    nodes = {
        "w": nir.Linear(rng.normal(size=(7, 5))),
        "a": lif(7),
        "r": nir.Linear(rng.normal(size=(7, 7)) * 0.4),
        "x": nir.Linear(rng.normal(size=(3, 7))),
        "b": lif(3),
    }
    edges = [("input", "w"), ("w", "a"), ("a", "r"), ("r", "a"), ("a", "x"), ("x", "b")]
    return lowered(graph(nodes, [*edges, ("b", "output")], 5))


def digits(data: Path) -> Program:
    return read_netx(data / "nir_models/lava_dl/mnist_784-128-64-10.net")


@pytest.mark.lava
@pytest.mark.parametrize("model", [dense, convolution, pooled, late, recurrent, digits])
def test_lava_dl_reads_what_we_write(
    model: Callable[[Path], Program], lava_dl: str, tmp_path: Path, shared_data: Path
) -> None:
    """Every spike of the output (or its v) is the integer engine's."""
    program = model(shared_data)
    judged(program, write_netx(tmp_path / "a.net", program), lava_dl, tmp_path)


@pytest.mark.lava
@pytest.mark.parametrize(
    ("kind", "sin", "cos"), [("RF_PHASE", 3500, -1500), ("RF_IZHIKEVICH", -500, 3000)]
)
def test_lava_dl_runs_resonators_as_we_do(
    kind: str, sin: int, cos: int, lava_dl: str, tmp_path: Path
) -> None:
    """Factors that netx changes on its way included: -500 becomes -499."""
    first = resonators(kind, sin=sin, cos=cos, vth=8)
    path = net(tmp_path, first, resonators(kind, sin=sin, cos=cos, vth=1))
    judged(read_netx(path), path, lava_dl, tmp_path)


def judged(program: Program, path: Path, lava_dl: str, tmp_path: Path) -> None:
    """Run a file in lava-dl, and hold it against the program that it was written from or read as."""
    entry = next(g for g in program.groups if g.kind == "input")
    output = next(g for g in program.groups if g.role == "output")
    rng = np.random.default_rng(3)
    x = (rng.random((STEPS, SAMPLES, *entry.shape)) < 0.4).astype(np.int64)
    np.savez(tmp_path / "x.npz", x=x, depth=output.depth)
    done = subprocess.run(
        [lava_dl, READER, path, tmp_path / "x.npz", tmp_path / "s.npz"],
        env={"PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wanted = run_integer(program, x).spikes[output.name].reshape(STEPS, SAMPLES, -1)
    with np.load(tmp_path / "s.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["s"], wanted)
    assert wanted.any()
