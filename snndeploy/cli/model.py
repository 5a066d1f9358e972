"""Commands that look at a model: inspect, compile, check."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ..errors import DoesNotFit
from .options import compile_options, data_options, json_option, semantics_of, semantics_options

_model = click.argument("model", type=click.Path(path_type=Path))


@click.command()
@_model
@semantics_options
@json_option
def inspect(model: Path, as_json: bool, **options: Any) -> None:
    """Show what a NIR file holds, and how it will be read."""
    from ..ingest import read_network
    from ..ir.text import network_text
    from .render import print_json

    network = read_network(model, options["frontend"], **semantics_of(options))
    if as_json:
        print_json({"digest": network.digest, "notes": dict(network.notes),
                    "text": network_text(network).splitlines()})  # fmt: skip
        return
    click.echo(network_text(network), nl=False)
    for key, note in network.notes.items():
        click.echo(f"{key}: {note}")


@click.command("compile")
@_model
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Bundle (default: MODEL.snnb)."
)
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@compile_options
@data_options
@json_option
def compile_(model: Path, output: Path | None, force: bool, as_json: bool, **options: Any) -> None:
    """Compile a NIR file to a bundle: compress, lower to integers, place, check."""
    from ..pipeline import bundle_of, report_of, save_bundle
    from .options import compile_model
    from .render import print_compile_report, print_json

    output = output or Path(f"{model.stem}.snnb")
    compiled, samples = compile_model(model, options)
    report = report_of(compiled)
    if compiled.fits:
        save_bundle(output, bundle_of(compiled, samples), force=force)
    print_json(report) if as_json else print_compile_report(report)
    if not compiled.fits:
        _does_not_fit(report, as_json)
    click.echo(f"wrote {output}", err=True)


@click.command()
@_model
@compile_options
@data_options
@json_option
def check(model: Path, as_json: bool, **options: Any) -> None:
    """Check a NIR file or a bundle against a target's budgets: every violation at once."""
    from ..pipeline import check_bundle, report_of
    from .options import compile_model
    from .render import print_compile_report, print_json

    if model.is_dir():
        context = click.get_current_context()
        given = context.get_parameter_source("target") is not click.core.ParameterSource.DEFAULT
        report = check_bundle(model, options["target"] if given else None, options["board"])
    else:
        report = report_of(compile_model(model, options)[0])
    print_json(report) if as_json else print_compile_report(report)
    if not report["fits"]:
        _does_not_fit(report, as_json)
    if not as_json:
        click.echo(f"fits {report['target']} ({report['board']})")


def _does_not_fit(report: dict[str, Any], as_json: bool) -> None:
    """Leave with the exit code for it; the findings have been printed already."""
    errors = sum(f["severity"] == "error" for f in report["findings"])
    if not as_json:
        click.echo(
            f"error[does-not-fit]: {errors} violation(s) on {report['target']} ({report['board']}); "
            "no bundle was written",
            err=True,
        )
    sys.exit(DoesNotFit.exit_code)
