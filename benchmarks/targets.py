"""Every network of a data folder on every real family of chips: an answer for each.

    python benchmarks/targets.py ../shared/data --out targets.md

Networks are read as their exporters mean them, and compiled without passes. An answer is that it fits,
or the rules that it breaks, or why it has no form on the chip; anything else is a defect.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

from snndeploy.errors import SnnDeployError
from snndeploy.ir.finding import Finding
from snndeploy.pipeline.compilation import compile
from snndeploy.pipeline.compiled import Compiled, Loaded
from snndeploy.pipeline.programs import place_file

TARGETS = ("loihi1", "loihi2", "xylo-a2")


def networks(folder: Path) -> Iterator[Path]:
    """Model files, the small ones first."""
    found = [*folder.rglob("*.nir"), *folder.rglob("*.net")]
    yield from sorted(found, key=lambda file: (file.stat().st_size, file.name))


def answer(file: Path, target: str) -> str:
    """One cell of the table."""
    try:
        found: Loaded | Compiled
        if file.suffix == ".net":
            found = place_file(file, target)
        else:
            found = compile(file, target=target, recipe=None)
    except SnnDeployError as error:
        return f"refused: `{error.code}`"
    if found.fits:
        told = _codes(found.findings, "warning")
        return f"fits, {len(found.placement.cores)} cores" + (f" ({told})" if told else "")
    return f"does not fit: {_codes(found.findings, 'error')}"


def _codes(findings: tuple[Finding, ...], severity: str) -> str:
    ranked: dict[str, Finding] = {}
    for finding in findings:
        if finding.severity == severity:
            ranked.setdefault(finding.code, finding)
    return ", ".join(
        f"`{code}`" + (f" {f.used:,.0f} of {f.limit:,.0f}" if f.used and f.limit else "")
        for code, f in ranked.items()
    )


def main() -> None:
    """Fill the table; what is known already (``--known``) is not computed again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("targets.md"))
    parser.add_argument("--known", type=Path, default=Path("targets.json"))
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    given = parser.parse_args()
    known = json.loads(given.known.read_text()) if given.known.exists() else {}
    began = time.monotonic()
    for file in networks(given.folder):
        name = str(file.relative_to(given.folder))
        for target in TARGETS:
            if target in known.setdefault(name, {}) or time.monotonic() - began > given.seconds:
                continue
            known[name][target] = answer(file, target)
            print(name, target, known[name][target], flush=True)
            given.known.write_text(json.dumps(known, indent=1))
    lines = [f"| network | {' | '.join(TARGETS)} |", "|---" * (len(TARGETS) + 1) + "|"]
    for name, cells in known.items():
        lines.append(f"| `{name}` | {' | '.join(cells.get(t, '…') for t in TARGETS)} |")
    given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
