"""Tables of a run that a terminal and a page show alike: titles, and rows of text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..chip import arithmetic_models
from ..ir.finding import Certainty
from ..measure.energy import ANN

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
_FOLDERS = re.compile(r"[^=,]*[/\\](?=[^/\\,])")
COUNTED = (
    "Neurons are those on the chip. Weights are stored numbers that were not pruned; synapses are pairs "
    "of neurons that they join, of which a kernel's weight makes many."
)
"""What reports count under each word."""
CERTAINTIES: Mapping[Certainty, str] = {
    "spec": "published by the maker",
    "code": "a constant in public source",
    "tool": "printed by the maker's compiler",
    "paper": "published by others",
    "fit": "derived from printed numbers",
    "inferred": "from what is known of the chip; nobody published it",
    "fictional": "made up",
}
"""What the words for how sure a number is mean, the surest first."""
NEUROBENCH = (
    ("footprint, bytes", "footprint", ",.0f"),
    ("connection sparsity", "connection_sparsity", ".3f"),
    ("activation sparsity", "activation_sparsity", ".3f"),
    ("dense operations per sample", "dense", ",.0f"),
    ("effective MACs per sample", "effective_macs", ",.0f"),
    ("effective ACs per sample", "effective_acs", ",.0f"),
    ("membrane updates per sample", "membrane_updates", ",.0f"),
)


def events_text(activity: Mapping[str, Any]) -> str:
    """Means per sample in a sentence, and what sets the two ends of operations apart, if anything."""
    low = activity["synops_per_sample"]
    high = activity.get("most_synops_per_sample", low)  # runs of older versions have one count
    text = (
        f"per sample: {span(low, high)} SynOps (of {activity['dense_synops_per_sample']:,.0f} if all "
        f"spiked at every step), {activity['spikes_per_sample']:,.0f} spikes, "
        f"{activity['messages_per_sample']:,.0f} messages"
    )
    if high > low:
        why = "counts the zeros that dense lists hold (inferred)"
        text += f"; the high end, of energy and time too, {why}"
    return text


def judged_on(run: Mapping[str, Any]) -> str:
    """What a run's figures are of: how many samples, of what, how many steps each.

    Files are named without their folders: pages go to people who have others.
    """
    data = f" of {_FOLDERS.sub('', run['data'])}" if run.get("data") else ""
    many = f"{run['samples']:,} sample{'s'[: run['samples'] != 1]}"
    steps = run.get("labelled_steps")
    counted = f", {steps:,} of them labelled" if steps else ""
    return f"{many}{data}, {run['steps']:,} steps{counted}"


def cores_text(report: Mapping[str, Any]) -> list[str]:
    """What is proved about the number of cores, what it rests on, and what compression bought."""
    cores, lines = report["cores"], []
    if cores.get("search"):
        lines.append(f"cores: {cores['search']['text']}")
    if cores.get("published") not in (None, cores["used"]):
        lines.append(
            f"cores: the published compiler, which stores zeros in lists, would take "
            f"{cores['published']:,}; {cores['used']:,} rest on lists without zeros, whose format is "
            "inferred"
        )
    if report.get("savings"):
        lines.append(report["savings"]["text"])
    if report.get("flashing"):
        lines.append(report["flashing"]["text"])
    return lines


def rounding_text(layer: Mapping[str, Any]) -> str:
    """What rounding does to a layer: nothing (proved), or about so many of its spikes."""
    if "rounding" not in layer:
        return ""
    if not any(layer["rounding"].values()):
        return "exact"
    share = layer.get("spikes_differing")
    return "rounded" if share is None else f"~{share:.1%} of spikes"


def rounding_note(report: Mapping[str, Any]) -> list[str]:
    """What the column of rounding says, and what it was measured on."""
    on = report.get("spikes_differing_on")
    if not on:
        return []
    return [
        "rounding: an estimate of the spikes that are not the network's own in integers, whatever the "
        f"layers before pass on included, measured on {on}; exact is proved"
    ]


def number(value: float | None, form: str = ",.0f") -> str:
    """A number as text; nothing for None."""
    return "" if value is None else f"{value:{form}}"


def sentence(text: str) -> str:
    """A line of a terminal as a sentence."""
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}." if text else ""


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
        (title, *(number(s[key], form) for s in stages.values())) for title, key, form in NEUROBENCH
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


def energy_kind(model: str) -> str:
    """What an estimate by ``model`` is of, so that nothing sets unlike ones beside each other."""
    arithmetic = model.removesuffix(ANN) in {known.name for known in arithmetic_models()}
    return "the arithmetic alone" if arithmetic else "the chip"
