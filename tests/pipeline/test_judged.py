"""Labels are classes of the output that is judged, and with several outputs that one has a name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from click.testing import CliRunner

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
