"""Two compilations beside each other: what changed, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .listing import CellValue, Column, Listing, listing

_FIGURES = (
    Column(key="figure", title="figure"),
    Column(key="a", title="A", form=",.6g"),
    Column(key="b", title="B", form=",.6g"),
    Column(key="change", title="change"),
)
_LAYERS = (
    Column(key="layer", title="layer"),
    Column(key="neurons_a", title="neurons, A"),
    Column(key="neurons_b", title="B"),
    Column(key="synapses_a", title="synapses, A"),
    Column(key="synapses_b", title="B"),
    Column(key="cores_a", title="cores, A"),
    Column(key="cores_b", title="B"),
    Column(key="fullest_a", title="fullest budget, A", form="bar"),
    Column(key="fullest_b", title="B", form="bar"),
)

Report = Mapping[str, Any]


def diff_listings(a: Report, b: Report) -> dict[str, Listing]:
    """Figures of both with their change, and the layers of either, from reports of compilations."""
    figures = []
    for name, figure in _figures():
        one, other = figure(a), figure(b)
        if one is not None or other is not None:
            figures.append((name, one, other, _change(one, other)))
    return {
        "figures": listing("figures", "What changed", _FIGURES, figures),
        "layers": listing("layers", "Layer by layer", _LAYERS, list(_layers(a, b))),
    }


def _figures() -> Iterator[tuple[str, Callable[[Report], CellValue]]]:
    """What is compared: a title, and how a report says it."""
    yield "target", lambda r: str(r["target"])
    yield "board", lambda r: str(r["board"])
    yield "recipe", lambda r: str(r["recipe"])
    yield "read as", lambda r: r["network"]["notes"].get("frontend")
    yield "verdict", lambda r: "fits" if r["fits"] else "does not fit"
    yield "cores", lambda r: int(r["cores"]["used"])
    yield "chips", lambda r: int(r["cores"]["chips"])
    yield "fullest core", lambda r: f"{r['cores']['fullest']['share']:.1%}"
    yield "neurons", lambda r: sum(layer["neurons"] for layer in r["layers"])
    yield "synapses", lambda r: sum(layer["synapses"] for layer in r["layers"])
    yield "weights not 0", lambda r: sum(s["nonzero"] for s in r["synapses"])
    yield "bits of weights", lambda r: int(r["passes"][-1]["bits"]) if r["passes"] else None
    yield "synapse memory, words", lambda r: (r.get("savings") or {}).get("after", {}).get("words")
    yield "time per step, ns (estimate)", _time
    yield "energy per step, nJ (estimate)", _energy
    yield "answers alike after the passes", _alike


def _time(report: Report) -> CellValue:
    time = report.get("time")
    return (time["low_ns"], time["high_ns"]) if time else None


def _energy(report: Report) -> CellValue:
    ends = (report.get("savings") or {}).get("after", {}).get("step_nj")
    return (ends[0], ends[1]) if ends else None


def _alike(report: Report) -> CellValue:
    answers = report["passes"][-1].get("answers") if report["passes"] else None
    return f"{answers['agreement']:.1%} of {answers['samples']}" if answers else None


def _change(a: CellValue, b: CellValue) -> str:
    """How much more or less B is, in percent of A."""
    if a == b:
        return "the same"
    if isinstance(a, str) or isinstance(b, str) or a is None or b is None:
        return "changed"
    ends = [(float(x), float(y)) for x, y in zip(_ends(a), _ends(b), strict=True)]
    changes = [f"{(y - x) / x:+.1%}" for x, y in ends if x]
    return "…".join(dict.fromkeys(changes)) or "changed"


def _ends(value: int | float | tuple[float, float]) -> tuple[float, float]:
    return value if isinstance(value, tuple) else (value, value)


def _layers(a: Report, b: Report) -> Iterator[Sequence[CellValue]]:
    one, other = ({layer["name"]: layer for layer in r["layers"]} for r in (a, b))
    for name in dict.fromkeys((*one, *other)):
        pair = one.get(name), other.get(name)
        row: list[CellValue] = [name]
        for key in ("neurons", "synapses", "cores"):
            row += [None if layer is None else layer[key] for layer in pair]
        row += [None if layer is None else layer["fullest"]["share"] for layer in pair]
        yield row
