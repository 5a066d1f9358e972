"""How many miscompilations the certificate rejects, by kind: ``python benchmarks/certify.py [number]``.

Small networks of every structure are compiled, one thing in each bundle is changed, all digests are
computed again, and the separate checker is asked.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path


def main(number: int) -> int:
    """Print made and rejected miscompilations of each kind; the exit code tells whether one slipped."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from snndeploy.certify import BundleRefused, certify
    from tests.support.miscompiled import KINDS, bases, miscompile

    made, rejected = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        right = bases()
        began = time.perf_counter()
        for seed in range(number):
            kind, files = miscompile(right, seed)
            made[kind] += 1
            try:
                rejected[kind] += not certify(files.write(Path(folder) / "wrong"))["certified"]
            except BundleRefused:
                rejected[kind] += 1
    print("| miscompilation | made | rejected |\n|---|---|---|")
    for kind in KINDS:
        print(f"| {kind} | {made[kind]} | {rejected[kind]} |")
    seconds = time.perf_counter() - began
    print(f"| all | {made.total()} | {rejected.total()} |\n\n{seconds / max(number, 1):.3f} s each")
    return int(made != rejected)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
