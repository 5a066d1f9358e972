"""Tables of a run that a terminal and a page show alike: titles, and rows of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EVENT_COLUMNS = (
    "layer",
    "spikes in",
    "out",
    "least…most",
    "SynOps",
    "least…most",
    "of dense",
    "updates",
    "messages",
    "hops",
)
_NEUROBENCH = (
    ("footprint, bytes", "footprint", ",.0f"),
    ("connection sparsity", "connection_sparsity", ".3f"),
    ("activation sparsity", "activation_sparsity", ".3f"),
    ("dense operations per sample", "dense", ",.0f"),
    ("effective MACs per sample", "effective_macs", ",.0f"),
    ("effective ACs per sample", "effective_acs", ",.0f"),
    ("membrane updates per sample", "membrane_updates", ",.0f"),
)


def number(value: float | None, form: str = ",.0f") -> str:
    """A number as text; nothing for None."""
    return "" if value is None else f"{value:{form}}"


def span(low: float, high: float, form: str = ",.0f") -> str:
    """One number, or ``low…high``."""
    return f"{low:{form}}" if low == high else f"{low:{form}}…{high:{form}}"


def event_rows(activity: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Events of every layer per sample, under `EVENT_COLUMNS`."""
    n = max(activity["samples"], 1)
    return [
        (
            name,
            number(a["spikes_in"] / n, ",.1f"),
            number(a["spikes_out"] / n, ",.1f"),
            span(*a["spikes_out_range"]),
            number(a["synops"] / n, ",.1f"),
            span(*a["synops_range"]),
            f"{a['synops'] / a['dense_synops']:.1%}" if a["dense_synops"] else "",
            number(a["updates"] / n),
            number(a["messages"] / n, ",.1f"),
            number(sum(a["hops"]) / n, ",.1f"),
        )
        for name, a in activity["layers"].items()
    ]


def neurobench_rows(stages: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """NeuroBench's figures, a column per stage behind their titles."""
    return [
        (title, *(number(s[key], form) for s in stages.values()))
        for title, key, form in _NEUROBENCH
    ]


def place(at: Mapping[str, Any] | None) -> str:
    """Where two stages first differ, and the values there; nothing where they do not."""
    if at is None:
        return ""
    a, b = at["values"]
    return f"step {at['step']}, sample {at['sample']}, neuron {at['neuron']}: {a:g} and {b:g}"


def answers_text(step: Mapping[str, Any]) -> str:
    """How many answers are still the trained network's after a pass; empty where not measured."""
    answers = step.get("answers")
    if answers is None:
        return ""
    return f"{answers['agreement']:.1%} of {answers['samples']}, {answers['divergence']:.2g} nats"


def judged(report: Mapping[str, Any]) -> str:
    """Which output answers, where there are several."""
    others = [name for name in report.get("outputs", ()) if name != report["output"]]
    if not others:
        return ""
    return f"answers of output {report['output']!r} (others: {', '.join(others)}; --output NAME)"
