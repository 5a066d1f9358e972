"""Whether the tests notice single faults: ``python tools/mutants.py [ROOM ...] [--sample N]``.

The tests of a room are collected once, and run once to see which statements each of them reaches. For
every mutant (see `mutate`) a copy of the process is made, the one function is replaced in it, and the
tests that reach its statement are run until one fails: those that noticed others, and the shortest.
General tools start an interpreter per mutant, which here takes seconds each time.

Results are kept in build/mutants, so a run that was stopped goes on: what was killed is not run again
unless its function changes, what survived not unless a test does. tools/mutants.toml says which tests
look after which files, and which mutants are none because they compute the same.
"""

from __future__ import annotations

import argparse
import builtins
import gc
import hashlib
import importlib
import json
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import _lru_cache_wrapper, lru_cache
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from mutate import Codes, Mutant, mutants_of, mutated, watched

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
STATE = ROOT / "build" / "mutants"
PROBE = "_reached_statement"
"""What instrumented functions call: a name among the builtins, so that every module has it."""
PATIENCE = 10.0
"""Seconds of computing that a mutant may take besides five times what its tests take."""
IDLE = 20.0
"""Seconds that a mutant may wait for something, a lock or a pipe, while nothing of it computes."""
PART = 60
"""Tests of a file that are run once in one go, to see what they reach: what is done is kept."""
SPARE = 2 << 30
"""Bytes of memory that a mutant may take besides what the tests have already."""
SURVIVED, KILLED, TOO_LONG, BROKEN = "survived", "killed", "too long", "broken"


class Room:
    """Files, the tests that look after them, and what was found out before."""

    def __init__(
        self,
        name: str,
        files: list[str],
        tests: list[str],
        without: str | None = None,
        prepared: str | None = None,
    ) -> None:
        self.name, self.tests, self.without, self.prepared = name, tests, without, prepared
        found = (path for pattern in files for path in ROOT.glob(pattern))
        self.files = {str(p.relative_to(ROOT)): p for p in sorted(found) if p.suffix == ".py"}
        self.state = STATE / f"{name}.json"
        self.known: dict[str, dict[str, str]] = {}
        if self.state.exists():
            self.known = json.loads(self.state.read_text(encoding="utf-8"))
        self.content = _digest(self.files.values())
        self.tested = _digest(p for t in tests for p in _python_files(ROOT / t))

    def status(self, mutant: Mutant) -> str | None:
        """What became of a mutant, as far as that still holds."""
        told = self.known.get(mutant.key)
        if told is None or told["within"] != mutant.within or told["status"] == BROKEN:
            return None
        again = told["status"] == SURVIVED and told["tests"] != self.tested
        return None if again else told["status"]

    def keep(self, mutant: Mutant, status: str, by: str) -> None:
        """Remember what became of a mutant, and which test noticed it."""
        told = {"status": status, "within": mutant.within, "tests": self.tested, "by": by}
        self.known[mutant.key] = told
        _write(self.state, self.known)


class Campaign:
    """A pytest plugin that runs mutants instead of the tests."""

    def __init__(self, room: Room, mutants: list[Mutant], asked: argparse.Namespace) -> None:
        self.room, self.mutants, self.longest = room, mutants, asked.longest
        self.ends = time.monotonic() + asked.seconds
        self.failed = False
        self.noticed: Counter[str] = Counter(
            told["by"] for told in room.known.values() if told["status"] == KILLED
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notice a failure."""
        self.failed |= report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run what is to be run within the time given."""
        if self.room.prepared is not None:  # what tests are given, and no mutant makes
            module, _, function = self.room.prepared.partition(":")
            getattr(importlib.import_module(module), function)()
        live = _functions({str(path) for path in self.room.files.values()})
        reached = Reached(self.room, session, live)
        _caches()  # before copies are made; the collector leaves alone what they share
        gc.collect()
        gc.freeze()
        if not reached.measured(self.ends, self):
            return True
        for number, mutant in enumerate(self.mutants, 1):
            if time.monotonic() > self.ends:
                break
            status, by = self._run(mutant, session, reached, live)
            self.noticed[by] += status == KILLED
            self.room.keep(mutant, status, by)
            if status in (SURVIVED, BROKEN):
                _say(f"{number}/{len(self.mutants)} {status}: {_told(mutant)}")
        return True

    def _run(
        self, mutant: Mutant, session: pytest.Session, reached: Reached, live: Any
    ) -> tuple[str, str]:
        items, seconds = self._chosen(mutant, reached)
        if not items:
            return SURVIVED, "no test reaches it"
        file = self.room.files[mutant.file]
        codes = mutated(file, mutant.number)
        note = STATE / f"{self.room.name}.{os.getpid()}"
        note.unlink(missing_ok=True)

        def work() -> int:
            if not _replaced(live, str(file), codes):
                return 3
            for item, after in zip(items, [*items[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
                if self.failed:
                    note.write_text(item.nodeid, encoding="utf-8")
                    return 1
            return 0

        code = _forked(session, work, PATIENCE + 5 * seconds)
        by = note.read_text(encoding="utf-8") if note.exists() else ""
        note.unlink(missing_ok=True)
        if code == 3:
            return BROKEN, ""
        return SURVIVED if code == 0 else KILLED if code == 1 else TOO_LONG, by

    def _chosen(self, mutant: Mutant, reached: Reached) -> tuple[list[pytest.Item], float]:
        """Tests that reach a mutant, within the time for one, and how long they take.

        Half of the time is for those that noticed most others, the rest for the shortest: whatever is
        new has noticed none. Those of a file stay together, as they share what is set up for them.
        """
        where = (mutant.file, mutant.statement)
        reaching = [
            (self.noticed[item.nodeid], taken, item)
            for item in reached.items
            if (taken := reached.taken(item, where)) is not None
        ]
        known = sorted((x for x in reaching if x[0]), key=lambda x: (-x[0], x[1]))
        short = sorted((x for x in reaching if not x[0]), key=lambda x: x[1])
        files: dict[str, list[pytest.Item]] = {}
        total = 0.0
        for found, ends in (
            (known, self.longest / 2),
            (short, self.longest),
            (known, self.longest),
        ):
            for _, taken, item in found:
                there = files.get(_file_of(item))
                if there is None:
                    taken += reached.set_up.get(item.nodeid, 0.0)
                elif item in there:
                    continue
                if not files or total + taken <= ends:
                    total += taken
                    files.setdefault(_file_of(item), []).append(item)
        return [item for chosen in files.values() for item in chosen], total


class Reached:
    """Which statements of a room each test reaches, and what it takes; kept until either changes."""

    def __init__(self, room: Room, session: pytest.Session, live: Any) -> None:
        self.room, self.session, self.live = room, session, live
        self.items = list(session.items)
        self.hits: dict[str, set[tuple[str, int]]] = {}
        self.seconds: dict[str, float] = {}
        self.set_up: dict[str, float] = {}
        self.shared: dict[str, set[tuple[str, int]]] = {}

    def taken(self, item: pytest.Item, where: tuple[str, int]) -> float | None:
        """Seconds of a test that reaches a statement, alone or in what its file sets up."""
        if where in self.hits.get(item.nodeid, ()) or where in self.shared.get(_file_of(item), ()):
            return self.seconds[item.nodeid]
        return None

    def measured(self, ends: float, campaign: Campaign) -> bool:
        """Run what has not been run; False where the time is over before all of it is known."""
        files: dict[str, list[pytest.Item]] = {}
        for item in self.items:
            files.setdefault(_file_of(item), []).append(item)
        parts = [
            (file, i, items[i : i + PART])
            for file, items in files.items()
            for i in range(0, len(items), PART)
        ]
        for file, first, items in parts:
            if time.monotonic() > ends:
                return False
            test = _digest([ROOT / file])
            place = STATE / f"{self.room.name}.{test}.{self.room.content}.{first}.lines"
            if not place.exists():
                _say(f"{self.room.name}: {file}: running {len(items)} tests once")

                def work(items: list[pytest.Item] = items, place: Path = place) -> int:
                    found = list(self._watched(items))
                    if campaign.failed:
                        return 1
                    _write(place, found)
                    return 0

                if _forked(self.session, work, 3600) != 0:
                    raise SystemExit(f"{file}: a test fails without any fault")
            for name, set_up, seconds, before, hits in json.loads(place.read_text("utf-8")):
                self.set_up[name], self.seconds[name] = set_up, seconds
                self.hits[name] = {(f, line) for f, line in hits}
                self.shared.setdefault(file, set()).update((f, line) for f, line in before)
        self.items = [item for item in self.items if item.nodeid in self.seconds]
        return True

    def _watched(self, items: list[pytest.Item]) -> Iterator[list[Any]]:
        hits: set[tuple[str, int]] = set()
        setattr(builtins, PROBE, hits.add)
        for name, path in self.room.files.items():
            _replaced(self.live, str(path), watched(path, name, PROBE))
        marks: list[Any] = []

        class Between:
            """Tells apart what a test does from what was set up for it and others."""

            @pytest.hookimpl(tryfirst=True)
            def pytest_runtest_call(self) -> None:
                marks[:] = [time.process_time(), sorted(hits)]
                hits.clear()

        self.session.config.pluginmanager.register(Between())
        for item, after in zip(items, [*items[1:], None], strict=True):
            hits.clear()
            marks[:] = [began := time.process_time(), []]
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            middle, before = marks
            took = [middle - began, time.process_time() - middle]
            yield [item.nodeid, *took, before, sorted(hits)]


def _functions(files: set[str]) -> list[tuple[str, tuple[int, str], FunctionType]]:
    """Every function that is alive: file, first line and name, and itself."""
    found = []
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename in files:
            code = thing.__code__
            found.append((code.co_filename, (code.co_firstlineno, code.co_name), thing))
    return found


def _replaced(live: Any, file: str, codes: Codes) -> bool:
    """Give the functions of a file other code; False where one does not take it."""
    for name, key, function in live:
        if name == file and key in codes:
            try:
                function.__code__ = codes[key]
            except ValueError:  # it does not close over the same variables any more
                return False
    return True


def _forked(session: pytest.Session, work: Callable[[], int], seconds: float) -> int | None:
    """The exit code of a copy of this process that works for so long; None: it was ended."""
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        code = 1
        try:
            _alone(session, folder, seconds)
            code = work()
        finally:
            os._exit(code)
    status = _awaited(child, 60 + 30 * seconds)  # of a machine that others use, too
    shutil.rmtree(folder, ignore_errors=True)
    return status


def _awaited(child: int, seconds: float, idle: float = IDLE) -> int | None:
    """The exit code of a process that leads its group; None: it was ended.

    It is ended after ``seconds``, or when for ``idle`` seconds nothing of its group has computed or
    wanted to: a process that others keep from computing is not taken for one that waits.
    """
    began = moved = time.monotonic()
    spent = -1
    while (now := time.monotonic()) - began < seconds and now - moved < idle:
        done, told = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(told)
        if now - moved > idle / 20:
            ticks, wants = _computed(child)
            if wants or ticks != spent:
                spent, moved = ticks, now
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _computed(group: int) -> tuple[int, bool]:
    """Ticks of processor time that a group of processes took, and whether one of them wants more."""
    ticks, wants = 0, False
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its, *rest = path.read_text("utf-8").rpartition(")")[2].split()
            if int(its) == group:
                ticks += int(rest[8]) + int(rest[9])
                wants |= state in "RD"
    return ticks, wants


def _alone(session: pytest.Session, folder: Path, seconds: float) -> None:
    """What a copy of the process has for itself: files, limits, and nothing remembered."""
    from tests.support.leftovers import Leftovers

    # What a mutant leaves behind is not its fault, and no fault of the next.
    Leftovers.found = list  # type: ignore[assignment, method-assign]
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    session.config._tmp_path_factory._basetemp = folder  # type: ignore[attr-defined]
    for cache in _caches():
        cache.cache_clear()
    cpu = math.ceil(seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 5))
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    most = pages * resource.getpagesize() + SPARE
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


@lru_cache(1)
def _caches() -> list[Any]:
    """What functions of the package remember: sought once, since looking at all objects copies them."""
    found = [x for x in gc.get_objects() if type(x) is _lru_cache_wrapper]
    return [x for x in found if x.__module__.startswith("snndeploy")]


def _file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _python_files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _digest(files: Iterable[Path]) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _write(place: Path, data: Any) -> None:
    """All of it or nothing."""
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_suffix(".new")
    beside.write_text(json.dumps(data, indent=0), encoding="utf-8")
    beside.replace(place)


def _told(mutant: Mutant) -> str:
    return f"{mutant.file}:{mutant.line}: {mutant.change}: {mutant.text}"


def _say(text: str) -> None:
    sys.__stderr__.write(text + "\n")  # type: ignore[union-attr]
    sys.__stderr__.flush()  # type: ignore[union-attr]


def _sampled(mutants: list[Mutant], sample: int | None, seed: int) -> list[Mutant]:
    """The same ones every time, most of them even after the code has changed."""

    def place(mutant: Mutant) -> str:
        return hashlib.sha256(f"{seed} {mutant.key}".encode()).hexdigest()

    return sorted(mutants, key=place)[:sample]


def main(arguments: list[str]) -> int:
    """Run what has not been run, and print the score of every room; 1 if one is below the goal."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rooms", nargs="*", help="names in tools/mutants.toml (default: all)")
    parser.add_argument("--sample", type=int, help="mutants of each room (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop then; run again to go on")
    parser.add_argument("--longest", type=float, default=20, help="seconds of tests per mutant")
    parser.add_argument("--only", default="", help="mutants whose name contains this")
    asked = parser.parse_args(arguments)
    told = tomllib.loads((ROOT / "tools" / "mutants.toml").read_text(encoding="utf-8"))
    same = {x["mutant"] for x in told["equivalent"]}
    os.environ["CI"] = "1"  # the same examples for every mutant
    lines = ["| room | mutants | tried | killed | equivalent | survived | score |"]
    lines, good = [*lines, "|---|---|---|---|---|---|---|"], True
    for name in asked.rooms or told["room"]:
        room = Room(name, **told["room"][name])
        every = [m for n, path in room.files.items() for m in mutants_of(path, n)]
        chosen = _sampled([m for m in every if asked.only in m.key], asked.sample, asked.seed)
        if waiting := [m for m in chosen if m.key not in same and room.status(m) is None]:
            options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "timeout=0", "-s"]
            options += ["-m", "not slow and not lava", "--rootdir", str(ROOT)]
            options += ["-k", f"not ({room.without})"] if room.without else []
            pytest.main([*options, *room.tests], plugins=[Campaign(room, waiting, asked)])
        alike = sum(m.key in same for m in chosen)
        status = Counter(room.status(m) for m in chosen if m.key not in same)
        killed, run = status[KILLED] + status[TOO_LONG], status.total() - status[None]
        counts = (len(every), run + alike, killed, alike, status[SURVIVED])
        lines.append(f"| {name} | {' | '.join(map(str, counts))} | {killed / max(run, 1):.1%} |")
        good = good and killed >= told["goal"] * run
        for m in chosen:
            if m.key not in same and room.status(m) == SURVIVED:
                _say(f"survived: {_told(m)}\n  {m.key}\n  ({room.known[m.key]['by'] or 'reached'})")
    print("\n".join(lines))
    return int(not good)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
