"""A certificate on a page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ..certificate import certificate_line
from .markup import folded, panel

_LISTS = (
    (
        "Proved",
        "proved",
        "True for every input, derived anew from the files of the bundle. u is the register of the "
        "dendritic current, v that of the membrane.",
    ),
    (
        "Not proved",
        "not_proved",
        "There is no proof that these registers stay within their width whatever arrives. Of each, the "
        "worst input that a search found was run: how far it takes the register, and in which step, is "
        "given. What may overflow was not made to.",
    ),
    (
        "Not checked",
        "not_checked",
        "The checker does not look at these: have them checked otherwise before you rely on them.",
    ),
)
"""Title, key and meaning of what a certificate lists."""


def certificate_panel(told: Mapping[str, Any]) -> str:
    """What was proved, what was not, and what nobody checked."""
    parts = [f'<p class="verdict">{escape(certificate_line(told))}</p>']
    told_of = []
    for title, key, means in _LISTS if told["certified"] else ():
        if told[key]:
            items = "".join(f"<li>{escape(line)}</li>" for line in told[key])
            told_of.append(f'<h3>{title}</h3><p class="note">{means}</p><ul>{items}</ul>')
    if told_of:
        parts.append(folded("What was proved, and what was not", *told_of))
    return panel("certificate", "Certificate", *parts)
