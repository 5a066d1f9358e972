"""One page to look at: what was compiled, what runs gave, what it costs. It loads nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from .certificate import certificate_panel
from .html_parts import Cell, bar, panel, range_chart, table
from .tables import (
    COUNTED,
    EVENT_COLUMNS,
    answers_text,
    cores_text,
    event_rows,
    events_text,
    judged,
    judged_on,
    neurobench_rows,
    number,
    place,
    rounding_note,
    rounding_text,
    span,
)

_STYLE = """
:root { --ink:#1d2433; --soft:#5d6880; --line:#dfe4ee; --back:#f5f7fb; --card:#fff; --blue:#2f6fed;
  --green:#1a8754; --red:#c8323c; --amber:#b7791f; --bar:#dbe6fd; }
@media (prefers-color-scheme: dark) { :root { --ink:#e6eaf3; --soft:#9aa6bf; --line:#2b3448;
  --back:#10151f; --card:#181f2d; --blue:#7aa5ff; --green:#5fd39a; --red:#ff7b84; --amber:#e6b455;
  --bar:#263b66; } }
* { box-sizing:border-box }
body { margin:0; background:var(--back); color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif }
main { max-width:1080px; margin:0 auto; padding:2.5rem 1.25rem 4rem }
h1 { font-size:1.7rem; margin:0 0 .2rem; letter-spacing:-.01em }
h2 { font-size:1.15rem; margin:0 0 .8rem } h3 { font-size:1rem; margin:1.4rem 0 .5rem }
p { margin:.4rem 0 } .soft { color:var(--soft) } small { color:var(--soft) }
section { background:var(--card); border:1px solid var(--line); border-radius:12px;
  padding:1.3rem 1.4rem; margin-top:1.2rem; overflow-x:auto }
.facts { display:flex; flex-wrap:wrap; gap:.8rem; margin-top:1.2rem }
.fact { background:var(--card); border:1px solid var(--line); border-radius:12px; padding:.8rem 1.1rem;
  min-width:9rem; flex:1 }
.fact b { display:block; font-size:1.35rem; font-variant-numeric:tabular-nums }
.verdict.error { border-color:var(--red); font-weight:600 }
.verdict { border-left:4px solid var(--blue); padding:.6rem 1rem; background:var(--back);
  border-radius:0 8px 8px 0; margin:.2rem 0 1rem; font-size:1.03rem }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums }
th { text-align:left; font-weight:600; color:var(--soft); font-size:.83rem;
  padding:.35rem 1rem .35rem 0; border-bottom:1px solid var(--line); white-space:nowrap }
td { padding:.34rem 1rem .34rem 0; border-bottom:1px solid var(--line); vertical-align:top }
tr:last-child td { border-bottom:0 } .num { text-align:right; white-space:nowrap }
.share { white-space:nowrap }
.bar { display:inline-block; width:7rem; height:.55rem; background:var(--back); border-radius:4px;
  border:1px solid var(--line); overflow:hidden; margin-right:.5rem; vertical-align:middle }
.bar i { display:block; height:100%; background:var(--blue) } .bar.full i { background:var(--red) }
.ok { color:var(--green) } .error { color:var(--red) } .warning { color:var(--amber) }
.note { color:var(--soft) } ul { margin:.3rem 0 .3rem 1.1rem; padding:0 }
svg text { fill:var(--ink); font:12px system-ui,sans-serif } svg .soft { fill:var(--soft) }
svg line { stroke:var(--line) } svg rect { fill:var(--blue) }
footer { margin-top:2rem; color:var(--soft); font-size:.85rem }
@media print { body { background:#fff } section { break-inside:avoid } }
"""


def html_page(compiled: Mapping[str, Any], runs: Sequence[Mapping[str, Any]] = ()) -> str:
    """A page from the reports of a compilation and of any number of runs, as plain data."""
    parts = [_head(compiled, runs), *_compiled(compiled)]
    if "certificate" in compiled:
        parts.append(certificate_panel(compiled["certificate"]))
    for run in runs:
        parts += _run(run)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>snndeploy: {escape(compiled['target'])}</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(parts)}"
        "<footer>Written by snndeploy. Energies are estimates, and say what they rest "
        "on.</footer></main></body></html>\n"
    )


def _head(report: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    notes, cores = report["network"]["notes"], report["cores"]
    fits = "fits" if report["fits"] else "does not fit"
    failed = [run["error"] for run in runs if run.get("error")]
    verdict = f"{fits}, verification failed" if failed else fits
    facts = [
        ("verdict", verdict, "ok" if report["fits"] and not failed else "error"),
        ("cores", f"{cores['used']:,} of {cores['limit']:,}", ""),
        ("neurons", number(sum(layer["neurons"] for layer in report["layers"])), ""),
        ("synapses", number(sum(layer["synapses"] for layer in report["layers"])), ""),
    ]
    facts += [
        (f"accuracy, {stage}: {judged_on(run)}", f"{value:.1%}", "")
        for run in runs
        for stage, value in list(run["accuracy"].items())[-1:]
    ]
    boxes = "".join(
        f'<div class="fact"><small>{escape(name)}</small><b class="{kind}">{escape(value)}</b></div>'
        for name, value, kind in facts
    )
    alarm = "".join(
        f'<div class="verdict error"><b>Verification failed.</b> {escape(error["code"])}: '
        f"{escape(error['message'])}</div>"
        for error in failed
    )
    read = f"read as {notes['frontend']}: {notes.get('why', '')}" if "frontend" in notes else ""
    return (
        f"{alarm}<h1>On {escape(report['target'])} ({escape(report['board'])})</h1>"
        f'<p class="soft">recipe {escape(report["recipe"])}. {escape(read)}</p>'
        f'<div class="facts">{boxes}</div>'
    )


def _compiled(report: Mapping[str, Any]) -> Iterable[str]:
    if report["passes"]:
        counts = ("neurons", "weights", "synapses", "bits")
        rows = [
            (p["name"], *(p[count] for count in counts), answers_text(p)) for p in report["passes"]
        ]
        yield panel("What the recipe left", table(("after", *counts, "answers alike"), rows))
    layers = [
        (
            layer["name"],
            "x".join(map(str, layer["shape"])),
            layer["neurons"],
            layer["cores"],
            bar(layer["fullest"]["share"], layer["fullest"]["resource"].replace("_", " ")),
            span(*layer["threshold"]) if "threshold" in layer else "",
            rounding_text(layer),
            layer["route"],
        )
        for layer in report["layers"]
    ]
    columns = (
        "layer",
        "shape",
        "neurons",
        "cores",
        "fullest budget",
        "threshold",
        "rounding",
        "as",
    )
    synapses = [
        (s["name"], s["ops"], s["nonzero"], s["bits"], s["exponent"]) for s in report["synapses"]
    ]
    sure = f"Certainty of the verdict: {report['certainty']}."
    lines = (*rounding_note(report), *cores_text(report), COUNTED, sure)
    yield panel(
        "On the chip",
        table(columns, layers),
        "<h3>Synapses</h3>",
        table(("projection", "operators", "weights not 0", "bits", "2^"), synapses),
        *(f'<p class="soft">{escape(line)}</p>' for line in lines),
    )
    if report["findings"]:
        yield panel("Findings", *map(_finding, report["findings"]))


def _finding(finding: Mapping[str, Any]) -> str:
    fixes = "".join(
        f"<li>try: {escape(f['text'])}: {escape(f['effect'])}</li>"
        for f in finding["fixes"]
        if f["effect"]
    )
    return (
        f'<p><b class="{escape(finding["severity"])}">{escape(finding["severity"])}</b> '
        f"{escape(finding['where'])}: {escape(finding['message'])}</p>"
        + (f"<ul>{fixes}</ul>" if fixes else "")
    )


def _run(run: Mapping[str, Any]) -> Iterable[str]:
    part = ", interrupted: not all of them" if run["partial"] else ""
    compared = {c["engines"][1]: c for c in run["comparisons"]}
    verification = run["verification"]
    rows: list[tuple[Cell, ...]] = []
    for stage in run["predictions"]:
        c = compared.get(stage)
        differing = (
            ""
            if c is None
            else (
                f"{sum(c['differing'].values()):,} of {sum(c['total'].values()):,} "
                f"from {c['engines'][0]}"
            )
        )
        accuracy = run["accuracy"].get(stage)
        rows.append((stage, "" if accuracy is None else bar(accuracy), differing))
    verdict = verification["verdict"]["text"] if verification else ""
    yield panel(
        f"Stages, on {judged_on(run)}{part}",
        f'<p class="soft">{escape(judged(run))}</p>' if judged(run) else "",
        f'<div class="verdict">{escape(verdict)}</div>' if verdict else "",
        table(("stage", "accuracy", "differing spikes"), rows),
    )
    if verification:
        yield _pairs(run, verification)
        if verification["registers"]:
            yield _registers(verification["registers"])
    if run["activity"]:
        yield panel(
            "Events per sample",
            table(EVENT_COLUMNS, event_rows(run["activity"])),
            f'<p class="soft">{escape(events_text(run["activity"]))}.</p>',
        )
    if run["energy"]:
        yield _energy(run["energy"])
    if run["neurobench"]:
        stages = run["neurobench"]
        figures = table(("of the network as a framework runs it", *stages), neurobench_rows(stages))
        yield panel("NeuroBench", figures)


def _pairs(run: Mapping[str, Any], verification: Mapping[str, Any]) -> str:
    first = {tuple(c["engines"]): c["first"] for c in run["comparisons"]}
    parts = [
        '<p class="soft">Spikes the same: of the spikes of either stage, those of both. Rates: '
        "Pearson's r over neurons and samples. van Rossum: mean distance D per train, time constant "
        f"{verification['tau']:g} steps; relative: 0 for equal trains, 1 for nothing in common.</p>"
    ]
    for pair in verification["pairs"]:
        a, b = pair["stages"]
        rows = [
            (
                name,
                "" if x["match"] is None else bar(x["match"]),
                number(x["rate_correlation"], ".4f"),
                number(x["van_rossum"], ".4f"),
                number(x["relative_distance"], ".4f"),
                place(first[a, b].get(name)),
                pair["alone"].get(name, ""),
            )
            for name, x in pair["layers"].items()
        ]
        columns = (
            "layer",
            "spikes the same",
            "rates",
            "van Rossum",
            "relative",
            "first difference",
            f"answers it alone loses, of {pair['attributed']}",
        )
        parts += [f"<h3>{escape(a)} → {escape(b)}</h3>", table(columns, rows)]
        if pair["not_compared"]:
            names = escape(", ".join(pair["not_compared"]))
            parts.append(f'<p class="soft">Not compared, their neurons differ: {names}.</p>')
    return panel("Layer by layer", *parts)


def _registers(registers: Mapping[str, Any]) -> str:
    rows = [
        (name, bar(r["u_share"]), r["wraps"], bar(r["v_share"]), r["clips"])
        for name, r in registers.items()
    ]
    columns = ("layer", "largest |u|, of its limit", "wraps", "largest |v|", "saturations")
    return panel("Registers of the integer run", table(columns, rows))


def _energy(energy: Mapping[str, Any]) -> str:
    rows = [
        (
            name,
            span(e["low"], e["high"], ",.1f"),
            e["certainty"],
            ", ".join(f"{part} {nj:,.1f}" for part, nj in e["parts"].items() if nj),
        )
        for name, e in energy.items()
    ]
    columns = ("model", "nJ per sample", "certainty", "of which (low end)")
    notes = "".join(
        f"<h3>{escape(name)}</h3><p>Not counted: {escape('; '.join(e['not_counted']))}.</p>"
        f'<p class="soft">From: {escape("; ".join(e["sources"]))}.</p>'
        for name, e in energy.items()
    )
    chart = range_chart(
        [(name, e["low"], e["high"]) for name, e in energy.items()], "nJ per sample"
    )
    return panel("Energy, estimated", chart, table(columns, rows), notes)
