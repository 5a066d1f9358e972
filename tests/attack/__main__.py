"""``python -m tests.attack``: broken files of every format, crash points and kills, counted.

With ``--kept FOLDER`` what was finished is kept there: the same command goes on after it was stopped, by
``--seconds`` or otherwise. It leaves with 1 where something failed, and with 2 where not all was tried.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.attack.campaign import Campaign, piece
from tests.attack.formats import FORMATS
from tests.attack.kept import OutOfTime, Pieces
from tests.attack.test_crash_points import enumerated
from tests.attack.test_kills import rounds

PIECE = 250
"""Files that one task tries; each task makes its own valid ones."""
FAILED, UNFINISHED = 1, 2


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def formats(
    names: list[str], count: int, first: int, jobs: int, corpus: Path | None, pieces: Pieces
) -> set[int]:
    """Print a row for each format; returns what the command leaves with."""
    total = Campaign()
    _say(Campaign.heading())
    with ProcessPoolExecutor(jobs, mp_context=get_context("forkserver")) as pool:
        submitted = {
            name: [
                pool.submit(piece, name, min(PIECE, first + count - i), i, corpus, pieces)
                for i in range(first, first + count, PIECE)
            ]
            for name in names
        }
        for name, futures in submitted.items():
            done = Campaign()
            for future in futures:
                done = done + future.result()
            _say(f"{name:<12}{done}")
            for kind, where, told in done.failures[:20]:
                _say(f"  {kind}: {where}: {told}")
            total = total + done
    _say(f"{'all':<12}{total}")
    return {
        *([FAILED] if total.failures else ()),
        *([UNFINISHED] if total.tries < count * len(names) else ()),
    }


def _row(name: str, tried: int, lost: list[str]) -> None:
    _say(f"{name:<20}{tried:>7} tried{len(lost):>5} lost outputs or left files")
    for told in lost:
        _say(f"  {told}")


def crash_points(folder: Path, pieces: Pieces) -> set[int]:
    """Print how many crash points there are; returns what the command leaves with."""

    def work() -> dict[str, Any]:
        tried, lost = enumerated(folder)
        return {"tried": tried, "lost": lost}

    try:
        done = pieces("crash-points", work)
    except OutOfTime:
        return {UNFINISHED}
    _row("crash points", done["tried"], done["lost"])
    return {FAILED} if done["lost"] else set()


def kills(folder: Path, count: int, pieces: Pieces) -> set[int]:
    """Print a row for each command that is killed; returns what the command leaves with."""
    tried, lost, whole = 0, list[str](), True
    for name, some, found, finished in rounds(folder, count, pieces):
        _row(f"kill -9 {name}", some, found)
        tried, lost, whole = tried + some, lost + found, whole and finished
    _say(f"{'kill -9, all':<20}{tried:>7} tried{len(lost):>5} lost outputs or left files")
    return {*([FAILED] if lost else ()), *(() if whole else [UNFINISHED])}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.attack", description=str(__doc__).partition("\n")[0]
    )
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"of {', '.join(FORMATS)}")
    parser.add_argument("--tries", type=int, default=500, help="broken files of each format")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--keep", action="store_true", help="copy what fails to the corpus")
    parser.add_argument("--crash-points", action="store_true", help="every call of every writer")
    parser.add_argument("--kills", type=int, default=0, help="commands to kill at random")
    parser.add_argument("--kept", type=Path, help="folder of what is finished: go on from there")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin nothing after that")
    given = parser.parse_args()
    corpus = Path(__file__).parent / "corpus" if given.keep else None
    pieces = Pieces(given.kept, time.time() + given.seconds)
    codes: set[int] = set()
    if given.tries:
        names = given.formats or list(FORMATS)
        codes |= formats(names, given.tries, given.first, given.jobs, corpus, pieces)
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        if given.crash_points:
            (points := Path(folder) / "points").mkdir()
            codes |= crash_points(points, pieces)
        if given.kills:
            codes |= kills(Path(folder), given.kills, pieces)
    if UNFINISHED in codes:
        _say("not all was tried: the same command goes on")
    return FAILED if FAILED in codes else max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main())
