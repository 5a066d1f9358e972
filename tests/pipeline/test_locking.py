"""A lock gives the very program again, or says what is different."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snndeploy import toml
from snndeploy.bundle import read_bundle
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.pipeline.locking import read_lock
from snndeploy.pipeline.opening import LOCKED
from snndeploy.recipe import Recipe
from tests.support.commands import FRONTEND, check, network, run


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "data.npz", x=(rng.random((40, 20, 6)) < 0.4).astype(np.uint8))
    return network(tmp_path, 6, 8, 3), tmp_path / "data.npz"


def code_of(text: str) -> str:
    return text.partition("error[")[2].partition("]")[0]


def digest(bundle: Path) -> str:
    return read_bundle(bundle).program.digest


SAID = ("--integrator", "euler", "--reset", "subtract", "--spikes-per-step", "one")
OPTIONS: dict[str, tuple[str, ...]] = {
    "frontend": (),
    "dt": ("--dt", "0.002"),
    "reset": ("--reset", "subtract"),
    "reset_timing": ("--reset-timing", "next-step"),
    "compare": ("--compare", ">="),
    "spikes_per_step": ("--spikes-per-step", "many", "--reset", "subtract"),
    "integrator": ("--integrator", "exp"),
    "v_floor": ("--v-min", "-0.5"),
    "recurrent_delay": ("--recurrent-delay", "spikes"),
    "semantics": ("--semantics", "n3:reset=none"),
    "strict": ("--strict", *SAID),
    "accept": ("--accept", "maybe-lost-v-reset"),
    "answers": ("--answers", "n3"),
    "adapt": ("--adapt",),
    "recipe": ("-r", "none"),
    "guard": ("--guard", "back-off", "-d", "data.npz"),
    "max_divergence": ("--max-divergence", "0.001", "--guard", "back-off", "-d", "data.npz"),
    "coding": ("--input", "graded"),
    "input_peak": ("--input-peak", "9"),
    "scale": ("--scale", "calibrated", "-d", "data.npz"),
    "layout": ("--for", "netx", "-r", "none"),
    "target": ("-t", "loihi1"),
    "board": ("--board", "3"),
    "objective": ("--objective", "cores"),
    "native": ("--native", "--recipe", "none"),
    "split_signs": ("--split-signs",),
}
"""For every option that a lock holds, a value of it that is not its default."""


@pytest.mark.parametrize("name", sorted(LOCKED))
def test_a_lock_makes_its_program_again(
    name: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    model, data = files
    given = [str(data) if word == "data.npz" else word for word in OPTIONS[name]]
    seen = given[-2:] if "-d" in given else []
    first, again = tmp_path / "a.snnb", tmp_path / "b.snnb"
    frontend = FRONTEND[:2] if name == "dt" else FRONTEND
    check(run("compile", model, *frontend, *given, "-o", first), 0)
    check(run("compile", model, "--locked", first / "lock.toml", *seen, "-o", again), 0)
    assert digest(again) == digest(first)
    locked, here = (toml.loads((b / "lock.toml").read_text()) for b in (first, again))
    assert {**locked, "network": 0} == {**here, "network": 0}
    assert read_bundle(again).placement == read_bundle(first).placement


def test_a_lock_from_before_layouts_were_locked(files: tuple[Path, Path], tmp_path: Path) -> None:
    model, _ = files
    first, again = tmp_path / "a.snnb", tmp_path / "b.snnb"
    check(run("compile", model, *FRONTEND, "-o", first), 0)
    content = toml.loads((first / "lock.toml").read_text())
    del content["compile"]["layout"], content["compile"]["objective"]
    (tmp_path / "lock.toml").write_text(toml.dumps(content))
    check(run("compile", model, "--locked", tmp_path / "lock.toml", "-o", again), 0)
    assert digest(again) == digest(first)


@pytest.mark.parametrize(
    ("table", "key", "value", "told"),
    [
        ("compile", "scale", "none", "scale = 'none'"),
        ("compile", "layout", "", "layout = ''"),
        ("compile", "objective", ["speed"], "objective = ['speed']"),
        ("compile", "coding", {"kind": "binary", "peak": float("inf")}, "coding = {"),
        ("compile", "coding", {"kind": "spikes", "peak": 1.0}, "coding = {"),
        ("compile", "coding", 3, "TypeError"),
        ("data", "samples", "many", "invalid literal"),
        ("data", "samples", None, "KeyError"),
    ],
)
def test_a_lock_with_values_that_none_has(
    table: str, key: str, value: object, told: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    model, data = files
    bundle = tmp_path / "a.snnb"
    check(run("compile", model, *FRONTEND, "-d", data, "-o", bundle), 0)
    content = toml.loads((bundle / "lock.toml").read_text())
    content[table][key] = value
    if value is None:
        del content[table][key]
    (tmp_path / "lock.toml").write_text(toml.dumps(content))
    again = ("-d", data, "--locked", tmp_path / "lock.toml", "-o", tmp_path / "b.snnb")
    text = check(run("compile", model, *again), 3)
    assert code_of(text) == "lock-unreadable"
    assert told in text


def test_a_lock_with_data(files: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = files
    first, again = tmp_path / "a.snnb", tmp_path / "b.snnb"
    check(run("compile", model, *FRONTEND, "--scale", "calibrated", "-d", data, "-o", first), 0)
    lock = first / "lock.toml"
    check(run("compile", model, "--locked", lock, "-d", data, "-o", again), 0)
    assert digest(again) == digest(first)
    text = check(run("compile", model, "--locked", lock, "-o", tmp_path / "c.snnb"), 2)
    assert code_of(text) == "lock-data"
    assert "give the same 40 samples with --data" in text
    with np.load(data) as loaded:
        np.savez(tmp_path / "other.npz", x=1 - loaded["x"])
    content = toml.loads(lock.read_text())
    content["program"]["digest"] = "0" * 64  # as if the program had followed from these samples
    (tmp_path / "lock.toml").write_text(toml.dumps(content))
    other = ("-d", tmp_path / "other.npz", "-o", tmp_path / "c.snnb")
    text = check(run("compile", model, "--locked", tmp_path / "lock.toml", *other), 6)
    assert code_of(text) == "lock-differs"
    assert "different are the data: locked 40 samples of 20 steps" in text
    assert not (tmp_path / "c.snnb").exists()


@pytest.mark.parametrize("guard", ["back-off", "search"])
def test_what_a_guard_came_to_is_locked(
    guard: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    """The amounts that were found are run again, and not searched for."""
    model, _ = files
    rng = np.random.default_rng(2)
    data, recipe = tmp_path / "more.npz", tmp_path / "recipe.toml"
    np.savez(data, x=(rng.random((40, 20, 6)) < 0.4).astype(np.uint8))
    asked = Recipe(passes=(Prune(sparsity=0.9), Quantize(bits=2)), guard="back-off")
    recipe.write_text(asked.to_toml())
    first, again = tmp_path / "a.snnb", tmp_path / "b.snnb"
    check(
        run("compile", model, *FRONTEND, "-r", recipe, "--guard", guard, "-d", data, "-o", first), 0
    )
    lock = first / "lock.toml"
    locked = read_lock(lock)
    assert locked.recipe.guard == guard
    assert locked.recipe.passes != asked.passes
    assert locked.settled == locked.recipe.guarded("warn", None)
    check(run("compile", model, "--locked", lock, "-d", data, "-o", again), 0)
    assert digest(again) == digest(first)
    assert read_lock(again / "lock.toml").recipe == locked.recipe


def test_what_is_different_is_said(files: tuple[Path, Path], tmp_path: Path) -> None:
    model, _ = files
    bundle, out = tmp_path / "a.snnb", tmp_path / "c.snnb"
    check(run("compile", model, *FRONTEND, "-o", bundle), 0)
    other = network(tmp_path, 6, 7, 3, name="other.nir")
    text = check(run("compile", other, "--locked", bundle / "lock.toml", "-o", out), 6)
    assert "different are the network: another file" in text
    text = check(
        run("compile", model, "--locked", bundle / "lock.toml", "-t", "loihi1", "-o", out), 2
    )
    assert code_of(text) == "lock-option"
    assert "--target: this is what the lock says" in text
    lock = toml.loads((bundle / "lock.toml").read_text())
    lock["program"]["digest"] = "0" * 64
    lock["versions"]["numpy"] = "1.0"
    (tmp_path / "lock.toml").write_text(toml.dumps(lock))
    text = check(run("compile", model, "--locked", tmp_path / "lock.toml", "-o", out), 6)
    assert "numpy: locked 1.0, here " in text
    del lock["program"]
    (tmp_path / "lock.toml").write_text(toml.dumps(lock))
    text = check(run("compile", model, "--locked", tmp_path / "lock.toml", "-o", out), 3)
    assert code_of(text) == "lock-unreadable"
    assert not out.exists()


@pytest.mark.parametrize("frontend", [["snntorch"], {"name": "snntorch"}, 1])
def test_a_frontend_that_is_no_word(
    frontend: object, files: tuple[Path, Path], tmp_path: Path
) -> None:
    model, _ = files
    check(run("compile", model, *FRONTEND, "-o", tmp_path / "a.snnb"), 0)
    content = toml.loads((tmp_path / "a.snnb/lock.toml").read_text())
    content["read"]["frontend"] = frontend
    (tmp_path / "lock.toml").write_text(toml.dumps(content))
    locked = ("--locked", tmp_path / "lock.toml", "-o", tmp_path / "b.snnb")
    text = check(run("compile", model, *locked), 3)
    assert code_of(text) == "lock-unreadable"
