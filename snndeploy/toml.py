"""One door to TOML: ``tomllib`` is in the standard library from Python 3.11 on."""

from __future__ import annotations

import sys
from typing import Any

if sys.version_info >= (3, 11):
    from tomllib import TOMLDecodeError, loads
else:
    from tomli import TOMLDecodeError, loads

__all__ = ["TOMLDecodeError", "dumps", "loads"]


def dumps(data: dict[str, Any]) -> str:
    """Write a table as TOML text."""
    import tomli_w

    return tomli_w.dumps(data)
