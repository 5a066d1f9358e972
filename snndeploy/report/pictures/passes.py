"""What each pass took away: bits of weights as a waterfall, and how many answers stayed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .picture import COMPILED, NEUTRAL, Picture, field, tooltip, values

_BITS = {"format": "~s", "tickCount": 5, "labelExpr": "datum.value ? datum.label : '0'"}

_ROOM = 1.18
"""Of the longest bar, so that what stands behind it has a place."""


def pass_pictures(passes: Sequence[Mapping[str, Any]]) -> Iterator[Picture]:
    """The waterfall; and the answers, where they were compared."""
    if len(passes) < 2:
        return
    steps = [f"{i}. {step['name']}" if i else str(step["name"]) for i, step in enumerate(passes)]
    most = max(step["bits"] for step in passes)
    rows = [{"step": steps[0], "from": 0, "to": passes[0]["bits"], "what": "left"}]
    for step, before, after in zip(steps[1:], passes, passes[1:], strict=False):
        rows.append({"step": step, "from": after["bits"], "to": before["bits"], "what": "taken"})
        rows.append({"step": step, "from": 0, "to": after["bits"], "what": "left"})
    ends = [
        {"step": s, "bits": p["bits"], "end": max(p["bits"], before["bits"])}
        for s, p, before in zip(steps, passes, (passes[0], *passes), strict=False)
    ]
    told = "; ".join(f"{s} {p['bits']:,}" for s, p in zip(steps, passes, strict=True))
    yield Picture(
        name="waterfall",
        group="passes",
        title="Bits of weights after each pass",
        alt=f"Bits of weights after each pass: {told}.",
        spec={
            "height": 36 * len(steps),
            "encoding": {"y": field("step", "nominal", None, sort=steps)},
            "layer": [
                {
                    "data": values(rows),
                    "mark": {"type": "bar", "cornerRadius": 2},
                    "encoding": {
                        "x": field(
                            "from",
                            "quantitative",
                            "bits",
                            axis=_BITS,
                            scale={"domain": [0, _ROOM * most], "nice": False},
                        ),
                        "x2": {"field": "to"},
                        "color": field(
                            "what",
                            "nominal",
                            None,
                            scale={
                                "domain": ["left", "taken"],
                                "range": [COMPILED, "rgba(118, 142, 190, 0.4)"],
                            },
                        ),
                        "tooltip": tooltip(step="after", what="bits", to=("up to", ",")),
                    },
                },
                {
                    "data": values(ends),
                    "mark": {"type": "text", "align": "left", "dx": 5, "fontSize": 12},
                    "encoding": {
                        "x": field("end", "quantitative"),
                        "text": {"field": "bits", "type": "quantitative", "format": ".3~s"},
                    },
                },
            ],
        },
    )
    alike = [
        {"step": s, "share": p["answers"]["agreement"], "samples": p["answers"]["samples"]}
        for s, p in zip(steps, passes, strict=True)
        if p.get("answers")
    ]
    if not alike:
        return
    told = "; ".join(f"{a['step']} {a['share']:.1%}" for a in alike)
    low = min(0.5, *(a["share"] for a in alike))
    yield Picture(
        name="answers",
        group="passes",
        title="Answers that stay the trained network's",
        alt=f"Share of {alike[0]['samples']} samples with the same answer, after each pass: {told}.",
        spec={
            "height": 36 * len(alike),
            "data": values(alike),
            "layer": [
                {"mark": {"type": "rule", "color": NEUTRAL}, "encoding": {"x2": {"datum": low}}},
                {
                    "mark": {
                        "type": "point",
                        "filled": True,
                        "size": 90,
                        "opacity": 1,
                        "color": COMPILED,
                    }
                },
                {
                    "mark": {"type": "text", "dy": -12, "fontSize": 12},
                    "encoding": {
                        "text": {"field": "share", "type": "quantitative", "format": ".1%"}
                    },
                },
            ],
            "encoding": {
                "y": field("step", "nominal", None, sort=steps),
                "x": field(
                    "share",
                    "quantitative",
                    "answers alike",
                    axis={"format": ".0%", "tickCount": 4},
                    scale={"domain": [low, 1.06], "nice": False},
                ),
                "tooltip": tooltip(
                    step="after", share=("alike", ".1%"), samples=("of samples", ",")
                ),
            },
        },
    )
