"""Tables on a terminal and in a pipe."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from snndeploy.cli.show import render

ROWS = [
    ("n1[t-1]", 1234, "", "5", "ü 層"),
    ("[bold]", 7, "", "6…7", " left"),
    ("", 12, "", "18", "end "),
]
COLUMNS = ("name", "count", "none", "values", "words that are long")


def printed(monkeypatch: pytest.MonkeyPatch, width: int) -> str:
    monkeypatch.setattr(render, "console", lambda: Console(width=width))
    out = io.StringIO()
    Console(file=out, width=width, no_color=True).print(render.table("title", COLUMNS, ROWS))
    return out.getvalue()


def test_cells_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """No markup: a delay in brackets is no style, and a name no command."""
    lines = [line.rstrip() for line in printed(monkeypatch, 100).splitlines()]
    assert lines == [
        "title",
        "name     count  none  values  words that are long",
        "n1[t-1]  1,234             5  ü 層",
        "[bold]       7           6…7   left",
        "            12            18  end",
    ]


@pytest.mark.parametrize("width", [100, 49, 48, 47, 30])
def test_whole_columns_print_as_rows_do(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Whether they fit, fit exactly, or not."""
    quick = printed(monkeypatch, width)
    monkeypatch.setattr(render, "_fits", lambda *_: False)
    assert printed(monkeypatch, width) == quick
