"""Check a placed program against every rule of a target, and tell all violations at once."""

from __future__ import annotations

from collections.abc import Iterable

from ..chip import Target
from ..ir.finding import Finding
from ..ir.placement import Placement
from ..ir.program import Program
from ..progress import silent
from .fix.suggest import Tell, suggest_fixes
from .rules.rules import violations

_SMALL = 2_000_000
"""Weights up to which trying every fix takes seconds."""


def check_program(
    program: Program,
    placement: Placement,
    target: Target,
    chips: int | None = None,
    *,
    fixes_for: int | None = None,
    seconds: float | None = None,
    tell: Tell = silent,
) -> tuple[Finding, ...]:
    """Run every rule, and try what would help against the worst violations.

    Args:
        program: what was placed.
        placement: where it was placed.
        target: the chip to check for.
        chips: chips of the board (None: the target's default board).
        fixes_for: how many of the violations get suggestions; each try places the program anew.
            None: all of a small program's, the three worst of one with millions of synapses.
        seconds: how long suggestions are tried (None: for all violations that get some).
        tell: as of `suggest_fixes`.

    Returns:
        All violations, errors first and the worst overrun first; none if the program fits.
    """
    board = target.chips() if chips is None else chips
    found = violations(program, placement, target, board)
    if fixes_for is None:
        small = sum(s.mantissa.size for s in program.synapses) <= _SMALL
        fixes_for = len(found) if small else 3
    if not fixes_for:
        return found
    return suggest_fixes(found, program, target, board, worst=fixes_for, seconds=seconds, tell=tell)


def fits(findings: Iterable[Finding]) -> bool:
    """Whether none of the findings is an error."""
    return all(f.severity != "error" for f in findings)
