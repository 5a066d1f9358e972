"""Messages, and findings on standard error for commands whose result is something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ...plain import one_line, plain

if TYPE_CHECKING:
    from ...ir.finding import Finding


INTERRUPTED = 130
"""What a command leaves with that was interrupted, though it tells what was finished."""


def say(text: str, *, err: bool = False) -> None:
    """Print a message; whatever names are in it, a terminal obeys none of them."""
    click.echo(plain(text), err=err)


def told_more() -> bool:
    """Whether the command was given ``-v``: then details are shown that otherwise fill the screen."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().params.get("verbose"))


def told_progress() -> bool:
    """Whether progress is told: neither with ``-q`` nor beside JSON, whose readers are programs."""
    context = click.get_current_context(silent=True)
    if context is None:
        return True
    return not (context.find_root().params.get("quiet") or context.params.get("as_json"))


def aside(text: str) -> None:
    """A line on standard error about what goes on, where progress is told."""
    if told_progress():
        say(text, err=True)


def tell(findings: Sequence[Finding], *, notes: bool = False) -> None:
    """Warnings (and notes) on standard error, for commands whose result is something else."""
    for found in findings:
        if notes or found.severity != "note":
            line = f"{found.severity}[{found.code}] {one_line(found.where)}: {found.message}"
            say(line, err=True)
            for fix in found.fixes:
                if fix.effect:
                    say(f"  try: {fix.text}: {fix.effect}", err=True)
