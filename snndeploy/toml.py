"""One door to TOML: ``tomllib`` is in the standard library from Python 3.11 on."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from .limits import current
from .plain import CONTROLS

if sys.version_info >= (3, 11):
    from tomllib import TOMLDecodeError
    from tomllib import loads as _parsed
else:
    from tomli import TOMLDecodeError
    from tomli import loads as _parsed

__all__ = ["TOMLDecodeError", "dumps", "loads"]

_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*'
    r"|[\w+-]+|[ \t]+|.",
    re.DOTALL,
)


def loads(text: str) -> dict[str, Any]:
    """Read TOML text, within limits: the parsers themselves take quadratic time, or all of the stack.

    Raises:
        TOMLDecodeError: it is not TOML, longer than a file that people write, or nested too deep.
    """
    limits = current()
    if len(text) > limits.text:
        raise TOMLDecodeError(f"it is longer than {limits.text:,} characters")
    if any(depth > limits.depth for depth in _depths(text)):
        raise TOMLDecodeError(f"it is nested deeper than {limits.depth}")
    try:
        content = _parsed(text)
    except TOMLDecodeError:
        raise
    except (ValueError, RecursionError, OverflowError) as error:  # whole numbers of 5,000 digits
        raise TOMLDecodeError(str(error)) from error
    _check_numbers(content)
    return content


def dumps(data: dict[str, Any]) -> str:
    """Write a table as TOML text, in which no terminal finds anything to obey.

    Control characters can only stand in strings and quoted keys, where an escape means the same.
    """
    import tomli_w

    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", tomli_w.dumps(data))


def _check_numbers(value: object) -> None:
    """Refuse whole numbers beyond TOML's 64 bits, which not even a message could show."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            _check_numbers(part)
    elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise TOMLDecodeError(f"a whole number has {value.bit_length()} bits, TOML's have 64")


def _depths(text: str) -> Iterator[int]:
    """How deep brackets are nested, and how many parts dotted keys have, as the text goes on."""
    brackets = parts = 0
    for match in _TOKEN.finditer(text):
        first = match[0][0]
        if first in "[{":
            brackets += 1
            yield brackets
        elif first in "]}":
            brackets = max(0, brackets - 1)
        elif first == ".":
            parts += 1
            yield parts
        elif not (first.isalnum() or first in "_+-\"' \t"):
            parts = 0
