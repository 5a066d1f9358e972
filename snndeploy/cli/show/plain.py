"""Words of strangers on a terminal: names and messages of files, as text and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_LONGEST = 2000
"""Characters of a line; what files call things can be as long as the file."""
# Escapes, all other control characters but line breaks and tabs, and what turns the direction of text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """``text`` without what a terminal would obey, its long lines cut."""
    lines = [
        line if len(line) <= _LONGEST else f"{line[:_LONGEST]}… ({len(line):,} characters)"
        for line in text[: 50 * _LONGEST].split("\n")
    ]
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), "\n".join(lines))


def plain_data(data: Any) -> Any:
    """A report whose texts are `plain`."""
    if isinstance(data, str):
        return plain(data)
    if isinstance(data, Mapping):
        return {plain_data(key): plain_data(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return type(data)(map(plain_data, data))
    return data
