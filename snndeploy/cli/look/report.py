"""The report of a bundle: on a terminal, as a page, as tables, as pictures, and beside another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InputError, UsageError, did_you_mean
from ..options import admitted, json_option
from ..show.help import command
from .outputs import AddedFiles
from .pages import page_option, refuse_html, write_html

if TYPE_CHECKING:
    from ...report import Listing, Picture


@command(example="snndeploy report model.snnb --html model.html")
@click.argument(
    "bundles",
    type=click.Path(path_type=Path),
    nargs=-1,
    required=True,
    metavar="BUNDLE | diff BUNDLE BUNDLE",
)
@click.option(
    "--run",
    "runs",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="What simulate or verify printed with --json, to show too; may be repeated.",
)
@click.option(
    "--sensitivity",
    "sensitivity_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What sensitivity printed with --json, for its curves.",
)
@page_option
@click.option(
    "--csv",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write every table as a .csv file in this folder, too.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE.svg|.png",
    help="Write every picture, too: FILE-network.svg and so on.",
)
@click.option("--picture", metavar="NAME", help="Of the pictures, write this one alone, as --plot.")
@click.option(
    "--names",
    "names_file",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help='What layers are called in pages, tables and pictures: "4" = "conv2", a line each.',
)
@click.option("--force", is_flag=True, help="Replace existing files.")
@json_option
def report(
    bundles: tuple[Path, ...],
    runs: tuple[Path, ...],
    sensitivity_file: Path | None,
    html: Path | None,
    csv: Path | None,
    plot: Path | None,
    picture: str | None,
    names_file: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Show what the compiler said about a bundle, and what runs of it gave.

    With the word diff and two bundles: what changed from the first to the second, and what it cost.
    """
    from ...pipeline import described_report, pictures_of, tables_of
    from ...pipeline.accounts.recorded import stored_report
    from ...report import refuse_format, tables_record
    from ..show.render import print_compile_report, print_json
    from ..show.render_runs import print_run_report

    if picture is not None and plot is None:
        raise UsageError(
            "picture-nowhere", "--picture names one of --plot", hint="add --plot FILE.svg"
        )
    if str(bundles[0]) == "diff" and len(bundles) == 3:
        idle = (*runs, *filter(None, (sensitivity_file, html, plot, names_file)))
        if idle:
            raise UsageError(
                "diff-options", "a diff has tables alone", hint="--csv and --json show it"
            )
        _diff(bundles[1], bundles[2], AddedFiles(csv, "--csv", force=force), as_json)
        return
    if len(bundles) != 1:
        raise UsageError(
            "report-bundles",
            f"{len(bundles)} bundles were named",
            hint="one bundle, or: snndeploy report diff BUNDLE BUNDLE",
        )
    (bundle,) = bundles
    refuse_html(html, force)
    listed = AddedFiles(csv, "--csv", force=force)
    drawn = AddedFiles(None if plot is None else plot.parent, "--plot", force=force)
    if plot is not None:
        refuse_format(plot.suffix)
    admitted(bundle)
    data = described_report(bundle)
    read = [_read_run(path) for path in runs]
    curves = None if sensitivity_file is None else _read_sensitivity(sensitivity_file)
    names = {} if names_file is None else _read_names(names_file)
    tables = {} if csv is None and not as_json else tables_of(bundle, read, names=names)
    listed.make(_csv_files(tables))
    if plot is not None:
        found = pictures_of(bundle, read, sensitivity=curves, names=names)
        drawn.make(_picture_files(plot, picture, found))
    write_html(html, bundle, read, force=force, report=data, sensitivity=curves, names=names)
    listed.write()
    drawn.write()
    if as_json:
        shown = {**data, "tables": tables_record(list(tables.values()))}
        print_json({**shown, "runs": read} if read else shown)
        return
    with stored_report(str(bundle)):
        print_compile_report(data)
    for path, run in zip(runs, read, strict=True):
        with stored_report(str(path)):
            print_run_report(run)


def _diff(a: Path, b: Path, listed: AddedFiles, as_json: bool) -> None:
    """Print what changed, and what it cost on the first one's golden inputs."""
    from ...pipeline import difference_of
    from ...plain import one_line, plain_data
    from ...report import tables_record
    from ..show.render import console, print_json, table

    found = difference_of(a, b)
    tables, same = found["tables"], found["same_inputs"]
    listed.make(_csv_files(tables))
    listed.write()
    if as_json:
        print_json(
            {"a": str(a), "b": str(b), **tables_record(list(tables.values())), "same_inputs": same}
        )
        return
    out = console()
    for one in tables.values():
        columns, rows = [c.title for c in one.columns], one.texts()
        out.print(table(one.title, columns, plain_data(rows)))
        out.print()
    if same is None:
        out.print("they take other inputs: nothing was run on both")
        return
    least = min(same["match"].items(), key=lambda item: item[1], default=None)
    part = (
        ""
        if least is None
        else f"; of the spikes of {one_line(least[0])}, the least alike, {least[1]:.1%} are"
    )
    out.print(
        f"on the golden inputs of A, {same['alike']} of {same['samples']} answers are the same{part}",
        highlight=False,
    )


def _csv_files(tables: Mapping[str, Listing]) -> dict[str, Callable[[], str]]:
    return {f"{name}.csv": one.csv for name, one in tables.items()}


def _picture_files(
    plot: Path, only: str | None, found: Mapping[str, Picture]
) -> dict[str, Callable[[], bytes]]:
    """How to draw every picture, or the ``only`` one, by the name of its file."""
    from ...report import picture_file

    if only is not None and only not in found:
        raise UsageError(
            "picture-unknown",
            f"there is no picture {only!r} of it",
            where="--picture",
            hint=did_you_mean(only, found),
        )
    drawn = {f"{plot.stem}-{name}{plot.suffix}": one for name, one in found.items()}
    drawn = drawn if only is None else {plot.name: found[only]}
    return {name: partial(picture_file, one, plot.suffix) for name, one in drawn.items()}


_RUN_KEYS = {
    "samples",
    "steps",
    "accuracy",
    "predictions",
    "comparisons",
    "activity",
    "energy",
    "neurobench",
    "verification",
    "partial",
}


_SENSITIVITY_KEYS = {"points", "accuracy", "samples"}


def _read_run(path: Path) -> dict[str, Any]:
    """A run report from a file.

    Raises:
        InputError: it is none.
    """
    run, problem = _read(path, _RUN_KEYS)
    if run is not None:
        return run
    raise InputError(
        "run-unreadable",
        f"this is no report of a run ({problem})",
        where=str(path),
        hint="save what simulate or verify prints with --json",
    )


def _read_sensitivity(path: Path) -> dict[str, Any]:
    """What ``sensitivity --json`` printed.

    Raises:
        InputError: it is something else.
    """
    found, problem = _read(path, _SENSITIVITY_KEYS)
    if found is not None:
        return found
    raise InputError(
        "sensitivity-unreadable",
        f"this is no result of sensitivity ({problem})",
        where=str(path),
        hint="save what sensitivity prints with --json",
    )


def _read_names(path: Path) -> dict[str, str]:
    """Names by what things are called in the bundle.

    Raises:
        InputError: it is no TOML file of names.
    """
    from ... import toml
    from ...files import Unreadable, read_text
    from ...limits import current

    try:
        names = toml.loads(read_text(path, current().text))
        if all(isinstance(name, str) and name for name in names.values()):
            return names
        problem = "a name is no text"
    except (Unreadable, ValueError) as error:
        problem = str(error)
    raise InputError(
        "names-unreadable",
        f"this is no file of names ({problem})",
        where=str(path),
        hint='a line for each layer: "4" = "conv2"',
    )


def _read(path: Path, keys: set[str]) -> tuple[dict[str, Any] | None, str]:
    """A JSON object with all of ``keys``, or what is wrong with it."""
    import json

    from ...files import Unreadable, read_text
    from ...limits import current

    try:
        found = json.loads(read_text(path, current().memory))
        if found.keys() >= keys:
            return dict(found), ""
    except (Unreadable, ValueError, AttributeError, RecursionError) as error:
        return None, str(error)
    return None, "it lacks what such a report holds"
