"""Energy as stacked bars; estimates of one kind share a picture, and no picture mixes kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..tables import energy_kind
from .picture import NEUTRAL, Picture, field, tooltip, values

_COLOURS = ("#2f6fed", "#d97706", "#0f9d8a", "#8b5cf6", "#d6455d", "#64748b", "#a3a635", "#0e7490")


def energy_pictures(run: Mapping[str, Any], number: int = 0) -> Iterator[Picture]:
    """A picture per kind of estimate: bars are low ends by part, lines reach to the high ends."""
    kinds: dict[str, dict[str, Any]] = {}
    for name, estimate in run["energy"].items():
        if estimate["high"] > 0:
            kinds.setdefault(energy_kind(name), {})[name] = estimate
    every = dict.fromkeys(p for e in run["energy"].values() for p, nj in e["parts"].items() if nj)
    colours = {part: _COLOURS[i % len(_COLOURS)] for i, part in enumerate(every)}
    for turn, (kind, models) in enumerate(kinds.items()):
        parts = [
            {"model": name, "part": part, "nj": nj}
            for name, e in models.items()
            for part, nj in e["parts"].items()
            if nj
        ]
        drawn = [part for part in colours if any(row["part"] == part for row in parts)]
        ends = [
            {"model": name, "low": e["low"], "high": e["high"], "sure": e["certainty"]}
            for name, e in models.items()
        ]
        told = "; ".join(
            f"{e['model']} {e['low']:,.3g} to {e['high']:,.3g} nJ ({e['sure']})" for e in ends
        )
        y = field("model", "nominal", None, sort=list(models))
        yield Picture(
            name=f"energy-{number}-{turn}",
            group="energy",
            title=f"Energy per sample: {kind}",
            alt=f"Estimates of {kind}, per sample: {told}.",
            spec={
                "height": 44 * len(models),
                "layer": [
                    {
                        "data": values(parts),
                        "mark": {"type": "bar", "height": 18},
                        "encoding": {
                            "y": y,
                            "x": _along("nj", stack="zero"),
                            "color": field(
                                "part",
                                "nominal",
                                None,
                                scale={"domain": drawn, "range": [colours[p] for p in drawn]},
                            ),
                            "tooltip": tooltip(
                                model="model", part="part", nj=("nJ, low end", ",.4~g")
                            ),
                        },
                    },
                    {
                        "data": values(ends),
                        "mark": {"type": "rule", "strokeWidth": 2, "color": NEUTRAL},
                        "encoding": {
                            "y": y,
                            "x": _along("low"),
                            "x2": {"field": "high"},
                            "tooltip": tooltip(
                                model="model",
                                low=("low end, nJ", ",.4~g"),
                                high=("high end, nJ", ",.4~g"),
                                sure="certainty",
                            ),
                        },
                    },
                    {
                        "data": values(ends),
                        "mark": {"type": "tick", "thickness": 2, "color": NEUTRAL, "height": 14},
                        "encoding": {"y": y, "x": _along("high")},
                    },
                ],
            },
            note="Bars are the low ends, by part; lines reach to the high ends."
            if any(e["high"] > e["low"] for e in ends)
            else "",
        )


def _along(name: str, **more: Any) -> dict[str, Any]:
    return field(name, "quantitative", "nJ per sample", axis={"tickCount": 5}, **more)
