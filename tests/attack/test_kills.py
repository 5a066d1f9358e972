"""Commands killed at random moments: what was or what is new is there, and the next run succeeds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
import pytest

from snndeploy.bundle import read_bundle
from snndeploy.ingest import read_network
from tests.support.commands import FRONTEND, check, network, run
from tests.support.nir_graphs import chain, lif, written

Seen = Callable[[Path], object]
COMMANDS = ("compile", "compress", "export", "finetune", "report")


def page(path: Path) -> object:
    text = path.read_text()
    assert text.endswith("</html>\n")
    return len(text)


def commands(folder: Path) -> dict[str, tuple[list[object], Path, Seen]]:
    """What to run, where it writes, and how to see that the output is whole."""
    model = network(folder, 6, 8, 3)
    bundle = folder / "seen.snnb"
    check(run("compile", model, *FRONTEND, "-o", bundle), 0)
    rng = np.random.default_rng(0)
    digits = written(folder, chain(6, nir.Linear(rng.normal(size=(3, 6))), lif(3)), "train.nir")
    x = (rng.random((16, 5, 6)) < 0.4).astype(np.uint8)
    np.savez(folder / "train.npz", x=x, y=rng.integers(0, 3, 16))
    recipe = folder / "train.toml"
    recipe.write_text('[[pass]]\nname = "finetune"\nepochs = 2\nbatch = 8\n')
    learn = ["finetune", digits, *FRONTEND, "-r", recipe, "--train", folder / "train.npz"]
    return {
        "compile": (
            ["compile", model, *FRONTEND],
            folder / "a.snnb",
            lambda p: read_bundle(p).lock,
        ),
        "compress": (["compress", model, *FRONTEND, "-r", "default"], folder / "b.nir", _digest),
        "export": (["export", model, *FRONTEND, "--to", "nir"], folder / "c.nir", _digest),
        "finetune": (learn, folder / "d.nir", _digest),
        "report": (["report", bundle], folder / "e.html", page),
    }


def _digest(path: Path) -> object:
    return read_network(path).digest


def killed(folder: Path, count: int, names: tuple[str, ...] = COMMANDS) -> tuple[int, int]:
    """Kill ``count`` commands; how many were, and after how many something was lost or left."""
    rng = np.random.default_rng(0)
    todo = commands(folder)
    tried = lost = 0
    for name in names:
        arguments, out, seen = todo[name]
        option = "--html" if name == "report" else "-o"
        full = [sys.executable, "-m", "snndeploy", *map(str, [*arguments, option, out, "--force"])]
        began = time.monotonic()
        subprocess.run(full, check=True, capture_output=True)
        longest = time.monotonic() - began
        whole = seen(out)
        for _ in range(count // len(names)):
            with subprocess.Popen(
                full, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as process:
                time.sleep(rng.uniform(0.3, 1.1) * longest)
                process.kill()
            tried += 1
            lost += seen(out) != whole
        subprocess.run(full, check=True, capture_output=True)
        lost += seen(out) != whole
        lost += any(p.name.startswith(".") for p in folder.iterdir())
    return tried, lost


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", COMMANDS)
def test_forty_kills(name: str, tmp_path: Path) -> None:
    assert killed(tmp_path, 40, (name,)) == (40, 0)
