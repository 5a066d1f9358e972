"""Resonate-and-fire neurons in .net files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy import read_netx
from snndeploy.bundle import read_bundle
from snndeploy.errors import InputError
from snndeploy.ingest.readers.netx_neurons import turned
from snndeploy.ir.arrays import Array
from snndeploy.ir.graded.resonator import ResonatorRule
from snndeploy.ir.program import SynapseGroup
from snndeploy.simulate.integer.engine import run_integer
from tests.support.commands import check, printed, run
from tests.support.netx_files import IMAG, REAL, dense, net, resonators


def weights(s: SynapseGroup) -> Array:
    return s.mantissa << s.exponent if s.exponent >= 0 else s.mantissa >> -s.exponent


def test_a_layer_is_what_netx_makes_of_it(tmp_path: Path) -> None:
    program = read_netx(net(tmp_path, resonators(), dense([[100, 100]])))
    assert [(g.name, g.kind, g.depth) for g in program.groups] == [
        ("input", "input", 0),
        ("dense-0", "resonator", 1),
        ("dense-1", "lif", 2),
    ]
    group = program.group("dense-0")
    sin, cos = turned(2000, 3300)
    assert group.dynamics == ResonatorRule(form="phase", sin=sin, cos=cos)
    assert int(group.vth) == 20 << 6
    heard = {s.port: s for s in program.incoming("dense-0")}
    assert {port: weights(s).tolist() for port, s in heard.items()} == {"": REAL, "imag": IMAG}


@pytest.mark.parametrize(
    ("said", "done"),
    [
        ((2000, 3300), (2000, 3300)),
        ((1024, 1024), (1023, 1024)),
        ((-500, 3000), (-499, 3000)),
        ((100, -4000), (99, -4000)),
        ((4096, 0), (4096, 0)),
    ],
)
def test_factors_pass_through_netxs_period_and_back(
    said: tuple[int, int], done: tuple[int, int]
) -> None:
    """Truncated on the way, so that some change by one."""
    assert turned(*said) == done


def test_both_parts_hear_and_turn(tmp_path: Path) -> None:
    """A quarter turn a step, without loss: what enters the imaginary part is minus the real one next."""
    fields = resonators("RF_IZHIKEVICH", sin=4096, cos=0, vth=1000)
    program = read_netx(net(tmp_path, fields))
    x = np.zeros((4, 1, 2), np.int64)
    x[0, 0, 0] = 1
    run_ = run_integer(program, x, record_states=["dense-0"])
    assert run_.u["dense-0"][:, 0, 0].tolist() == [40 << 6, 8 << 6, -(40 << 6), -(8 << 6)]
    assert run_.v["dense-0"][:, 0, 0].tolist() == [-(8 << 6), 40 << 6, 8 << 6, -(40 << 6)]
    low = read_netx(net(tmp_path, {**fields, "neuron/vThMant": 40}))
    run_ = run_integer(low, x, record_states=["dense-0"])
    assert run_.spikes["dense-0"][:, 0, 0].tolist() == [0, 1, 0, 0]
    assert run_.u["dense-0"][1, 0, 0] == 0
    assert run_.v["dense-0"][1, 0, 0] == (40 << 6) - 1


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"delay": 3}, "netx-block", "delays in front of resonate-and-fire neurons"),
        ({"type": "dense_rec"}, "netx-block", "RF_PHASE neurons in a block of type 'dense_rec'"),
        ({"weight/imag": np.ones((2, 3))}, "netx-shape", "weight/imag has shape (2, 3)"),
        ({"weight/real": None}, "netx-field", "'weight/real' is missing"),
        ({"neuron/sinDecay": 4000, "neuron/cosDecay": 4000}, "netx-range", "let it grow"),
        ({"neuron/sinDecay": 0}, "netx-range", "turn a state by no angle"),
    ],
)
def test_refusals(fields: dict[str, Any], code: str, text: str, tmp_path: Path) -> None:
    given = {k: v for k, v in {**resonators(), **fields}.items() if v is not None}
    with pytest.raises(InputError) as caught:
        read_netx(net(tmp_path, given))
    assert caught.value.code == code
    assert text in caught.value.message


def test_a_bias_that_nobody_adds_is_told(tmp_path: Path) -> None:
    (found,) = read_netx(net(tmp_path, resonators(bias=np.ones(2)))).findings
    assert found.code == "netx-ignored"
    assert "a bias of resonate-and-fire neurons" in found.message


def test_on_the_command_line(tmp_path: Path) -> None:
    """Read, placed, run and bundled; the checker says what it did not check, and Loihi 1 refuses."""
    path = net(tmp_path, resonators(vth=3), dense([[100, 100]]))
    record = json.loads(run("inspect", path, "--json").stdout)
    assert record["populations"][1]["dynamics"]["form"] == "phase"
    assert record["populations"][1]["parameters"] == {"vth": [192, 192]}
    assert [p.get("port") for p in record["projections"]] == [None, "imag", None]
    data = tmp_path / "spikes.npz"
    rng = np.random.default_rng(0)
    np.savez(data, x=(rng.random((2, 30, 2)) < 0.5).astype(np.uint8))
    bundle = tmp_path / "a.snnb"
    shown = check(run("compile", path, "-o", bundle, "-d", data), 0)
    assert "resonate-and-fire" in shown
    held = read_bundle(bundle)
    assert held.program.digest == read_netx(path).digest
    assert held.golden["spikes.dense-0"].any()
    told = json.loads(printed(run("certify", bundle, "--json")))
    assert told["certified"] is True
    said = "head-room and the golden run: neurons with rules of their own"
    assert said in told["not_checked"]
    check(run("verify", bundle, "--engines", "integer"), 0)
    refused = run("check", path, "-t", "loihi1", "--json")
    assert refused.exit_code == 5
    assert {f["code"] for f in json.loads(refused.stdout)["findings"]} >= {"neuron-program"}
