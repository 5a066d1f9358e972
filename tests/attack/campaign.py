"""Try many broken files of one format, and tell what became of them."""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from snndeploy.errors import SnnDeployError
from snndeploy.limits import Limits, using
from tests.attack.formats import FORMATS

SECONDS = 10.0
"""Longest time that one broken file may take."""
BYTES = 1 << 30
"""Most that the memory may grow by, however many files are read."""
ALLOWED = {2, 3, 4, 5, 6}
"""Exit codes of errors that say what is wrong; 1 is a bug of ours, 7 a backend's."""


@dataclass
class Campaign:
    """How many files were tried, what they ended in, and what should not have happened."""

    tries: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    grown: int = 0

    def __str__(self) -> str:
        refused = self.tries - self.endings["accepted"] - len(self.failures)
        return (
            f"{self.tries:>6} tried  {refused:>6} refused  {self.endings['accepted']:>6} harmless  "
            f"{len(self.failures):>3} failures  slowest {self.slowest:.2f} s  "
            f"memory +{self.grown >> 20} MiB"
        )


def peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def attack(name: str, count: int, folder: Path, *, first: int = 0) -> Campaign:
    """Read ``count`` broken files of the format ``name``; file i is the same on every machine."""
    form, done = FORMATS[name], Campaign()
    seeds, temporary = folder / "seeds", folder / "tmp"
    for place in (seeds, temporary):
        place.mkdir()
    form.seed(seeds)
    _try(name, first, seeds, folder / "broken", Campaign())  # what is loaded then is not its fault
    before, known = peak(), tempfile.tempdir
    tempfile.tempdir = str(temporary)
    try:
        for i in range(first, first + count):
            _try(name, i, seeds, folder / "broken", done)
            left = sorted(p.name for p in temporary.iterdir())
            if left:
                done.failures.append(f"{name} {i}: left {left} behind")
                shutil.rmtree(temporary)
                temporary.mkdir()
    finally:
        tempfile.tempdir = known
    done.grown = peak() - before
    if done.grown > BYTES:
        done.failures.append(f"{name}: the memory grew by {done.grown >> 20} MiB")
    return done


def _try(name: str, i: int, seeds: Path, target: Path, done: Campaign) -> None:
    form = FORMATS[name]
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        form.broken(seeds, target, np.random.default_rng([i, len(name)]))
    done.tries += 1
    began = time.monotonic()
    try:
        with using(Limits(model_s=5.0, memory=1 << 28)):
            form.use(target)
        done.endings["accepted"] += 1
    except SnnDeployError as error:
        done.endings[error.code] += 1
        if error.exit_code not in ALLOWED or not error.message:
            done.failures.append(f"{name} {i}: {error.code}, exit {error.exit_code}")
    except Exception:
        done.failures.append(f"{name} {i}: {traceback.format_exc()[-1500:]}")
    took = time.monotonic() - began
    done.slowest = max(done.slowest, took)
    if took > SECONDS:
        done.failures.append(f"{name} {i}: took {took:.1f} s")
