"""snndeploy compress: NIR in, NIR out, as a user meets it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nir
import numpy as np
import pytest

from snndeploy.ingest import read_network
from snndeploy.recipe import load_recipe
from tests.support.commands import FRONTEND, check, printed, run
from tests.support.nir_graphs import chain, lif, written


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    net = chain(
        12,
        nir.Linear(rng.normal(size=(16, 12))),
        lif(16),
        nir.Linear(rng.normal(size=(4, 16))),
        lif(4),
    )
    return written(tmp_path, net)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    x = (np.random.default_rng(1).random((12, 20, 12)) < 0.4).astype(np.uint8)
    np.savez(tmp_path / "calib.npz", x=x)
    return tmp_path / "calib.npz"


@pytest.mark.parametrize("recipe", ["osbc", "sbc", "sbc-plus"])
def test_compress_writes_a_network_that_reads_back(
    recipe: str, model: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.nir"
    asked = ("-r", recipe, "--guard", "warn")
    text = check(run("compress", model, *asked, "--calib", data, "-o", out, *FRONTEND), 0)
    assert "membrane error" in text
    assert f"wrote {out}" in text
    weights = [p.weight for p in read_network(out).projections]
    sparsity = 1 - sum(w.alive for w in weights) / sum(w.data.size for w in weights)
    assert sparsity == pytest.approx(0.97 if recipe == "sbc" else 0.9, abs=0.01)
    assert all((w.bits == 4) == (recipe != "sbc") for w in weights)


def test_json_has_the_loss_of_every_layer(model: Path, data: Path, tmp_path: Path) -> None:
    arguments = (
        "compress",
        model,
        "-r",
        "sbc",
        "--calib",
        data,
        "-o",
        tmp_path / "o.nir",
        "--json",
    )
    report = json.loads(printed(run(*arguments, *FRONTEND)))
    assert report["passes"][0]["pass"] == "prune"
    assert all(layer["loss"] >= 0 for layer in report["passes"][0]["layers"].values())
    assert set(report["layers"]) == set(report["passes"][0]["layers"])


def test_the_default_keeps_the_answers_and_says_so(model: Path, data: Path, tmp_path: Path) -> None:
    arguments = ("compress", model, "--calib", data, "-o", tmp_path / "o.nir", *FRONTEND)
    report = json.loads(printed(run(*arguments, "--json")))
    answers = report["answers"]
    assert answers["divergence"] + answers["spread"] <= 0.05
    assert (answers["samples"], answers["made_up"], answers["held_out"]) == (50, 38, False)
    text = check(run(*arguments, "--force"), 0)
    assert "answers: " in text
    assert (
        " of 12 samples (the ones it was fitted to) and 38 made up of them answered alike" in text
    )
    assert "warning: recipe: answers were compared on 12 samples" in text


def test_the_limit_and_the_guard_are_the_callers(model: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.nir"
    arguments = ("compress", model, "-r", "sbc", "--calib", data, "-o", out, "--force", *FRONTEND)
    warned = check(run(*arguments, "--guard", "warn"), 0)
    assert "costs most" in warned
    assert "try: leave " in warned
    given_back = check(run(*arguments), 0)
    assert "given back in" in given_back
    everything = check(run(*arguments, "--max-divergence", "0"), 0)
    assert "nothing of the recipe is left" in everything
    silent = check(run(*arguments, "--guard", "off"), 0)
    assert not re.search(r"answers: |answered alike|answers-", silent)
    told = check(run("compress", model, "-r", "default", "-o", out, "--force", *FRONTEND), 0)
    assert "there are no samples, so nobody knows" in told


def test_memory_bounds_the_work_and_not_the_result(model: Path, data: Path, tmp_path: Path) -> None:
    asked = ("-r", "osbc", "--guard", "warn")
    arguments = ("compress", model, *asked, "--calib", data, *FRONTEND, "-o")
    check(run(*arguments, tmp_path / "a.nir"), 0)
    check(run(*arguments, tmp_path / "b.nir", "--max-memory", 16), 0)
    a, b = (read_network(tmp_path / f"{name}.nir") for name in "ab")
    assert [p.weight.data.tolist() for p in a.projections] == [
        p.weight.data.tolist() for p in b.projections
    ]
    bounded = load_recipe("osbc").with_max_memory(16)
    assert {p.options()["max_memory"] for p in bounded.passes} == {16}
    assert load_recipe("admm").with_max_memory(16) == load_recipe("admm")  # nothing to bound


def test_explain_shows_what_shrank_together(model: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "half.toml"
    step = 'name = "remove-kernels"\nkinds = ["dense"]\nkeep = { "*" = 5 }\n'
    recipe.write_text(f'name = "half"\n[[pass]]\n{step}')
    arguments = ("compress", model, "-r", recipe, "-o", tmp_path / "o.nir", "--force", *FRONTEND)
    text = check(run(*arguments, "--explain"), 0)
    assert "bits  5 of 16 kernels" in text
    assert ": keeps 5 of 16\n  in: " in text
    assert "is an output of the network" in text
    assert "keeps" not in check(run(*arguments), 0)
    report = json.loads(printed(run(*arguments, "--explain", "--json")))
    small = read_network(tmp_path / "o.nir")
    for group in report["groups"]:
        for name, kept in group["kept"].items():
            assert len(kept) == small.population(name).shape[0]


def test_what_can_go_wrong(model: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.nir"
    text = check(run("compress", model, "-r", "sbc", "-o", out, *FRONTEND), 4)
    assert "error[calibration-missing]" in text
    assert "--calib" in text
    text = check(run("compress", model, "-r", "sbcplus", "--calib", data, "-o", out, *FRONTEND), 3)
    assert "did you mean 'sbc-plus'?" in text
    out.write_text("something")
    text = check(run("compress", model, "-r", "default", "-o", out, *FRONTEND), 3)
    assert "--force" in text
    assert out.read_text() == "something"
