"""A certificate on a page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ..certificate import certificate_line
from .markup import folded, panel


def certificate_panel(told: Mapping[str, Any]) -> str:
    """What was proved, what was not, and what nobody checked."""
    lists = (
        ("Proved", told["proved"]),
        ("Not proved", told["not_proved"]),
        ("Not checked", told["not_checked"]),
    )
    parts = [f'<p class="verdict">{escape(certificate_line(told))}</p>']
    told_of = []
    for title, lines in lists if told["certified"] else ():
        if lines:
            items = "".join(f"<li>{escape(line)}</li>" for line in lines)
            told_of.append(f"<h3>{title}</h3><ul>{items}</ul>")
    if told_of:
        parts.append(folded("What was proved, and what was not", *told_of))
    return panel("certificate", "Certificate", *parts)
