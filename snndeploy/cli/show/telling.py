"""Findings on standard error, for commands whose result is something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .plain import plain

if TYPE_CHECKING:
    from ...ir.finding import Finding


def tell(findings: Sequence[Finding], *, notes: bool = False) -> None:
    """Warnings (and notes) on standard error, for commands whose result is something else."""
    for found in findings:
        if notes or found.severity != "note":
            line = f"{found.severity}[{found.code}] {found.where}: {found.message}"
            click.echo(plain(line), err=True)
            for fix in found.fixes:
                if fix.effect:
                    click.echo(plain(f"  try: {fix.text}: {fix.effect}"), err=True)
