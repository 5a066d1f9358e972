"""Reports on a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...plain import one_line, plain_data
from ...report import (
    alike,
    answers_text,
    certificate_line,
    cores_text,
    grouped,
    rounding_note,
    rounding_text,
    span,
    tried,
    tried_for_several,
)
from .telling import told_more

_PLACES = 12
"""Places of findings of one kind that are listed."""
_ROWS, _FEW = 60, 10
"""Layers of a compilation that are listed, and without -v; reports and --json have all."""
_GAP = 2
"""Spaces between columns."""
_Listed = TypeVar("_Listed")
_COLOURS = {"error": "bold red", "warning": "yellow", "note": "dim"}


def print_json(data: Any) -> None:
    """Print data as JSON on standard output."""
    click.echo(json.dumps(data, indent=2))


class _StandardOutput(Console):
    def on_broken_pipe(self) -> None:
        """The reader has gone, which is no fault; rich would end with the code of a bug."""
        raise BrokenPipeError


def console() -> Console:
    """Standard output: coloured on a terminal, plain and unwrapped in a pipe."""
    # names of files may look like markup, and are none
    on_terminal = _StandardOutput(markup=False, emoji=False)
    if on_terminal.is_terminal:
        return on_terminal
    return _StandardOutput(width=160, no_color=True, markup=False, emoji=False)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table whose first column is text and whose others are numbers where they look like it.

    Where it fits on the screen, each column is one cell of many lines: what is printed is the same, and
    a thousand rows take a tenth of the time.
    """
    result = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        numeric = i > 0 and all(_is_number(row[i]) for row in rows)
        result.add_column(column, justify="right" if numeric else "left")
    cells = [[f"{v:,}" if isinstance(v, int) else one_line(str(v)) for v in row] for row in rows]
    if cells and _fits([list(columns), *cells], console().width):
        cells = [["\n".join(column) for column in zip(*cells, strict=True)]]
    for row in cells:
        # as text: in markup, the delay of "n1[t-1]" would be the name of a style
        result.add_row(*map(Text, row))
    return result


def _fits(rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether every cell has one line and no row is wider than the screen."""
    widest = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    one_line = not any(len(cell.splitlines()) > 1 for row in rows for cell in row)
    return one_line and sum(widest) + _GAP * (len(widest) - 1) <= width


def _is_number(value: object) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and value[:1].isdigit())


def print_inspection(report: Mapping[str, Any]) -> None:
    """What a file holds: how it is read, populations, projections, changes, findings."""
    report = plain_data(report)
    out = console()
    for key in ("frontend", "why", "semantics"):
        if key in report.get("notes", {}):
            out.print(Text.assemble((f"{key}: ", "bold"), report["notes"][key]), soft_wrap=True)
    populations = [
        (p["name"], p["role"], "x".join(map(str, p["shape"])), p["neurons"], _parameters(p))
        for p in report["populations"]
    ]
    out.print(table("populations", ("name", "role", "shape", "neurons", "parameters"), populations))
    out.print()
    projections = [
        (
            p["name"],
            " + ".join(map(_from, p["sources"])),
            p["target"],
            p["ops"],
            p["weights"],
            p.get("synapses", ""),
            span(p["range"][0], p["range"][1], ".4g"),
            p["type"],
        )
        for p in report["projections"]
    ]
    columns = ("name", "from", "to", "operators", "weights", "synapses", "values", "type")
    out.print(table("projections", columns, projections))
    if "totals" in report:
        out.print("  ".join(f"{v:,} {k}" for k, v in report["totals"].items()), highlight=False)
    for group in report.get("groups", ()):
        for line in group["text"]:
            out.print(Text(line), soft_wrap=True)
    for line in report.get("normalised", ()):
        out.print(Text(f"normalised: {line}"), soft_wrap=True)
    print_findings(report["findings"])
    out.print(f"digest: {report['digest'][:16]}", highlight=False)


def _from(source: Mapping[str, Any]) -> str:
    name = str(source["population"])
    if "latency" in source:  # a program's: every synapse takes a step
        low, high = _ends(source["latency"])
        return name if high == 1 else f"{name}, {span(low, high)} steps"
    steps = span(*_ends(source["delay"]))
    return name if steps == "0" else f"{name}[t-{steps}]"


def _parameters(population: Mapping[str, Any]) -> str:
    always = ("leak", "syn_leak", "threshold", "v_floor", "du", "dv", "vth")
    words = [
        f"{name} {span(low, high, '.6g')}"
        for name, (low, high) in population.get("parameters", {}).items()
        if name in always or low or high
    ]
    if population.get("spiking"):
        timing = population["reset_timing"]
        late = "" if timing == "immediate" else f" ({timing})"
        words += [f"fires {population['compare']}", f"reset {population['reset']}{late}"]
        words += ["many per step"] * (population["spikes_per_step"] == "many")
    return ", ".join(words)


def print_compile_report(report: Mapping[str, Any]) -> None:
    """The report of one compilation on a screen, the verdict last; with ``-v`` all that is listed."""
    report = plain_data(report)
    out, more = console(), told_more()
    notes = report["network"]["notes"]
    if "frontend" in notes:
        why = f" ({notes['why']})" if "why" in notes else ""
        out.print(Text.assemble(("frontend", "bold"), f" {notes['frontend']}{why}"), soft_wrap=True)
    columns: tuple[str, ...]
    if report["passes"]:
        columns = ("after", "neurons", "weights", "synapses", "bits", "answers alike")
        counts = [
            (p["name"], p["neurons"], p["weights"], p["synapses"], p["bits"], answers_text(p))
            for p in report["passes"]
        ]
        out.print(table(f"recipe {report['recipe']}", columns, counts))
        out.print()
    title = f"on {report['target']} ({report['board']})"
    columns = ("layer", "shape", "neurons", "cores", "fullest", "threshold", "head-room")
    columns = (*columns, "rounding", "as")
    rows = _ROWS if more else _FEW
    layers = _foremost(report["layers"], lambda layer: layer["fullest"]["share"], rows)
    out.print(table(title, columns, [_layer_row(layer) for layer in layers]))
    _print_rest(len(report["layers"]) - len(layers), "layers, whose cores are less full")
    for line in rounding_note(report):
        out.print(line, highlight=False, soft_wrap=True)
    if more:
        _print_synapses(report["synapses"])
    out.print()
    for line in cores_text(report):
        out.print(line, highlight=False, soft_wrap=True)
    print_time(report.get("time"))
    print_findings(report["findings"], brief=not more)
    if "certificate" in report:
        out.print(certificate_line(report["certificate"]), highlight=False, soft_wrap=True)
    # last, where the eyes are when the screen stops
    cores, verdict = report["cores"], "fits" if report["fits"] else "does not fit"
    out.print(
        f"{verdict} {report['target']} ({report['board']}): {cores['used']:,} of {cores['limit']:,} "
        f"cores, the fullest used to {cores['fullest']['share']:.1%} (certainty of this: "
        f"{report['certainty']})",
        highlight=False,
        soft_wrap=True,
    )


def _print_synapses(listed: Sequence[Mapping[str, Any]]) -> None:
    most = _foremost(listed, lambda s: s["nonzero"], _ROWS)
    rows = [
        (s["name"], s["ops"], s["nonzero"], s["bits"], s["exponent"], span(*_ends(s["latency"])))
        for s in most
    ]
    columns = ("projection", "operators", "weights not 0", "bits", "2^", "steps")
    console().print()
    console().print(table("synapses", columns, rows))
    _print_rest(len(listed) - len(most), "projections, of fewer weights")


def _foremost(
    rows: Sequence[_Listed], size: Callable[[_Listed], float], count: int
) -> list[_Listed]:
    """The largest of very many, in their order."""
    first = sorted(range(len(rows)), key=lambda i: -size(rows[i]))[:count]
    return [rows[i] for i in sorted(first)]


def _print_rest(count: int, what: str) -> None:
    if count:
        line = f"and {count:,} more {what}: -v lists {_ROWS}, --json and the page of a report all"
        console().print(line, style="dim", highlight=False, soft_wrap=True)


def print_time(time: Mapping[str, Any] | None) -> None:
    """How long a step takes, and what sets that."""
    if time is None:
        return
    first, *others = time["terms"]
    layers = f" ({', '.join(first['layers'])})" if first["layers"] else ""
    then = f", then {others[0]['what']} with {span(others[0]['low_ns'], others[0]['high_ns'])}"
    out = console()
    out.print(
        f"time per step (estimate, {time['certainty']}): {span(time['low_ns'], time['high_ns'])} ns, "
        f"set by {first['what']} on {first['where']}{layers} with "
        f"{span(first['low_ns'], first['high_ns'])}{then} ns; activity {time['activity']}",
        highlight=False,
        soft_wrap=True,
    )


def _layer_row(layer: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        layer["name"],
        "x".join(map(str, layer["shape"])),
        layer["neurons"],
        layer["cores"],
        f"{layer['fullest']['share']:.0%} {layer['fullest']['resource'].replace('_', ' ')}",
        span(*layer["threshold"]) if "threshold" in layer else "",
        _headroom(layer),
        rounding_text(layer),
        layer["route"],
    )


def _ends(values: Sequence[int]) -> tuple[int, int]:
    return values[0], values[-1]


def _headroom(layer: Mapping[str, Any]) -> str:
    if "headroom" not in layer:
        return ""
    room = layer["headroom"]
    if room["wraps"]:
        return "not proved"
    steps = room["clip_steps"]
    return "proved" if steps is None else f"proved, v clips after ≥ {steps} steps"


def print_findings(findings: Sequence[Mapping[str, Any]], *, brief: bool = False) -> None:
    """Findings, worst first, each with its fixes; what repeats at many places is said once.

    ``brief`` names notes by their codes alone, and leaves the rules of warnings and what was tried out.
    """
    out = console()
    groups = grouped(plain_data(findings))
    notes = [g[0]["code"] for g in groups if brief and g[0]["severity"] == "note"]
    if brief:
        groups = [g for g in groups if g[0]["severity"] != "note"]
    several = tried_for_several([g for g in groups if g[0]["severity"] == "error"])
    for i, group in enumerate(groups):
        first = group[0]
        text = Text(f"{first['severity']}[{first['code']}] ", style=_COLOURS[first["severity"]])
        lines = alike(group)
        warned = brief and first["severity"] == "warning"
        if warned and len(lines) > 1:
            others = f" (and at {len(lines) - 1} more places)"
            text.append(f"{one_line(lines[0][0])}: {first['message']}{others}", style="default")
        elif len(lines) == 1:
            text.append(f"{one_line(lines[0][0])}: {first['message']}", style="default")
        else:
            text.append(f"at {len(group)} places:", style="default")
        out.print(text, soft_wrap=True)
        if warned:
            continue
        if len(lines) > 1:
            for where, f in lines[:_PLACES]:
                times = f" ({f['ratio']:.3g} times its limit)" if "ratio" in f else ""
                out.print(Text(f"    {one_line(where)}: {f['message']}{times}"), soft_wrap=True)
            if lines[_PLACES:]:
                out.print(Text(f"    and {len(lines) - _PLACES} more (--json lists all)"))
        if "rule" in first:
            alone = len(lines) == 1 and "ratio" in first
            ratio = f" ({first['ratio']:.3g} times its limit)" if alone else ""
            out.print(Text(f"  rule: {first['rule']}{ratio}", style="dim"), soft_wrap=True)
        if "source" in first:
            sure = first.get("certainty", "?")
            out.print(
                Text(f"  limit from: {first['source']} ({sure})", style="dim"), soft_wrap=True
            )
        errors_end = not groups[i + 1 :] or groups[i + 1][0]["severity"] != "error"
        said = several if first["severity"] == "error" else {}
        for line in tried(group, said):
            out.print(Text(f"  {line}"), soft_wrap=True)
        for line in said.values() if errors_end else ():
            out.print(Text(line), soft_wrap=True)
    if notes:
        many = f"{len(notes)} notes" if len(notes) > 1 else "a note"
        told = ", ".join(dict.fromkeys(notes))
        out.print(Text(f"{many} ({told}): snndeploy -v … tells more", style="dim"), soft_wrap=True)


def print_fix(report: Mapping[str, Any], path: str) -> None:
    """What came of looking for a recipe that makes it fit."""
    report = plain_data(report)
    out, fix = console(), report["fix"]
    if not fix["found"]:
        tried = f" (tried: {'; '.join(fix['steps'])})" if fix["steps"] else ""
        out.print(
            Text(f"no recipe was found that makes it fit{tried}; what stays:"), soft_wrap=True
        )
        for f in fix["left"]:
            out.print(Text(f"  {f['code']} {one_line(f['where'])}: {f['message']}"), soft_wrap=True)
        return
    if fix["steps"]:
        out.print(Text(f"{path} makes it fit: {'; '.join(fix['steps'])}"), soft_wrap=True)
    else:
        out.print(Text(f"{path}: it fits as it is, with this recipe"), soft_wrap=True)
    out.print(
        Text(f"  {fix['cores']:,} of {report['cores']['limit']:,} cores; {fix['proof']}"),
        soft_wrap=True,
    )
    if fix["tried"]:
        out.print(Text(f"  chosen by {fix['ordered']}; what fits:"), soft_wrap=True)
        for line in fix["tried"]:
            out.print(Text(f"    {line}"), soft_wrap=True)


def print_demo(result: Mapping[str, Any]) -> None:
    """The demo's one table: what compression saved, and what every engine answers."""
    run = result["run"]
    out = console()
    rows = [(str(name), before, after) for name, before, after in result["table"]]
    energy = [
        (f"energy per digit, nJ ({model})", "", span(e["low"], e["high"], ",.0f"))
        for model, e in run["energy"].items()
    ]
    compared = [] if result["equal"] is None else [_agreement(run["comparisons"][-1])]
    accuracy = [
        (
            f"accuracy, {engine}",
            f"{value:.1%}" if engine == "float, as trained" else "",
            "" if engine == "float, as trained" else f"{value:.1%}",
        )
        for engine, value in run["accuracy"].items()
    ]
    title = (
        f"handwritten digits on {result['compile']['target']}, {run['samples']} held-out samples"
    )
    out.print(table(title, ("", "as trained", "compiled"), [*accuracy, *compared, *rows, *energy]))
    for model, e in run["energy"].items():
        out.print(
            Text(
                f"energy ({model}) is an estimate ({e['certainty']}); not counted: "
                + "; ".join(e["not_counted"]),
                style="dim",
            ),
            soft_wrap=True,
        )
    print_findings([f for f in result["compile"]["findings"] if f["severity"] != "note"])


def _agreement(comparison: Mapping[str, Any]) -> tuple[str, str, str]:
    differing, total = (sum(comparison[key].values()) for key in ("differing", "total"))
    return "spikes that differ, integer and Lava", "", f"{differing} of {total:,}"
