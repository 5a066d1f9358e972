"""Pages, tables and pictures of what was compiled, whether it is in memory or in a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...bundle import Bundle
from ...report import (
    Listing,
    Picture,
    Sight,
    all_pictures,
    check_names,
    compiled_listings,
    core_listing,
    diff_listings,
    html_page,
    renamed_record,
    renamed_sight,
    run_listings,
    sensitivity_pictures,
    sight_of,
)
from ..accounts.recorded import stored_report
from ..bundles import certificate_of, report_of
from ..compiled import Compiled, Loaded
from ..opening import open_bundle
from ..programs import loaded_report
from .differences import same_inputs_record

Described = Path | Compiled | Loaded
"""What a page is of: the place of a bundle, or what was compiled or placed just now."""


def described_report(described: Described | Bundle) -> dict[str, Any]:
    """The report of what was compiled; of a bundle's place, with its certificate."""
    match described:
        case Path():
            bundle = open_bundle("report", described)
            return {**bundle.report, "certificate": certificate_of(described)}
        case Bundle():
            return dict(described.report)
        case Compiled():
            return report_of(described)
        case Loaded():
            return loaded_report(described)


def seen(described: Described | Bundle) -> Sight:
    """What pictures show of it."""
    if isinstance(described, Path):
        described = open_bundle("report", described)
    golden = described.golden if isinstance(described, Bundle) else {}
    return sight_of(
        described.program, described.placement, described.target, described.networks, golden
    )


def page_of(
    described: Described | Bundle,
    runs: Sequence[Mapping[str, Any]] = (),
    *,
    report: Mapping[str, Any] | None = None,
    sensitivity: Mapping[str, Any] | None = None,
    names: Mapping[str, str] = MappingProxyType({}),
    placed: bool = True,
    name: str = "",
) -> str:
    """The page of what was compiled and of runs of it, as HTML that needs nothing else.

    Args:
        described: a bundle, its place, or what was compiled.
        runs: reports of runs.
        report: of the compilation, where it is at hand.
        sensitivity: the record of ``sensitivity``, for its curves.
        names: what layers and projections are called instead.
        placed: whether the report is of this placement, and not of a bundle placed anew.
        name: what the network is called (empty: as the file of the bundle).

    Raises:
        InputError: the bundle or its records cannot be read.
        UsageError: ``names`` names what is not there.
    """
    with stored_report(_where(described)):
        told, runs, sight = _shown(described, runs, names, report)
        name = name or (described.stem if isinstance(described, Path) else "")
        sensitivity = None if sensitivity is None else renamed_record(sensitivity, names)
        return html_page(
            told, runs, sight=sight if placed else None, sensitivity=sensitivity, name=name
        )


def _where(described: Described | Bundle) -> str:
    return str(described) if isinstance(described, Path) else ""


def _shown(
    described: Described | Bundle,
    runs: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
    report: Mapping[str, Any] | None = None,
) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]], Sight]:
    """Reports and what is drawn, under the names that were asked for."""
    told, sight = described_report(described) if report is None else report, seen(described)
    if not names:
        return told, runs, sight
    check_names(names, told, "names")
    renamed = [renamed_record(run, names) for run in runs]
    return renamed_record(told, names), renamed, renamed_sight(sight, names)


def tables_of(
    described: Described | Bundle,
    runs: Sequence[Mapping[str, Any]] = (),
    *,
    names: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Listing]:
    """Every table of its page by name; those of the second run are called ``…-2``, and so on."""
    with stored_report(_where(described)):
        told, runs, sight = _shown(described, runs, names)
        found = compiled_listings(told)
        cores = core_listing(sight.mesh.cores)
        found[cores.name] = cores
        for number, run in enumerate(runs):
            more = f"-{number + 1}" if number else ""
            found |= {f"{name}{more}": table for name, table in run_listings(run).items()}
        return found


def pictures_of(
    described: Described | Bundle,
    runs: Sequence[Mapping[str, Any]] = (),
    *,
    sensitivity: Mapping[str, Any] | None = None,
    names: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Picture]:
    """Every picture of its page, by name."""
    with stored_report(_where(described)):
        told, runs, sight = _shown(described, runs, names)
        curves: Iterable[Picture] = ()
        if sensitivity is not None:
            curves = sensitivity_pictures(renamed_record(sensitivity, names))
        return {one.name: one for one in (*all_pictures(told, runs, sight), *curves)}


def difference_of(a: str | Path | Bundle, b: str | Path | Bundle) -> dict[str, Any]:
    """What changed from one bundle to another, and what it cost, as plain data.

    Returns:
        ``tables`` (``figures`` and ``layers``), and ``same_inputs``: how both do on the golden inputs of
        the first (None where the second takes others).

    Raises:
        InputError: one cannot be read.
    """
    one, other = open_bundle("report", a), open_bundle("report", b)
    with stored_report(f"{a} and {b}" if not isinstance(a, Bundle) else ""):
        tables = diff_listings(one.report, other.report)
    return {"tables": tables, "same_inputs": same_inputs_record(one, other)}
