"""Sigma-delta networks in .net files, and what files ask for that nobody does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy import read_netx
from snndeploy.bundle import read_bundle
from snndeploy.errors import InputError
from snndeploy.ir.graded.delta import DeltaRule
from snndeploy.simulate.integer.engine import run_integer
from tests.support.commands import check, printed, run
from tests.support.netx_files import LIF, dense, net


def delta(vth: int = 0, **fields: Any) -> dict[str, Any]:
    named = {f"neuron/{name}": value for name, value in fields.items()}
    return {"neuron/type": np.bytes_("SDNN"), "neuron/vThMant": vth, **named}


def layer(weight: Any, vth: int = 0, bias: Any = None, **fields: Any) -> dict[str, Any]:
    array = np.asarray(weight, np.float32)
    given = {} if bias is None else {"bias": np.asarray(bias, np.float32)}
    shape = {"type": "dense", "shape": [len(array)], "weight": array}
    return {**shape, **given, **delta(vth, **fields)}


ENTRY = {"type": "input", "shape": [1, 1, 2], **delta(2)}
NET = (
    ENTRY,
    {"type": "flatten", "shape": [2, 1, 1]},
    layer([[64, 32], [-64, 0]], vth=1, bias=[0, 8], activation=np.bytes_("relu")),
    layer([[64, 64]], sigma_output=True),
)


def test_layers_are_what_netx_makes_of_them(tmp_path: Path) -> None:
    program = read_netx(net(tmp_path, *NET))
    assert [(g.name, g.kind) for g in program.groups] == [
        ("input", "input"),
        ("input-0", "delta"),
        ("dense-2", "delta"),
        ("dense-3", "delta"),
    ]
    assert [g.dynamics for g in program.on_chip] == [
        DeltaRule(form="delta"),
        DeltaRule(form="sigma-delta"),
        DeltaRule(form="sigma"),
    ]
    hidden = program.group("dense-2")
    assert (int(hidden.vth), hidden.bias_mant.tolist(), hidden.message_bits) == (1, [0, 8], 16)
    assert hidden.bias.tolist() == [0, 8 << 12]
    assert float(program.group("input").scale) == 64.0
    codes = [f.code for f in program.findings]
    assert codes == ["netx-host-weight", "delta-time", "delta-drift"]


def test_the_two_times_are_two_networks(tmp_path: Path) -> None:
    """In the chip's time a bias is sent at once and a frame crosses a layer per step."""
    path = net(tmp_path, *NET)
    chip, sample = read_netx(path), read_netx(path, starts="sample")
    assert [g.depth for g in chip.groups] == [0, 1, 1, 1]
    assert [g.depth for g in sample.groups] == [0, 1, 2, 3]
    frame = np.tile(np.array([64, 0]).reshape(1, 1, 1, 2), (4, 1, 1, 1, 1))
    messages = {t: run_integer(p, frame).spikes for t, p in (("chip", chip), ("sample", sample))}
    # the frame: 64 << 6; layer 2: 64 * 4096 sent as 64 << 6 and the bias of 8 as 8 << 6
    assert messages["chip"]["dense-2"][:, 0].tolist() == [[0, 512], [4096, -512], [0, 0], [0, 0]]
    assert messages["sample"]["dense-2"][:, 0].tolist() == [[4096, 0], [0, 0], [0, 0], [0, 0]]
    assert messages["chip"]["dense-3"][:, 0, 0].tolist() == [0, 32_768, 262_144, 262_144]
    assert messages["sample"]["dense-3"][:, 0, 0].tolist() == [262_144] * 4
    told = {
        t: next(f for f in p.findings if f.code == "delta-time").message
        for t, p in (("chip", chip), ("sample", sample))
    }
    assert told["chip"].startswith("all layers start at the chip's first step")
    assert told["sample"].startswith("each layer starts in the step in which a sample reaches it")


def test_how_far_sums_drift_is_said(tmp_path: Path) -> None:
    """63/128 of a message's unit, 2**-12, times the weights of 64 + 64 in 64ths; encoders lose none."""
    found = next(f for f in read_netx(net(tmp_path, *NET)).findings if f.code == "delta-drift")
    assert found.severity == "warning"
    assert found.where == "dense-3"
    assert f"off by another {63 / 128 * 128 / 2**18:.2g} " in found.message


def test_numbers_enter_where_nothing_encodes_them(tmp_path: Path) -> None:
    program = read_netx(net(tmp_path, layer([[64, 0]], bias=[3])))
    assert [f.code for f in program.findings] == ["netx-graded-input", "delta-time"]
    assert program.groups[0].message_bits == 16
    x = np.array([[[0, 0]], [[70, 0]], [[0, 0]], [[0, 0]]])
    run_ = run_integer(program, x)
    # the bias at once; what enters at a step arrives at the next, as behind any synapse
    assert run_.spikes["dense-0"][:, 0, 0].tolist() == [3 << 6, 0, 70, 0]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (layer([[1]], activation=np.bytes_("sigmoid")), "the activation 'sigmoid'"),
        (layer([[1]], weight_exp=3), "weights divided by 2^3 (neuron/weight_exp)"),
        (layer([[1]], sigma_output=False), "no sigma output"),
        (layer([[1]], messageBits=24), "messages of 24 bits"),
        ({**dense([[1]]), "neuron/gradedSpike": True}, "spikes that carry v"),
        ({**dense([[1]]), "neuron/refDelay": 3}, "a refractory delay of 3 steps"),
        ({**dense([[1]]), "neuron/weight_exp": np.array([2])}, "weights divided by 2^2"),
    ],
)
def test_what_is_asked_for_and_not_done(fields: dict[str, Any], text: str, tmp_path: Path) -> None:
    found = [f for f in read_netx(net(tmp_path, fields)).findings if f.code == "netx-ignored"]
    assert [f.severity for f in found] == ["warning"]
    assert f"the file asks for {text}" in found[0].message


def test_what_is_asked_for_and_done_is_not_told(tmp_path: Path) -> None:
    fields = {"weight_exp": 0, "refDelay": 1, "gradedSpike": False}
    plain = {**dense([[1]]), **{f"neuron/{k}": v for k, v in fields.items()}}
    for last in (plain, layer([[1]], activation=np.bytes_("relu"), sigma_output=True)):
        found = read_netx(net(tmp_path, last)).findings
        assert [f for f in found if f.code == "netx-ignored"] == []


def test_a_host_weight_that_is_missing(tmp_path: Path) -> None:
    """netx takes 64, for every kind of neuron."""
    entry = {"type": "input", "shape": [1, 1, 2], "neuron": LIF}
    rest = {**dense([[1, 1]])}
    program = read_netx(net(tmp_path, entry, rest))
    assert program.findings[0].code == "netx-host-weight"
    assert float(program.groups[0].scale) == 64.0
    program = read_netx(net(tmp_path, {**entry, "weight": 5}, rest))
    assert "netx-host-weight" not in [f.code for f in program.findings]
    assert float(program.groups[0].scale) == 5.0


@pytest.mark.parametrize(
    ("layers", "form"),
    [
        ([{**ENTRY, "bias": 3}, NET[1], NET[2]], "delta"),
        ([layer([[1]], bias=[2], sigma_output=True)], "sigma"),
    ],
)
def test_biases_that_no_neuron_adds(
    layers: list[dict[str, Any]], form: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        read_netx(net(tmp_path, *layers))
    assert caught.value.code == "netx-delta-bias"
    assert f"its {form} neurons have a bias" in caught.value.message


def test_on_the_command_line(tmp_path: Path) -> None:
    """Read, placed, run and bundled; the checker says what it did not check."""
    path = net(tmp_path, *NET)
    shown = check(run("inspect", path), 0)
    assert "delta-drift" in shown
    record = json.loads(run("inspect", path, "--json").stdout)["populations"][2]
    assert record["dynamics"]["form"] == "sigma-delta"
    assert record["parameters"] == {"vth": [1, 1], "bias": [0, 8]}
    data = tmp_path / "frames.npz"
    np.savez(data, x=np.tile(np.array([1.0, 0.0]).reshape(1, 1, 1, 1, 2), (1, 4, 1, 1, 1)))
    times = {}
    for starts in ("chip", "sample"):
        bundle = tmp_path / f"{starts}.snnb"
        check(run("compile", path, "-o", bundle, "-d", data, "--starts", starts), 0)
        held = read_bundle(bundle)
        times[starts] = [g.depth for g in held.program.groups]
        golden = run_integer(held.program, held.golden["input.input"])
        np.testing.assert_array_equal(golden.spikes["dense-3"], held.golden["spikes.dense-3"])
        told = json.loads(printed(run("certify", bundle, "--json")))
        assert told["certified"] is True
        assert (
            "head-room and the golden run: neurons with rules of their own" in told["not_checked"]
        )
        check(run("verify", bundle, "--engines", "integer"), 0)
    assert times == {"chip": [0, 1, 1, 1], "sample": [0, 1, 2, 3]}
    report = json.loads(printed(run("simulate", path, "-d", data, "--json")))
    assert report["activity"]["spikes"]["dense-2"] == 3
    refused = run("check", path, "-t", "loihi1", "--json")
    assert refused.exit_code == 5
    assert {f["code"] for f in json.loads(refused.stdout)["findings"]} >= {"graded-spikes"}
