"""Pieces of a page: panels, tables that sort, bars, figures. Whatever is put in is escaped here."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from ..listing import CellValue, Column, Listing, value_text
from ..pictures import Picture


def panel(name: str, title: str, *parts: str, short: str = "") -> str:
    """A card with a title, which links may lead to; nothing where nothing is in it.

    ``short`` is what `contents` calls it (empty: by its title).
    """
    if not any(parts):
        return ""
    anchor, called = escape(name, quote=True), escape(short or title, quote=True)
    return (
        f'<section id="{anchor}" data-called="{called}" aria-labelledby="{anchor}-title">'
        f'<h2 id="{anchor}-title">{escape(title)}</h2>{"".join(parts)}</section>'
    )


_PANEL = re.compile(r'<section id="([^"]*)" data-called="([^"]*)"')


def contents(body: str) -> str:
    """Links to the panels of a page."""
    links = (f'<a href="#{anchor}">{called}</a>' for anchor, called in _PANEL.findall(body))
    return f'<nav aria-label="On this page">{"".join(links)}</nav>'


def folded(title: str, *parts: str) -> str:
    """What is there for whoever opens it."""
    return f"<details><summary>{escape(title)}</summary>{''.join(parts)}</details>"


def soft(*lines: str) -> str:
    """Notes, a paragraph each."""
    return "".join(f'<p class="soft">{escape(line)}</p>' for line in lines if line)


def table(listing: Listing, *, heading: bool = True) -> str:
    """A table that sorts by a click on a title, and whose rows become cards on a narrow screen."""
    listing = _without_empty(listing)
    right = [_is_right(listing, i) for i in range(len(listing.columns))]
    head = "".join(
        f'<th scope="col"{_class(right[i])}><button type="button">{escape(c.title)}</button></th>'
        for i, c in enumerate(listing.columns)
    )
    body = "".join(_row(listing, number, right) for number in range(len(listing.rows)))
    title = f"<h3>{escape(listing.title)}</h3>" if heading else ""
    called = escape(listing.title, quote=True)
    return (
        f'{title}<div class="scroll"><table aria-label="{called}">'
        f"<thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
        f"{soft(*listing.notes)}"
    )


def _without_empty(listing: Listing) -> Listing:
    """The table without columns in which nothing stands; files of it have them."""
    kept = [
        i
        for i in range(len(listing.columns))
        if not i or any(row[i] not in (None, "") for row in listing.rows)
    ]
    return dataclasses.replace(
        listing,
        columns=tuple(listing.columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in listing.rows),
    )


def _is_right(listing: Listing, column: int) -> bool:
    """Columns of numbers stand to the right; one of bars does not."""
    values = [row[column] for row in listing.rows if row[column] is not None]
    numbers = bool(values) and not any(isinstance(value, str) for value in values)
    return numbers and column > 0 and listing.columns[column].form != "bar"


def _class(right: bool) -> str:
    return ' class="num"' if right else ""


def _row(listing: Listing, number: int, right: Sequence[bool]) -> str:
    anchor = ""
    if listing.anchors:
        anchor = f' id="{escape(listing.anchors[number], quote=True)}"'
    cells = "".join(
        _cell(value, column, right[i], first=i == 0)
        for i, (value, column) in enumerate(zip(listing.rows[number], listing.columns, strict=True))
    )
    return f"<tr{anchor}>{cells}</tr>"


def _cell(value: CellValue, column: Column, right: bool, *, first: bool) -> str:
    kind = 'th scope="row"' if first else "td"
    end = "th" if first else "td"
    key = _sort_key(value)
    by = "" if key is None else f' data-by="{key:.12g}"'
    return f"<{kind}{by}{_class(right)}>{cell_html(value, column.form)}</{end}>"


def _sort_key(value: CellValue) -> float | None:
    if isinstance(value, tuple):
        return float(value[0])
    return None if value is None or isinstance(value, str) else float(value)


def cell_html(value: CellValue, form: str) -> str:
    """A value as a cell holds it; shares have a bar, red beyond the whole."""
    text = escape(value_text(value, form))
    if isinstance(value, tuple):
        return text.replace("…", "…<wbr>")
    if form != "bar" or not isinstance(value, (int, float)):
        return text
    kind = "bar full" if value > 1 else "bar"
    width = 100 * min(max(value, 0.0), 1.0)
    return (
        f'<span class="share"><span class="{kind}"><i style="width:{width:.1f}%"></i></span>'
        f"{text}</span>"
    )


def figure(picture: Picture) -> str:
    """The place of a picture; the script draws it."""
    name = escape(picture.name, quote=True)
    kind = ' class="wide"' if picture.wide else ""
    titled = f"<figcaption>{escape(picture.title)}</figcaption>" if picture.title else ""
    return (
        f'<figure id="picture-{name}"{kind}>{titled}'
        f'<div class="plot" data-picture="{name}" role="img" '
        f'aria-label="{escape(picture.alt, quote=True)}"></div>{soft(picture.note)}</figure>'
    )


def figures(pictures: Sequence[Picture], kind: str = "pair") -> str:
    """Pictures side by side where there is room."""
    if not pictures:
        return ""
    return f'<div class="figures {kind}">{"".join(map(figure, pictures))}</div>'


def script_data(data: Any) -> str:
    """JSON as it may stand within a script element: nothing in it can end the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
