"""``--timeout`` and ``--max-memory`` hold for every command: it obeys them, or needs no more."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from snndeploy.cli import main
from snndeploy.cli.bounds import TimeUp, bounded
from tests.support.commands import FRONTEND, check, code_of, network, run

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "inspect": ("model.nir", *FRONTEND),
    "compile": ("model.nir", *FRONTEND, "-d", "data.npz", "-o", "new.snnb"),
    "check": ("model.nir", *FRONTEND),
    "compare": ("model.nir", *FRONTEND, "--targets", "loihi1,loihi2"),
    "simulate": ("net.snnb", "-d", "data.npz"),
    "verify": ("net.snnb", "--engines", "integer"),
    "certify": ("net.snnb",),
    "report": ("net.snnb", "--html", "new.html"),
    "explain": ("net.snnb",),
    "compress": ("model.nir", *FRONTEND, "-r", "sbc", "-d", "data.npz", "-o", "new.nir"),
    "finetune": (
        "model.nir",
        *FRONTEND,
        "-r",
        "train.toml",
        "--train",
        "data.npz",
        "-o",
        "new.nir",
    ),
    "sensitivity": ("model.nir", *FRONTEND, "-d", "data.npz"),
    "reduce-timesteps": ("model.nir", *FRONTEND, "-d", "data.npz"),
    "export": ("model.nir", *FRONTEND, "--to", "nir", "-o", "new.nir"),
    "demo": ("-n", "20", "-o", "new.snnb"),
    "init": ("model.nir", *FRONTEND),
    "tune": ("model.nir", *FRONTEND, "-d", "data.npz", "--trials", "4", "-o", "tuned"),
    "targets": (),
    "passes": ("prune",),
    "recipes": (),
    "frontend": ("probe", "model.nir", "--trace", "trace.npz", "--dt", "0.001"),
    "lava": ("install", "--dir", "lava"),
    "xylo": ("install", "--dir", "xylo"),
    "doctor": (),
}
"""A way to call each command that there is."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that `ARGUMENTS` name."""
    monkeypatch.chdir(tmp_path)
    model = network(tmp_path, 6, 8, 3)
    rng = np.random.default_rng(0)
    x = (rng.random((40, 30, 6)) < 0.4).astype(np.uint8)
    np.savez("data.npz", x=x, y=np.arange(40) % 3)
    np.savez(
        "trace.npz", input=x[:, :1], output=np.eye(3, dtype=np.float32)[np.arange(40) % 3, None]
    )
    Path("train.toml").write_text('[[pass]]\nname = "finetune"\nepochs = 2\n')
    check(run("compile", model, *FRONTEND, "-o", "net.snnb"), 0)
    return tmp_path


def test_no_command_is_left_out() -> None:
    assert ARGUMENTS.keys() == main.commands.keys()


# What is stopped between opening a file and holding it lets Python close it, with a warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "name", [n for n in ARGUMENTS if n not in ("targets", "passes", "recipes")]
)
def test_every_command_is_given_its_time(name: str, place: Path) -> None:
    """Stopped at once: what is loaded only then must not be what is interrupted."""
    import torch._dynamo  # noqa: F401

    from snndeploy.passes.training.loop import session  # noqa: F401

    before = {p.name for p in place.iterdir()}
    found = run("--timeout", "0.003", name, *ARGUMENTS[name])
    assert (found.exit_code, code_of(found)) == (3, "time-limit")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    # A context manager that was stopped while it began ends when its traceback goes, as with a process.
    del found
    gc.collect()
    new = [p for p in place.iterdir() if p.name not in before]
    assert [p.name for p in new if not p.is_dir() or any(p.iterdir())] == []


@pytest.mark.parametrize("lost", [1, 3])
def test_a_limit_that_falls_into_destructors_comes_again(lost: int) -> None:
    class Slow:
        def __del__(self) -> None:
            deadline = time.monotonic() + 0.1
            while time.monotonic() < deadline:
                pass

    hook, began = sys.unraisablehook, time.monotonic()

    def drop(count: int) -> None:
        for _ in range(count):
            Slow()
        time.sleep(5)

    with pytest.raises(TimeUp), bounded(None, 0.02, None):
        drop(lost)
    assert time.monotonic() - began < 4
    assert sys.unraisablehook is hook


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_command_in_a_process_of_its_own(name: str, place: Path) -> None:
    """It ends in time, with one line that says why, and nothing half done."""
    command = [sys.executable, "-m", "snndeploy"]
    before = {p.name for p in place.iterdir()}
    for limit in (("--timeout", "0.5"), ("--timeout", "2"), ("--max-memory", "256")):
        began = time.monotonic()
        done = subprocess.run(
            [*command, *limit, name, *ARGUMENTS[name]],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        told = f"{limit} {name}: {done.returncode} {done.stderr}"
        assert "Traceback" not in done.stderr, told
        if done.returncode:
            ended = (code_of_text(done.stderr), done.returncode)
            own = [("no-exact-profile", 6)] if name == "frontend" else []  # on a fast machine
            limits = ("time-limit", "memory-limit", "too-large")
            assert ended in [*((code, 3) for code in limits), *own], told
            left = {p.name for p in place.iterdir()} - before
            if name == "demo" and left == {"new.snnb"}:  # whole, and what is run of it was stopped
                check(run("inspect", "new.snnb"), 0)
                left = set()
            assert left == set(), told
        if limit[0] == "--timeout":
            assert time.monotonic() - began < float(limit[1]) + 30, told
        for new in {p.name for p in place.iterdir()} - before:
            subprocess.run(["rm", "-r", new], check=True)


def code_of_text(text: str) -> str:
    return text.partition("error[")[2].partition("]")[0]
