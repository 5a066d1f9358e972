"""Commands killed at random moments: what was or what is new is there, and the next run succeeds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from snndeploy.bundle import read_bundle
from snndeploy.ingest import read_network
from snndeploy.pipeline.tuning.told import REPORT
from tests.attack.kept import OutOfTime, Pieces
from tests.support.commands import FRONTEND, check, network, run
from tests.support.nir_graphs import chain, lif, written

COMMANDS = ("compile", "compress", "finetune", "export", "report", "tune")
ROUND = 10
"""Kills that are made and kept in one go."""


@dataclass(frozen=True)
class Victim:
    """A command, where it writes, how to see that this is whole, and what it goes on from."""

    arguments: tuple[object, ...]
    out: Path
    seen: Callable[[Path], object]
    option: str = "-o"
    begun: Path | None = None

    @property
    def line(self) -> list[str]:
        told = (*self.arguments, self.option, self.out, "--force")
        return [sys.executable, "-m", "snndeploy", *map(str, told)]


def victims(folder: Path) -> dict[str, Victim]:
    """Every command that writes, on small files in ``folder``."""
    model = network(folder, 6, 8, 3)
    bundle = folder / "seen.snnb"
    check(run("compile", model, *FRONTEND, "-o", bundle), 0)
    rng = np.random.default_rng(0)
    digits = written(folder, chain(6, nir.Linear(rng.normal(size=(3, 6))), lif(3)), "train.nir")
    x = (rng.random((16, 5, 6)) < 0.4).astype(np.uint8)
    data = folder / "train.npz"
    np.savez(data, x=x, y=rng.integers(0, 3, 16))
    recipe = folder / "train.toml"
    recipe.write_text('[[pass]]\nname = "finetune"\nepochs = 2\nbatch = 8\n')
    learn = ("finetune", digits, *FRONTEND, "-r", recipe, "--train", data)
    study = folder / "tune.journal"
    search = ("tune", digits, *FRONTEND, "-d", data, "--trials", 4, "--study", study)
    return {
        "compile": Victim(("compile", model, *FRONTEND), folder / "a.snnb", _lock),
        "compress": Victim(
            ("compress", model, *FRONTEND, "-r", "default"), folder / "b.nir", _digest
        ),
        "finetune": Victim(learn, folder / "d.nir", _digest),
        "export": Victim(("export", model, *FRONTEND, "--to", "nir"), folder / "c.nir", _digest),
        "report": Victim(("report", bundle), folder / "e.html", _page, "--html"),
        "tune": Victim(search, folder / "tuned", _front, begun=study),
    }


def _lock(path: Path) -> object:
    return read_bundle(path).lock


def _digest(path: Path) -> object:
    return read_network(path).digest


def _page(path: Path) -> object:
    text = path.read_text()
    assert text.endswith("</html>\n")
    return len(text)


def _front(path: Path) -> object:
    """The recipes, their table, and what was tried, without how long it took."""
    told = json.loads((path / REPORT).read_text())
    trials = [{k: v for k, v in trial.items() if k != "seconds"} for trial in told["trials"]]
    kept = {p.name: p.read_text() for p in path.glob("[!.]*") if p.name != REPORT}
    return kept, trials, told["front"], told["counts"]


def killed(folder: Path, name: str, count: int, seed: int = 0) -> list[str]:
    """Kill one command ``count`` times; what was lost or left, after which of them."""
    victim = victims(folder)[name]
    rng = np.random.default_rng([seed, COMMANDS.index(name)])
    before = {p.name for p in folder.iterdir()}
    began = time.monotonic()
    subprocess.run(victim.line, check=True, capture_output=True)
    longest = time.monotonic() - began
    whole, lost = victim.seen(victim.out), list[str]()

    def look(when: str) -> None:
        try:
            if victim.seen(victim.out) != whole:
                lost.append(f"{when}: something else is there")
        except Exception as error:
            lost.append(f"{when}: {type(error).__name__}: {error}")

    i = 0
    while i < count:
        if victim.begun is not None and i % 2 == 0:
            victim.begun.unlink(missing_ok=True)  # every other run goes on from one that was killed
        moment = rng.uniform(0.3, 1.05) * longest
        with subprocess.Popen(
            victim.line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(moment)
            i += process.poll() is None  # one that has ended is no kill
            process.kill()
        look(f"{name} {seed}/{i}, killed after {moment:.2f} of {longest:.2f} s")
    subprocess.run(victim.line, check=True, capture_output=True)
    look(f"{name} {seed}, the next run")
    left = {p.name for p in folder.iterdir()} - before - {victim.out.name}
    left -= {victim.begun.name} if victim.begun is not None else set()
    return [*lost, *(f"{name} {seed}: left {file}" for file in sorted(left))]


def rounds(folder: Path, count: int, pieces: Pieces) -> Iterator[tuple[str, int, list[str], bool]]:
    """Kill ``count`` commands: of each how many were, what was lost or left, and if that is all."""
    for number, name in enumerate(COMMANDS):
        share = count // len(COMMANDS) + (number < count % len(COMMANDS))
        tried, lost = 0, list[str]()
        try:
            for first in range(0, share, ROUND):
                many, place = min(ROUND, share - first), folder / f"{name}-{first}"

                def work(
                    many: int = many, place: Path = place, first: int = first, name: str = name
                ) -> dict[str, Any]:
                    place.mkdir()
                    return {"tried": many, "lost": killed(place, name, many, first)}

                done = pieces(f"kill-{name}-{first}-{many}", work)
                tried, lost = tried + done["tried"], [*lost, *done["lost"]]
        except OutOfTime:
            pass
        yield name, tried, lost, tried == share


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", COMMANDS)
def test_thirty_four_kills(name: str, tmp_path: Path) -> None:
    assert killed(tmp_path, name, 34) == []


def test_what_is_kept_is_not_done_again(tmp_path: Path) -> None:
    def work() -> dict[str, object]:
        (tmp_path / "done").touch(exist_ok=False)
        return {"tried": 3}

    for _ in range(2):
        assert Pieces(tmp_path / "kept")("a", work) == {"tried": 3}
    late = Pieces(tmp_path / "kept", ends=0)
    assert late("a", work) == {"tried": 3}
    with pytest.raises(OutOfTime):
        late("b", work)
    assert [p.name for p in (tmp_path / "kept").iterdir()] == ["a.json"]
