"""Words of strangers on a terminal: names and messages of files, as text and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...errors import InputError

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


@contextmanager
def stored_report(where: str) -> Iterator[None]:
    """While the body shows a report from a file: what it lacks is the file's fault.

    Raises:
        InputError: the report does not hold what it has to.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(
            "report-damaged",
            f"its report cannot be shown ({type(error).__name__}: {error})",
            where=where,
            hint="compile or run it again with this version",
        ) from error
