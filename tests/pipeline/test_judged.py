"""Labels are classes of the output that is judged, and with several outputs that one has a name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from click.testing import CliRunner

from snndeploy.bundle import read_bundle
from snndeploy.cli import main
from tests.support.nir_graphs import graph, lif, written

X = (np.random.default_rng(0).random((6, 10, 4)) < 0.5).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two outputs: ``aux`` with 2 neurons, ``cls`` with 10."""
    weights = np.random.default_rng(1)
    nodes = {
        "fa": nir.Linear(weights.normal(size=(2, 4))),
        "aux": lif(2, v_threshold=0.3),
        "fc": nir.Linear(weights.normal(size=(10, 4))),
        "cls": lif(10, v_threshold=0.3),
        "out1": nir.Output({"output": np.array([2])}),
        "out2": nir.Output({"output": np.array([10])}),
    }
    edges = [
        ("input", "fa"),
        ("fa", "aux"),
        ("aux", "out1"),
        ("input", "fc"),
        ("fc", "cls"),
        ("cls", "out2"),
    ]
    return written(tmp_path, graph(nodes, edges, 4))


def simulate(model: Path, labels: list[int], *options: str) -> tuple[int, Any]:
    data = model.with_name("x.npz")
    np.savez(data, x=X, y=np.array(labels))
    how = ["--frontend", "nir", "--dt", "0.001", "-r", "none", "-e", "float,integer", "--json"]
    run = CliRunner().invoke(main, ["simulate", str(model), "-d", str(data), *how, *options])
    return run.exit_code, json.loads(run.stdout)


def test_labels_of_another_output_are_refused_with_its_name(model: Path) -> None:
    code, report = simulate(model, [3, 5, 9, 0, 7, 8])
    assert (code, report["error"]["code"]) == (3, "labels-range")
    assert "the output 'aux' has the classes 0 to 1" in report["error"]["message"]
    assert "--output cls" in report["error"]["hint"]


def test_the_chosen_output_answers(model: Path) -> None:
    code, first = simulate(model, [0, 1, 0, 1, 0, 1])
    assert (code, first["output"], first["outputs"]) == (0, "aux", ["aux", "cls"])
    code, chosen = simulate(model, [0, 1, 0, 1, 0, 1], "--output", "cls")
    assert (code, chosen["output"]) == (0, "cls")
    assert max(chosen["predictions"]["float"]) > 1 >= max(first["predictions"]["float"])
    code, unknown = simulate(model, [0] * 6, "--output", "clx")
    assert (code, unknown["error"]["code"]) == (2, "output-unknown")
    assert "'cls'" in unknown["error"]["hint"]


@pytest.mark.parametrize(
    ("labels", "hint"),
    [([1, 2, 10, 1, 2, 3], "subtract 1 from all of them"), ([0, -1, 2, 0, 1, 2], "count from 0")],
)
def test_labels_outside_the_classes(model: Path, labels: list[int], hint: str) -> None:
    code, report = simulate(model, labels, "--output", "cls")
    assert (code, report["error"]["code"]) == (3, "labels-range")
    assert hint in report["error"]["hint"]


def test_the_table_says_which_output_is_judged(model: Path) -> None:
    data = model.with_name("x.npz")
    np.savez(data, x=X, y=np.zeros(6, int))
    how = ["--frontend", "nir", "--dt", "0.001", "-r", "none", "-d", str(data)]
    out = CliRunner().invoke(main, ["simulate", str(model), *how]).stdout
    assert "\nanswers of output 'aux' (others: cls; --output NAME)" in out


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(word) for word in words])
    return result.exit_code, result.stdout


HOW = ("--frontend", "nir", "--dt", "0.001", "--json")


@pytest.fixture
def classes(model: Path) -> Path:
    """Samples whose labels are classes of ``cls`` alone: what it answers."""
    data = model.with_name("cls.npz")
    np.savez(data, x=X, y=np.zeros(6, int))
    how = (*HOW, "-r", "none", "-e", "float")
    code, out = run("simulate", model, "-d", data, *how, "--answers", "cls")
    report = json.loads(out)
    assert (code, report["output"], report["outputs"]) == (0, "cls", ["cls", "aux"])
    labels = report["predictions"]["float"]
    assert max(labels) > 1
    np.savez(data, x=X, y=np.array(labels))
    return data


def test_sensitivity_is_that_of_the_chosen_output(model: Path, classes: Path) -> None:
    how = ("sensitivity", model, "-d", classes, "--ratios", "0.5", "--bits", "8", *HOW)
    code, out = run(*how)
    assert (code, json.loads(out)["error"]["code"]) == (3, "labels-range")
    assert "--answers cls" in json.loads(out)["error"]["hint"]
    code, out = run(*how, "--answers", "cls")
    report = json.loads(out)
    assert (code, report["accuracy"]) == (0, 1.0)  # the labels are its own answers
    distance = {(p["layer"], p["kind"]): p["distance"] for p in report["points"]}
    assert distance["fa", "bits"] == 0.0  # what leads to the other output alone is of no account


def test_the_fewest_steps_are_those_of_the_chosen_output(model: Path, classes: Path) -> None:
    how = ("reduce-timesteps", model, "-d", classes, *HOW)
    code, out = run(*how, "--answers", "cls")
    assert (code, json.loads(out)["prefixes"][0]["accuracy"]) == (0, 1.0)
    code, out = run(*how, "--answers", "clx")
    error = json.loads(out)["error"]
    assert (code, error["code"], error["where"]) == (2, "output-unknown", "--answers")


def test_training_teaches_the_chosen_output(model: Path, classes: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('name = "t"\n[[pass]]\nname = "finetune"\nepochs = 1\n')
    how = ("finetune", model, "--train", classes, "-r", recipe, "-o", tmp_path / "o.nir", *HOW)
    code, out = run(*how)
    error = json.loads(out)["error"]
    assert (code, error["code"]) == (4, "training-labels-range")
    assert "--answers cls" in error["hint"]
    code, out = run(*how, "--answers", "cls")
    assert (code, json.loads(out)["figures"]["before"]["accuracy"]) == (0, 1.0)


def test_the_chosen_output_is_in_the_lock(model: Path, classes: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "a.snnb", tmp_path / "b.snnb"
    how = ("--frontend", "nir", "--dt", "0.001", "-r", "none", "-d", classes, "--answers", "cls")
    assert run("compile", model, *how, "-o", first)[0] == 0
    assert read_bundle(first).networks["float"].with_role("output")[0].name == "cls"
    locked = ("--locked", first / "lock.toml", "-d", classes)
    assert run("compile", model, *locked, "-o", again)[0] == 0
    assert read_bundle(again).program.digest == read_bundle(first).program.digest
    assert read_bundle(again).networks["float"].with_role("output")[0].name == "cls"
    code, out = run("simulate", first, "-d", classes, "--answers", "aux", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (2, "option-not-obeyed")
