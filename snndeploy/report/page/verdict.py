"""What a page says first: whether it fits, how often it is right, what limits it, what it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ..tables import judged_on, span

Fact = tuple[str, str, str]
"""What, how much, and what that rests on."""


def head(report: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    """The verdict, failed verifications before everything else, and the facts."""
    failed = [run["error"] for run in runs if run.get("error")]
    fits = "fits" if report["fits"] else "does not fit"
    verdict = f"{fits}, verification failed" if failed else fits
    kind = "ok" if report["fits"] and not failed else "error"
    alarm = "".join(
        f'<div class="verdict error" role="alert"><b>Verification failed.</b> '
        f"{escape(error['code'])}: {escape(error['message'])}</div>"
        for error in failed
    )
    notes = report["network"]["notes"]
    read = ""
    if "frontend" in notes:
        read = f"read as {notes['frontend']}: {notes.get('why', '')}"
    place = f"{report['target']} ({report['board']})"
    return (
        f'{alarm}<header><p class="badge {kind}"><b class="{kind}">{escape(verdict)}</b></p>'
        f"<h1>On {escape(place)}</h1>"
        f'<p class="soft">recipe {escape(report["recipe"])}. {escape(read)}</p></header>'
        f"{_facts(facts(report, runs))}{_bought(report)}"
    )


def facts(report: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> list[Fact]:
    """The figures that people ask for first."""
    found = [*_accuracy(runs), *_limit(report), *_time(report, runs), *_energy(report, runs)]
    cores, layers = report["cores"], report["layers"]
    chips = f"on {cores['chips']} chip{'s'[: cores['chips'] != 1]}"
    found.append(("cores", f"{cores['used']:,} of {cores['limit']:,}", chips))
    neurons = sum(layer["neurons"] for layer in layers)
    synapses = sum(layer["synapses"] for layer in layers)
    found.append(("neurons", f"{neurons:,}", f"{synapses:,} synapses"))
    return found


def _accuracy(runs: Iterable[Mapping[str, Any]]) -> Iterable[Fact]:
    for run in runs:
        stages = list(run["accuracy"].items())
        if not stages:
            continue
        stage, value = stages[-1]
        rests = f"{stage}: {judged_on(run)}"
        if len(stages) > 1:
            rests += f"; {stages[0][0]} {stages[0][1]:.1%}"
        yield "accuracy", f"{value:.1%}", rests


def _limit(report: Mapping[str, Any]) -> Iterable[Fact]:
    fullest = max(report["layers"], key=lambda layer: layer["fullest"]["share"], default=None)
    if fullest is not None:
        share = fullest["fullest"]["share"]
        what = fullest["fullest"]["resource"].replace("_", " ")
        yield "fullest budget", f"{share:.0%}", f"{what} of a core of layer {fullest['name']}"


def _time(report: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> Iterable[Fact]:
    measured = next((run for run in reversed(runs) if run.get("time")), None)
    time = report.get("time") if measured is None else measured["time"]
    if not time:
        return
    low, high = time["low_ns"], time["high_ns"]
    first = time["terms"][0]
    rests = f"estimate, {time['certainty']}; set by {first['what']} on {first['where']}"
    yield "time per step", _duration(low, high), rests
    if measured is not None and low > 0:
        steps = measured["steps"]
        each = sorted(1e9 / (steps * ns) for ns in (low, high))
        yield (
            "inferences per second",
            span(each[0], each[1], ",.3g" if each[1] < 1000 else ",.0f"),
            f"{steps} steps each, one after the other; sending and reading not counted",
        )


def _duration(low: float, high: float) -> str:
    unit, scale = ("ns", 1.0) if high < 1000 else ("µs", 1e-3) if high < 1e6 else ("ms", 1e-6)
    return f"{span(low * scale, high * scale, ',.3g')} {unit}"


def _energy(report: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> Iterable[Fact]:
    for run in reversed(runs):
        estimate = run["energy"].get(report["target"])
        if estimate:
            yield (
                "energy per sample",
                _joules(estimate["low"], estimate["high"]),
                f"estimate, {estimate['certainty']}; see what it leaves out",
            )
            return


def _joules(low: float, high: float) -> str:
    unit, scale = ("nJ", 1.0) if high < 1e4 else ("µJ", 1e-3)
    return f"{span(low * scale, high * scale, ',.3g' if scale < 1 else ',.0f')} {unit}"


def _facts(found: Sequence[Fact]) -> str:
    boxes = "".join(
        f'<div class="fact"><dt>{escape(what)}</dt><dd><b>{escape(how_much)}</b>'
        f"<small>{escape(rests)}</small></dd></div>"
        for what, how_much, rests in found
    )
    return f'<dl class="facts">{boxes}</dl>'


def _bought(report: Mapping[str, Any]) -> str:
    if not report.get("savings"):
        return ""
    text = str(report["savings"]["text"])
    return f'<p class="bought">{escape(text[:1].upper() + text[1:])}.</p>'
