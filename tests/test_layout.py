"""The formatter lays out all code, and folders stay small enough to take in."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = [
    file
    for folder in ("snndeploy", "tests", "tools", "benchmarks", "examples")
    for file in sorted((ROOT / folder).rglob("*.py"))
]
_OFF = re.compile(r"#\s*fmt:\s*(skip|off)")
MOST_FILES = 12


def test_the_formatter_is_never_switched_off() -> None:
    assert [file.name for file in CODE if _OFF.search(file.read_text(encoding="utf-8"))] == []


def test_a_folder_of_many_files_gets_rooms() -> None:
    counts = {
        str(folder.relative_to(ROOT)): len([f for f in folder.glob("*.py") if f.stem[0] != "_"])
        for folder in {file.parent for file in CODE if file.is_relative_to(ROOT / "snndeploy")}
    }
    assert {folder: n for folder, n in counts.items() if n > MOST_FILES} == {}
