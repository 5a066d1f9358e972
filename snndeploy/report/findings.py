"""Findings that repeat: what says the same of many places is said once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def grouped(findings: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Findings that differ in their place alone, together, in the order of the first of each.

    They have one code, one rule, one source and the same fixes; what they say of their places may
    differ.
    """
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for finding in findings:
        fixes = tuple((f["text"], f["effect"]) for f in finding["fixes"] if f["effect"])
        key = (
            finding["severity"],
            finding["code"],
            finding.get("rule"),
            finding.get("source"),
            fixes,
        )
        found.setdefault(key, []).append(finding)
    return list(found.values())
