"""What an object is, in a line: arrays by their size, parts by their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

_NAMED = 4
"""Parts that are named, of many."""
_LINES = 40
"""Parts that a notebook shows, a line each."""
_TEXT = 60
"""Characters of one value."""


def brief(thing: Any) -> str:
    """A ``__repr__`` for dataclasses whose own would be pages: what is not its default, in a line.

    >>> @dataclasses.dataclass
    ... class Weight:
    ...     values: Any
    ...     __repr__ = brief
    >>> Weight(np.zeros((8, 2, 3, 3)))
    Weight(values=float64 (8, 2, 3, 3))
    """
    told = [
        f"{f.name}={_word(value)}"
        for f in dataclasses.fields(thing)
        if f.repr and not _is_default(f, value := getattr(thing, f.name))
    ]
    return f"{type(thing).__name__}({', '.join(told)})"


def brief_html(thing: Any) -> str:
    """A ``_repr_html_`` for notebooks: the fields as a table, and under each its named parts."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(f.name)}</th>'
        f'<td style="text-align:left">{_html(value)}</td></tr>'
        for f in dataclasses.fields(thing)
        if f.repr and not _is_default(f, value := getattr(thing, f.name))
    )
    return f"<b>{escape(type(thing).__name__)}</b><table>{rows}</table>"


def _html(value: Any) -> str:
    """A value; parts with names, of a tuple, are lines of their own."""
    if not isinstance(value, tuple) or not value or not all(hasattr(v, "name") for v in value):
        return escape(_word(value))
    lines = [escape(repr(v)) for v in value[:_LINES]]
    if value[_LINES:]:
        lines.append(f"and {len(value) - _LINES} more")
    return "<br>".join(lines)


def _is_default(field: dataclasses.Field[Any], value: object) -> bool:
    if value is None or (isinstance(value, (tuple, Mapping)) and not value):
        return True
    return isinstance(value, (str, int, float)) and bool(value == field.default)


def _word(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.item():g}" if value.size == 1 else f"{value.dtype} {value.shape}"
    if isinstance(value, Mapping):
        return "{" + _listed([str(key) for key in value]) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        if all(isinstance(v, (int, float, str)) for v in value):
            return _cut(repr(value))
        if not all(hasattr(v, "name") for v in value):
            return f"<{len(value)} {type(value[0]).__name__}>"
        return f"<{_listed([str(v.name) for v in value])}>"
    if dataclasses.is_dataclass(value):
        return str(getattr(value, "name", type(value).__name__))
    return _cut(repr(value))


def _listed(names: Sequence[str]) -> str:
    """The first of many names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(_cut(name) for name in names[:_NAMED]) + (
        f", and {more} more" if more > 0 else ""
    )


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}…"
