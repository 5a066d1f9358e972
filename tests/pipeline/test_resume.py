"""Commands that were killed go on from what they had finished, and end where they would have ended."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy.bundle import read_bundle
from snndeploy.data import Samples
from snndeploy.errors import InputError, UsageError
from snndeploy.ir.network import Network
from snndeploy.passes.base import Pass
from snndeploy.passes.correct.correct_bias import CorrectBias
from snndeploy.passes.kept import FinishedPass, Kept
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.runner import TAKEN
from snndeploy.pipeline import compile
from snndeploy.pipeline.advise.sensitivity import sensitivity
from snndeploy.recipe import Recipe
from tests.support.builders import chain_net, conv_net, spikes
from tests.support.commands import FRONTEND, check, code_of, network, run

PASSES: tuple[Pass, ...] = (
    Prune(sparsity=0.5, method="sbc"),
    Quantize(bits=4, method="sbc"),
    CorrectBias(),
)


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(scope="module")
def net() -> Network:
    return conv_net()


@pytest.fixture(scope="module")
def data(net: Network) -> Samples:
    return Samples(spikes(net, steps=8, samples=60))  # enough for a guard to go by


def told(compiled: Any) -> dict[str, object]:
    """Everything that a compilation came to, but for how long it took."""
    steps = [
        (s.name, s.options, s.modified, s.before, s.after, s.metrics, s.findings, s.digest)
        for s in compiled.log.steps
    ]
    return {
        "program": compiled.program.digest,
        "network": (compiled.network.digest, compiled.network.notes),
        "steps": steps,
        "answers": compiled.log.answers,
        "findings": compiled.findings,
        "recipe": compiled.recipe,
        "placement": compiled.placement,
    }


GUARDS: dict[str, Recipe] = {
    "warn": Recipe(passes=PASSES, seed=3),
    "off": Recipe(passes=PASSES, guard="off"),
    "back-off": Recipe(passes=PASSES[:2], guard="back-off", max_divergence=1e-3),
    "search": Recipe(passes=PASSES[:2], guard="search", max_divergence=0.05),
}


@pytest.mark.parametrize("guard", GUARDS)
def test_a_compilation_killed_after_results(
    guard: str, net: Network, data: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it has kept last, and in its trials too, it goes on from there."""
    arguments: dict[str, Any] = {
        "recipe": GUARDS[guard],
        "calibration": data,
        "scale": "calibrated",
    }
    whole = told(compile(net, **arguments))
    save, saved, kills = Kept.save, 0, 0
    every = 1 if guard in ("warn", "off") else 6

    def save_and_die(self: Kept, name: str, value: object) -> None:
        nonlocal saved
        assert not (tmp_path / name).exists()  # nothing is computed twice
        save(self, name, value)
        saved += 1
        if saved % every == 0:
            raise Killed

    monkeypatch.setattr(Kept, "save", save_and_die)
    while True:
        try:
            found = compile(net, **arguments, checkpoints=tmp_path, resume=kills > 0)
            break
        except Killed:
            kills += 1
    assert told(found) == whole
    assert saved == len(list(tmp_path.iterdir()))
    assert kills >= saved // every > 0


def test_what_is_kept_is_of_that_run_alone(net: Network, data: Samples, tmp_path: Path) -> None:
    """Whatever a result follows from: where it is another one, nothing is taken."""
    base: dict[str, Any] = {
        "model": net,
        "recipe": Recipe(passes=(Prune(sparsity=0.5, method="sbc"),), guard="off"),
        "calibration": data,
    }

    def run_once(**changed: Any) -> tuple[str, bool]:
        heard: list[str] = []
        compiled = compile(
            **{**base, **changed},
            checkpoints=tmp_path,
            resume=True,
            observer=lambda e: heard.append(e.status) if e.kind == "end" else None,
        )
        return compiled.network.digest, heard == [TAKEN]

    first, taken = run_once()
    assert not taken
    assert run_once() == (first, True)
    other = data.inputs.copy()
    other[0, 0] = 1 - other[0, 0]
    changes: list[dict[str, Any]] = [
        {"model": conv_net(1)},
        {"calibration": Samples(other)},
        {"calibration": Samples(data.inputs, np.arange(60) % 5)},
        {"recipe": Recipe(passes=(Prune(sparsity=0.6, method="sbc"),), guard="off")},
        {"recipe": Recipe(passes=(Prune(sparsity=0.5, method="osbc"),), guard="off")},
        {"recipe": base["recipe"].model_copy(update={"seed": 1})},
        {"target": "loihi1"},
    ]
    for change in changes:
        assert not run_once(**change)[1], change
        assert run_once(**change)[1], change
    assert compile(**base, checkpoints=tmp_path).network.digest == first


def test_without_resume_nothing_is_taken(net: Network, tmp_path: Path) -> None:
    heard: list[str] = []
    for _ in range(2):
        compile(net, checkpoints=tmp_path, observer=lambda e: heard.append(e.status))
    assert TAKEN not in heard
    assert len(list(tmp_path.iterdir())) == sum(1 for _ in tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", bytes(200)])
def test_a_damaged_file_is_said(content: bytes, net: Network, tmp_path: Path) -> None:
    compile(net, checkpoints=tmp_path)
    kept = sorted(tmp_path.iterdir())
    kept[0].write_bytes(content)
    with pytest.raises(InputError) as caught:
        compile(net, checkpoints=tmp_path, resume=True)
    assert caught.value.code == "checkpoint-damaged"
    assert caught.value.where == str(kept[0])
    kept[0].unlink()
    compile(net, checkpoints=tmp_path, resume=True)


@pytest.mark.parametrize("how", ["leads nowhere", "another"])
def test_a_network_that_is_none_is_damaged(how: str, net: Network, tmp_path: Path) -> None:
    """Its types are right, and yet no pass has made it of the network."""
    lost = dataclasses.replace(net.projections[-1], target="nobody")
    nowhere = net.replace(projections=(*net.projections[:-1], lost))
    broken = {"leads nowhere": nowhere, "another": chain_net([np.ones((2, 3), np.float32)])}[how]
    kept = Kept(tmp_path, resume=True)
    compile(net, checkpoints=tmp_path)
    for path in tmp_path.iterdir():
        kept.save(path.name, FinishedPass(seconds=0.0, network=broken))
    with pytest.raises(InputError) as caught:
        compile(net, checkpoints=tmp_path, resume=True)
    assert caught.value.code == "checkpoint-damaged"


def test_places_that_cannot_be_written_to(net: Network, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError) as caught:
        compile(net, checkpoints=tmp_path / "file")
    assert caught.value.code == "checkpoint-unwritable"
    with pytest.raises(UsageError) as usage:
        compile(net, resume=True)
    assert usage.value.code == "resume-folder"


def test_a_sensitivity_killed_now_and_then(
    net: Network, data: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"ratios": (0.25,), "bits": (4,), "score": "random", "seed": 5}
    labelled = Samples(data.inputs, np.arange(60) % 5)
    whole = sensitivity(net, labelled, **options)
    save, saved = Kept.save, 0

    def save_and_die(self: Kept, name: str, value: object) -> None:
        nonlocal saved
        assert not (tmp_path / name).exists()  # nothing is computed twice
        save(self, name, value)
        saved += 1
        if saved % 3 == 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Kept, "save", save_and_die)
        kills = 0
        while True:
            try:
                kept = {"checkpoints": tmp_path, "resume": kills > 0}
                found = sensitivity(net, labelled, **options, **kept)
                break
            except Killed:
                kills += 1
    assert found == whole
    assert saved == len(whole.points) == len(list(tmp_path.iterdir()))
    assert kills > 1
    other = Samples(data.inputs, np.arange(60) % 4)
    kept = {"checkpoints": tmp_path, "resume": True}
    assert sensitivity(net, other, **options, **kept) == sensitivity(net, other, **options)


def test_commands_say_what_they_took(tmp_path: Path) -> None:
    model, data = network(tmp_path, 6, 8, 3), tmp_path / "data.npz"
    rng = np.random.default_rng(1)
    np.savez(data, x=(rng.random((40, 20, 6)) < 0.4).astype(np.uint8), y=np.arange(40) % 3)
    keep = ("--checkpoints", tmp_path / "kept", "--resume", "-d", data)
    for command, out in (("compile", "a.snnb"), ("compress", "a.nir")):
        made = (command, model, *FRONTEND, "-r", "sbc", *keep, "-o", tmp_path / out, "--force")
        check(run(*made), 0)
        assert TAKEN in check(run(*made), 0)
    refused = run("compile", model, *FRONTEND, "--resume", "-o", tmp_path / "b.snnb")
    assert (refused.exit_code, code_of(refused)) == (2, "resume-folder")
    lost = ("sensitivity", model, *FRONTEND, "--json", *keep)
    first, again = (run(*lost) for _ in range(2))
    assert json.loads(again.stdout) == json.loads(first.stdout)
    netx = tmp_path / "m.net"
    check(run("export", model, *FRONTEND, "--to", "netx", "-o", netx), 0)
    refused = run("compile", netx, "--checkpoints", tmp_path / "kept", "-o", tmp_path / "c.snnb")
    assert (refused.exit_code, code_of(refused)) == (2, "option-not-obeyed")


Command = Callable[[Path], tuple[list[object], Path]]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("command", ["compile", "sensitivity"])
def test_killed_by_the_system(command: str, tmp_path: Path) -> None:
    """``kill -9`` at times that nobody chose, until it comes through."""
    demo = Path(__file__).parents[2] / "snndeploy/demo"
    made: dict[str, tuple[object, ...]] = {
        "compile": ("-r", "sbc", "--scale", "calibrated", "-n", "200"),
        "sensitivity": ("-n", "500"),
    }
    kept = ("--checkpoints", tmp_path / "kept", "--resume")
    outs = {
        "compile": ("-o", tmp_path / "a.snnb", "--force"),
        "sensitivity": ("--recipe", tmp_path / "a.toml", "--force"),
    }
    base = [sys.executable, "-m", "snndeploy", command, demo / "digits.nir"]
    full = [
        *base,
        "-d",
        demo / "digits_heldout.npz",
        "--encode",
        "rate",
        "--steps",
        "16",
        *made[command],
        *outs[command],
    ]
    began = time.monotonic()
    subprocess.run([*map(str, full)], check=True, capture_output=True)
    took = time.monotonic() - began
    whole = seen(tmp_path)
    rng = np.random.default_rng(0)
    for _ in range(12):
        with subprocess.Popen(
            [*map(str, (*full, *kept))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ) as process:
            time.sleep(rng.uniform(0.4, 1.0) * took)
            process.kill()
    done = subprocess.run([*map(str, (*full, *kept))], check=True, capture_output=True, text=True)
    assert seen(tmp_path) == whole
    if command == "compile":
        assert TAKEN in done.stderr
    assert list((tmp_path / "kept").glob(".*")) == []


def seen(folder: Path) -> object:
    if (folder / "a.toml").exists():
        return (folder / "a.toml").read_text()
    bundle = read_bundle(folder / "a.snnb")
    return bundle.program.digest, {n: x.digest for n, x in bundle.networks.items()}, bundle.lock
