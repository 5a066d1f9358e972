"""``snndeploy report``: two bundles beside each other, tables as CSV and JSON, pictures alone."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import snndeploy
from snndeploy.passes.prune import Prune
from snndeploy.pipeline import difference_of
from snndeploy.recipe import Recipe
from tests.support.builders import conv_net, recurrent_net
from tests.support.commands import check, code_of, printed, run

drawing = pytest.mark.skipif(
    importlib.util.find_spec("vl_convert") is None, reason="the report extra is not installed"
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same network as it was trained, and without half of its weights."""
    folder, found = tmp_path_factory.mktemp("pair"), []
    half = Recipe(name="half", passes=(Prune(method="magnitude", sparsity=0.5),))
    for name, recipe in (("whole", None), ("small", half)):
        compiled = snndeploy.compile(conv_net(seed=7), recipe=recipe)
        found.append(snndeploy.save_bundle(folder / f"{name}.snnb", snndeploy.bundle_of(compiled)))
    return found[0], found[1]


def test_a_diff_tells_what_changed_and_what_it_cost(pair: tuple[Path, Path]) -> None:
    told = json.loads(printed(run("report", "diff", *pair, "--json")))
    figures = {row["figure"]: row for row in told["figures"]}
    assert figures["recipe"] == {"figure": "recipe", "a": "none", "b": "half", "change": "changed"}
    assert figures["neurons"]["change"] == "the same"
    one, other = (snndeploy.read_bundle(path) for path in pair)
    nonzero = [sum(np.count_nonzero(s.mantissa) for s in b.program.synapses) for b in (one, other)]
    assert [figures["weights not 0"][key] for key in "ab"] == nonzero
    assert figures["weights not 0"]["change"] == f"{nonzero[1] / nonzero[0] - 1:+.1%}"
    layers = {row["layer"]: row for row in told["layers"]}
    assert layers.keys() == {g.name for g in one.program.on_chip}
    same = told["same_inputs"]
    assert same["samples"] == 2
    assert 0 < same["match"]["s1"] <= 1
    assert f"{same['alike']} of 2 answers are the same" in check(run("report", "diff", *pair), 0)


def test_a_bundle_does_not_differ_from_itself(pair: tuple[Path, Path]) -> None:
    found = difference_of(pair[0], pair[0])
    assert {row[-1] for row in found["tables"]["figures"].rows} == {"the same"}
    assert found["same_inputs"]["alike"] == found["same_inputs"]["samples"]
    assert set(found["same_inputs"]["match"].values()) == {1.0}


def test_other_inputs_are_not_run(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = snndeploy.bundle_of(snndeploy.compile(recurrent_net(), recipe=None))
    place = snndeploy.save_bundle(tmp_path / "other.snnb", other)
    assert "they take other inputs" in check(run("report", "diff", pair[0], place), 0)


def test_every_table_is_a_file_and_in_json(pair: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    result = run("report", pair[1], "--csv", folder, "--json")
    check(result, 0)
    told = json.loads(result.stdout)
    assert {f.stem for f in folder.iterdir()} == told["tables"].keys()
    assert told["tables"].keys() >= {"passes", "layers", "synapses", "time", "cores"}
    with (folder / "layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, layer in zip(rows, told["tables"]["layers"], strict=True):
        assert row["layer"] == layer["layer"]
        assert int(row["neurons"]) == layer["neurons"]
    assert code_of(run("report", pair[1], "--csv", folder)) == "output-exists"
    check(run("report", pair[1], "--csv", folder, "--force"), 0)
    (tmp_path / "file").write_text("")
    taken = run("report", pair[1], "--csv", tmp_path / "file")
    assert code_of(taken) == "output-not-folder"
    assert "choose another place with --csv" in taken.stderr


def test_places_are_refused_before_the_work(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a bundle that is not even there: nothing is read, made or written before."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    for options, code in (
        (("--csv", "file"), "output-not-folder"),
        (("--csv", "file/new"), "output-unwritable"),
        (("--plot", "file/a.svg"), "output-not-folder"),
        (("--plot", "a.gif"), "picture-format"),
    ):
        assert code_of(run("report", "none.snnb", *options)) == code
    diff = run("report", "diff", "none.snnb", "x", "--csv", "file")
    assert code_of(diff) == "output-not-folder"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_file_of_many_that_is_taken_leaves_none_written(
    pair: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "time.csv").write_text("mine")
    page = tmp_path / "page.html"
    taken = run("report", pair[1], "--csv", folder, "--html", page)
    assert code_of(taken) == "output-exists"
    assert "time.csv" in taken.stderr
    assert [p.name for p in folder.iterdir()] == ["time.csv"]
    assert (folder / "time.csv").read_text() == "mine"
    assert not page.exists()


@drawing
def test_pictures_alone(pair: tuple[Path, Path], tmp_path: Path) -> None:
    check(run("report", pair[1], "--plot", tmp_path / "net.svg", "--picture", "mesh"), 0)
    assert (tmp_path / "net.svg").read_text().startswith("<svg ")
    check(run("report", pair[1], "--plot", tmp_path / "all.svg"), 0)
    written = {path.name for path in tmp_path.glob("all-*.svg")}
    assert written >= {"all-network.svg", "all-mesh.svg", "all-codes-0.svg", "all-raster-0.svg"}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--picture", "mesh"), "picture-nowhere"),
        (("--plot", "net.svg", "--picture", "mesch"), "picture-unknown"),
        (("--sensitivity", "model.json"), "sensitivity-unreadable"),
        (("--names", "model.json"), "names-unreadable"),
        (("--names", "unknown.toml", "--csv", "out"), "name-unknown"),
        (("--names", "twice.toml", "--csv", "out"), "name-twice"),
    ],
)
def test_what_cannot_be_shown(
    pair: tuple[Path, Path],
    options: tuple[str, ...],
    code: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    (tmp_path / "unknown.toml").write_text('"s9" = "conv9"\n')
    (tmp_path / "twice.toml").write_text('"s1" = "s2"\n')
    assert code_of(run("report", pair[0], *options)) == code


def test_bundles_are_one_or_a_diff_of_two(pair: tuple[Path, Path]) -> None:
    assert code_of(run("report", *pair)) == "report-bundles"
    assert code_of(run("report", "diff", *pair, "--html", "a.html")) == "diff-options"


def test_layers_are_called_as_one_likes(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """In tables, pictures and runs; what the bundle holds stays."""
    (tmp_path / "names.toml").write_text('"s1" = "first layer"\n"conv2" = "second kernel"\n')
    saved, page = tmp_path / "run.json", tmp_path / "page.html"
    saved.write_text(run("verify", pair[1], "--engines", "integer", "--json").stdout)
    names = ("--names", tmp_path / "names.toml", "--run", saved)
    result = run("report", pair[1], *names, "--html", page, "--json")
    check(result, 0)
    told = json.loads(result.stdout)
    before = told["layers"][0]["name"]
    assert before == "s1"
    tables = told["tables"]
    assert tables["layers"][0]["layer"] == "first layer"
    assert [row["projection"] for row in tables["synapses"]][1] == "second kernel"
    assert tables["events"][1]["layer"] == "first layer"
    assert tables["golden-integer"][0]["layer"] == "first layer"
    assert tables["registers"][0]["layer"] == "first layer"
    rows = page.read_text(encoding="utf-8")
    assert rows.count(">first layer</th>") == 4
    assert ">s1</th>" not in rows
