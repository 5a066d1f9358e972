"""Command that opens a bundle up: what is on a core, what a layer takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from .options import admitted, data_options, json_option
from .show.help import command

_SHOWN = 12
"""Neighbours that are listed one by one."""


@command(example="snndeploy explain model.snnb --core 0")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--core", type=click.IntRange(min=0), help="What is on this core.")
@click.option("--layer", help="What this layer (a population or a projection) takes.")
@data_options
@json_option
def explain(
    bundle: Path, core: int | None, layer: str | None, as_json: bool, **options: Any
) -> None:
    """Show what fills a core or a layer of a bundle, and whom it talks to.

    Messages are those of a mean step: of the samples of --data, else of the bundle's own golden run.
    """
    from ..bundle import read_bundle
    from ..data import input_shapes
    from ..pipeline import explain_bundle
    from ..plain import plain_data
    from .options import samples_of
    from .show.render import print_json

    if core is not None and layer is not None:
        raise UsageError(
            "explain-both", "--core and --layer ask for different things", hint="give one of them"
        )
    admitted(bundle)
    if options["data"] is not None and core is None and layer is None:
        raise UsageError(
            "explain-all",
            "messages are shown of a core or a layer, and none is named",
            where="--data",
            hint="name one: --core or --layer",
        )
    held = read_bundle(bundle)
    samples = samples_of(options, input_shapes(held.program))
    told = explain_bundle(held, core, layer, samples)
    if as_json:
        print_json(told)
        return
    told = plain_data(told)
    if core is None and layer is None:
        _print_cores(told)
    else:
        _print_contents(told)


def _print_cores(told: Mapping[str, Any]) -> None:
    from .show.render import console, table

    rows = [
        (
            c["core"],
            c["chip"],
            f"({c['router'][0]}, {c['router'][1]})",
            " + ".join(c["groups"]),
            c["neurons"],
            f"{c['share']:.1%}",
        )
        for c in told["cores"]
    ]
    columns = ("core", "chip", "router", "holds", "neurons", "fullest")
    console().print(table(f"cores in use on {told['target']}", columns, rows))


def _print_contents(told: Mapping[str, Any]) -> None:
    from .show.render import console, table

    out = console()
    if "layer" in told:
        cores = told["cores"]
        out.print(
            f"layer {told['layer']}: {_x(told['shape'])} = {told['neurons']:,} neurons on "
            f"{len(cores)} core{'s'[: len(cores) != 1]} ({', '.join(map(str, cores[:_SHOWN]))}"
            f"{', …' if len(cores) > _SHOWN else ''}), {_x(told['tile'])} on each at most",
            highlight=False,
            soft_wrap=True,
        )
        fullest = f"its fullest core, {told['fullest_core']}"
    else:
        out.print(
            f"core {told['core']}: chip {told['chip']}, router "
            f"({told['router'][0]}, {told['router'][1]})",
            highlight=False,
        )
        for group, bounds, neurons in told["slices"]:
            box = ", ".join(f"{low}:{high}" for low, high in bounds)
            out.print(f"  {group}[{box}], {neurons:,} neurons", highlight=False)
        fullest = "the core"
    taken = sum(w["words"] for w in told["words"])
    rows: list[tuple[object, ...]] = [
        (w["what"], w["words"], f"{w['share']:.1%}") for w in told["words"]
    ]
    rows.append(("all", taken, f"{taken / max(told['limit'], 1):.1%}"))
    out.print()
    out.print(
        table(f"what fills it (of {told['limit']:,} words)", ("kind", "words", "share"), rows)
    )
    out.print()
    uses = [
        (
            u["resource"].replace("_", " "),
            u["used"],
            u["limit"],
            f"{u['share']:.1%}",
            u["certainty"],
        )
        for u in told["uses"]
    ]
    columns: tuple[str, ...] = ("resource", "used", "limit", "share", "certainty")
    out.print(table(f"every budget of {fullest}", columns, uses))
    out.print()
    held = [
        (
            s["name"],
            " + ".join(s["sources"]),
            ", ".join(s["encodings"]),
            s["words"],
            s["axons"],
            s["synapses"],
            s["nonzero"],
        )
        for s in told["synapses"]
    ]
    columns = ("synapses", "from", "stored", "words", "axons in", "entries", "not zero")
    out.print(
        table(f"axons in {told['axons_in']:,}, axons out {told['axons_out']:,}", columns, held)
    )
    for title, names in (("from", "incoming"), ("to", "outgoing")):
        out.print()
        _print_neighbours(title, told[names])


def _print_neighbours(title: str, neighbours: Sequence[Mapping[str, Any]]) -> None:
    from .show.render import console, table

    rows = [
        (
            "host" if n["core"] is None else f"core {n['core']}",
            " + ".join(n["groups"]),
            f"{n['messages']:,.2f}",
        )
        for n in neighbours[:_SHOWN]
    ]
    if len(neighbours) > _SHOWN:
        rest = neighbours[_SHOWN:]
        rows.append((f"{len(rest)} more", "", f"{sum(n['messages'] for n in rest):,.2f}"))
    total = sum(n["messages"] for n in neighbours)
    console().print(
        table(
            f"messages {title} others: {total:,.2f} per step", (title, "groups", "messages"), rows
        )
    )


def _x(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
