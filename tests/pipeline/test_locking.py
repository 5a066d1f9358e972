"""A lock gives the very program again, or says what is different."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snndeploy import toml
from snndeploy.bundle import read_bundle
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.pipeline.locking import read_lock
from snndeploy.recipe import Recipe
from tests.support.commands import FRONTEND, check, network, run


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "data.npz", x=(rng.random((5, 20, 6)) < 0.4).astype(np.uint8))
    return network(tmp_path, 6, 8, 3), tmp_path / "data.npz"


def code_of(text: str) -> str:
    return text.partition("error[")[2].partition("]")[0]


def digest(bundle: Path) -> str:
    return read_bundle(bundle).program.digest


OPTIONS = {
    "plain": (),
    "reset": ("--reset", "subtract", "--semantics", "n3:reset=zero"),
    "loihi1 without a recipe": ("-t", "loihi1", "-r", "none"),
    "graded": ("--input", "graded"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_lock_makes_its_program_again(
    name: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    model, _ = files
    first, again = tmp_path / "a.snnb", tmp_path / "b.snnb"
    check(run("compile", model, *FRONTEND, *OPTIONS[name], "-o", first), 0)
    check(run("compile", model, "--locked", first / "lock.toml", "-o", again), 0)
    assert digest(again) == digest(first)
    locked, here = (toml.loads((b / "lock.toml").read_text()) for b in (first, again))
    assert {**locked, "network": 0} == {**here, "network": 0}


def test_a_lock_with_data(files: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = files
    first, again = tmp_path / "a.snnb", tmp_path / "b.snnb"
    check(run("compile", model, *FRONTEND, "-d", data, "-o", first), 0)
    lock = first / "lock.toml"
    check(run("compile", model, "--locked", lock, "-d", data, "-o", again), 0)
    assert digest(again) == digest(first)
    text = check(run("compile", model, "--locked", lock, "-o", tmp_path / "c.snnb"), 2)
    assert code_of(text) == "lock-data"
    assert "give the same 5 samples with --data" in text
    with np.load(data) as loaded:
        np.savez(tmp_path / "other.npz", x=1 - loaded["x"])
    content = toml.loads(lock.read_text())
    content["program"]["digest"] = "0" * 64  # as if the program had followed from these samples
    (tmp_path / "lock.toml").write_text(toml.dumps(content))
    other = ("-d", tmp_path / "other.npz", "-o", tmp_path / "c.snnb")
    text = check(run("compile", model, "--locked", tmp_path / "lock.toml", *other), 6)
    assert code_of(text) == "lock-differs"
    assert "different are the data: locked 5 samples of 20 steps" in text
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


DIGEST = """
import sys
from snndeploy import compile
print(compile(sys.argv[1], frontend="nir", semantics={"dt": 1e-3}).program.digest)
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_every_python_gives_the_same_program(
    version: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    model, _ = files
    python = shutil.which(f"python{version}")
    if python is None or version == "{}.{}".format(*sys.version_info[:2]):
        pytest.skip(f"there is no other Python {version}")
    root = Path(__file__).parents[2]
    needed = [python, "-c", "import snndeploy, click, h5py, networkx, nir, pydantic, rich"]
    if subprocess.run(needed, capture_output=True, cwd=root, check=False).returncode:
        pytest.skip(f"Python {version} lacks what snndeploy needs")
    arguments = [python, "-c", DIGEST, model]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=root, check=False)
    check(run("compile", model, *FRONTEND, "-o", tmp_path / "a.snnb"), 0)
    assert done.stdout.strip() == digest(tmp_path / "a.snnb"), done.stderr
