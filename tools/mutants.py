"""Whether the tests notice single faults: ``python tools/mutants.py [ROOM ...] [--sample N]``.

The tests of a room are collected once, and each is run once to see which lines it reaches. For every
mutant (see `mutate`) a copy of the process is made, the one function is replaced in it, and the tests
that reach its line are run, the quickest first, until one fails. General tools start an interpreter per
mutant, which here takes seconds each time.

Results are kept in build/mutants: what was killed is not run again unless its file changes, what
survived not unless a test does. tools/mutants.toml says which tests look after which files, and which
mutants are none because they compute the same.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

import pytest
from mutate import Mutant, mutants_of, mutated

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
STATE = ROOT / "build" / "mutants"
PATIENCE = 20.0
"""Seconds that a mutant may take besides ten times what its tests take."""
LONGEST = 60.0
"""Seconds of tests that are run for one mutant: those that take longest are left out."""


class Room:
    """Files, the tests that look after them, and what was found out before."""

    def __init__(self, name: str, files: list[str], tests: list[str]) -> None:
        self.name, self.tests = name, tests
        found = (path for pattern in files for path in ROOT.glob(pattern))
        self.files = {str(p.relative_to(ROOT)): p for p in sorted(found) if p.suffix == ".py"}
        self.state = STATE / f"{name}.json"
        self.known: dict[str, dict[str, str]] = {}
        if self.state.exists():
            self.known = json.loads(self.state.read_text(encoding="utf-8"))
        self.digests = {name: _digest([path]) for name, path in self.files.items()}
        self.tested = _digest(p for t in tests for p in _python_files(ROOT / t))

    def status(self, mutant: Mutant) -> str | None:
        """What became of a mutant, as far as that still holds."""
        told = self.known.get(mutant.key)
        if told is None or told["file"] != self.digests[mutant.file]:
            return None
        return (
            None
            if told["status"] == "survived" and told["tests"] != self.tested
            else told["status"]
        )

    def keep(self, mutant: Mutant, status: str) -> None:
        """Remember what became of a mutant."""
        file = self.digests[mutant.file]
        self.known[mutant.key] = {"status": status, "file": file, "tests": self.tested}
        STATE.mkdir(parents=True, exist_ok=True)
        self.state.write_text(json.dumps(self.known, indent=0), encoding="utf-8")


class Campaign:
    """A pytest plugin that runs mutants instead of the tests."""

    def __init__(self, room: Room, mutants: list[Mutant], seconds: float) -> None:
        self.room, self.mutants, self.ends = room, mutants, time.monotonic() + seconds
        self.failed = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notice a failure."""
        self.failed |= report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run what is to be run within the time given."""
        reached = self._reached(session.items)
        live = _functions({str(path) for path in self.room.files.values()})
        for number, mutant in enumerate(self.mutants, 1):
            if time.monotonic() > self.ends:
                break
            status = self._run(mutant, session.items, reached, live)
            self.room.keep(mutant, status)
            if status == "survived":
                _say(f"{number}/{len(self.mutants)} survived: {_told(mutant)}")
        return True

    def _run(self, mutant: Mutant, items: list[pytest.Item], reached: Any, live: Any) -> str:
        file = self.room.files[mutant.file]
        codes = mutated(file, mutant.number)
        lines = {(str(file), mutant.line)}
        chosen = [(seconds, i) for i, (seconds, hit) in enumerate(reached) if lines & hit]
        total, some = 0.0, []
        for seconds, i in sorted(chosen):
            total += seconds
            if total < LONGEST:
                some.append(items[i])

        def work() -> bool:
            for key, function in live:
                if key[0] == str(file) and key[1:] in codes:
                    function.__code__ = codes[key[1:]]
            return self._fails(some)

        return {0: "survived", None: "too long"}.get(_forked(work, PATIENCE + 10 * total), "killed")

    def _fails(self, items: list[pytest.Item]) -> bool:
        """Whether one of the tests fails; those behind it are not run."""
        for item, after in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if self.failed:
                return True
        return False

    def _reached(self, items: list[pytest.Item]) -> list[tuple[float, set[tuple[str, int]]]]:
        """Seconds and lines of every test; read again where neither files nor tests have changed."""
        files = {str(path) for path in self.room.files.values()}
        names = " ".join(item.nodeid for item in items)
        what = [*self.room.digests.values(), self.room.tested, names]
        place = (
            STATE
            / f"{self.room.name}.lines.{hashlib.sha256(' '.join(what).encode()).hexdigest()[:16]}"
        )
        if not place.exists():
            _say(f"{self.room.name}: running {len(items)} tests once")
            found = []

            def work() -> bool:
                for item in items:
                    seconds, hit = self._traced(item, files)
                    found.append([seconds, sorted(hit)])
                STATE.mkdir(parents=True, exist_ok=True)
                place.write_text(json.dumps(found), encoding="utf-8")
                return self.failed

            if _forked(work, 3600) != 0:
                place.unlink(missing_ok=True)
                raise SystemExit(f"{self.room.name}: tests fail without any fault")
        read = json.loads(place.read_text(encoding="utf-8"))
        return [(seconds, {(file, line) for file, line in hit}) for seconds, hit in read]

    def _traced(self, item: pytest.Item, files: set[str]) -> tuple[float, set[tuple[str, int]]]:
        hit: set[tuple[str, int]] = set()

        def line(frame: FrameType, _event: str, _: object) -> Any:
            hit.add((frame.f_code.co_filename, frame.f_lineno))
            return line

        def call(frame: FrameType, _event: str, _: object) -> Any:
            return line if frame.f_code.co_filename in files else None

        began = time.monotonic()
        sys.settrace(call)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        sys.settrace(None)
        return time.monotonic() - began, hit


def _functions(files: set[str]) -> list[tuple[tuple[str, int, str], FunctionType]]:
    """Every function that is alive, by file, line and name."""
    found = []
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename in files:
            code = thing.__code__
            found.append(((code.co_filename, code.co_firstlineno, code.co_name), thing))
    return found


def _forked(work: Callable[[], bool], seconds: float) -> int | None:
    """The exit code of a copy of this process that works: 1 where it says True; None: too long."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        code = 1
        try:
            code = int(work())
        finally:
            os._exit(code)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _python_files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _digest(files: Iterable[Path]) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


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
    parser.add_argument("--file", help="only files whose path contains this")
    asked = parser.parse_args(arguments)
    told = tomllib.loads((ROOT / "tools" / "mutants.toml").read_text(encoding="utf-8"))
    same = {x["mutant"] for x in told["equivalent"]}
    table, good = ["| room | mutants | run | killed | score |", "|---|---|---|---|---|"], True
    for name in asked.rooms or told["room"]:
        room = Room(name, **told["room"][name])
        every = [m for n, path in room.files.items() for m in mutants_of(path, n)]
        every = [m for m in every if m.key not in same and (asked.file or "") in m.file]
        chosen = _sampled(every, asked.sample, asked.seed)
        if waiting := [m for m in chosen if room.status(m) is None]:
            options = [
                "-q",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:xdist",
                "-m",
                "not slow and not lava",
            ]
            campaign = Campaign(room, waiting, asked.seconds)
            pytest.main([*options, "--rootdir", str(ROOT), *room.tests], plugins=[campaign])
        status = [room.status(m) for m in chosen]
        run, killed = (
            len(status) - status.count(None),
            status.count("killed") + status.count("too long"),
        )
        table.append(f"| {name} | {len(every)} | {run} | {killed} | {killed / max(run, 1):.1%} |")
        good = good and killed >= told["goal"] * run
        for m, x in zip(chosen, status, strict=True):
            if x == "survived":
                _say(f"survived: {_told(m)}\n  {m.key}")
    print("\n".join(table))
    return int(not good)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
