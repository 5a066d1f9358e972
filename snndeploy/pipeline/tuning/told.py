"""A search as a report, a table and a folder of recipes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...files import refuse_folder, write_files
from ...report.listing import csv_text
from .front import FrontMember
from .search import Tuned
from .trial import UNITS, TrialOutcome

REPORT = "tune.json"
TABLE = "front.csv"
_COLUMNS = (
    "recipe",
    "accuracy",
    "drop",
    "cores",
    "words",
    "step_ns",
    "energy_nj",
    "what",
    "digest",
)


def tune_record(found: Tuned) -> dict[str, Any]:
    """Everything that a search found, JSON-compatible."""
    return {
        "least": found.least,
        "unit": UNITS[found.least],
        "trained": found.trained,
        "samples": found.samples,
        "seen": found.seen,
        "front": [m.record() for m in found.front],
        "trials": [_trial(o) for o in found.outcomes],
        "counts": counts(found),
        "partial": found.partial,
        "seconds": round(found.seconds, 1),
    }


def _trial(outcome: TrialOutcome) -> dict[str, Any]:
    return {
        "number": outcome.number,
        "choice": dict(outcome.choice),
        "ended": outcome.why,
        "digest": outcome.digest,
        "cores": outcome.cores,
        "words": outcome.words,
        "cost": outcome.cost,
        "judged_on": len(outcome.right),
        "right": int(outcome.right.sum()),
        "seconds": round(outcome.seconds, 3),
    }


def counts(found: Tuned) -> dict[str, int]:
    """How many recipes there are, how many were tried, and on how many samples.

    ``grid`` are the recipes that brute force would run on all samples over what all layers have alike,
    ``saved`` those of them that this search did not run on all.
    """
    whole = sum(o.judged for o in found.outcomes)
    some = sum(not o.judged and len(o.right) > 0 for o in found.outcomes)
    return {
        "space": found.space,
        "grid": found.grid,
        "tried": len(found.outcomes),
        "on_all_samples": whole,
        "on_some_samples": some,
        "on_none": len(found.outcomes) - whole - some,
        "samples_run": sum(len(o.right) for o in found.outcomes),
        "saved": max(0, found.grid - whole - some),
    }


def front_csv(front: Sequence[FrontMember]) -> str:
    """The front as a table with commas, a recipe per line under the name of its file."""
    shown = ({**asdict(m), "recipe": file_name(place)} for place, m in enumerate(front, 1))
    return csv_text(_COLUMNS, ([row[name] for name in _COLUMNS] for row in shown))


def file_name(place: int) -> str:
    """The file of the recipe at a place of the front, from 1."""
    return f"recipe-{place:02d}.toml"


def refuse_recipes(folder: Path, *, force: bool) -> None:
    """Refuse a folder in which recipes could not be written, before the search begins.

    Raises:
        InputError: there are some already (without ``force``), it is no folder, or cannot be written.
    """
    refuse_folder(folder, (REPORT, TABLE, file_name(1)), force=force)


def write_recipes(folder: Path, found: Tuned, *, force: bool) -> list[Path]:
    """Write the front: a file for each recipe, a table and a report; the report last.

    Returns:
        The recipes' files, the cheapest first.

    Raises:
        InputError: as `refuse_recipes`.
    """
    files = {file_name(n): member.recipe.to_toml() for n, member in enumerate(found.front, 1)}
    files[TABLE] = front_csv(found.front)
    files[REPORT] = json.dumps(tune_record(found), indent=2) + "\n"
    return write_files(folder, files, force=force)[: len(found.front)]
