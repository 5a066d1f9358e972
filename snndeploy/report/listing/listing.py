"""One table: numbers as numbers, with the words and forms that people read them in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...plain import visible
from ..tables import span

CellValue = str | int | float | None | tuple[float, float]
"""What a cell holds; a pair is a range, from low to high."""

_MANY = 1e6
"""From here on all digits before the point are shown: people do not read powers of ten."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How text begins that spreadsheets would compute."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: ``key`` names it in files, ``title`` for people.

    ``form`` is a format of Python's for its numbers, or ``bar`` for shares of a whole.
    """

    key: str
    title: str
    form: str = ","


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A table.

    Attributes:
        name: in files and as an anchor: lower-case words with dashes.
        title: for people.
        columns: what the values of a row are.
        rows: the values.
        anchors: of the rows, for links to them; none, or one per row.
        notes: what one has to know to read it.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[CellValue, ...], ...]
    anchors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """The rows by name of their column; a range is two numbers, ``…_low`` and ``…_high``."""
        return [
            {
                key: value
                for column, cell in zip(self.columns, row, strict=True)
                for key, value in _named(column.key, cell)
            }
            for row in self.rows
        ]

    def csv(self) -> str:
        """The table as CSV, with the names of columns first; see `csv_text`."""
        records = self.records()
        names = list(dict.fromkeys(name for record in records for name in record))
        names = names or [column.key for column in self.columns]
        return csv_text(names, ([record.get(name) for name in names] for record in records))

    def texts(self) -> list[list[str]]:
        """The rows as people read them."""
        forms = [column.form for column in self.columns]
        return [[value_text(v, f) for v, f in zip(row, forms, strict=True)] for row in self.rows]


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[CellValue]]) -> str:
    """Rows under the names of their columns, with commas.

    Names come from files of strangers: control characters are spelled out, and text that a spreadsheet
    would take for a formula has an apostrophe before it.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_safe(name) for name in columns])
    writer.writerows([_safe(value) for value in row] for row in rows)
    return out.getvalue()


def value_text(value: CellValue, form: str) -> str:
    """A value as people read it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    form = ".1%" if form == "bar" else form
    if form.endswith("g") and not isinstance(value, tuple) and abs(value) >= _MANY:
        form = ",.0f"
    if isinstance(value, tuple):
        return span(value[0], value[1], form)
    return f"{value:{form}}"


def listing(
    name: str,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[CellValue]],
    *,
    anchors: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Listing:
    """A `Listing` of these rows."""
    return Listing(
        name=name,
        title=title,
        columns=tuple(columns),
        rows=tuple(tuple(row) for row in rows),
        anchors=tuple(anchors),
        notes=tuple(notes),
    )


def tables_record(listings: Sequence[Listing]) -> Mapping[str, list[dict[str, Any]]]:
    """Tables by name, as plain data."""
    return {one.name: one.records() for one in listings}


def _named(key: str, value: CellValue) -> list[tuple[str, CellValue]]:
    if isinstance(value, tuple):
        return [(f"{key}_low", value[0]), (f"{key}_high", value[1])]
    return [(key, value)]


def _safe(value: CellValue) -> CellValue:
    if not isinstance(value, str):
        return value
    return visible(f"'{value}" if value.startswith(_FORMULA) else value)
