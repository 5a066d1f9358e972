"""Lowering for files of lava-dl: what is written and read back is the same program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from snndeploy.chip import load_target
from snndeploy.errors import UsageError
from snndeploy.export import write_netx
from snndeploy.ingest import read_netx
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense, Reshape
from snndeploy.lower import InputCoding, lower
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import conv, inputs, lif, project
from tests.support.commands import FRONTEND, check, code_of, network, run
from tests.support.nir_graphs import chain, cuba, written

LOIHI2 = load_target("loihi2")
BINARY = InputCoding.named("binary")


def model(seed: int) -> Network:
    """Convolution with a bias, dense with a bias; leaks and filters that have no exact constant."""
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.integers(-2, 3)
    fields: dict[str, Any] = {"leak": float(rng.uniform(0.5, 1)), "threshold": size}
    filtered = {"syn_leak": float(rng.uniform(0.2, 0.8))} if seed % 2 else {}
    bias = rng.normal(size=(3, 1, 1)) * size / 10
    parts = (
        inputs((2, 5, 5)),
        lif("a", (3, 5, 5), bias=bias, **fields),
        lif("out", (4,), "output", **fields, **filtered),
    )
    return Network(
        parts,
        (
            project("c", "input", "a", conv(2, 3), rng.normal(size=(3, 2, 3, 3)) * size / 2),
            project(
                "d", "a", "out", (Reshape((75,)), Dense(4, 75)), rng.normal(size=(4, 75)) * size / 4
            ),
        ),
    ).verify()


@pytest.mark.parametrize("seed", range(8))
def test_what_is_lowered_for_netx_is_written_and_comes_back(seed: int, tmp_path: Path) -> None:
    net = model(seed)
    program = lower(net, LOIHI2, inputs=BINARY, steps=20, layout="netx")
    back = read_netx(write_netx(tmp_path / "m.net", program), compare=">")
    x = (np.random.default_rng(seed).random((20, 6, 2, 5, 5)) < 0.3).astype(np.int64)
    here, there = run_integer(program, x), run_integer(back, x)
    for name, other in (("a", "conv-1"), ("out", "dense-3")):
        np.testing.assert_array_equal(here.spikes[name], there.spikes[other])
    trained = run_float(net, x.astype(float), dtype="float64").spikes["a"]
    assert trained.any()
    assert (trained != here.spikes["a"]).mean() < 0.02


def test_weights_of_the_layout_have_no_exponent() -> None:
    program = lower(model(0), LOIHI2, inputs=BINARY, layout="netx")
    assert [s.exponent for s in program.synapses] == [0, 0]
    assert program.group("a").vth.size == 1
    assert not (program.group("a").bias % 64).any()
    assert all(np.abs(s.mantissa).max() > 120 for s in program.synapses)


def test_no_other_layout_is_known() -> None:
    with pytest.raises(UsageError) as caught:
        lower(model(0), LOIHI2, layout="tape")  # type: ignore[arg-type]
    assert caught.value.code == "layout-unknown"


def test_from_the_command_line(tmp_path: Path) -> None:
    path = network(tmp_path, 6, 5, 3)
    bundle, file = tmp_path / "m.snnb", tmp_path / "m.net"
    check(run("compile", path, *FRONTEND, "-r", "none", "--for", "netx", "-o", bundle), 0)
    check(run("export", bundle, "--to", "netx", "-o", file), 0)
    check(run("export", path, *FRONTEND, "-r", "none", "--to", "netx", "-o", tmp_path / "n.net"), 0)
    assert read_netx(file).digest == read_netx(tmp_path / "n.net").digest


def test_what_no_file_can_hold_is_said_before_the_work(tmp_path: Path) -> None:
    layers = (nir.Affine(np.eye(4), np.full(4, 0.5)), cuba(4))
    path = written(tmp_path, chain(4, *layers))
    found = run(
        "compile", path, *FRONTEND, "-r", "none", "--for", "netx", "-o", tmp_path / "m.snnb"
    )
    assert code_of(found) == "export-netx"
    assert "its bias passes a synaptic filter" in found.stderr
