"""The notebook runs from its first cell to its last, and shows what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.page import ParsedPage

NOTEBOOK = Path(__file__).parents[2] / "examples" / "tour.ipynb"

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own


def cells() -> list[str]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]


def test_the_notebook_holds_no_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert [c for c in notebook["cells"] if c.get("outputs")] == []


@pytest.mark.slow
def test_the_tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("snntorch")
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for text in cells():
        exec(compile(text, "tour", "exec"), names)  # as a notebook runs it
    assert names["compiled"].fits
    assert names["run"]["accuracy"]["float"] > 0.8
    assert [p.name for p in names["network"].populations] == ["input", "lif1", "lif2"]
    page = ParsedPage((tmp_path / "digits.html").read_text(encoding="utf-8"))
    assert page.loads == []
    assert "fits" in page.said
