"""Commands that look at a model: inspect, compile, check."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from ..errors import DoesNotFit, UsageError
from .options import (
    compile_options,
    data_options,
    json_option,
    refuse_network_options,
    semantics_of,
    semantics_options,
)

_model = click.argument("model", type=click.Path(path_type=Path))


@click.command()
@_model
@click.option("--groups", is_flag=True, help="Also show which kernels can only go together.")
@semantics_options
@json_option
def inspect(model: Path, groups: bool, as_json: bool, **options: Any) -> None:
    """Show what a model file holds, how it will be read, and what its exporter lost."""
    from ..ingest import read_model, read_netx
    from ..pipeline import holds_program, inspect_program, inspect_report
    from .show.render import print_inspection, print_json

    if holds_program(model):
        refuse_network_options(model)
        report = inspect_program(read_netx(model), str(model))
    else:
        reading = read_model(model, options["frontend"], **semantics_of(options))
        report = inspect_report(reading, groups=groups)
    print_json(report) if as_json else print_inspection(report)


@click.command("compile")
@_model
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Bundle (default: MODEL.snnb)."
)
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@click.option(
    "--locked",
    type=click.Path(path_type=Path),
    metavar="LOCK.toml",
    help="Make the very program of this lock again, or say what is different.",
)
@compile_options
@data_options
@json_option
def compile_(
    model: Path,
    output: Path | None,
    force: bool,
    locked: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compile a NIR or .net file to a bundle: compress, lower to integers, place, check."""
    from ..bundle import refuse_existing
    from ..pipeline import (
        bundle_of,
        holds_program,
        loaded_bundle,
        loaded_report,
        place_file,
        report_of,
        save_bundle,
    )
    from .options import compile_locked, compile_model, samples_of
    from .show.render import print_compile_report, print_json

    output = output or Path(f"{model.stem}.snnb")
    refuse_existing(output, force)
    if holds_program(model):
        refuse_network_options(model)
        if locked is not None:
            raise UsageError(
                "program-option",
                "--locked is about trained networks, and this file holds Loihi's integers",
                where=str(model),
                hint="leave --locked out",
            )
        loaded = place_file(model, options["target"], options["board"])
        samples = samples_of(options, loaded.program.groups[0].shape)
        fits, report = loaded.fits, loaded_report(loaded)
        bundle = loaded_bundle(loaded, samples) if fits else None
    else:
        if locked is None:
            compiled, samples = compile_model(model, options)
        else:
            compiled, samples = compile_locked(model, locked, options)
        fits, report = compiled.fits, report_of(compiled)
        bundle = bundle_of(compiled, samples) if fits else None
    if bundle is not None:
        save_bundle(output, bundle, force=force)
    print_json(report) if as_json else print_compile_report(report)
    if not fits:
        _does_not_fit(report, as_json)
    click.echo(f"wrote {output}", err=True)


@click.command()
@_model
@compile_options
@data_options
@click.option(
    "--fix",
    "fix_path",
    type=click.Path(path_type=Path),
    metavar="OUT.toml",
    help="Write the recipe that makes it fit.",
)
@click.option("--force", is_flag=True, help="Replace an existing recipe.")
@json_option
def check(model: Path, fix_path: Path | None, force: bool, as_json: bool, **options: Any) -> None:
    """Check a NIR file or a bundle against a target's budgets: every violation at once.

    With --fix, the changes that the violations suggest become a recipe, and that recipe is tried.
    """
    from ..pipeline import (
        check_bundle,
        fix_bundle,
        fix_model,
        fix_record,
        holds_program,
        loaded_report,
        place_file,
        refuse_place,
        report_of,
        write_text,
    )
    from .options import compile_model
    from .show.plain import stored_report
    from .show.render import print_compile_report, print_fix, print_json

    if fix_path is not None:
        refuse_place(fix_path, force, option="--fix", suffix=".toml")
    fixing = None
    if model.is_dir():
        context = click.get_current_context()
        given = context.get_parameter_source("target") is not click.core.ParameterSource.DEFAULT
        target = options["target"] if given else None
        with stored_report(str(model)):
            report = check_bundle(model, target, options["board"])
            _ = [report[key] for key in ("fits", "findings", "target", "board")]
        if fix_path is not None:
            fixing = fix_bundle(model, target, options["board"])
    elif holds_program(model):
        refuse_network_options(model)
        if fix_path is not None:
            raise UsageError(
                "program-option",
                "--fix writes a recipe for a trained network, and this file holds Loihi's integers",
                where=str(model),
                hint="leave --fix out",
            )
        report = loaded_report(place_file(model, options["target"], options["board"]))
    else:
        compiled = compile_model(model, options)[0]
        report = report_of(compiled)
        if fix_path is not None:
            fixing = fix_model(
                compiled, lambda recipe: compile_model(model, {**options, "recipe": recipe})[0]
            )
    if fixing is not None:
        report["fix"] = fix_record(fixing)
        if fixing.recipe is not None and fix_path is not None:
            write_text(fix_path, fixing.recipe.to_toml(), force=force, option="--fix")
    if as_json:
        print_json(report)
    else:
        with stored_report(str(model)) if model.is_dir() else nullcontext():
            print_compile_report(report)
    if fixing is not None and not as_json:
        print_fix(report, str(fix_path))
    if not report["fits"] and (fixing is None or fixing.recipe is None):
        _does_not_fit(report, as_json)
    if report["fits"] and not as_json:
        click.echo(f"fits {report['target']} ({report['board']})")


def _does_not_fit(report: dict[str, Any], as_json: bool) -> None:
    """Leave with the exit code for it; the findings have been printed already."""
    errors = sum(f["severity"] == "error" for f in report["findings"])
    if not as_json:
        click.echo(
            f"error[does-not-fit]: {errors} violation(s) on {report['target']} ({report['board']}); "
            "nothing was written",
            err=True,
        )
    sys.exit(DoesNotFit.exit_code)
