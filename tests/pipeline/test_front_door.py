"""What stands at the top level, used as a script of somebody's would."""

from __future__ import annotations

from pathlib import Path

import pytest

import snndeploy
from snndeploy.demo import FOLDER, digits
from tests.support.commands import FRONTEND, check, run
from tests.support.nir_graphs import chain, lif, written
from tests.support.page import ParsedPage


@pytest.fixture(scope="module")
def compiled() -> snndeploy.Compiled:
    how = {"frontend": "snntorch", "semantics": {"reset": "zero"}}
    return snndeploy.compile(FOLDER / "digits.nir", recipe=None, **how)


def test_energy_is_that_of_a_run(compiled: snndeploy.Compiled) -> None:
    samples = digits().first(4)
    found = snndeploy.energy(compiled, samples)
    run = snndeploy.verify_bundle(
        snndeploy.bundle_of(compiled, samples), ["integer"], lambda _: samples
    )
    assert found == run["energy"]
    assert {name: e["kind"] for name, e in found.items()} == {
        "loihi2": "the chip",
        "45nm-cmos": "the arithmetic alone",
        "45nm-cmos-ann": "the arithmetic alone",
    }


def test_tables_are_records_and_a_page_is_text(compiled: snndeploy.Compiled) -> None:
    tables = snndeploy.tables_of(compiled)
    layers = tables["layers"].records()
    assert [row["layer"] for row in layers] == [g.name for g in compiled.program.on_chip]
    assert sum(row["neurons"] for row in layers) == 1546
    assert {type(row["neurons"]) for row in layers} == {int}
    assert ("h2", "On the chip") in ParsedPage(snndeploy.page_of(compiled)).headings


def test_every_name_of_the_front_door_is_there() -> None:
    assert [name for name in snndeploy.__all__ if not hasattr(snndeploy, name)] == []


def test_predictions_need_no_name(compiled: snndeploy.Compiled) -> None:
    samples = digits().first(6)
    found = snndeploy.run_engine("integer", samples, program=compiled.program)
    assert found.output == compiled.output
    assert found.predictions().tolist() == found.predictions(compiled.output).tolist()
    trained = snndeploy.run_engine("float", samples, network=compiled.source)
    assert trained.predictions().tolist() == samples.labels.tolist()


def test_explain_and_sensitivity(compiled: snndeploy.Compiled, tmp_path: Path) -> None:
    place = snndeploy.save_bundle(tmp_path / "n.snnb", snndeploy.bundle_of(compiled))
    told = snndeploy.explain_bundle(place, None, None)
    assert sum(core["neurons"] for core in told["cores"]) == 1546
    found = snndeploy.sensitivity(compiled.source, digits().first(4), ratios=[], bits=[8])
    assert {p.value for p in found.points} == {8}


def test_wiring_alone_compiles_under_the_default_recipe(tmp_path: Path) -> None:
    """Input, neurons, output: there is no weight to quantise, and nobody asked for one."""
    model = written(tmp_path, chain(4, lif(4)), "wires.nir")
    check(run("compile", model, *FRONTEND, "-o", tmp_path / "wires.snnb"), 0)
    bundle = snndeploy.read_bundle(tmp_path / "wires.snnb")
    assert [p["name"] for p in bundle.report["passes"]] == ["as trained", "quantize"]
    assert bundle.networks["float"].digest == bundle.networks["compressed"].digest
