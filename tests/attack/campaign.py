"""Try many broken files of one format, and tell what became of them."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from snndeploy.errors import SnnDeployError
from snndeploy.limits import Limits, using
from tests.attack.formats import FORMATS
from tests.attack.kept import OutOfTime, Pieces
from tests.support.leftovers import children, readers

SECONDS = 10.0
"""Longest time that one broken file may take, without the time that the machine gives to others."""
BYTES = 1 << 30
"""Most that the memory may grow by, however many files are read."""
ALLOWED = {2, 3, 4, 5, 6}
"""Exit codes of errors that say what is wrong; 1 is a bug of ours, 7 a backend's."""
KINDS = ("traceback", "unclear error", "hang", "memory", "left file", "left process")
"""What must not happen."""


@dataclass
class Campaign:
    """How many files were tried, what they ended in, and what should not have happened.

    A failure is its kind, which file it was, and what is known.
    """

    tries: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    slowest: float = 0.0
    grown: int = 0

    def __str__(self) -> str:
        refused = self.tries - self.endings["accepted"] - self.count("traceback")
        counts = "".join(f"{self.count(kind):>{len(kind) + 4}}" for kind in KINDS)
        return (
            f"{self.tries:>7}{refused:>9}{self.endings['accepted']:>10}{counts}"
            f"{self.slowest:>9.2f} s{self.grown >> 20:>6} MiB"
        )

    def __add__(self, other: Campaign) -> Campaign:
        return Campaign(
            self.tries + other.tries,
            self.endings + other.endings,
            self.failures + other.failures,
            max(self.slowest, other.slowest),
            max(self.grown, other.grown),
        )

    def count(self, kind: str) -> int:
        return sum(k == kind for k, _, _ in self.failures)

    def record(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, record: dict[str, Any]) -> Campaign:
        failures = [(kind, where, told) for kind, where, told in record["failures"]]
        return cls(**{**record, "endings": Counter(record["endings"]), "failures": failures})

    @staticmethod
    def heading() -> str:
        kinds = "".join(f"{kind:>{len(kind) + 4}}" for kind in KINDS)
        return f"{'':<12}{'tried':>7}{'refused':>9}{'harmless':>10}{kinds}{'slowest':>11}{'memory':>10}"


def peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _queued() -> dict[int, float]:
    """Seconds that this process and each child could have run in, while processors were others'."""
    places = {pid: Path(f"/proc/{pid}/schedstat") for pid in (os.getpid(), *children(), *readers())}
    return {pid: int(p.read_text().split()[1]) / 1e9 for pid, p in places.items() if p.exists()}


def _taken(began: float, queued: dict[int, float]) -> float:
    """Seconds since then, without those that the machine gave to others; sleep and computing count."""
    waited = sum(seconds - queued.get(pid, 0.0) for pid, seconds in _queued().items())
    return time.monotonic() - began - waited


def attack(
    name: str, count: int, folder: Path, *, first: int = 0, corpus: Path | None = None
) -> Campaign:
    """Read ``count`` broken files of the format ``name``; file i is the same on every machine.

    What fails is copied to ``corpus``, if there is one.
    """
    form, done = FORMATS[name], Campaign()
    seeds, temporary, target = folder / "seeds", folder / "tmp", folder / "broken"
    for place in (seeds, temporary):
        place.mkdir()
    form.seed(seeds)
    rng = np.random.default_rng
    _broken(name, seeds, target, rng([first, len(name)]))
    tried(name, "", target, temporary)  # what is loaded then is not its fault
    before = peak()
    for i in range(first, first + count):
        _broken(name, seeds, target, rng([i, len(name)]))
        one = tried(name, str(i), target, temporary)
        if one.failures and corpus is not None:
            _broken(name, seeds, corpus / name / str(i), rng([i, len(name)]))
        done = done + one
    done.grown = peak() - before
    if done.grown > BYTES:
        done.failures.append(("memory", name, f"it grew by {done.grown >> 20} MiB"))
    return done


def piece(name: str, count: int, first: int, corpus: Path | None, pieces: Pieces) -> Campaign:
    """`attack` in a folder of its own; nothing where the time is over."""
    warnings.simplefilter("ignore")

    def work() -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="attack-") as folder:
            return attack(name, count, Path(folder), first=first, corpus=corpus).record()

    try:
        return Campaign.of(pieces(f"{name}-{first}-{count}", work))
    except OutOfTime:
        return Campaign()


def _broken(name: str, seeds: Path, target: Path, rng: np.random.Generator) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        FORMATS[name].broken(seeds, target, rng)


def tried(name: str, which: str, target: Path, temporary: Path) -> Campaign:
    """Read one broken file."""
    done, known = Campaign(tries=1), tempfile.tempdir

    def fail(kind: str, told: str) -> None:
        done.failures.append((kind, f"{name} {which}", told))

    began, queued = time.monotonic(), _queued()
    tempfile.tempdir = str(temporary)
    try:
        with using(Limits(model_s=5.0, memory=1 << 28)):
            FORMATS[name].use(target)
        done.endings["accepted"] += 1
    except SnnDeployError as error:
        done.endings[error.code] += 1
        if error.exit_code not in ALLOWED or not error.message:
            fail("unclear error", f"{error.code}, exit {error.exit_code}")
    except Exception:
        fail("traceback", traceback.format_exc()[-1500:])
    finally:
        tempfile.tempdir = known
    done.slowest = _taken(began, queued)
    if done.slowest > SECONDS:
        fail("hang", f"{done.slowest:.1f} s")
    for path in sorted(temporary.iterdir()):
        fail("left file", path.name)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for pid, line in children().items():
        fail("left process", f"{pid}: {line}")
    return done
