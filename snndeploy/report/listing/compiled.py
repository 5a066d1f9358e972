"""Tables of a compilation: what passes left, layers, synapses, and what sets the time of a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..tables import CERTAINTIES, rounding_note, rounding_text, sentence
from .listing import CellValue, Column, Listing, listing

_PASSES = (
    Column(key="after", title="after"),
    Column(key="neurons", title="neurons"),
    Column(key="weights", title="weights"),
    Column(key="synapses", title="synapses"),
    Column(key="bits", title="bits of weights"),
    Column(key="answers_alike", title="answers alike", form=".1%"),
    Column(key="divergence", title="nats apart", form=".2g"),
)
_LAYERS = (
    Column(key="layer", title="layer"),
    Column(key="shape", title="shape"),
    Column(key="neurons", title="neurons"),
    Column(key="synapses", title="synapses"),
    Column(key="cores", title="cores"),
    Column(key="fullest", title="fullest budget", form="bar"),
    Column(key="resource", title="which"),
    Column(key="threshold", title="threshold", form=",.0f"),
    Column(key="rounding", title="rounding"),
    Column(key="route", title="as"),
)
_SYNAPSES = (
    Column(key="projection", title="projection"),
    Column(key="operators", title="operators"),
    Column(key="weights", title="weights"),
    Column(key="nonzero", title="weights not 0"),
    Column(key="bits", title="bits"),
    Column(key="exponent", title="power of 2"),
    Column(key="latency", title="chip steps", form=",.0f"),
)
_TERMS = (
    Column(key="what", title="what"),
    Column(key="where", title="where"),
    Column(key="count", title="count", form=",.1f"),
    Column(key="ns", title="ns per step", form=",.0f"),
    Column(key="layers", title="layers"),
)


def compiled_listings(report: Mapping[str, Any]) -> dict[str, Listing]:
    """The tables of a compilation's report, by name; those that would be empty are left out."""
    found = [_passes(report), _layers(report), _synapses(report), _time(report)]
    return {one.name: one for one in found if one.rows}


def layer_anchor(number: int) -> str:
    """The anchor of a layer's row; names of layers are anything, numbers are safe."""
    return f"layer-{number}"


def _passes(report: Mapping[str, Any]) -> Listing:
    rows: list[list[CellValue]] = []
    for step in report["passes"]:
        answers = step.get("answers") or {}
        counts = [step[key] for key in ("name", "neurons", "weights", "synapses", "bits")]
        rows.append([*counts, answers.get("agreement"), answers.get("divergence")])
    return listing("passes", "What the recipe left", _PASSES, rows)


def _layers(report: Mapping[str, Any]) -> Listing:
    rows: list[list[CellValue]] = [
        [
            layer["name"],
            "x".join(map(str, layer["shape"])),
            layer["neurons"],
            layer["synapses"],
            layer["cores"],
            layer["fullest"]["share"],
            layer["fullest"]["resource"].replace("_", " "),
            (layer["threshold"][0], layer["threshold"][1]) if "threshold" in layer else None,
            rounding_text(layer),
            layer["route"],
        ]
        for layer in report["layers"]
    ]
    word = report["certainty"]
    sure = (
        f"certainty of the verdict: {word}{f', {CERTAINTIES[word]}' if word in CERTAINTIES else ''}"
    )
    return listing(
        "layers",
        "On the chip",
        _LAYERS,
        rows,
        anchors=[layer_anchor(i) for i in range(len(rows))],
        notes=tuple(map(sentence, (sure, *rounding_note(report)))),
    )


def _synapses(report: Mapping[str, Any]) -> Listing:
    rows: list[list[CellValue]] = [
        [
            s["name"],
            s["ops"],
            s["weights"],
            s["nonzero"],
            s["bits"],
            s["exponent"],
            (s["latency"][0], s["latency"][-1]),
        ]
        for s in report["synapses"]
    ]
    return listing("synapses", "Synapses", _SYNAPSES, rows)


def _time(report: Mapping[str, Any]) -> Listing:
    time = report.get("time")
    terms = time["terms"] if time else ()
    rows: list[list[CellValue]] = [
        [t["what"], t["where"], t["count"], (t["low_ns"], t["high_ns"]), ", ".join(t["layers"])]
        for t in terms
    ]
    notes = [f"Not counted: {'; '.join(time['not_counted'])}."] if time else []
    return listing("time", "What sets the time of a step, estimated", _TERMS, rows, notes=notes)
