"""Networks with two inputs, fed by every command that takes samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from snndeploy import compile, read_network
from snndeploy.data import Feed, Samples, load_samples
from snndeploy.errors import InputError
from snndeploy.ir.arrays import Array
from snndeploy.pipeline import bundle_of, run_bundle, save_bundle, verify_bundle
from snndeploy.pipeline.locking import data_record
from snndeploy.pipeline.run import program_messages, run_engine
from snndeploy.simulate.float.engine import run_float
from tests.support.commands import check, code_of, printed, run
from tests.support.nir_graphs import graph, lif, written

SHAPES = {"left": (5,), "right": (3,)}
N, STEPS = 12, 20
SEMANTICS = ("--frontend", "nir", "--dt", "0.001")


def model() -> nir.NIRGraph:
    rng = np.random.default_rng(0)
    nodes = {
        "a": nir.Linear(rng.normal(size=(6, 5))),
        "b": nir.Linear(rng.normal(size=(6, 3))),
        "hidden": lif(6),
        "c": nir.Linear(rng.normal(size=(4, 6))),
        "out": lif(4),
    }
    edges = [("left", "a"), ("right", "b"), ("a", "hidden"), ("b", "hidden")]
    edges += [("hidden", "c"), ("c", "out"), ("out", "output")]
    return graph(nodes, edges, {name: shape[0] for name, shape in SHAPES.items()})


def trains(seed: int = 0) -> dict[str, Array]:
    """Spike trains as files hold them, (samples, steps, ...)."""
    rng = np.random.default_rng(seed)
    return {n: (rng.random((N, STEPS, *s)) < 0.4).astype(np.uint8) for n, s in SHAPES.items()}


def in_time(arrays: dict[str, Array]) -> dict[str, Array]:
    return {name: x.swapaxes(0, 1) for name, x in arrays.items()}


@pytest.fixture
def network() -> Any:
    return read_network(model(), "nir", dt=1e-3)


@pytest.fixture
def labels(network: Any) -> Array:
    """What the network answers, so that it is always right."""
    return run_float(network, in_time(trains())).predictions("out")


@pytest.fixture
def place(tmp_path: Path, labels: Array) -> Path:
    """A folder with the network and its samples: one file, and a file per input."""
    written(tmp_path, model())
    arrays = trains()
    np.savez(tmp_path / "both.npz", **arrays, y=labels)
    np.savez_compressed(tmp_path / "left.npz", x=arrays["left"], y=labels)
    np.save(tmp_path / "right.npy", arrays["right"])
    return tmp_path


def files(place: Path) -> tuple[str, ...]:
    return "-d", f"left={place / 'left.npz'}", "-d", f"right={place / 'right.npy'}"


def test_one_file_and_a_file_per_input_are_the_same_samples(place: Path, labels: Array) -> None:
    one = load_samples(place / "both.npz", SHAPES)
    each = load_samples({"right": place / "right.npy", "left": place / "left.npz"}, SHAPES)
    for samples in (one, each):
        assert (len(samples), samples.steps) == (N, STEPS)
        np.testing.assert_array_equal(samples.labels, labels)
        found = samples.by_input(SHAPES)
        for name, wanted in in_time(trains()).items():
            np.testing.assert_array_equal(found[name], wanted)


def test_parts_and_batches_hold_every_input(place: Path, labels: Array) -> None:
    samples = load_samples(place / "both.npz", SHAPES, skip=1, samples=8)
    wanted = {name: x[:, 1:9] for name, x in in_time(trains()).items()}
    parts = [*samples.batches(3)]
    assert [len(part) for part in parts] == [3, 3, 2]
    for name, x in wanted.items():
        joined = np.concatenate([part.by_input(SHAPES)[name] for part in parts], axis=1)
        np.testing.assert_array_equal(joined, x)
        np.testing.assert_array_equal(samples.part(2, 3).by_input(SHAPES)[name], x[:, 2:5])
        np.testing.assert_array_equal(samples.cut(4).by_input(SHAPES)[name], x[:4])
        odd = samples.picked(np.array([0, 5]))
        np.testing.assert_array_equal(odd.by_input(SHAPES)[name], x[:, [0, 5]])
        assert odd.labels is not None
        np.testing.assert_array_equal(odd.labels, labels[[1, 6]])


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ({"left": "left.npz"}, "input-names", "no data for the input 'right'"),
        (
            {"left": "left.npz", "rigth": "right.npy"},
            "input-names",
            "there is no input 'rigth'\n  next: did you mean 'right'?",
        ),
        (
            {"left": "left.npz", "right": "short.npy"},
            "input-shape",
            f"left has ({STEPS}, {N}), right has ({STEPS}, {N - 1})",
        ),
        (
            {"left": "left.npz", "right": "other.npz"},
            "data-labels",
            "labels beside 'left' and 'right'",
        ),
        ("left.npz", "data-no-inputs", "found arrays x, y, none is the input 'left'"),
    ],
)
def test_what_does_not_fit_is_said_once_and_clearly(
    given: Any, code: str, message: str, place: Path, labels: Array
) -> None:
    right = trains()["right"]
    np.save(place / "short.npy", right[1:])
    np.savez(place / "other.npz", x=right, y=labels[::-1] + 1)
    path = {n: place / f for n, f in given.items()} if isinstance(given, dict) else place / given
    with pytest.raises(InputError) as caught:
        load_samples(path, SHAPES)
    assert caught.value.code == code
    assert message in str(caught.value)


def test_samples_in_memory_are_held_to_the_same(network: Any) -> None:
    with pytest.raises(InputError) as caught:
        Samples({})
    assert caught.value.code == "input-names"
    x = in_time(trains())
    for wrong in ({"left": x["left"]}, {**x, "middle": x["left"]}):
        with pytest.raises(InputError) as caught:
            _ = Feed(network, Samples(wrong)).inputs
        assert caught.value.code == "input-names"
    with pytest.raises(InputError) as caught:
        Samples({"left": x["left"], "right": x["right"][1:]})
    assert caught.value.code == "input-shape"


def test_each_input_is_coded_by_itself(network: Any) -> None:
    x = in_time(trains())
    counts = {**x, "right": x["right"] * 3}
    program = compile(network, recipe=None, calibration=Samples(counts)).program
    messages = program_messages(program, Samples(counts))
    np.testing.assert_array_equal(messages["left"], x["left"])
    np.testing.assert_array_equal(
        messages["right"] / float(program.group("right").scale), counts["right"]
    )
    run_ = run_engine("compressed", Samples(counts), network=network)
    np.testing.assert_array_equal(run_.spikes["out"], run_float(network, counts).spikes["out"])


def test_a_bundle_verifies_on_the_golden_run_of_both(network: Any, tmp_path: Path) -> None:
    """Every input gets its own golden messages in the float stages, too."""
    samples = Samples(in_time(trains()))
    compiled = compile(network, recipe=None, calibration=samples)
    bundle = bundle_of(compiled, samples)
    report = verify_bundle(bundle, ("float", "integer"), lambda _: None)
    float_run = run_float(network, {n: x[:, :10] for n, x in in_time(trains()).items()})
    golden = report["predictions"]["float"]
    assert golden == float_run.predictions("out")[: len(golden)].tolist()
    save_bundle(tmp_path / "a.snnb", bundle)
    found = run_bundle(tmp_path / "a.snnb", ("integer",), lambda _: samples)
    assert found["samples"] == N


def test_a_lock_tells_inputs_apart() -> None:
    x = {"left": np.zeros((4, 2, 3)), "right": np.ones((4, 2, 3))}
    swapped = {"left": x["right"], "right": x["left"]}
    digests = {data_record(Samples(s), None)["digest"] for s in (x, swapped)}
    assert len(digests) == 2


@pytest.mark.parametrize("one_file", [True, False])
def test_simulate(one_file: bool, place: Path) -> None:
    data = ("-d", str(place / "both.npz")) if one_file else files(place)
    result = run(
        "simulate", place / "model.nir", *SEMANTICS, "-r", "none", "-e", "float", *data, "--json"
    )
    report = json.loads(printed(result))
    assert report["accuracy"]["float"] == 1.0
    assert report["samples"] == N
    named = report["data"]
    assert named == (str(place / "both.npz") if one_file else f"{data[1]}, {data[3]}")


def test_compile_verify_compress_and_export(place: Path) -> None:
    bundle = place / "a.snnb"
    check(run("compile", place / "model.nir", *SEMANTICS, *files(place), "-o", bundle), 0)
    result = run("verify", bundle, *files(place), "--engines", "float,compressed,integer", "--json")
    assert json.loads(printed(result))["accuracy"]["float"] == 1.0
    out = place / "small.nir"
    check(
        run("compress", place / "model.nir", *SEMANTICS, *files(place), "-r", "default", "-o", out),
        0,
    )
    assert {p.name for p in read_network(out).with_role("input")} == set(SHAPES)
    check(run("certify", bundle), 0)


def test_sensitivity(place: Path) -> None:
    options = ("--ratios", "", "--bits", "8", "--json")
    result = run("sensitivity", place / "model.nir", *SEMANTICS, *files(place), *options)
    assert json.loads(printed(result))["accuracy"] == 1.0


@pytest.mark.slow
def test_finetune(place: Path) -> None:
    (place / "recipe.toml").write_text(
        'name = "little"\n[[pass]]\nname = "finetune"\nepochs = 1\nbatch = 6\n'
    )
    left, right = (f"{n}={place / f}" for n, f in (("left", "left.npz"), ("right", "right.npy")))
    options = (
        "-r",
        place / "recipe.toml",
        "--train",
        left,
        "--train",
        right,
        "--val",
        place / "both.npz",
    )
    result = run(
        "finetune", place / "model.nir", *SEMANTICS, *options, "-o", place / "t.snnb", "--json"
    )
    assert json.loads(printed(result))["figures"]["samples"] == N


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (("-d", "a=1.npz", "-d", "2.npz"), "'2.npz' is not NAME=FILE"),
        (("-d", "a=1.npz", "-d", "a=2.npz"), "two files for the input 'a'"),
        (("-d", "=1.npz"), "'=1.npz' is not NAME=FILE"),
    ],
)
def test_files_that_are_not_named(data: tuple[str, ...], message: str, place: Path) -> None:
    result = run("simulate", place / "model.nir", *SEMANTICS, *data)
    assert message in check(result, 2) + result.stderr


def test_a_missing_input_on_the_command_line(place: Path) -> None:
    result = run("simulate", place / "model.nir", *SEMANTICS, *files(place)[:2])
    assert result.exit_code == 3
    assert code_of(result) == "input-names"
    assert "no data for the input 'right'" in result.stderr
    assert "--data NAME=FILE" in result.stderr
