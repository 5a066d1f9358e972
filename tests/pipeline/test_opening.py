"""One way in: what a thing is, who takes it, and which options it can obey."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import h5py
import nir
import numpy as np
import pytest
import torch

import snndeploy
from snndeploy.cli import main
from snndeploy.errors import InputError, UsageError
from snndeploy.ingest import read_network, read_netx
from snndeploy.pipeline import bundle_of, place_file, save_bundle
from snndeploy.pipeline.advise.sensitivity import sensitivity
from snndeploy.pipeline.advise.timesteps import reduce_timesteps
from snndeploy.pipeline.bundles import check_bundle, run_bundle
from snndeploy.pipeline.finetuning import finetune
from snndeploy.pipeline.opening import NAMES, OBEYS, admit, kind_of
from tests.support.commands import FRONTEND, check, code_of, run
from tests.support.nir_graphs import chain, lif, written

HOW: dict[str, Any] = {"frontend": "nir", "semantics": {"dt": 0.001}}


def netx(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        block = file.create_group("layer/0")
        block["type"], block["shape"] = np.array([b"dense"]), [3]
        block["weight"] = np.arange(12, dtype=np.float32).reshape(3, 4)
        neuron = {"type": np.bytes_("CUBA"), "iDecay": 4096, "vDecay": 0, "vThMant": 2}
        for name, value in neuron.items():
            block[f"neuron/{name}"] = value
    return path


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One of every kind, as a path and as an object."""
    folder = tmp_path_factory.mktemp("things")
    weight = np.random.default_rng(0).normal(size=(3, 4))
    graph = chain(4, nir.Linear(weight), lif(3, tau=np.full(3, 0.01)))
    model = written(folder, graph, "model.nir")
    compiled = snndeploy.compile(model, recipe=None, **HOW)
    bundle = bundle_of(compiled)
    integers = netx(folder / "net.net")
    np.savez(folder / "data.npz", x=np.ones((2, 5, 4)))
    return {
        "model.nir": model,
        "graph": graph,
        "network": compiled.source,
        "net.net": integers,
        "program": compiled.program,
        "net.snnb": save_bundle(folder / "net.snnb", bundle),
        "bundle": bundle,
        "compiled": compiled,
        "placed": place_file(integers),
        "data": folder / "data.npz",
    }


KINDS = {
    "model.nir": "nir",
    "graph": "nir",
    "network": "network",
    "net.net": "netx",
    "program": "program",
    "net.snnb": "bundle",
    "bundle": "bundle",
    "compiled": "compiled",
    "placed": "placed",
}


def test_every_kind_is_known(things: dict[str, Any]) -> None:
    assert {name: kind_of(things[name]) for name in KINDS} == KINDS
    assert set(KINDS.values()) == NAMES.keys()
    assert kind_of(str(things["net.snnb"])) == "bundle"


def text(path: Path) -> None:
    path.write_text("weights: none")


def archive(*members: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            for member in members:
                file.writestr(member, "{}")

    return write


def keras_h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "3.0"


def saved_model(path: Path) -> None:
    path.mkdir()
    (path / "saved_model.pb").touch()


def legacy_checkpoint(path: Path) -> None:
    torch.save({}, path, _use_new_zipfile_serialization=False)


FOREIGN: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "m.pt": (lambda p: torch.save({"w": torch.ones(2)}, p), "a PyTorch checkpoint", "load_state_"),
    "old.pth": (legacy_checkpoint, "a PyTorch checkpoint", 'torch.load("{}/old.pth")'),
    "m.onnx": (lambda p: p.write_bytes(b"\x08\x07\x12\x07pytorch"), "an ONNX model", "onnx.load("),
    "m.keras": (archive("config.json", "model.weights.h5"), "a Keras model", "load_model("),
    "m.h5": (keras_h5, "a Keras model", "get_weights()"),
    "saved": (saved_model, "a Keras model", 'load_model("{}/saved")'),
    "x.npy": (lambda p: np.save(p, np.ones(3)), "NumPy arrays", "--data"),
    "x.npz": (lambda p: np.savez(p, x=np.ones(3)), "NumPy arrays", 'numpy.load("{}/x.npz")'),
    "net.zip": (archive("net.snnb/manifest.json"), "a bundle in a zip archive", "extractall"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_tools_are_told_apart(name: str, tmp_path: Path) -> None:
    write, what, line = FOREIGN[name]
    write(tmp_path / name)
    with pytest.raises(InputError) as caught:
        kind_of(tmp_path / name)
    assert caught.value.code == "model-foreign"
    assert caught.value.message == f"this is {what}, and no model yet"
    assert caught.value.where == str(tmp_path / name)
    assert line.format(tmp_path) in caught.value.hint  # as it would be typed here


UNKNOWN: dict[str, tuple[Callable[[Path], object], str]] = {
    "text.nir": (text, "no known format (it begins with b'weights:')"),
    "empty.nir": (Path.touch, "an empty file"),
    "folder": (Path.mkdir, "a folder without a manifest.json"),
    "a.zip": (archive("readme.txt"), "a zip archive"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_nothing_is_told_with_what_is_accepted(name: str, tmp_path: Path) -> None:
    write, what = UNKNOWN[name]
    write(tmp_path / name)
    with pytest.raises(InputError) as caught:
        kind_of(tmp_path / name)
    assert (caught.value.code, caught.value.message) == (
        "model-unknown",
        f"this is {what}: accepted are a NIR file (.nir), a lava-dl file (.net) and a bundle "
        "(a folder with manifest.json)",
    )


def test_what_is_not_there_and_objects(tmp_path: Path) -> None:
    cases = {
        "file-not-found": tmp_path / "gone.nir",
        "model-unknown": 3,
        "model-foreign": torch.nn.Linear(2, 2),
    }
    for code, thing in cases.items():
        with pytest.raises(InputError) as caught:
            kind_of(thing)
        assert caught.value.code == code
    assert "from_snntorch" in caught.value.hint


def test_every_command_that_reads_a_model_is_in_the_table() -> None:
    group = main.commands["frontend"]
    assert isinstance(group, click.Group)
    reading = {
        name
        for name, command in (*main.commands.items(), *group.commands.items())
        if any(p.name in ("model", "bundle", "bundles") for p in command.params)
    }
    assert reading == OBEYS.keys()


def test_options_of_the_table_are_options_of_the_commands() -> None:
    """A misspelt name in the table would refuse nothing."""
    known = {p.name for command in main.commands.values() for p in command.params}
    assert {name for takes in OBEYS.values() for obeys in takes.values() for name in obeys} <= known


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("simulate", "net.snnb", "-t", "loihi1", "-r", "sbc-plus", "--reset", "zero"), 3),
        (("simulate", "net.net", "--scale", "calibrated"), 1),
        (("check", "net.net", "--fix", "r.toml"), 1),
        (("check", "net.snnb", "--v-min", "0"), 1),
        (("check", "net.snnb", "-d", "data.npz", "--skip", "0"), 2),
        (("inspect", "net.net", "--groups"), 1),
        (("inspect", "net.snnb", "--dt", "0.1"), 1),
        (("compile", "net.net", "--input", "binary"), 1),
        (("export", "net.snnb", "--to", "nir", "-o", "x.nir", "--target", "loihi1"), 1),
        (("export", "net.net", "--to", "netx", "-o", "x.net", "--board", "2"), 1),
    ],
)
def test_options_that_could_only_be_ignored_are_refused(
    arguments: tuple[str, ...], words: int, things: dict[str, Any]
) -> None:
    command, thing, *given = arguments
    result = run(command, things[thing], *given)
    assert (result.exit_code, code_of(result)) == (2, "option-not-obeyed")
    idle = result.stderr.partition(" cannot obey ")[2].partition(" for ")[0].split(", ")
    assert len(idle) == words
    assert all(word.startswith("--") for word in idle)
    assert f"next: leave {', '.join(idle)} out" in result.stderr


def test_defaults_are_not_taken_for_what_was_given(things: dict[str, Any]) -> None:
    bundle, data = things["net.snnb"], things["data"]
    check(run("simulate", bundle, "-d", data), 0)
    assert "fits loihi2-spec" in check(run("check", bundle, "--target", "loihi2-spec"), 0)


def test_integers_and_bundles_go_where_they_can(things: dict[str, Any], tmp_path: Path) -> None:
    data, integers, bundle = things["data"], things["net.net"], things["net.snnb"]
    page = tmp_path / "page.html"
    text = check(run("simulate", integers, "-d", data, "--html", page), 0)
    assert "2 samples" in text
    assert page.read_text().startswith("<!doctype html>")
    result = run("simulate", integers, "-d", data, "-e", "float")
    assert (result.exit_code, code_of(result)) == (2, "network-missing")
    assert "dense 4->3" in check(run("inspect", bundle), 0)
    check(run("compile", integers, "-o", tmp_path / "n.snnb"), 0)
    check(run("export", tmp_path / "n.snnb", "--to", "netx", "-o", tmp_path / "x.net"), 0)
    again = read_netx(tmp_path / "x.net")
    np.testing.assert_array_equal(
        again.synapses[0].mantissa, read_netx(integers).synapses[0].mantissa
    )
    check(run("export", bundle, "--to", "nir", "-o", tmp_path / "x.nir"), 0)
    assert read_network(tmp_path / "x.nir").digest == things["network"].digest
    result = run("export", integers, "--to", "nir", "-o", tmp_path / "y.nir")
    assert (result.exit_code, code_of(result)) == (2, "network-missing")


@pytest.mark.parametrize(
    ("command", "thing", "said"),
    [
        ("verify", "model.nir", "make a bundle of it: snndeploy compile"),
        ("report", "net.net", "goes to: inspect, compile, check, simulate, export"),
        ("explain", "model.nir", "this is a NIR model, and explain takes a bundle"),
        ("compile", "net.snnb", "give the .nir file that it was compiled from"),
        ("compress", "net.net", "compress takes a NIR model or a network"),
        ("finetune", "net.snnb", "goes to: inspect, check, simulate, verify, report, explain"),
        ("sensitivity", "net.net", "this is a .net file (Loihi's integers)"),
        ("reduce-timesteps", "net.snnb", "this is a bundle"),
    ],
)
def test_a_wrong_kind_is_told_where_it_goes(
    command: str, thing: str, said: str, things: dict[str, Any], tmp_path: Path
) -> None:
    more = {
        "compress": ("-o", tmp_path / "x.nir"),
        "finetune": ("-r", "qat", "--train", "x", "-o", tmp_path / "x.snnb"),
        "compile": ("-o", tmp_path / "x.snnb"),
    }
    result = run(command, things[thing], *more.get(command, ()))
    assert (result.exit_code, code_of(result)) == (3, "model-kind")
    assert said in result.stderr


def test_python_takes_and_refuses_the_same(things: dict[str, Any]) -> None:
    for model in (things["model.nir"], things["graph"]):
        log = snndeploy.compress(model, recipe=None, **HOW)
        assert log.network.digest == things["network"].digest
    samples = snndeploy.Samples(np.ones((5, 2, 4)))
    assert run_bundle(things["bundle"], ["integer"], lambda _: samples)["samples"] == 2
    assert check_bundle(things["bundle"], None, None)["fits"]
    assert place_file(things["program"]).fits
    net_only: tuple[Callable[[Any], object], ...] = (
        snndeploy.compile,
        snndeploy.compress,
        lambda thing: sensitivity(thing, samples),
        lambda thing: reduce_timesteps(thing, samples),
        lambda thing: finetune(thing, samples, recipe="qat"),
    )
    for call in net_only:
        for name in ("net.net", "net.snnb", "program", "bundle", "compiled", "placed"):
            with pytest.raises(InputError) as caught:
                call(things[name])
            assert caught.value.code == "model-kind"
    for name in ("model.nir", "network", "compiled", "placed"):
        with pytest.raises(InputError) as caught:
            check_bundle(things[name], None, None)
        assert caught.value.code == "model-kind"


def test_semantics_of_a_network_that_is_read_already_are_refused(things: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        snndeploy.compile(things["network"], **HOW)
    assert (caught.value.code, caught.value.message) == (
        "option-not-obeyed",
        "compile cannot obey frontend=, semantics= for a network that was read already: "
        "its semantics are settled",
    )
    assert admit("compile", things["network"], {"target": "target="}) == "network"


def test_the_frontend_of_a_file_is_read(things: dict[str, Any]) -> None:
    assert "fits" in check(run("check", things["model.nir"], *FRONTEND), 0)
