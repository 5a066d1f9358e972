"""What runs did, layer by layer, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from ...plain import plain_data
from ...report import (
    EVENT_COLUMNS,
    event_rows,
    events_text,
    judged,
    judged_on,
    neurobench_rows,
    number,
    place,
    span,
)
from .render import console, print_time, table
from .telling import told_more


def print_run_report(report: Mapping[str, Any]) -> None:
    """Accuracy, agreement, SynOps and energy of runs."""
    report = plain_data(report)
    out = console()
    comparisons = {tuple(c["engines"]): c for c in report["comparisons"]}
    rows: list[tuple[object, ...]] = []
    for engine in report["predictions"]:
        accuracy = report["accuracy"].get(engine)
        against = next((c for names, c in comparisons.items() if names[1] == engine), None)
        differing = (
            ""
            if against is None
            else (
                f"{sum(against['differing'].values()):,} of {sum(against['total'].values()):,} "
                f"vs {against['engines'][0]}"
            )
        )
        rows.append((engine, "" if accuracy is None else f"{accuracy:.1%}", differing))
    if report.get("data"):
        out.print(f"on {judged_on(report)}", highlight=False, soft_wrap=True)
    title = f"{report['samples']} samples, {report['steps']} steps"
    if report.get("labelled_steps"):
        title += f"; accuracy of {report['labelled_steps']:,} labelled steps"
    out.print(table(title, ("engine", "accuracy", "differing spikes"), rows))
    if judged(report):
        out.print(Text(judged(report)), soft_wrap=True)
    for engine, error in report.get("errors", {}).items():
        out.print(
            f"{engine}: the output's mean misses the target by {error['rmse']:.4g} "
            f"(root mean square), {error['mae']:.4g} (mean)",
            highlight=False,
        )
    for (first, second), c in comparisons.items():
        for name, at in c["first"].items():
            out.print(
                f"  {first} and {second} first differ in {name}: {place(at)}; "
                f"{c['match'][name]:.2%} of the spikes are the same",
                highlight=False,
            )
    if report["verification"]:
        out.print()
        print_verification(report)
    if report["samples"] == 1 and not report.get("labelled_steps"):
        for engine, predicted in report["predictions"].items():
            out.print(f"{engine} answers class {predicted[0]}", highlight=False)
    stages = report["neurobench"]
    if stages and told_more():
        out.print()
        columns = ("of the network as a framework runs it", *stages)
        out.print(table("NeuroBench", columns, neurobench_rows(stages)))
    if report["activity"]:
        a = report["activity"]
        out.print()
        out.print(table("per sample", EVENT_COLUMNS, event_rows(a)))
        out.print(events_text(a), highlight=False, soft_wrap=True)
    print_time(report.get("time"))
    for model, e in report["energy"].items():
        out.print(
            f"energy ({model}, estimate, {e['certainty']}): {span(e['low'], e['high'], ',.1f')} nJ per "
            "sample",
            highlight=False,
        )
        for text in e["not_counted"] if told_more() else ():
            out.print(Text(f"  not counted: {text}", style="dim"), soft_wrap=True)
    if report["energy"] and not told_more():
        out.print(Text("  what these leave out: snndeploy -v …", style="dim"))
    # last, where the eyes are when the screen stops
    if report["accuracy"]:
        said = ", ".join(f"{engine} {share:.1%}" for engine, share in report["accuracy"].items())
        out.print(Text(f"accuracy: {said}, on {judged_on(report)}", style="bold"), soft_wrap=True)


def print_verification(report: Mapping[str, Any]) -> None:
    """Stage by stage and layer by layer how alike they are, the use of registers, and the verdict."""
    found, out = report["verification"], console()
    compared = {tuple(c["engines"]): c for c in report["comparisons"]}
    for pair in found["pairs"]:
        a, b = pair["stages"]
        rows = [
            (
                name,
                number(x["match"], ".2%"),
                number(x["rate_correlation"], ".4f"),
                number(x["van_rossum"], ".4f"),
                number(x["relative_distance"], ".4f"),
                _differing(compared[a, b], name),
            )
            for name, x in pair["layers"].items()
        ]
        columns = (
            "layer",
            "spikes the same",
            "rates r",
            "van Rossum D",
            "0 same, 1 apart",
            "differing",
        )
        out.print(table(f"{a} → {b}", columns, rows))
        if pair["not_compared"]:
            names = ", ".join(pair["not_compared"])
            out.print(Text(f"  not compared, their neurons differ: {names}", style="dim"))
        out.print()
    if found["registers"]:
        used = [
            (name, f"{r['u_share']:.1%}", r["wraps"], f"{r['v_share']:.1%}", r["clips"])
            for name, r in found["registers"].items()
        ]
        of_limit = ("layer", "|u| of limit", "wraps", "|v| of limit", "saturations")
        out.print(table("registers in the integer run", of_limit, used))
        out.print()
    if found["verdict"]["text"]:
        out.print(Text(found["verdict"]["text"], style="bold"), soft_wrap=True)


def _differing(comparison: Mapping[str, Any], name: str) -> str:
    if name not in comparison["total"]:
        return ""
    return f"{comparison['differing'][name]:,} of {comparison['total'][name]:,}"
