"""The page of one network on several chips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ...plain import visible
from ..listing import CellValue, Column, Listing
from .document import page_around
from .markup import panel, soft, table

_COLUMNS = (
    Column(key="target", title="target"),
    Column(key="answer", title="answer"),
    Column(key="used", title="of its cores", form="bar"),
    Column(key="cores", title="cores"),
    Column(key="step_us", title="step, µs", form=",.3g"),
    Column(key="energy_uj", title="sample, µJ", form=",.3g"),
    Column(key="accuracy", title="accuracy", form=".1%"),
    Column(key="why", title="because"),
)


def comparison_page(name: str, records: Sequence[Mapping[str, Any]]) -> str:
    """A page from what became of a network on each chip.

    Args:
        name: of the network.
        records: a `snndeploy.pipeline.advise.choosing.TargetAnswer` for each chip, as plain data.
    """
    fitting = [str(r["target"]) for r in records if r["answer"] == "fits"]
    trained = next((r["trained"] for r in records if r["trained"] is not None), None)
    notes = [] if trained is None else [f"As trained, {trained:.1%} of the answers are right."]
    notes.append("Steps and energies are estimates, from low to high, of different chips' sources.")
    listing = Listing(
        name="targets",
        title="On each chip",
        columns=_COLUMNS,
        rows=tuple(map(_row, records)),
        notes=tuple(notes),
    )
    verdict = f"fits {', '.join(fitting)}" if fitting else "fits none of them"
    kind = "ok" if fitting else "error"
    head = (
        f'<header><p class="badge {kind}"><b class="{kind}">{escape(verdict)}</b></p>'
        f"<h1>{escape(name)} on {len(records)} chip{'s'[: len(records) != 1]}</h1></header>"
    )
    told = (
        panel(f"told-{i}", f"{r['target']}: {r['answer']}", soft(*r["told"]))
        for i, r in enumerate(records)
        if r["told"]
    )
    body = "".join((head, panel("targets", listing.title, table(listing, heading=False)), *told))
    return page_around(visible(name), visible(body))


def _row(record: Mapping[str, Any]) -> tuple[CellValue, ...]:
    cores, board = record["cores"], record["board_cores"]
    return (
        record["target"],
        record["answer"],
        None if not board or cores is None else cores / board,
        None if cores is None else f"{cores:,} of {board:,}",
        _scaled(record["step_ns"]),
        _scaled(record["energy_nj"]),
        record["accuracy"],
        ", ".join(record["why"]),
    )


def _scaled(ends: Sequence[float] | None) -> tuple[float, float] | None:
    """A range in thousands."""
    return None if ends is None else (ends[0] / 1e3, ends[1] / 1e3)
