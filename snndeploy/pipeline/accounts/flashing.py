"""What of a program a board can run with tools that are public, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...chip import Target, family_of
from ...ir.finding import Finding
from ...ir.program import Program

_NAMED = 5
"""Layers that a sentence names."""


def flashing_record(
    program: Program, target: Target, findings: Sequence[Finding] = ()
) -> dict[str, Any] | None:
    """Which layers are the chip's own compartments, and which are not, as plain data with a sentence.

    Args:
        program: what would be flashed.
        target: for this chip.
        findings: what was said of it; layers that the target has no form of are among them.

    Returns:
        None for chips that Lava's processes do not describe.
    """
    family = family_of(target)
    if family.judge != "lava":
        return None
    ways = {g.name: family.way(g) for g in program.on_chip if g.kind != "constant"}
    missing = [f.where for f in findings if f.code == "neuron-unsupported"]
    programs = [name for name, way in ways.items() if way == "program"]
    others = [name for name, way in ways.items() if way == "two-compartments"]
    return {
        "native": [n for n, way in ways.items() if way == "native" and n not in missing],
        "program": programs,
        "two_compartments": others,
        "none": missing,
        "text": _sentence(len(ways), programs, others, missing),
    }


def _sentence(layers: int, programs: list[str], others: list[str], missing: list[str]) -> str:
    if missing:
        return (
            f"flashing: {len(missing)} of {layers} layers ({_named(missing)}) have no form on this "
            "chip; --adapt gives them the nearest that it has"
        )
    if programs:
        return (
            f"flashing: {len(programs)} of {layers} layers ({_named(programs)}) are neuron programs: "
            "exact in every engine here, but on a board they need microcode, which no public tool "
            "writes; --native refuses them, --native --adapt gives them the nearest native neuron"
        )
    if others:
        return (
            f"flashing: {len(others)} of {layers} layers ({_named(others)}) take two compartments per "
            "neuron, which Lava has no process for"
        )
    return (
        f"flashing: all {layers} layers are Lava's own neurons, which a board has; "
        "snndeploy export --to lava makes the folder for it"
    )


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
