"""Lines as an SVG that stands alone: no drawing library, and the same text for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from ..plain import visible

WIDTH, HEIGHT = 420, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 16, 14, 40
_COLOURS = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f")

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines by name over one horizontal axis; heights are fractions, 0 … 1.

    ``logarithmic``: equal distances along the axis are equal ratios; all of its values are positive.
    """

    label: str
    lines: Mapping[str, Points]
    logarithmic: bool = False


def line_chart(panels: Sequence[Panel], label: str, reference: float | None = None) -> str:
    """Panels side by side on one vertical scale, with a legend below.

    Args:
        panels: what to draw.
        label: of the vertical axis.
        reference: height of a dotted line through all panels.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    width = WIDTH * len(panels)
    parts = [
        f'<g transform="translate({i * WIDTH},0)">{_panel(p, colours, reference)}</g>'
        for i, p in enumerate(panels)
    ]
    parts.append(f'<text x="4" y="{HEIGHT - 4}">{escape(label)}</text>')
    per_line = max(1, width // 140)
    for i, name in enumerate(names):
        x, y = 12 + 140 * (i % per_line), HEIGHT + 16 + 18 * (i // per_line)
        parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colours[name]}"/>')
        parts.append(f'<text x="{x + 16}" y="{y}">{escape(name)}</text>')
    height = HEIGHT + 8 + 18 * -(-len(names) // per_line)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/>{visible("".join(parts))}</svg>\n'
    )


def _panel(panel: Panel, colours: Mapping[str, str], reference: float | None) -> str:
    values = sorted({x for points in panel.lines.values() for x, _ in points})

    def scaled(x: float) -> float:
        return math.log(x) if panel.logarithmic else x

    low, high = (scaled(values[0]), scaled(values[-1])) if values else (0.0, 1.0)

    def across(x: float) -> float:
        share = (scaled(x) - low) / (high - low) if high > low else 0.5
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def up(y: float) -> float:
        return HEIGHT - _BOTTOM - y * (HEIGHT - _TOP - _BOTTOM)

    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(_horizontal(up(tick), "#e5e7eb"))
        parts.append(
            f'<text x="{_LEFT - 6}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:.0%}</text>'
        )
    for x in values:
        parts.append(
            f'<text x="{across(x):.1f}" y="{HEIGHT - _BOTTOM + 15}" '
            f'text-anchor="middle">{x:g}</text>'
        )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - _BOTTOM + 31}" text-anchor="middle">'
        f"{escape(panel.label)}</text>"
    )
    if reference is not None:
        parts.append(_horizontal(up(reference), "#6b7280", ' stroke-dasharray="2 3"'))
    for name, points in panel.lines.items():
        at = [(across(x), up(y)) for x, y in sorted(points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colours[name]}" stroke-width="1.5"/>'
        )
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colours[name]}"/>' for x, y in at
        ]
    return "".join(parts)


def _horizontal(y: float, colour: str, more: str = "") -> str:
    ends = f'x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
    return f'<line {ends} stroke="{colour}"{more}/>'
