"""``python -m tests.fuzz [COUNT] [FIRST]``: count by relation and kind what random networks do."""

from __future__ import annotations

import sys

from tests.fuzz.campaign import fuzz


def main(count: int, first: int) -> int:
    """Print the table and what failed; the exit code tells whether anything did."""
    tally = fuzz(range(first, first + count))
    sys.stdout.write(f"{tally}\n")
    for seed, relation, why in tally.failures[:20]:
        sys.stdout.write(f"\ncase {seed}: {relation}\n{why}\n")
    return min(len(tally.failures), 1)


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(given + [200, 0][len(given) :])))
