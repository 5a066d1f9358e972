"""The shipped recipes that train, and the command that runs them: from NIR to Lava."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from snndeploy import toml
from snndeploy.bundle import read_bundle
from snndeploy.cli import main
from snndeploy.data import Samples
from snndeploy.demo import FOLDER, digits
from snndeploy.errors import RecipeError, UsageError
from snndeploy.ingest import read_network
from snndeploy.passes.second_order.budgets import budget
from snndeploy.passes.training.torch_network.module import TrainableNetwork
from snndeploy.pipeline import Compiled, finetune, run_engine
from snndeploy.recipe import Recipe, load_recipe
from snndeploy.simulate.lava.env import LavaEnv
from snndeploy.simulate.recording import accuracy, differing_spikes
from tests.support.commands import code_of

NAMES = ("admm", "qp-snn", "spatio-temporal")
MODEL = str(FOLDER / "digits.nir")


def short(name: str) -> Recipe:
    """A shipped recipe with one epoch wherever it has more, a rate for few samples, less to prune."""
    recipe = load_recipe(name)
    few = {"epochs": 1, "iterations": 1, "lr": 3e-3, "batch": 32, "sparsity": 0.6}
    passes = [
        dataclasses.replace(p, **{k: v for k, v in few.items() if k in p.options()})
        for p in recipe.passes
    ]
    return recipe.model_copy(update={"passes": tuple(passes)})


def part(low: int, high: int) -> Samples:
    samples = digits()
    assert samples.labels is not None
    return Samples(samples.inputs[:, low:high], samples.labels[low:high])


def compiled(name: str, **options: Any) -> Compiled:
    network = read_network(MODEL, "snntorch", reset="zero")
    return finetune(network, part(0, 200), recipe=short(name), **options)


@pytest.mark.parametrize("name", NAMES)
def test_recipe_runs_from_nir_to_lava(name: str, lava: LavaEnv) -> None:
    result = compiled(name, aware="loihi2" if name == "admm" else "")
    assert result.fits
    steps = int(result.network.notes.get("steps", 16))
    samples = Samples(part(200, 208).inputs[:steps], part(200, 208).labels)
    runs = {e: run_engine(e, samples, program=result.program) for e in ("integer", "lava")}
    assert set(differing_spikes(runs["integer"], runs["lava"]).values()) == {0}
    held_out = part(200, 450)
    run = run_engine(
        "integer", Samples(held_out.inputs[:steps], held_out.labels), program=result.program
    )
    assert accuracy(run.predictions(result.output), held_out.labels) > 0.6  # type: ignore[arg-type]
    assert run.spikes[result.output].shape[0] == {"spatio-temporal": 4}.get(name, 16)


def test_recipes_do_what_they_are_named_for() -> None:
    admm = compiled("admm").network
    alive = sum(p.weight.alive for p in admm.projections)
    assert {p.weight.bits for p in admm.projections} == {4}
    assert alive == sum(p.weight.data.size for p in admm.projections) - budget(0.6, 6032)
    qp = compiled("qp-snn").network
    bits = [p.weight.bits for p in qp.projections]
    assert bits == [8, 4, 8]
    assert [p.shape[0] for p in qp.populations] == [1, 8, 16, 10]
    assert set(np.unique(qp.projections[1].weight.data)) <= set(range(-15, 16, 2))
    for network in (admm, qp, compiled("spatio-temporal").network):
        assert TrainableNetwork(network).to_network().digest == network.digest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"), [("admm", 0.92), ("qp-snn", 0.88), ("spatio-temporal", 0.7)]
)
def test_recipes_in_full_keep_the_digits(name: str, least: float) -> None:
    """What 350 samples allow; a quarter of the steps leaves four of a rate code."""
    network = read_network(MODEL, "snntorch", reset="zero")
    result = finetune(network, part(0, 350), recipe=name, validation=part(350, 400))
    steps = int(result.network.notes.get("steps", 16))
    test = part(400, 450)
    run = run_engine("integer", Samples(test.inputs[:steps], test.labels), program=result.program)
    assert accuracy(run.predictions(result.output), test.labels) >= least  # type: ignore[arg-type]


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    found = {}
    for name, low, high in (("train", 0, 96), ("val", 96, 160)):
        samples = part(low, high)
        path = tmp_path / f"{name}.npz"
        np.savez(path, x=samples.inputs.swapaxes(0, 1), y=samples.labels)  # type: ignore[arg-type]
        found[name] = str(path)
    recipe = tmp_path / "short.toml"
    recipe.write_text(
        '[[pass]]\nname = "finetune"\nbits = 4\ngrid = "loihi"\nepochs = 2\n', encoding="utf-8"
    )
    found["recipe"] = str(recipe)
    return found


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["finetune", MODEL, "--reset", "zero", *arguments])


def options(files: dict[str, str]) -> list[str]:
    return ["-r", files["recipe"], "--train", files["train"], "--val", files["val"]]


def test_finetune_writes_a_bundle_that_records_its_training(
    files: dict[str, str], tmp_path: Path
) -> None:
    place = tmp_path / "digits.snnb"
    checkpoints = tmp_path / "checkpoints"
    arguments = [
        *options(files),
        "--aware",
        "loihi2",
        "-o",
        str(place),
        "--checkpoints",
        str(checkpoints),
    ]
    run = invoke(*arguments)
    assert run.exit_code == 0, run.output
    assert "finetune: epochs 2/2  loss" in run.output
    for word in ("accuracy", "R_mem", "R_ops", "SynOps per sample", "index, bits"):
        assert word in run.output
    lock = toml.loads(read_bundle(place).lock)
    training = lock["training"]
    assert training["aware"] == "loihi2"
    assert training["steps"] == 16
    assert training["data"]["train"]["samples"] == 96
    assert training["data"]["validation"]["samples"] == 64
    assert training["pass"][0]["name"] == "finetune"
    assert training["pass"][0]["epochs"] == 2
    assert lock["recipe"]["pass"][0]["grid"] == "loihi"
    digest = read_bundle(place).program.digest
    again = invoke(*arguments, "--force", "--resume")
    assert again.exit_code == 0, again.output
    assert read_bundle(place).program.digest == digest
    assert toml.loads(read_bundle(place).lock)["training"] == training


def test_figures_say_whether_training_saw_the_samples(
    files: dict[str, str], tmp_path: Path
) -> None:
    """``-n`` and ``--skip`` are of the training samples; the 64 that judge stay 64."""
    few = ["-n", "40", "--skip", "8", "-o", str(tmp_path / "x.nir"), "--force"]
    held_out = invoke(*options(files), *few, "--json")
    assert held_out.exit_code == 0, held_out.output
    report = json.loads(held_out.stdout)
    assert (report["figures"]["samples"], report["figures"]["on"]) == (64, "validation")
    assert report["training"]["data"]["train"]["samples"] == 40
    assert report["training"]["data"]["validation"]["samples"] == 64
    assert "training-accuracy" not in held_out.stderr
    seen = invoke("-r", files["recipe"], "--train", files["train"], *few)
    assert seen.exit_code == 0, seen.output
    assert "figures on 40 training samples" in seen.stdout
    assert "accuracy on training samples" in seen.stdout
    assert "warning[training-accuracy]: there is no --val" in seen.stderr


def test_finetune_writes_nir_and_json(files: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / "digits-4bit.nir"
    run = CliRunner().invoke(
        main, ["finetune", MODEL, "--reset", "zero", *options(files), "-o", str(place), "--json"]
    )
    assert run.exit_code == 0, run.output
    report = json.loads(run.stdout)
    assert report["figures"]["after"]["bits"] == 4
    assert report["figures"]["after"]["r_mem"] == pytest.approx(4 / 32)
    assert [p.weight.bits for p in read_network(place).projections] == [4, 4, 4]
    taken = invoke(*options(files), "-o", str(place))
    assert taken.exit_code == 3
    assert "output-exists" in taken.output


def test_what_cannot_be_trained_is_said(files: dict[str, str], tmp_path: Path) -> None:
    unlabelled = tmp_path / "unlabelled.npz"
    np.savez(unlabelled, x=part(0, 8).inputs.swapaxes(0, 1))
    cases = {
        "training-labels-missing": ["-r", files["recipe"], "--train", str(unlabelled)],
        "recipe-trains-nothing": ["-r", "default", "--train", files["train"]],
        "resume-folder": [*options(files), "--resume"],
        "finetune-data": [*options(files), "--data", files["val"]],
        "target-unknown": [*options(files), "--aware", "loihi9"],
        "training-device": [*options(files), "--device", "warp"],
    }
    for code, arguments in cases.items():
        run = invoke(*arguments, "-o", str(tmp_path / "x.snnb"))
        assert f"error[{code}]" in run.output, run.output
        assert run.exit_code in (2, 3, 4)
        assert not (tmp_path / "x.snnb").exists()


def test_compile_trains_on_labelled_data_too(files: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / "x.snnb"
    arguments = ["compile", MODEL, "--reset", "zero", "-r", files["recipe"], "-d"]
    run = CliRunner().invoke(main, [*arguments, files["train"], "-o", str(place)])
    assert run.exit_code == 0, run.output
    refused = CliRunner().invoke(main, [*arguments[:-1], "-o", str(place), "--force"])
    assert code_of(refused) == "training-data-missing"


def test_python_refuses_likewise() -> None:
    network = read_network(MODEL, "snntorch", reset="zero")
    with pytest.raises(RecipeError):
        finetune(network, part(0, 8), recipe="default")
    with pytest.raises(UsageError):
        finetune(network, part(0, 8), recipe="admm", resume=True)
