"""What is said of a change: exact, or to be measured."""

from __future__ import annotations

from ...ir.finding import Finding


def told(where: str, text: str, *, exact: bool) -> Finding:
    """A finding about something that was adapted."""
    return Finding(
        code="adapted",
        severity="note" if exact else "warning",
        where=where,
        message=f"{text} ({'exact' if exact else 'measured: compare the answers on your data'})",
    )
