"""The demo: handwritten digits, from the network that snnTorch exported to a verified Lava run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..data import Samples
from ..data.encode import rate
from ..measure.energy import Meter
from ..passes.base import Observer
from ..pipeline import bundle_of, compile, report_of, run_engine, save_bundle
from ..pipeline.run import report_runs
from ..progress import Progress, silent
from ..simulate.lava.env import find_lava

FOLDER = Path(__file__).parent
_TOLD = 300
"""The first so many digits are never seen by a pass; the rest calibrates."""
_BRIGHTEST = 16.0
"""scikit-learn's digits count dark pixels of 4 x 4 blocks."""


def digits() -> Samples:
    """Held-out digits as rate-coded spikes ``(16, n, 1, 8, 8)``, with their classes."""
    with np.load(FOLDER / "digits_heldout.npz", allow_pickle=False) as data:
        images, labels, steps = data["images"], data["labels"], int(data["steps"])
    return Samples(rate(images[:, np.newaxis] / _BRIGHTEST, steps), labels.astype(np.int64))


def calibration() -> Samples:
    """The last digits, without their classes: what the recipe sees."""
    return Samples(digits().part(_TOLD, None).inputs)


def run_demo(
    *,
    samples: int = 100,
    target: str = "loihi2",
    output: Path | None = None,
    force: bool = False,
    observer: Observer = silent,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Compile the digits network with the ``digits`` recipe, and run it on every engine.

    The last 150 digits, without their classes, are what the recipe sees.

    Args:
        samples: how many held-out digits to run.
        target: what to compile for.
        output: where to keep the bundle (None: nowhere).
        force: replace an existing bundle.
        observer: told about passes.
        progress: called with (done, total) by the engines.

    Returns:
        ``table`` (the summary, row by row), the ``compile`` and ``run`` reports, and ``equal``:
        whether the integer engine and Lava agree in every spike (None where there is no Lava).
    """
    model = FOLDER / "digits.nir"
    how: dict[str, Any] = {
        "frontend": "snntorch",
        "semantics": {"reset": "zero", "accept": ("maybe-lost-padding",), "strict": True},
        "target": target,
    }
    compiled = compile(model, recipe="digits", calibration=calibration(), observer=observer, **how)
    uncompressed = compile(model, recipe=None, **how)
    if output is not None:
        save_bundle(output, bundle_of(compiled), force=force)
    held_out = digits().first(samples)
    runs = {
        "float, as trained": run_engine("float", held_out, network=compiled.source),
        "float, compressed": run_engine("float", held_out, network=compiled.network),
        "integer": run_engine("integer", held_out, program=compiled.program, progress=progress),
    }
    if find_lava() is not None:
        runs["lava"] = run_engine("lava", held_out, program=compiled.program, progress=progress)
    run = report_runs(runs, held_out, compiled.program, compiled.placement, compiled.target)
    before = Meter(uncompressed.program).measure(
        run_engine("integer", held_out, program=uncompressed.program)
    )
    reports = report_of(uncompressed), report_of(compiled)
    table = [
        ("synapses", *(_last(r, "synapses", reports[1]) for r in reports)),
        ("weight memory, bits", *(_last(r, "bits", reports[1]) for r in reports)),
        ("synapse words on chip", *(_words(r) for r in reports)),
        ("neurons", *(sum(layer["neurons"] for layer in r["layers"]) for r in reports)),
        ("cores", *(r["cores"]["used"] for r in reports)),
        (
            "SynOps per digit",
            round(before.total_synops / before.samples),
            round(run["activity"]["synops_per_sample"]),
        ),
    ]
    return {
        "table": [list(row) for row in table],
        "compile": reports[1],
        "run": run,
        "equal": run["comparisons"][-1]["equal"] if "lava" in runs else None,
    }


def _last(report: dict[str, Any], count: str, compressed: dict[str, Any]) -> int:
    """A count after the last pass; without passes, the one before the first of the other report."""
    steps = report["passes"]
    return int(steps[-1][count] if steps else compressed["passes"][0][count])


def _words(report: dict[str, Any]) -> int:
    return sum(layer["resources"].get("synapse_words", 0) for layer in report["layers"])
