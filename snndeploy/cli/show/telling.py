"""Messages, and findings on standard error for commands whose result is something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ...plain import one_line, plain

if TYPE_CHECKING:
    from ...ir.finding import Finding


def say(text: str, *, err: bool = False) -> None:
    """Print a message; whatever names are in it, a terminal obeys none of them."""
    click.echo(plain(text), err=err)


def tell(findings: Sequence[Finding], *, notes: bool = False) -> None:
    """Warnings (and notes) on standard error, for commands whose result is something else."""
    for found in findings:
        if notes or found.severity != "note":
            line = f"{found.severity}[{found.code}] {one_line(found.where)}: {found.message}"
            say(line, err=True)
            for fix in found.fixes:
                if fix.effect:
                    say(f"  try: {fix.text}: {fix.effect}", err=True)
