"""Tables of a run: stages, layers beside each other, registers, events, energy, NeuroBench."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..tables import NEUROBENCH, energy_kind, events_text, place, sentence
from .listing import CellValue, Column, Listing, listing

_STAGES = (
    Column(key="stage", title="stage"),
    Column(key="accuracy", title="accuracy", form="bar"),
    Column(key="differing", title="differing spikes"),
    Column(key="of", title="of"),
    Column(key="from", title="from"),
)
_PAIR = (
    Column(key="layer", title="layer"),
    Column(key="match", title="spikes the same", form="bar"),
    Column(key="rate_correlation", title="rates", form=".4f"),
    Column(key="van_rossum", title="van Rossum", form=".4f"),
    Column(key="relative", title="relative", form=".4f"),
    Column(key="first", title="first difference"),
)
_REGISTERS = (
    Column(key="layer", title="layer"),
    Column(key="u_share", title="largest |u|, of its limit", form="bar"),
    Column(key="wraps", title="wraps"),
    Column(key="v_share", title="largest |v|", form="bar"),
    Column(key="saturations", title="saturations"),
)
_EVENTS = (
    Column(key="layer", title="layer"),
    Column(key="spikes_in", title="spikes in", form=",.1f"),
    Column(key="spikes_out", title="out", form=",.1f"),
    Column(key="spikes_out_range", title="least…most", form=",.0f"),
    Column(key="synops", title="SynOps", form=",.1f"),
    Column(key="synops_range", title="least…most", form=",.0f"),
    Column(key="of_dense", title="of dense", form=".1%"),
    Column(key="updates", title="updates", form=",.0f"),
    Column(key="messages", title="messages", form=",.1f"),
    Column(key="hops", title="hops", form=",.1f"),
)
_ENERGY = (
    Column(key="model", title="model"),
    Column(key="kind", title="of what"),
    Column(key="nj", title="nJ per sample", form=",.1f"),
    Column(key="certainty", title="certainty"),
    Column(key="parts", title="of which (low end)"),
)


def run_listings(run: Mapping[str, Any]) -> dict[str, Listing]:
    """The tables of a run's report, by name; those that would be empty are left out."""
    found = [_stages(run), *_pairs(run), _registers(run), _events(run), _energy(run), _bench(run)]
    return {one.name: one for one in found if one.rows}


def _stages(run: Mapping[str, Any]) -> Listing:
    compared = {c["engines"][1]: c for c in run["comparisons"]}
    rows: list[list[CellValue]] = []
    for stage in run["predictions"]:
        c = compared.get(stage)
        places: list[CellValue] = [None, None, None]
        if c is not None:
            places = [sum(c["differing"].values()), sum(c["total"].values()), c["engines"][0]]
        rows.append([stage, run["accuracy"].get(stage), *places])
    return listing("stages", "Stages", _STAGES, rows)


def _pairs(run: Mapping[str, Any]) -> Iterator[Listing]:
    verification = run["verification"]
    first = {tuple(c["engines"]): c["first"] for c in run["comparisons"]}
    for pair in verification["pairs"] if verification else ():
        a, b = pair["stages"]
        of = pair["attributed"]
        lost = [Column(key="lost", title=f"answers it alone loses, of {of}")] if of else []
        rows: list[list[CellValue]] = [
            [
                name,
                x["match"],
                x["rate_correlation"],
                x["van_rossum"],
                x["relative_distance"],
                place(first[a, b].get(name)),
                *([pair["alone"].get(name)] if lost else []),
            ]
            for name, x in pair["layers"].items()
        ]
        notes = []
        if pair["not_compared"]:
            notes = [f"Not compared, their neurons differ: {', '.join(pair['not_compared'])}."]
        yield listing(f"{a}-{b}", f"{a} → {b}", (*_PAIR, *lost), rows, notes=notes)


def _registers(run: Mapping[str, Any]) -> Listing:
    verification = run["verification"]
    used = verification["registers"] if verification else {}
    rows: list[list[CellValue]] = [
        [name, r["u_share"], r["wraps"], r["v_share"], r["clips"]] for name, r in used.items()
    ]
    return listing("registers", "Registers of the integer run", _REGISTERS, rows)


def _events(run: Mapping[str, Any]) -> Listing:
    activity = run["activity"]
    if not activity:
        return listing("events", "Events per sample", _EVENTS, ())
    n = max(activity["samples"], 1)
    rows: list[list[CellValue]] = [
        [
            name,
            a["spikes_in"] / n,
            a["spikes_out"] / n,
            (a["spikes_out_range"][0], a["spikes_out_range"][1]),
            a["synops"] / n,
            (a["synops_range"][0], a["synops_range"][1]),
            a["synops"] / a["dense_synops"] if a["dense_synops"] else None,
            a["updates"] / n,
            a["messages"] / n,
            sum(a["hops"]) / n,
        ]
        for name, a in activity["layers"].items()
    ]
    notes = (sentence(events_text(activity)),)
    return listing("events", "Events per sample", _EVENTS, rows, notes=notes)


def _energy(run: Mapping[str, Any]) -> Listing:
    rows: list[list[CellValue]] = [
        [
            name,
            energy_kind(name),
            (e["low"], e["high"]),
            e["certainty"],
            ", ".join(f"{part} {nj:,.1f}" for part, nj in e["parts"].items() if nj),
        ]
        for name, e in run["energy"].items()
    ]
    return listing("energy", "Energy, estimated", _ENERGY, rows)


def _bench(run: Mapping[str, Any]) -> Listing:
    stages = run["neurobench"]
    columns = (
        Column(key="figure", title="of the network as a framework runs it"),
        *(Column(key=stage, title=stage, form=",.6g") for stage in stages),
    )
    rows: list[list[CellValue]] = [
        [title, *(s[key] for s in stages.values())] for title, key, _ in NEUROBENCH if stages
    ]
    return listing("neurobench", "NeuroBench", columns, rows)
