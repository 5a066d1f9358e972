"""Findings on a page: those that say the same of many places stand together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..findings import alike, grouped, tried, tried_for_several
from .markup import panel

_TITLES = {"error": "What does not fit", "warning": "Warnings", "note": "Notes"}
_PLACES = 8
"""Places of one kind that are listed at once."""


def findings_panels(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """A panel per severity, the worst first."""
    found = []
    for severity, title in _TITLES.items():
        groups = grouped([f for f in findings if f["severity"] == severity])
        several = tried_for_several(groups)
        parts = [_group(group, several) for group in groups]
        found.append(panel(f"findings-{severity}", title, *parts, _tries(several.values())))
    return found


def _group(group: Sequence[Mapping[str, Any]], said: Collection[str]) -> str:
    first = group[0]
    severity = escape(first["severity"])
    said_once = [_said({**f, "where": where}) for where, f in alike(group)]
    lines = [f"<li>{text}</li>" for text in said_once]
    head = f'<p><b class="{severity}">{severity}</b> <code>{escape(first["code"])}</code>'
    if len(lines) == 1:
        text = f"{head} {said_once[0]}</p>"
    else:
        text = f"{head} at {len(group)} places</p><ul>{''.join(lines[:_PLACES])}</ul>"
        if lines[_PLACES:]:
            more = f"{len(lines) - _PLACES} more"
            text += (
                f"<details><summary>{more}</summary><ul>{''.join(lines[_PLACES:])}</ul></details>"
            )
    rests = []
    if "rule" in first:
        rests.append(f"Rule: {first['rule']}")
    if "source" in first:
        rests.append(f"Limit from: {first['source']} ({first.get('certainty', '?')})")
    if rests:
        text += f'<p class="soft">{escape(" ".join(rests))}</p>'
    return f'<div class="finding">{text}{_tries(tried(group, said))}</div>'


def _tries(lines: Iterable[str]) -> str:
    listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{listed}</ul>" if listed else ""


def _said(finding: Mapping[str, Any]) -> str:
    times = f" ({finding['ratio']:.3g} times its limit)" if finding.get("ratio") else ""
    where = Path(finding["where"])
    told = where.name if where.is_absolute() else finding["where"]  # folders stay at home
    return f"{escape(told)}: {escape(finding['message'])}{times}"


def fix_panel(fix: Mapping[str, Any] | None) -> str:
    """What looking for a recipe that makes it fit came to."""
    if fix is None:
        return ""
    if fix["found"]:
        said = "A recipe makes it fit" + (f": {'; '.join(fix['steps'])}" if fix["steps"] else "")
        said += f". {fix['cores']:,} cores; {fix['proof']}"
        lines = [f"<li>{escape(line)}</li>" for line in fix["tried"]]
    else:
        said = "No recipe was found that makes it fit"
        said += f" (tried: {'; '.join(fix['steps'])})" if fix["steps"] else ""
        lines = [
            f"<li>{escape(f['code'])} {escape(f['where'])}: {escape(f['message'])}</li>"
            for f in fix["left"]
        ]
    listed = f"<ul>{''.join(lines)}</ul>" if lines else ""
    return panel("fix", "What was tried", f"<p>{escape(said)}</p>{listed}")
