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


def test_every_example_says_what_it_is() -> None:
    folders = [f for f in EXAMPLES.iterdir() if f.is_dir() and f.name != "__pycache__"]
    assert all((f / "README.md").is_file() for f in folders)


@pytest.mark.parametrize("name", RUN)
def test_the_example_prints_what_it_should(name: str, tmp_path: Path) -> None:
    """As a user would run it: a program of its own, elsewhere."""
    script = EXAMPLES / name / "run.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected: Any = json.loads((EXAMPLES / name / "expected.json").read_text(encoding="utf-8"))
    assert json.loads(done.stdout) == expected
