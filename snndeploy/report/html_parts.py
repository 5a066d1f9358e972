"""Pieces of a page: panels, tables, bars and a chart of ranges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Markup:
    """Finished HTML; everything else is escaped when it is put on the page."""

    text: str


Cell = str | int | float | Markup


def panel(title: str, *parts: str) -> str:
    """A card with a title."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table; columns that hold numbers only are set to the right."""
    right = [
        i > 0 and any(row[i] != "" for row in rows) and all(_is_number(row[i]) for row in rows)
        for i in range(len(columns))
    ]
    head = "".join(_cell("th", name, right[i]) for i, name in enumerate(columns))
    body = "".join(
        f"<tr>{''.join(_cell('td', cell, right[i]) for i, cell in enumerate(row))}</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(kind: str, value: Cell, right: bool) -> str:
    if isinstance(value, Markup):
        text = value.text
    else:
        text = f"{value:,}" if isinstance(value, int) else escape(str(value))
    return f'<{kind} class="num">{text}</{kind}>' if right else f"<{kind}>{text}</{kind}>"


def _is_number(value: Cell) -> bool:
    if isinstance(value, str):
        return value == "" or value[0] in "-0123456789"
    return not isinstance(value, Markup)


def bar(share: float, label: str = "") -> Markup:
    """A share of a whole as a bar and in figures; red beyond the whole."""
    kind = "bar full" if share > 1 else "bar"
    width = 100 * min(max(share, 0.0), 1.0)
    text = f"{share:.1%} {label}".strip()
    drawn = f'<span class="{kind}"><i style="width:{width:.1f}%"></i></span>'
    return Markup(f'<span class="share">{drawn}{escape(text)}</span>')


def range_chart(rows: Sequence[tuple[str, float, float]], unit: str) -> str:
    """Ranges as horizontal bars on a logarithmic scale; a row of zeros has no bar."""
    values = [v for _, low, high in rows for v in (low, high) if v > 0]
    if not values:
        return ""
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    last = max(last, first + 1)
    left, width, line = 150, 780, 26

    def x(value: float) -> float:
        return left + width * (math.log10(value) - first) / (last - first)

    height = line * len(rows) + 26
    parts = []
    for decade in range(first, last + 1):
        at = x(10.0**decade)
        parts.append(f'<line x1="{at:.1f}" y1="0" x2="{at:.1f}" y2="{height - 20}"/>')
        parts.append(
            f'<text class="soft" x="{at:.1f}" y="{height - 5}" text-anchor="middle">'
            f"{10.0**decade:g}</text>"
        )
    for i, (name, low, high) in enumerate(rows):
        y = i * line + 6
        parts.append(f'<text x="0" y="{y + 12}">{escape(name)}</text>')
        if low > 0:
            wide = max(x(high) - x(low), 3.0)
            parts.append(f'<rect x="{x(low):.1f}" y="{y}" width="{wide:.1f}" height="14" rx="3"/>')
    return (
        f'<svg viewBox="0 0 960 {height}" width="100%" role="img" aria-label="{escape(unit)}">'
        f"{''.join(parts)}</svg><p class='soft'>{escape(unit)}, on a logarithmic scale</p>"
    )
