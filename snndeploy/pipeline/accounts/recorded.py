"""What files record about themselves: written by somebody else, and read as such."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import InputError


@contextmanager
def stored_report(where: str) -> Iterator[None]:
    """While the body reads records from a file (a report, a lock): what they lack is the file's fault.

    Raises:
        InputError: the report does not hold what it has to.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(
            "report-damaged",
            f"its records cannot be read ({type(error).__name__}: {error})",
            where=where,
            hint="compile or run it again with this version",
        ) from error
