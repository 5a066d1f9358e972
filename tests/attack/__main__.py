"""``python -m tests.attack [COUNT] [FORMAT…]``: try broken files of every format, and count."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.attack.campaign import attack
from tests.attack.formats import FORMATS


def main(count: int, names: list[str]) -> int:
    failures = 0
    for name in names or list(FORMATS):
        with tempfile.TemporaryDirectory(prefix="attack-") as folder:
            done = attack(name, count, Path(folder))
        sys.stdout.write(f"{name:<12}{done}\n")
        for failure in done.failures[:20]:
            sys.stdout.write(f"  {failure}\n")
        sys.stdout.flush()
        failures += len(done.failures)
    return min(failures, 1)


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(main(int(given[0]) if given else 500, given[1:]))
