"""The demo does what the README says, on the network and the digits that are shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import snndeploy
from snndeploy.cli import main
from snndeploy.demo import FOLDER, calibration, digits
from snndeploy.pipeline import run_compiled


@pytest.fixture(scope="module")
def compiled() -> snndeploy.Compiled:
    return snndeploy.compile(
        FOLDER / "digits.nir",
        frontend="snntorch",
        semantics={"reset": "zero"},
        recipe="digits",
        calibration=calibration(),
    )


def test_package_data_stay_small() -> None:
    assert sum(p.stat().st_size for p in FOLDER.iterdir() if p.is_file()) < 300_000


def test_all_held_out_digits(compiled: snndeploy.Compiled) -> None:
    """Trained at least 96 % right, and 4-bit integers within 2 points of it."""
    report = run_compiled(compiled, digits(), ("float", "integer"))
    assert report["samples"] == 450
    accuracy = report["accuracy"]
    assert accuracy["float"] >= 0.96
    assert accuracy["integer"] >= accuracy["float"] - 0.02


def test_the_recipe_removes_prunes_and_quantises(compiled: snndeploy.Compiled) -> None:
    shapes = {p.name: p.shape for p in compiled.network.populations}
    before = {p.name: p.shape for p in compiled.source.populations}
    shrunk = [name for name in shapes if shapes[name] != before[name]]
    assert [(before[n][0], shapes[n][0]) for n in shrunk] == [(16, 12), (32, 24)]
    for projection in compiled.network.projections:
        assert projection.weight.bits == 4
        assert projection.weight.alive == round(projection.weight.data.size / 2)
    assert compiled.fits
    assert {g.kind for g in compiled.program.groups} == {"input", "lif"}  # all native


def test_without_samples_the_recipe_runs_blind_and_says_so() -> None:
    how: dict[str, Any] = {"frontend": "snntorch", "semantics": {"reset": "zero"}}
    blind = snndeploy.compile(FOLDER / "digits.nir", recipe="digits", **how)
    assert "answers-not-measured" in {f.code for f in blind.findings}
    assert [p.looks for p in blind.recipe.passes] == [False, False, False]
    assert {p.weight.bits for p in blind.network.projections} == {4}


@pytest.mark.lava
def test_the_demo_command(lava: Any, tmp_path: Path) -> None:
    bundle = tmp_path / "digits.snnb"
    result = CliRunner().invoke(main, ["demo", "-n", "100", "-o", str(bundle), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["equal"]
    assert report["run"]["samples"] == 100
    assert report["run"]["accuracy"]["lava"] == report["run"]["accuracy"]["integer"]
    rows = {row[0]: row[1:] for row in report["table"]}
    for name in ("synapses", "synapse words on chip", "SynOps per digit", "neurons"):
        assert rows[name][1] < rows[name][0], name
    assert CliRunner().invoke(main, ["verify", str(bundle)]).exit_code == 0


def test_without_lava_the_demo_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snndeploy.demo.find_lava", lambda: None)
    result = CliRunner().invoke(main, ["demo", "-n", "3"])
    assert result.exit_code == 0, result.output
    assert "without Lava, whose run is left out: snndeploy lava install" in result.stderr
    assert "accuracy, integer" in result.stdout
    assert "integer and Lava" not in result.stdout
    report = json.loads(CliRunner().invoke(main, ["demo", "-n", "3", "--json"]).stdout)
    assert report["equal"] is None
    assert "lava" not in report["run"]["predictions"]
