"""``python -m tests.attack``: broken files of every format, crash points and kills, counted."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.attack.campaign import Campaign, piece
from tests.attack.formats import FORMATS
from tests.attack.test_crash_points import enumerated
from tests.attack.test_kills import killed

PIECE = 250
"""Files that one task tries; each task makes its own valid ones."""


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def formats(names: list[str], count: int, first: int, jobs: int, corpus: Path | None) -> int:
    """Print a row for each format; returns how many files failed."""
    total = Campaign()
    _say(Campaign.heading())
    with ProcessPoolExecutor(jobs, mp_context=get_context("forkserver")) as pool:
        pieces = {
            name: [
                pool.submit(piece, name, min(PIECE, first + count - i), i, corpus)
                for i in range(first, first + count, PIECE)
            ]
            for name in names
        }
        for name, futures in pieces.items():
            done = Campaign()
            for future in futures:
                done = done + future.result()
            _say(f"{name:<12}{done}")
            for kind, where, told in done.failures[:20]:
                _say(f"  {kind}: {where}: {told}")
            total = total + done
    _say(f"{'all':<12}{total}")
    return len(total.failures)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"of {', '.join(FORMATS)}")
    parser.add_argument("--tries", type=int, default=500, help="broken files of each format")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--keep", action="store_true", help="copy what fails to the corpus")
    parser.add_argument("--crash-points", action="store_true", help="every call of every writer")
    parser.add_argument("--kills", type=int, default=0, help="commands to kill at random")
    given = parser.parse_args()
    corpus = Path(__file__).parent / "corpus" if given.keep else None
    failures = 0
    if given.tries:
        names = given.formats or list(FORMATS)
        failures += formats(names, given.tries, given.first, given.jobs, corpus)
    if given.crash_points:
        with tempfile.TemporaryDirectory(prefix="attack-") as folder:
            tried, lost = enumerated(Path(folder))
        _say(f"{'crash points':<12}{tried:>7} tried{len(lost):>5} lost outputs or left files")
        for told in lost:
            _say(f"  {told}")
        failures += len(lost)
    if given.kills:
        with tempfile.TemporaryDirectory(prefix="attack-") as folder:
            tried, lost = killed(Path(folder), given.kills)
        _say(f"{'kill -9':<12}{tried:>7} tried{lost:>5} lost outputs or left files")
        failures += lost
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
