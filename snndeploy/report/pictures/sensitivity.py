"""What each layer can lose alone: curves over kernels removed and over bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .picture import Picture, field, tooltip, values

_AXES = (("ratio", "kernels removed", ".0%"), ("bits", "bits of weights", "d"))


def sensitivity_pictures(found: Mapping[str, Any]) -> Iterator[Picture]:
    """A picture per thing that was tried, from the record of ``sensitivity``."""
    for key, title, form in _AXES:
        rows = [
            {"layer": point["layer"], "at": point["value"], "kept": _kept(point)}
            for point in found["points"]
            if point["kind"] == key
        ]
        if rows:
            yield _curves(key, title, form, rows, found)


def _kept(point: Mapping[str, Any]) -> float:
    """Accuracy, or what is left of the output where there were no labels."""
    if point["accuracy"] is not None:
        return float(point["accuracy"])
    return 1.0 - float(point["distance"])


def _curves(
    key: str, title: str, form: str, rows: list[dict[str, Any]], found: Mapping[str, Any]
) -> Picture:
    what = "accuracy" if found["accuracy"] is not None else "output as trained"
    worst = min(rows, key=lambda row: row["kept"])
    return Picture(
        name=f"sensitivity-{key}",
        group="sensitivity",
        title=f"What a layer alone can lose: {title}",
        alt=(
            f"Curves of {len({row['layer'] for row in rows})} layers over {title}; the lowest is "
            f"{worst['layer']} with {worst['kept']:.1%} {what} at {worst['at']:g}."
        ),
        spec={
            "height": 240,
            "data": values(rows),
            "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 50}},
            "encoding": {
                "x": field("at", "quantitative", title, axis={"format": form, "tickCount": 6}),
                "y": field(
                    "kept", "quantitative", what, axis={"format": ".0%"}, scale={"zero": False}
                ),
                "color": field("layer", "nominal", None, legend={}),
                "tooltip": tooltip(layer="layer", at=(title, form), kept=(what, ".1%")),
            },
        },
    )
