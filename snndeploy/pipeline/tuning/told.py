"""A search as a report, a table and a folder of recipes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...files import unwritable
from ...files.places import refuse_place, write_text
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
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for place, member in enumerate(front, 1):
        shown = {**asdict(member), "recipe": file_name(place)}
        table.writerow([shown[name] for name in _COLUMNS])
    return text.getvalue()


def file_name(place: int) -> str:
    """The file of the recipe at a place of the front, from 1."""
    return f"recipe-{place:02d}.toml"


def refuse_recipes(folder: Path, *, force: bool) -> None:
    """Refuse a folder in which recipes could not be written, before the search begins.

    Raises:
        InputError: there are some already (without ``force``), it is no folder, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise InputError(
            "output-not-folder",
            "it exists and is no folder",
            where=str(folder),
            hint="choose another place with -o",
        ) from error
    except OSError as error:
        raise unwritable(folder, error) from error
    for name in (REPORT, TABLE, file_name(1)):
        refuse_place(folder / name, force)


def write_recipes(folder: Path, found: Tuned, *, force: bool) -> list[Path]:
    """Write the front: a file for each recipe, a table and a report; the report last.

    Returns:
        The recipes' files, the cheapest first.

    Raises:
        InputError: as `refuse_recipes`.
    """
    refuse_recipes(folder, force=force)
    files = [folder / file_name(place) for place in range(1, len(found.front) + 1)]
    for path, member in zip(files, found.front, strict=True):
        write_text(path, member.recipe.to_toml(), force=force, option="-o")
    write_text(folder / TABLE, front_csv(found.front), force=force, option="-o")
    report = json.dumps(tune_record(found), indent=2) + "\n"
    write_text(folder / REPORT, report, force=force, option="-o")
    return files
