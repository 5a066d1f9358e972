"""What a board runs without microcode: told for every compilation, and enforced by --native."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from snndeploy import compile, read_network
from snndeploy.chip import load_target, native_only
from snndeploy.errors import LoweringRefused
from snndeploy.pipeline import report_of
from snndeploy.pipeline.accounts.flashing import flashing_record
from snndeploy.simulate.lava.standalone import SCRIPT
from tests.support.commands import check, code_of, printed, run
from tests.support.nir_graphs import chain, lif, written


def model() -> nir.NIRGraph:
    rng = np.random.default_rng(0)
    nodes = [
        nir.Linear(rng.normal(size=(6, 5))),
        lif(6),
        nir.Linear(rng.normal(size=(4, 6))),
        lif(4),
    ]
    return chain(5, *nodes, names=("w", "first", "x", "last"))


@pytest.fixture
def network() -> Any:
    """Its first layer resets by subtraction, its last to zero."""
    return read_network(
        model(), "nir", dt=1e-3, populations={"first": {"reset": "subtract"}}, reset="zero"
    )


def test_every_report_says_what_a_board_can_run(network: Any) -> None:
    told = report_of(compile(network, recipe=None))["flashing"]
    assert (told["native"], told["program"], told["none"]) == (["last"], ["first"], [])
    assert told["text"].startswith("flashing: 1 of 2 layers (first) are neuron programs")
    assert "no public tool writes" in told["text"]


def test_a_native_network_goes_to_a_board(network: Any) -> None:
    plain = read_network(model(), "nir", dt=1e-3, reset="zero")
    told = report_of(compile(plain, recipe=None))["flashing"]
    assert (told["native"], told["program"]) == (["first", "last"], [])
    assert told["text"].startswith("flashing: all 2 layers are Lava's own neurons")


def test_two_compartments_have_no_process_in_lava(network: Any) -> None:
    compiled = compile(network, recipe=None, target="loihi1")
    told = flashing_record(compiled.program, compiled.target)
    assert told is not None
    assert told["two_compartments"] == ["first"]
    assert "1 of 2 layers (first) take two compartments per neuron" in told["text"]


def test_other_chips_are_not_lavas() -> None:
    compiled = compile(read_network(model(), "nir", dt=1e-3, reset="zero"), recipe=None)
    assert flashing_record(compiled.program, load_target("xylo-a2")) is None


def test_the_target_without_programs() -> None:
    chip = load_target("loihi2")
    native = native_only(chip)
    assert native.name == "loihi2-native"
    assert not native.neurons.programmable
    assert native.neurons.zero_reset == "native"
    assert native.core == chip.core
    assert native_only(native) is native
    assert native_only(load_target("loihi1")).neurons == load_target("loihi1").neurons


def test_native_refuses_and_adapts(network: Any) -> None:
    with pytest.raises(LoweringRefused) as caught:
        compile(network, recipe=None, native=True)
    assert caught.value.code == "neuron-unsupported"
    assert caught.value.where == "first"
    told = compile(network, recipe=None, native=True, tell_all=True)
    assert not told.fits
    assert report_of(told)["flashing"]["none"] == ["first"]
    assert report_of(told)["flashing"]["native"] == ["last"]
    made = compile(network, recipe=None, native=True, adapt=True)
    assert made.fits
    assert {g.kind for g in made.program.on_chip} == {"lif"}
    assert made.target.name == "loihi2-native"
    assert [f.where for f in made.findings if f.code == "adapted"] == ["first"]


def test_commands(tmp_path: Path) -> None:
    path = written(tmp_path, model())
    options = ("--frontend", "nir", "--dt", "0.001", "--semantics", "first:reset=subtract")
    refused = run("check", path, *options, "--native")
    assert refused.exit_code == 5
    assert "neuron-unsupported" in refused.output
    assert "1 of 2 layers (first) have no form on this chip; --adapt gives" in refused.output
    bundle = tmp_path / "a.snnb"
    told = check(run("compile", path, *options, "--native", "--adapt", "-o", bundle), 0)
    assert "flashing: all 2 layers are Lava's own neurons" in told
    check(run("certify", bundle), 0)
    check(run("verify", bundle, "--engines", "integer"), 0)
    report = json.loads(printed(run("report", bundle, "--json")))
    assert report["target"] == "loihi2-native"
    check(run("export", bundle, "--to", "lava", "-o", tmp_path / "lava"), 0)
    assert "OWN = {}" in (tmp_path / "lava" / SCRIPT).read_text()
    again = run("compile", path, *options, "--locked", bundle / "lock.toml", "--native", "-o", "x")
    assert code_of(again) == "lock-option"
