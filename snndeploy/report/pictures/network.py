"""The network as a graph, from the input down: boxes are layers, lines what joins them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..listing.compiled import layer_anchor
from ..sight import GraphEdge, LayerNode, Sight
from .picture import COMPILED, NEUTRAL, Picture, field, tooltip, values

_LEVEL = 96
"""Pixels from a level to the next."""
_TOP, _BOTTOM = 0.08, 0.72
"""Where in its level a box begins and ends."""
_BELOW = 0.25
"""Of the last level, below its boxes."""
_WIDEST = 0.52
_LANE = 0.03
_ROOM = 0.15
"""Of the width; in a narrower box there is no place for more than its name."""
_MOST = 60
"""Layers that are drawn, whole levels of them; the table has all."""


_WORDS = (
    ("name", "line1", 14, "bold"),
    ("size", "line2", 12, "normal"),
    ("rate", "line3", 12, "normal"),
)
"""What stands in a box: a field, where it stands, its size and weight."""


def network_picture(sight: Sight, layers: tuple[str, ...]) -> Picture:
    """Layers with shape, neurons and rate; ``layers`` are those with a row to lead to."""
    rows = {name: i for i, name in enumerate(layers)}
    every = tuple(n for n in sight.nodes if n.kind != "constant")
    drawn = _foremost(every)
    shown = {n.name for n in drawn}
    edges = tuple(e for e in sight.edges if e.source in shown and e.target in shown)
    boxes = _boxes(drawn, edges)
    spiking = [n for n in drawn if n.rate is not None]
    nodes = [
        {
            "name": n.name,
            "size": _size(n),
            "rate": _rate(n),
            "link": f"#{layer_anchor(rows[n.name])}" if n.name in rows else "",
            "kind": "on the chip" if n.name in rows else "sent by the host",
            "x": boxes[n.name][0],
            "x2": boxes[n.name][1],
            "middle": sum(boxes[n.name]) / 2,
            "y": n.level + _TOP,
            "y2": n.level + _BOTTOM,
            **_places(n, boxes[n.name]),
        }
        for n in drawn
    ]
    lines, arrows, words = _lines(edges, {n.name: n for n in drawn}, boxes)
    levels = 1 + max(n.level for n in drawn)
    x: dict[str, Any] = {"scale": {"domain": [0, 1], "nice": False}, "axis": None}
    y: dict[str, Any] = {
        "scale": {"domain": [0, levels - _BELOW], "reverse": True, "nice": False},
        "axis": None,
    }
    box = {
        "data": values(nodes),
        "name": "box",
        "mark": {
            "type": "rect",
            "cornerRadius": 6,
            "fillOpacity": 0.14,
            "strokeWidth": 1.5,
            "cursor": "pointer",
        },
        "encoding": {
            "x": field("x", "quantitative", **x),
            "x2": {"field": "x2"},
            "y": field("y", "quantitative", **y),
            "y2": {"field": "y2"},
            "fill": field(
                "kind",
                "nominal",
                scale={"domain": ["on the chip", "sent by the host"], "range": [COMPILED, NEUTRAL]},
                legend=None,
            ),
            "stroke": field(
                "kind",
                "nominal",
                scale={"domain": ["on the chip", "sent by the host"], "range": [COMPILED, NEUTRAL]},
                legend=None,
            ),
            "tooltip": tooltip(name="layer", size="size", rate="spikes", kind="where"),
        },
    }
    width_of = {name: round(b - a, 4) for name, (a, b) in boxes.items()}
    text = [
        {
            "data": values([n for n in nodes if width_of[str(n["name"])] == width]),
            "name": f"onbox_{what}_{number}",
            "mark": {
                "type": "text",
                "fontSize": size,
                "fontWeight": weight,
                "limit": {"expr": f"{width} * width - 4"},
            },
            "encoding": {
                "x": field("middle", "quantitative", **x),
                "y": field(line, "quantitative", **y),
                "text": {"field": what, "type": "nominal"},
            },
        }
        for number, width in enumerate(sorted(set(width_of.values())))
        for what, line, size, weight in _WORDS[: 1 if width < _ROOM else None]
    ]

    spec = {
        "height": round((levels - _BELOW) * _LEVEL),
        "layer": [
            {
                "data": values(lines),
                "mark": {"type": "line", "strokeWidth": 1.5, "color": NEUTRAL},
                "encoding": {
                    "x": field("x", "quantitative", **x),
                    "y": field("y", "quantitative", **y),
                    "detail": {"field": "edge", "type": "nominal"},
                    "order": {"field": "turn", "type": "quantitative"},
                },
            },
            {
                "data": values(arrows),
                "mark": {"type": "point", "shape": "triangle", "filled": True, "size": 45},
                "encoding": {
                    "x": field("x", "quantitative", **x),
                    "y": field("y", "quantitative", **y),
                    "angle": {"field": "angle", "type": "quantitative", "scale": None},
                    "color": {"value": NEUTRAL},
                    "opacity": {"value": 1},
                    "tooltip": tooltip(text="synapses", way="from and to"),
                },
            },
            {
                "data": values(words),
                "mark": {
                    "type": "text",
                    "align": "left",
                    "dx": 8,
                    "fontSize": 11,
                    "lineBreak": "\n",
                    "limit": {"expr": "0.48 * width"},
                },
                "encoding": {
                    "x": field("x", "quantitative", **x),
                    "y": field("y", "quantitative", **y),
                    "text": {"field": "text", "type": "nominal"},
                    "tooltip": tooltip(text="synapses", way="from and to"),
                },
            },
            box,
            *text,
        ],
    }
    neurons = sum(n.neurons for n in drawn if n.name in rows)
    alt = (
        f"The network as a graph: {len(drawn)} layers, {neurons:,} neurons on the chip, joined by "
        f"{len(edges)} projections; the table of layers has the same numbers."
    )
    note = "A click on a layer leads to its row in the table."
    if len(drawn) < len(every):
        note += f" The first {len(drawn)} of {len(every):,} layers are drawn; the table has all."
    if len(every) < len(sight.nodes):
        note += " Neurons that only carry biases are left out."
    if spiking:
        note += f" Rates are of the golden run: {sight.samples} samples, {sight.steps} steps each."
    return Picture(
        name="network", group="network", title="The network", alt=alt, spec=spec, note=note
    )


def _foremost(nodes: tuple[LayerNode, ...]) -> tuple[LayerNode, ...]:
    """Those of the first levels, as many as are to be drawn."""
    levels = sorted({n.level for n in nodes})
    last = levels[0]
    for level in levels:
        if sum(n.level <= level for n in nodes) > _MOST and level > levels[0]:
            break
        last = level
    return tuple(n for n in nodes if n.level <= last)


def _size(node: LayerNode) -> str:
    counted = f"{node.neurons:,} {'places' if node.kind == 'input' else 'neurons'}"
    return counted if len(node.shape) == 1 else f"{'×'.join(map(str, node.shape))}, {counted}"


def _places(node: LayerNode, box: tuple[float, float]) -> dict[str, float]:
    """Where its lines of text stand: as many as there are, in the middle."""
    lines = (0.22, 0.41, 0.58) if _rate(node) else (0.31, 0.5, 0.5)
    if box[1] - box[0] < _ROOM:
        lines = (0.4, 0.4, 0.4)
    return {f"line{i + 1}": node.level + at for i, at in enumerate(lines)}


def _rate(node: LayerNode) -> str:
    if node.kind == "readout":
        return "answers with its membrane"
    return "" if node.rate is None else f"{node.rate:.3g} spikes a step"


def _boxes(
    nodes: tuple[LayerNode, ...], edges: tuple[GraphEdge, ...]
) -> dict[str, tuple[float, float]]:
    """Left and right end of every box, side by side within a level; lanes have their place beside."""
    level_of = {n.name: n.level for n in nodes}
    lanes = any(level_of[e.target] != level_of[e.source] + 1 for e in edges)
    centre = 0.37 if lanes else 0.5
    found = {}
    for level in {n.level for n in nodes}:
        row = [n for n in nodes if n.level == level]
        room = 0.72 / len(row)
        width = min(_WIDEST, room * 0.94)
        for i, node in enumerate(row):
            middle = centre + room * (i - (len(row) - 1) / 2)
            found[node.name] = (round(middle - width / 2, 4), round(middle + width / 2, 4))
    return found


def _lines(
    edges: tuple[GraphEdge, ...], nodes: dict[str, LayerNode], boxes: dict[str, tuple[float, float]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Points of lines, arrow heads, and words beside them.

    What goes to the next level goes straight down; all else takes a lane on the right. Where several
    lines go down side by side there is no place for words, and arrow heads tell them.
    """
    lines: list[dict[str, Any]] = []
    arrows: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []
    lane = 0
    beside = Counter(
        nodes[e.source].level for e in edges if nodes[e.target].level == nodes[e.source].level + 1
    )
    for number, edge in enumerate(edges):
        a, b = nodes[edge.source], nodes[edge.target]
        text = f"{edge.operator.replace('->', '→')}\n{edge.weights:,} weights of {edge.bits} bits"
        if edge.delay:
            text += f"\n{edge.delay} step{'s'[: edge.delay != 1]} later"
        way = f"{edge.source} → {edge.target}"
        if b.level == a.level + 1:
            x1, x2 = sum(boxes[a.name]) / 2, sum(boxes[b.name]) / 2
            points = [(x1, a.level + _BOTTOM), (x2, b.level + _TOP - 0.05)]
            arrows.append({"x": x2, "y": b.level + _TOP - 0.05, "angle": 180})
            if beside[a.level] == 1:
                at = {"x": (x1 + x2) / 2, "y": a.level + _BOTTOM + 0.1}
                words.append({**at, "text": text, "way": way})
        else:
            lane += 1
            right = min(0.99, max(e for _, e in boxes.values()) + _LANE * (1 + (lane - 1) % 3))
            start, end = a.level + 0.5, b.level + 0.3
            points = [
                (boxes[a.name][1], start),
                (right, start),
                (right, end),
                (boxes[b.name][1] + 0.012, end),
            ]
            arrows.append({"x": boxes[b.name][1] + 0.012, "y": end, "angle": 270})
            at = {"x": right, "y": (start + end) / 2 - 0.08}
            words.append({**at, "text": text, "way": way})
        arrows[-1] |= {"text": text, "way": way}
        lines += [
            {"edge": number, "turn": i, "x": round(x, 4), "y": round(y, 4)}
            for i, (x, y) in enumerate(points)
        ]
    return lines, arrows, words
