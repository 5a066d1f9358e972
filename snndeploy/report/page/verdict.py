"""What a page says first: whether it fits, how often it is right, what limits it, what it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ..tables import judged_on, sentence, span

Fact = tuple[str, str, str]
"""What, how much, and what that rests on."""


def head(report: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], name: str = "") -> str:
    """The verdict, failed verifications before everything else, and the facts."""
    failed = [run["error"] for run in runs if run.get("error")]
    fits = "fits" if report["fits"] else "does not fit"
    verdict = f"{fits}, verification failed" if failed else fits
    if report["fits"] and not failed and any(map(_verified, runs)):
        verdict = f"{fits}, verified spike for spike"
    kind = "ok" if report["fits"] and not failed else "error"
    alarm = "".join(
        f'<div class="verdict error" role="alert"><b>Verification failed.</b> '
        f"{escape(error['code'])}: {escape(error['message'])}</div>"
        for error in failed
    )
    notes = report["network"]["notes"]
    read = ""
    if "frontend" in notes:
        read = f" Read as {notes['frontend']}"
        read += f" ({notes['why']})." if notes.get("why") else "."
    place = f"{report['target']} ({report['board']})"
    title = f"{name} on {place}" if name else f"On {place}"
    return (
        f'{alarm}<header><p class="badge {kind}"><b class="{kind}">{escape(verdict)}</b></p>'
        f"<h1>{escape(title)}</h1>"
        f'<p class="soft">Recipe {escape(report["recipe"])}.{escape(read)}</p></header>'
        f"{_facts(facts(report, runs))}{_bought(report)}"
    )


def _verified(run: Mapping[str, Any]) -> bool:
    """Whether engines that had to agree were compared, and all of them did."""
    exact = [c for c in run["comparisons"] if not {"float", "compressed"} & set(c["engines"])]
    return run["verification"] is not None and bool(exact) and all(c["equal"] for c in exact)


def facts(report: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> list[Fact]:
    """The figures that people ask for first."""
    found = [
        *_accuracy(runs),
        *_violations(report),
        *_limit(report),
        *_time(report, runs),
        *_energy(report, runs),
    ]
    cores, layers = report["cores"], report["layers"]
    chips = f"on {cores['chips']} chip{'s'[: cores['chips'] != 1]}"
    neurons = sum(layer["neurons"] for layer in layers)
    synapses = sum(layer["synapses"] for layer in layers)
    found.append(("cores", f"{cores['used']:,} of {cores['limit']:,}", chips))
    found.append(("neurons on the chip", f"{neurons:,}", f"{synapses:,} synapses"))
    return [*found, *_smaller(report)]


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


def _violations(report: Mapping[str, Any]) -> Iterable[Fact]:
    errors = [f["code"] for f in report["findings"] if f["severity"] == "error"]
    if errors:
        yield "violations", f"{len(errors):,}", f"of {', '.join(dict.fromkeys(errors))}"


def _limit(report: Mapping[str, Any]) -> Iterable[Fact]:
    """The limit that is broken worst, or what is used most."""
    broken = [f for f in report["findings"] if f["severity"] == "error" and f.get("ratio")]
    if broken:
        worst = max(broken, key=lambda f: f["ratio"])
        yield (
            "what limits it",
            f"{worst['ratio']:.3g} × the limit",
            f"{worst['where']}: {worst['message']}",
        )
        return
    fullest = max(report["layers"], key=lambda layer: layer["fullest"]["share"], default=None)
    if fullest is not None:
        share = fullest["fullest"]["share"]
        what = fullest["fullest"]["resource"].replace("_", " ")
        yield (
            "what limits it",
            f"{share:.0%} full",
            f"{what} of a core of layer {fullest['name']}: the fullest budget",
        )


def _time(report: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> Iterable[Fact]:
    measured = next((run for run in reversed(runs) if run.get("time")), None)
    time = report.get("time") if measured is None else measured["time"]
    if not time:
        return
    low, high = time["low_ns"], time["high_ns"]
    first = time["terms"][0]
    rests = f"estimate ({time['certainty']}); set by {first['what']} on {first['where']}"
    yield "time per step", _duration(low, high), rests
    if low <= 0:
        return
    steps = 1 if measured is None else measured["steps"]
    each = sorted(1e9 / (steps * ns) for ns in (low, high))
    how_many = span(each[0], each[1], ",.3g" if each[1] < 1000 else ",.0f")
    if measured is None:
        yield "steps per second", how_many, "sending and reading not counted"
    else:
        rests = f"{steps} steps each, one after the other; sending and reading not counted"
        yield "inferences per second", how_many, rests


def _duration(low: float, high: float) -> str:
    unit, scale = ("ns", 1.0) if high < 1000 else ("µs", 1e-3) if high < 1e6 else ("ms", 1e-6)
    return f"{span(low * scale, high * scale, ',.3g')} {unit}"


def _energy(report: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> Iterable[Fact]:
    """Of a run's samples; without one, of a step, as what compression bought is told."""
    for run in reversed(runs):
        estimate = run["energy"].get(report["target"])
        if estimate:
            yield (
                "energy per sample",
                _joules(estimate["low"], estimate["high"]),
                f"estimate ({estimate['certainty']}); see what it leaves out",
            )
            return
    after = (report.get("savings") or {}).get("after", {})
    if after.get("step_nj"):
        sure = f" ({after['sure']})" if after.get("sure") else ""
        low, high = after["step_nj"]
        yield "energy per step", _joules(low, high), f"estimate{sure}, of an assumed activity"


def _joules(low: float, high: float) -> str:
    unit, scale = ("nJ", 1.0) if high < 1e4 else ("µJ", 1e-3)
    return f"{span(low * scale, high * scale, ',.3g' if scale < 1 else ',.0f')} {unit}"


def _smaller(report: Mapping[str, Any]) -> Iterable[Fact]:
    """By how much the passes made weights smaller."""
    passes = report["passes"]
    if len(passes) < 2 or not passes[-1]["bits"]:
        return
    first, last = passes[0]["bits"], passes[-1]["bits"]
    if first != last:
        yield "weights", f"{first / last:.3g} × smaller", f"{first:,} bits as trained, {last:,} now"


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
    return f'<p class="bought">{escape(sentence(report["savings"]["text"]))}</p>'
