"""Findings that repeat: what says the same of many places is said once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FindingRecord = Mapping[str, Any]


def grouped(findings: Sequence[FindingRecord]) -> list[list[FindingRecord]]:
    """Findings of one code, rule and source of their limit, in the order of the first of each."""
    found: dict[tuple[Any, ...], list[FindingRecord]] = {}
    for finding in findings:
        keys = ("severity", "code", "rule", "source", "certainty")
        found.setdefault(tuple(finding.get(key) for key in keys), []).append(finding)
    return list(found.values())


def tried(group: Sequence[FindingRecord]) -> list[Mapping[str, str]]:
    """What was tried for findings of a group, each change once, with what it came to."""
    fixes = {
        (fix["text"], fix["effect"]): fix
        for finding in group
        for fix in finding["fixes"]
        if fix["effect"]
    }
    return list(fixes.values())
