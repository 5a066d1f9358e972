"""A row of changes that makes a program fit, each of them tried before it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...chip import Target, family_class
from ...ir.finding import Finding, Fix
from ...ir.program import Program
from ..rules.rules import shrinking_codes
from .suggest import Bench, carry_out, joint_fixes, may_fit, program_fixes, same_place

_ROUNDS = 20
_AT_ONCE = 6
"""Violations whose fixes are compared, the worst ones."""
_GENTLE_BITS = 4
"""Weights keep this many bits before any of them is removed."""
_LADDER = (
    (6, 0.7, 0.9),
    (4, 0.5, 0.75),
    (4, 0.3, 0.5),
    (3, 0.2, 0.25),
    (2, 0.1, 0.1),
    (2, 0.05, 0.01),
)
"""Bits, density and channels kept, tried together where no single change is enough."""


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What to change, what that gives, and which violations no change of these kinds removes."""

    fixes: tuple[Fix, ...]
    program: Program
    left: tuple[Finding, ...]


def repair(
    program: Program, target: Target, chips: int, *, removable: frozenset[str] | None = None
) -> Repair:
    """Look for changes after which every rule holds.

    Each round takes the gentlest change that removes one violation: fewer bits as long as four are
    left, then whatever keeps most of the weights. Where no change removes any alone, fewer bits, fewer
    weights and fewer channels go together.

    Args:
        program: what does not fit.
        target: the chip.
        chips: chips of the board.
        removable: groups that may lose channels (None: all hidden ones).
    """
    mendable = {*shrinking_codes(family_class(target.family)), "weight-bits"}
    done: list[Fix] = []
    for _ in range(_ROUNDS):
        bench = Bench(program, target, chips, removable)
        errors = tuple(f for f in bench.breaches() if f.severity == "error")
        beyond = tuple(f for f in errors if f.code not in mendable)
        if beyond or not errors:
            return Repair(fixes=tuple(done), program=program, left=beyond)
        taken = _gentlest(errors, bench)
        if not taken:
            break
        for fix in taken:
            program = carry_out(program, fix)
        done += taken
    return Repair(fixes=tuple(done), program=program, left=errors)


def _gentlest(errors: Sequence[Finding], bench: Bench) -> list[Fix]:
    """The gentlest change that removes a violation, or several where no single one is enough."""
    single = [fix for f in errors[:_AT_ONCE] for fix in program_fixes(f, bench)]
    if single:
        return [min(single, key=lambda fix: _cost(bench.program, fix))]
    for f in errors:
        for bits, density, share in _LADDER:
            row = joint_fixes(f, bench, bits=bits, density=density, share=share)
            changed = bench.program
            for fix in row:
                changed = carry_out(changed, fix)
            if f.code == "board" and not may_fit(changed, bench.target, bench.chips):
                continue
            left = Bench(changed, bench.target, bench.chips).breaches(
                effort="low" if bench.large else "normal"
            )
            if not any(same_place(f, other) for other in left):
                return row
    return []


def _cost(program: Program, fix: Fix) -> tuple[bool, int]:
    gentle = fix.action == "quantize" and int(dict(fix.options)["bits"]) >= _GENTLE_BITS
    kept = sum(
        int(np.count_nonzero(s.mantissa)) * s.weight_bits for s in carry_out(program, fix).synapses
    )
    return not gentle, -kept
