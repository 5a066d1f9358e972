"""The page as a whole: the verdict, pictures, tables, and what all of it rests on."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...plain import visible
from ..listing import Listing, compiled_listings, core_listing, run_listings
from ..pictures import Picture, all_pictures, sensitivity_pictures
from ..sight import Sight
from ..tables import CERTAINTIES, COUNTED, cores_text, judged, judged_on, sentence
from .certificate import certificate_panel
from .findings import findings_panels, fix_panel
from .library import vega
from .markup import contents, figures, folded, panel, script_data, soft, table
from .verdict import head

_FOLDER = Path(__file__).parent
_MISSING = (
    "Pictures are left out: what draws them is not installed where this page was written "
    '(pip install "snndeploy[report]"). The tables hold the same numbers.'
)


def html_page(
    compiled: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]] = (),
    *,
    sight: Sight | None = None,
    sensitivity: Mapping[str, Any] | None = None,
    name: str = "",
) -> str:
    """A page from the reports of a compilation and of any number of runs, as plain data.

    Args:
        compiled: the report of a compilation.
        runs: reports of runs.
        sight: what pictures show of the program (None: those are left out).
        sensitivity: the record of ``sensitivity``, for its curves.
        name: of the network (empty: it has none).
    """
    library = vega()
    pictures = () if library is None else all_pictures(compiled, runs, sight)
    if library is not None and sensitivity is not None:
        pictures = (*pictures, *sensitivity_pictures(sensitivity))
    if library is None or not pictures:
        library = ""
    parts = [
        "" if library or sight is None else soft(_MISSING),
        *_failed_first(compiled),
        *_compiled(compiled, pictures, sight),
        *(part for number, run in enumerate(runs) for part in _run(run, number, pictures)),
        *_seen(pictures),
        *([] if compiled["fits"] else findings_panels(compiled["findings"])[1:]),
        *(findings_panels(compiled["findings"]) if compiled["fits"] else []),
    ]
    if "certificate" in compiled:
        parts.append(certificate_panel(compiled["certificate"]))
    parts.append(_provenance(compiled))
    body = "".join(parts)
    body = f"{head(compiled, runs, name)}{contents(body)}{body}"
    title = f"{name} on {compiled['target']}" if name else str(compiled["target"])
    return page_around(visible(title), visible(body), library, pictures)


def page_around(title: str, body: str, library: str = "", pictures: Sequence[Picture] = ()) -> str:
    """The whole file around a body: its style, its scripts, what pictures show."""
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    scripts = [text for text in (library, (_FOLDER / "page.js").read_text("utf-8")) if text]
    hashes = " ".join(f"'sha256-{_digest(text)}'" for text in scripts)
    # Vega compiles its expressions; nothing but these scripts runs, and nothing is loaded.
    policy = (
        f"default-src 'none'; script-src {hashes}{' &#39;unsafe-eval&#39;' if library else ''}; "
        "style-src 'unsafe-inline'; img-src data:"
    )
    specs = script_data({one.name: one.whole() for one in pictures})
    data = f'<script type="application/json" id="pictures">{specs}</script>' if pictures else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>snndeploy: {escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{body}"
        f"<footer>Written by snndeploy {_version()}. Energies and times are estimates, and say what "
        f"they rest on.</footer></main>{data}{''.join(f'<script>{text}</script>' for text in scripts)}"
        "</body></html>\n"
    )


def _version() -> str:
    try:
        return version("snndeploy")
    except PackageNotFoundError:  # run from a folder
        return ""


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _of(pictures: Iterable[Picture], group: str, kind: str = "pair") -> str:
    return figures([one for one in pictures if one.group == group], kind)


def _failed_first(report: Mapping[str, Any]) -> Iterator[str]:
    """Where it does not fit, what breaks limits and what helps come before everything else."""
    if not report["fits"]:
        yield findings_panels(report["findings"])[0]
    yield fix_panel(report.get("fix"))


def _compiled(
    report: Mapping[str, Any], pictures: Sequence[Picture], sight: Sight | None
) -> Iterator[str]:
    tables = compiled_listings(report)
    yield panel("network", "The network", _of(pictures, "network", "one"))
    yield panel(
        "passes",
        "What compression bought",
        _of(pictures, "passes"),
        _table(tables, "passes", heading=False),
    )
    yield panel(
        "layers",
        "On the chip",
        _table(tables, "layers", heading=False),
        folded("What is counted", soft(COUNTED)),
        _table(tables, "synapses"),
        _table(tables, "time"),
    )
    mesh = _of(pictures, "mesh")
    cores = ""
    if sight is not None:
        listed = core_listing(sight.mesh.cores)
        cores = folded(f"Table of cores ({len(listed.rows):,})", table(listed, heading=False))
    told = soft(*map(sentence, cores_text({**report, "savings": None})))
    yield panel("cores", "Cores", told, mesh, cores)


def _table(tables: Mapping[str, Listing], name: str, *, heading: bool = True) -> str:
    return table(tables[name], heading=heading) if name in tables else ""


def _run(run: Mapping[str, Any], number: int, pictures: Sequence[Picture]) -> Iterator[str]:
    tables = run_listings(run)
    part = ", interrupted: not all of them" if run["partial"] else ""
    verification = run["verification"]
    verdict = verification["verdict"]["text"] if verification else ""
    mine = [one for one in pictures if one.name.split("-")[1:2] == [str(number)]]
    yield panel(
        f"run-{number}",
        f"Stages, on {judged_on(run)}{part}",
        soft(judged(run)),
        f'<div class="verdict">{escape(verdict)}</div>' if verdict else "",
        _table(tables, "stages", heading=False),
        _of(mine, "confusion"),
        short="Stages",
    )
    if verification:
        pairs = [
            tables[name]
            for name in ("-".join(p["stages"]) for p in verification["pairs"])
            if name in tables
        ]
        explained = (
            "Spikes the same: of the spikes of either stage, those of both. Rates: Pearson's r over "
            "neurons and samples. van Rossum: mean distance D per train, time constant "
            f"{verification['tau']:g} steps; relative: 0 for equal trains, 1 for nothing in common."
        )
        yield panel(f"pairs-{number}", "Layer by layer", soft(explained), *map(table, pairs))
        yield panel(
            f"registers-{number}",
            "Registers of the integer run",
            _table(tables, "registers", heading=False),
            short="Registers",
        )
    events = _table(tables, "events", heading=False)
    yield panel(f"events-{number}", "Events per sample", events, short="Events")
    notes = [
        f"<h3>{escape(name)}</h3><p>Not counted: {escape('; '.join(e['not_counted']))}.</p>"
        f'<p class="soft">From: {escape("; ".join(e["sources"]))}.</p>'
        for name, e in run["energy"].items()
    ]
    yield panel(
        f"energy-{number}",
        "Energy, estimated",
        _of(mine, "energy"),
        _table(tables, "energy", heading=False),
        folded("What each estimate leaves out, and where its numbers are from", *notes)
        if notes
        else "",
        short="Energy",
    )
    yield panel(f"bench-{number}", "NeuroBench", _table(tables, "neurobench", heading=False))


def _seen(pictures: Sequence[Picture]) -> Iterator[str]:
    rasters = _of(pictures, "rasters")
    told = "Some neurons of each layer that spike, in the first sample of the golden run."
    yield panel(
        "spikes",
        "Spikes, as trained and as compiled",
        _of(pictures, "spikes"),
        f"<h3>Rasters</h3>{soft(told)}{rasters}" if rasters else "",
        short="Spikes",
    )
    yield panel("codes", "Weight codes", _of(pictures, "codes", "many"))
    yield panel("sensitivity", "What each layer can lose", _of(pictures, "sensitivity"))


def _provenance(report: Mapping[str, Any]) -> str:
    rows = {
        "program": report["program"]["digest"],
        "network": report["network"]["digest"],
        "recipe": report["recipe"],
        "target": f"{report['target']} ({report['board']})",
        **report["network"]["notes"],
    }
    return panel(
        "provenance",
        "Where it comes from",
        folded("Digests and how it was read", _defined(rows)),
        folded("How sure a number is, from the surest word", _defined(CERTAINTIES)),
        short="Provenance",
    )


def _defined(rows: Mapping[Any, Any]) -> str:
    told = "".join(f"<dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd>" for k, v in rows.items())
    return f'<dl class="plain">{told}</dl>'
