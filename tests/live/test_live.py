"""Live modules of real frameworks: galleries, recordings, and random networks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import snndeploy
from snndeploy.errors import BackendMissing, InputError
from snndeploy.ir.decoding import decode
from snndeploy.ir.network import Network
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.lava.env import find_lava

ROOT = Path(__file__).parents[2]
TORCH = "torch==2.13.0"
COMMON = ("numpy", "h5py", "networkx", "nir==1.0.8", "scipy", "tqdm", "pydantic", "platformdirs")
FRAMEWORKS = {
    "snntorch": ("snntorch==1.0.0",),
    "norse": ("norse==1.1.0",),
    "sinabs": ("sinabs==3.1.3",),
    "spikingjelly": ("spikingjelly==2.0.0",),
}
EXTRAS = {"sinabs": ("pbr", "matplotlib"), "spikingjelly": ("loguru",)}
GALLERY = {"snntorch": 20, "norse": 7, "sinabs": 6, "spikingjelly": 10}
"""Pieces of each framework; the slow test and the recordings hold all of them."""
NETWORKS = {"snntorch": 47, "norse": 35, "sinabs": 34, "spikingjelly": 27}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_random_networks_match_the_framework(name: str, tmp_path: Path) -> None:
    """Options of every kind, read live, from a file with all of them said, and from a file alone."""
    python = tmp_path / "env" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = (
        [sys.executable, "-m", "venv", str(tmp_path / "env")],
        [*pip, TORCH],  # first, so that nothing brings another
        [*pip, *COMMON, *EXTRAS.get(name, ())],
        [*pip, "--no-deps", "nirtorch==2.6", *FRAMEWORKS[name]],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{name} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    script = ROOT / "tests" / "live" / "networks" / "check.py"
    run = subprocess.run(
        [str(python), str(script), name, str(NETWORKS[name])],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    results = json.loads(run.stdout.strip().splitlines()[-1])
    live = [r for r in results if r["how"] == "live"]
    assert len(live) == NETWORKS[name]
    assert {r["what"]: r["differing"] for r in results if r["wrong"]} == {}
    assert any(r["how"] == "file, all said" for r in results)
    assert sum(r["spikes"] != 0 for r in live) >= NETWORKS[name] * 2 // 3
    judge(run_gallery(str(python), name, *(["--lava"] if find_lava() else [])))


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_gallery(name: str) -> None:
    """Modules as people write them, where the framework is installed here."""
    pytest.importorskip(name)
    judge(run_gallery(sys.executable, name))


def run_gallery(python: str, name: str, *options: str) -> list[dict[str, Any]]:
    run = subprocess.run(
        [python, "-m", "tests.live.gallery.check", name, *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads(run.stdout.strip().splitlines()[-1])
    return found


def judge(results: list[dict[str, Any]]) -> None:
    """Every piece was read, and spikes are the framework's through every engine that ran."""
    assert {r["name"]: r["error"] for r in results if "error" in r} == {}
    for result in results:
        for engine in ("float", "integer", "lava"):
            differing = {k: n for k, n in result.get(engine, {}).items() if n}
            assert differing == {}, (result["name"], engine)
        assert sum(result["spikes"].values()) > 20, result["name"]


GOLDEN = sorted((ROOT / "tests" / "golden" / "live").glob("*.npz"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_recorded_modules(path: Path) -> None:
    """What was read of a module answers what its framework answered when both were recorded."""
    with np.load(path) as held:
        arrays = {name: held[name] for name in held.files}
    network = decode(json.loads(str(arrays["network"])), arrays, Network)
    inputs = {
        name.removeprefix("input:"): x.astype(np.float32)
        for name, x in arrays.items()
        if name.startswith("input:")
    }
    ours = run_float(network, inputs).spikes
    answers = {n.removeprefix("answer:"): x for n, x in arrays.items() if n.startswith("answer:")}
    assert answers
    for name, theirs in answers.items():
        neuron = network.population(name).neuron
        mine = ours[name] if theirs.size == ours[name].size else ours[name].sum(0)
        exactly = neuron is not None and neuron.spiking
        same = np.array_equal if exactly else partial(np.allclose, rtol=1e-5, atol=1e-6)
        assert same(mine, theirs.reshape(mine.shape)), name


def test_there_are_recordings_of_every_framework() -> None:
    counts = Counter(path.stem.partition("-")[0] for path in GOLDEN)
    assert counts == GALLERY
    assert sum(counts.values()) >= 36


@pytest.mark.parametrize(("reset", "fine"), [("zero", True), ("other", False)])
def test_options_that_have_no_form_are_refused(reset: str, fine: bool) -> None:
    from types import SimpleNamespace

    from snndeploy.live.sinabs import _options

    name = "MembraneReset" if fine else "Other"
    layer = SimpleNamespace(
        spike_fn=SimpleNamespace(__name__="SingleSpike"), reset_fn=SimpleNamespace(__name__=name)
    )
    if fine:
        told = _options("a", layer)
        assert told["reset"] == reset
        assert told["spikes_per_step"] == "one"
        return
    with pytest.raises(
        InputError, match="layer 'a': its reset function Other is not known"
    ) as caught:
        _options("a", layer)
    assert caught.value.code == "live-option"


def test_a_reset_to_a_value_which_sinabs_adds_in_every_step_is_refused() -> None:
    from types import SimpleNamespace

    from snndeploy.live.sinabs import _options

    reset = SimpleNamespace(__name__="MembraneReset", reset_value=-0.3)
    layer = SimpleNamespace(spike_fn=SimpleNamespace(__name__="SingleSpike"), reset_fn=reset)
    with pytest.raises(InputError, match=r"its reset adds -0\.3 in every step") as caught:
        _options("a", layer)
    assert caught.value.code == "live-option"
    reset.reset_value = 0.0
    assert _options("a", layer)["reset"] == "zero"


def test_missing_frameworks_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FRAMEWORKS:
        monkeypatch.setitem(sys.modules, name, None)
        for module in [m for m in sys.modules if m.startswith(f"{name}.")]:
            monkeypatch.delitem(sys.modules, module)
        with pytest.raises(BackendMissing, match=f"{name} cannot be imported here") as caught:
            getattr(snndeploy, f"from_{name}")(nn.Linear(1, 1), torch.ones(1))
        assert caught.value.code == "framework-missing"
        assert caught.value.hint == f"pip install {name}"
