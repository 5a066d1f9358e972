"""Spikes of the golden run: rasters and rates as trained beside compiled, and where they part."""

from __future__ import annotations

from collections.abc import Iterator

from ..sight import LayerTrains, Sight
from .picture import APART, COMPILED, NEUTRAL, TRAINED, Picture, field, tooltip, values

_WHO = ("both", "as trained only", "compiled only")


def spike_pictures(sight: Sight) -> Iterator[Picture]:
    """Rates of all layers, what differs over time, and a raster per layer."""
    if not sight.trains:
        return
    yield _rates(sight.trains)
    if any(any(t.differing) for t in sight.trains):
        yield _parting(sight.trains)
    for number, train in enumerate(sight.trains):
        if train.raster:
            yield _raster(number, train)


def _rates(trains: tuple[LayerTrains, ...]) -> Picture:
    rows = []
    for t in trains:
        if t.trained_rate is not None:
            rows.append({"layer": t.name, "stage": "as trained", "rate": t.trained_rate})
        rows.append({"layer": t.name, "stage": "compiled", "rate": t.rate})
    told = "; ".join(
        f"{t.name} {t.rate:.3g}"
        + ("" if t.trained_rate is None else f" (as trained {t.trained_rate:.3g})")
        for t in trains[:8]
    )
    return Picture(
        name="rates",
        group="spikes",
        title="Rates of layers",
        alt=f"Spikes per neuron and step of each layer: {told}.",
        spec={
            "height": 34 * len(trains),
            "data": values(rows),
            "mark": {"type": "bar", "cornerRadiusEnd": 2},
            "encoding": {
                "y": field("layer", "nominal", None, sort=[t.name for t in trains]),
                "yOffset": {"field": "stage", "type": "nominal"},
                "x": field(
                    "rate", "quantitative", "spikes per neuron and step", axis={"tickCount": 5}
                ),
                "color": field(
                    "stage",
                    "nominal",
                    None,
                    scale={"domain": ["as trained", "compiled"], "range": [TRAINED, COMPILED]},
                ),
                "tooltip": tooltip(
                    layer="layer", stage="stage", rate=("spikes each a step", ".4~g")
                ),
            },
        },
    )


def _parting(trains: tuple[LayerTrains, ...]) -> Picture:
    rows = [
        {"layer": t.name, "step": step, "share": share}
        for t in trains
        for step, share in enumerate((*t.differing, *t.differing[-1:]))
    ]
    first = {
        t.name: next((i for i, share in enumerate(t.differing) if share), None) for t in trains
    }
    told = "; ".join(f"{name} at step {step}" for name, step in first.items() if step is not None)
    return Picture(
        name="parting",
        group="spikes",
        title="Where spikes part, over time",
        alt=f"Share of neurons that differ from the trained network, by step. First: {told}.",
        spec={
            "height": 200,
            "data": values(rows),
            "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2},
            "encoding": {
                "x": field(
                    "step",
                    "quantitative",
                    "step",
                    scale={"nice": False},
                    axis={"tickCount": 8, "tickMinStep": 1},
                ),
                "y": field("share", "quantitative", "neurons that differ", axis={"format": ".2~%"}),
                "color": field("layer", "nominal", None, sort=[t.name for t in trains], legend={}),
                "tooltip": tooltip(layer="layer", step=("step", "d"), share=("differ", ".2%")),
            },
        },
        note=f"First difference: {told}." if told else "",
    )


def _raster(number: int, train: LayerTrains) -> Picture:
    compared = train.trained_rate is not None
    rows = [
        {"t": t, "n": train.neurons[row], "row": row, "who": _WHO[who]}
        for t, row, who in train.raster
    ]
    shared = sum(who == 0 for *_, who in train.raster)
    alt = (
        f"Spikes of {len(train.neurons)} neurons of {train.name} over {train.steps} steps of the first "
        f"sample: {len(rows):,}"
    )
    if compared:
        alt += f", of which {shared:,} are the trained network's too"
    colours = (NEUTRAL, TRAINED, APART) if compared else (COMPILED,) * 3
    return Picture(
        name=f"raster-{number}",
        group="rasters",
        title=train.name,
        alt=f"{alt}.",
        spec={
            "height": max(60, 6 * len(train.neurons)),
            "data": values(rows),
            "transform": [
                {"calculate": "datum.t + 0.92", "as": "end"},
                {"calculate": "datum.row + 0.85", "as": "below"},
            ],
            "mark": {"type": "rect"},
            "encoding": {
                "x": field(
                    "t",
                    "quantitative",
                    "step",
                    scale={"domain": [0, train.steps], "nice": False},
                    axis={"tickCount": 8, "tickMinStep": 1, "grid": False},
                ),
                "x2": {"field": "end"},
                "y": field(
                    "row",
                    "quantitative",
                    "neuron",
                    scale={"domain": [0, len(train.neurons)], "reverse": True, "nice": False},
                    axis={"labels": False, "ticks": False, "grid": False},
                ),
                "y2": {"field": "below"},
                "color": field(
                    "who",
                    "nominal",
                    None,
                    scale={"domain": list(_WHO), "range": list(colours)},
                    legend={} if compared else None,
                ),
                "tooltip": tooltip(t=("step", "d"), n=("neuron", ","), who="who"),
            },
        },
        note="" if compared else "As trained its neurons are others, or nothing could be run.",
    )
