"""Every example prints what its ``expected.json`` says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
RUN = sorted(path.parent.name for path in EXAMPLES.glob("*/expected.json"))
FILES = {
    "nmnist": ("nir_models/paper/cnn_sinabs.nir", "nmnist_small/nmnist_small.npz"),
    "braille": (
        "nir_models/paper/braille_noDelay_bias_zero.nir",
        "nir_models/braille/braille_unique.npz",
    ),
}
"""Models and data that examples take and that do not come with the project."""
NEEDS = {"residual": "snntorch"}
SLOW = ("nmnist", "residual", "finetune_4bit", "braille")
POINTS = {"residual": 6.0, "finetune_4bit": 4.0}
"""By how much accuracies (in percent) may differ on another processor, where an example trains."""


def test_every_example_says_what_it_is_and_what_it_prints() -> None:
    folders = [f for f in EXAMPLES.iterdir() if f.is_dir() and f.name != "__pycache__"]
    for name in ("README.md", "run.py", "expected.json"):
        assert all((f / name).is_file() for f in folders), name


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in RUN]
)
def test_the_example_prints_what_it_should(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """As a user would run it: a program of its own, elsewhere."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    shared = request.getfixturevalue("shared_data") if name in FILES else tmp_path
    given = [str(shared / file) for file in FILES.get(name, ())]
    script = EXAMPLES / name / "run.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), *given],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected: Any = json.loads((EXAMPLES / name / "expected.json").read_text(encoding="utf-8"))
    found: Any = json.loads(done.stdout)
    assert found.pop("accuracy", {}) == pytest.approx(
        expected.pop("accuracy", {}), abs=POINTS.get(name, 0)
    )
    assert found == expected
