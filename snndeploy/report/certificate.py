"""A certificate in words: one line for a terminal, a panel for a page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from .html_parts import panel

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
        "There is no proof that these registers stay within their width. Where a search found an input "
        "that takes one far, that input was run, and the value and the step are given.",
    ),
    (
        "Not checked",
        "not_checked",
        "The checker does not look at these: have them checked otherwise before you rely on them.",
    ),
)
"""Title, key and meaning of what a certificate lists."""


def certificate_line(told: Mapping[str, Any]) -> str:
    """What a separate checker says of a bundle, in one line."""
    if told["refused"]:
        return f"not certified: it {told['refused']}"
    if not told["certified"]:
        found = told["contradiction"]
        return (
            f"not certified: {found['file']}: {found['where']}: {found['what']}: "
            f"stated {found['stated']}, found {found['found']}"
        )
    registers = [b[register] for b in told["bounds"].values() for register in ("u", "v")]
    proved = sum(r["proved"] for r in registers)
    return (
        "certified: a separate checker found every number, delay, core and golden spike as stated; "
        f"head-room is proved for all inputs of {proved} of {len(registers)} registers"
    )


def certificate_panel(told: Mapping[str, Any]) -> str:
    """What was proved, what was not, and what nobody checked."""
    parts = [f'<p class="verdict">{escape(certificate_line(told))}</p>']
    for title, key, means in _LISTS if told["certified"] else ():
        if told[key]:
            items = "".join(f"<li>{escape(line)}</li>" for line in told[key])
            parts.append(f'<h3>{title}</h3><p class="note">{means}</p><ul>{items}</ul>')
    return panel("Certificate", *parts)
