"""Words of strangers on a terminal, in pages and in tables: as text and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_LONGEST = 2000
"""Characters of a line; what files call things can be as long as the file."""
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Escapes and other controls but line breaks and tabs, what scripts take for line breaks, and what turns
the direction of text."""


def plain(text: str) -> str:
    """``text`` without what a terminal would obey, its long lines cut."""
    lines = [
        line if len(line) <= _LONGEST else f"{line[:_LONGEST]}… ({len(line):,} characters)"
        for line in text[: 50 * _LONGEST].split("\n")
    ]
    return visible("\n".join(lines))


def visible(text: str) -> str:
    """``text`` of any length, with what a terminal or a page would obey spelled out."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """A name, `plain` and without line breaks, so that it cannot pass for lines of ours."""
    return plain(text).replace("\n", "\\n").replace("\t", "\\t")


def plain_data(data: Any) -> Any:
    """A report whose texts are `plain`."""
    if isinstance(data, str):
        return plain(data)
    if isinstance(data, Mapping):
        return {plain_data(key): plain_data(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return type(data)(map(plain_data, data))
    return data
