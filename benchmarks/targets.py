"""Every network of a data folder on every real chip: an answer for each.

    python benchmarks/targets.py ../shared/data --out docs/reference/networks.md

Networks are read as the framework that wrote them means them (`FRONTENDS`), and compiled without passes
and without samples. An answer is a placement with its budgets, or the budgets and neurons that keep it
from being one, or why the file is no network; anything else is a defect. What is known already
(``--known``) is not computed again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snndeploy.errors import SnnDeployError
from snndeploy.ir.finding import Finding
from snndeploy.mapping import summarise
from snndeploy.pipeline.compilation import compile
from snndeploy.pipeline.compiled import Compiled, Loaded
from snndeploy.pipeline.programs import place_file

TARGETS = ("loihi1", "loihi2", "loihi2-spec", "xylo-a2", "xylo-a3", "xylo-imu")
FRONTENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lif_norse": ("norse", {"dt": 1e-4}),
    "lif_rockpool": ("rockpool", {}),
    "two_lif_neurons": ("nir", {"dt": 1e-4}),
    "feedback_graph": ("nir", {"dt": 1e-3}),
    "cnn_sinabs": ("sinabs", {}),
    "braille": ("snntorch", {}),
    "braille_noDelay_bias_zero": ("snntorch", {"reset": "zero"}),
    "braille_noDelay_bias_zero_subgraph": ("snntorch", {"reset": "zero"}),
    "norse": ("norse", {}),
    "rockpool": ("rockpool", {}),
    "sinabs": ("sinabs", {}),
    "snntorch": ("snntorch", {}),
    "spikingjelly": ("spikingjelly", {}),
}
"""What a file does not say, by its name or by how that begins; the file itself says the rest."""
HEAD = """# Networks and chips

Written by `benchmarks/targets.py`: every network of the data folder on every real chip, read as its
framework means it, compiled without passes and without samples. A cell is

- the **cores** that it takes of the default board's, and how full its fullest core is with what;
- *no form: …* where neurons, or how they are connected, differ from all that the chip has: then the
  budgets are those of the network that `--adapt` makes, whose answers are to be measured;
- **does not fit**, with the worst budgets: what it needs, of what there is;
- **refused**, where the file is not the network that was trained, or says too little.

"""
_SHOWN = 3
_WORDS = {"analog-source": "membranes sent on", "loop-too-short": "loop too short"}


def networks(folder: Path) -> Iterator[Path]:
    """Model files, the small ones first."""
    found = [*folder.rglob("*.nir"), *folder.rglob("*.net")]
    yield from sorted(found, key=lambda file: (file.stat().st_size, file.name))


def read_as(file: Path) -> tuple[str | None, dict[str, Any]]:
    """The frontend and the options that a file is read with."""
    begins = file.stem.split("_")[0]
    return FRONTENDS.get(file.stem, FRONTENDS.get(begins, (None, {})))


def answer(file: Path, target: str) -> str:
    """One cell of the table."""
    try:
        found: Loaded | Compiled
        if file.suffix == ".net":
            found = place_file(file, target)
        else:
            frontend, semantics = read_as(file)
            found = compile(
                file,
                target=target,
                recipe=None,
                frontend=frontend,
                semantics=semantics,
                tell_all=True,
                try_seconds=0,
            )
    except SnnDeployError as error:
        return f"refused: `{error.code}`"
    errors = [f for f in found.findings if f.severity == "error"]
    forms = [f for f in errors if "--adapt" in f.message]
    budgets = [f for f in errors if f not in forms]
    parts = []
    if forms:
        whats = {_missing(f) for f in forms}
        parts.append(f"no form: {'; '.join(sorted(whats))}; adapted:")
    if budgets:
        parts.append(f"**does not fit**: {_codes(budgets)}")
        parts += [] if any(f.ratio for f in budgets) else [f"({_used(found)})"]
    else:
        parts.append(_used(found))
    return " ".join(parts)


def _missing(finding: Finding) -> str:
    """What the chip lacks, of a finding about neurons or their connections."""
    if finding.code != "neuron-unsupported":
        return _WORDS[finding.code]
    return finding.message.partition(".")[0].rpartition(": ")[2].rpartition(" has no form for ")[2]


def _used(found: Loaded | Compiled) -> str:
    summary = summarise(found.program, found.placement, found.target, found.findings)
    layer = max(summary.layers, key=lambda use: use.fullest)
    what = layer.binding.replace("_", " ")
    cores = "core" if summary.cores == 1 else "cores"
    return f"{summary.cores} {cores} of {summary.cores_available:,}, {layer.fullest:.0%} {what}"


def _codes(findings: list[Finding]) -> str:
    ranked: dict[str, Finding] = {}
    for finding in sorted(findings, key=lambda f: -(f.ratio or 0)):
        ranked.setdefault(finding.code, finding)
    told = [
        f"`{code}`" + (f" {f.used:,.0f} of {f.limit:,.0f}" if f.used and f.limit else "")
        for code, f in ranked.items()
    ]
    more = [f"{len(told) - _SHOWN} more"] if len(told) > _SHOWN else []
    return ", ".join([*told[:_SHOWN], *more])


def text(known: dict[str, dict[str, str]]) -> str:
    """The page."""
    lines = [f"| network | {' | '.join(TARGETS)} |", "|---" * (len(TARGETS) + 1) + "|"]
    for name, cells in known.items():
        lines.append(f"| `{name}` | {' | '.join(cells.get(t, '…') for t in TARGETS)} |")
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("networks.md"))
    parser.add_argument("--known", type=Path, default=Path("networks.json"))
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
            print(name, target, known[name][target], round(time.monotonic() - began), flush=True)
            given.known.write_text(json.dumps(known, indent=1))
    given.out.write_text(text(known))


if __name__ == "__main__":
    main()
