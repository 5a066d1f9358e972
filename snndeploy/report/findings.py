"""Findings that repeat: what says the same of many places is said once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

FindingRecord = Mapping[str, Any]

_NAMED = 8
"""Places of which the same is said that are named."""


def grouped(findings: Sequence[FindingRecord]) -> list[list[FindingRecord]]:
    """Findings of one code, rule and source of their limit, in the order of the first of each."""
    found: dict[tuple[Any, ...], list[FindingRecord]] = {}
    for finding in findings:
        keys = ("severity", "code", "rule", "source", "certainty")
        found.setdefault(tuple(finding.get(key) for key in keys), []).append(finding)
    return list(found.values())


def alike(group: Sequence[FindingRecord]) -> list[tuple[str, FindingRecord]]:
    """What a group says, once each, and of which places: the names of many are counted."""
    found: dict[tuple[Any, ...], list[FindingRecord]] = {}
    for finding in group:
        found.setdefault((finding["message"], finding.get("ratio")), []).append(finding)
    return [(_places([f["where"] for f in same]), same[0]) for same in found.values()]


def _places(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def tried(group: Sequence[FindingRecord], said: Collection[str] = ()) -> list[str]:
    """What was tried for findings of a group, each change once, with what it came to.

    Where a change was not tried for all of the group, the line says where. ``said`` are changes that
    `tried_for_several` tells already.
    """
    places: dict[str, list[str]] = {}
    for finding in group:
        for change in _changes(finding):
            places.setdefault(change, []).append(finding["where"])
    return [
        f"try: {change}" if len(at) == len(group) else f"try at {', '.join(at)}: {change}"
        for change, at in places.items()
        if change not in said
    ]


def tried_for_several(groups: Sequence[Sequence[FindingRecord]]) -> dict[str, str]:
    """Changes that came to the same for findings of several kinds: a line for each, by the change."""
    kinds: dict[str, list[str]] = {}
    for group in groups:
        for change in dict.fromkeys(c for finding in group for c in _changes(finding)):
            kinds.setdefault(change, []).append(str(group[0]["code"]))
    return {
        change: f"try, for {_all_of(codes, groups)}: {change.replace('this rule', 'each rule')}"
        for change, codes in kinds.items()
        if len(codes) > 1
    }


def _all_of(codes: Sequence[str], groups: Sequence[Sequence[FindingRecord]]) -> str:
    return "all of these" if len(codes) == len(groups) else ", ".join(codes)


def _changes(finding: FindingRecord) -> list[str]:
    return [f"{fix['text']}: {fix['effect']}" for fix in finding["fixes"] if fix["effect"]]
