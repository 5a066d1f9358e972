"""Commands that look at a model: init, inspect, compile, check, compare."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import DoesNotFit
from .look.pages import html_option, page_option, refuse_html, save_page, write_html
from .options import (
    admitted,
    cluster_option,
    compile_options,
    data_options,
    given_options,
    json_option,
    resume_options,
    semantics_of,
    semantics_options,
)
from .show.help import command
from .show.telling import INTERRUPTED, aside, say

if TYPE_CHECKING:
    from ..pipeline import Compiled, Loaded


def _read_ahead(context: click.Context, _parameter: click.Parameter, model: Path) -> Path:
    """A file is read in another process while this one imports what works on it."""
    from ..files.hdf5 import NIR, begin_reading

    completes = context.resilient_parsing  # a shell, which reads none
    if not completes and model.suffix != ".net":
        begin_reading(model, NIR)
    return model


_model = click.argument("model", type=click.Path(path_type=Path), callback=_read_ahead)
_objective = click.option(
    "--objective",
    type=click.Choice(["speed", "cores"]),
    default="speed",
    show_default=True,
    help="Spread slices over cores of their own while there are enough, or take the fewest cores.",
)


@command(example="snndeploy init model.nir")
@_model
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Recipe (default: MODEL.toml, beside the model).",
)
@click.option("--force", is_flag=True, help="Replace an existing recipe.")
@semantics_options
@json_option
def init(model: Path, output: Path | None, force: bool, as_json: bool, **options: Any) -> None:
    """Look at a model, write a commented recipe for it, and say what to run next."""
    from ..ingest import read_model
    from ..pipeline import refuse_place, write_text
    from ..pipeline.advise.beginning import first_recipe, next_commands
    from ..report import finding_record
    from .show.render import print_findings, print_json

    output = output or model.with_suffix(".toml")
    admitted(model)
    refuse_place(output, force, suffix=".toml")
    reading = read_model(model, options["frontend"], **semantics_of(options))
    network = reading.network
    commands = next_commands(model, output, _spelled(options))
    if as_json:
        write_text(output, first_recipe(network, model), force=force, option="-o")
        record = {
            "recipe": str(output),
            "read_as": reading.described(),
            "populations": len(network.populations),
            "projections": len(network.projections),
            "findings": list(map(finding_record, reading.findings)),
            "next": [{"command": text, "why": why} for text, why in commands],
        }
        print_json(record)
        return
    say(
        f"{model}: {len(network.populations)} populations, {len(network.projections)} "
        f"projections, read as {reading.described()}"
    )
    print_findings([f for f in map(finding_record, reading.findings) if f["severity"] != "note"])
    write_text(output, first_recipe(network, model), force=force, option="-o")
    say(f"wrote {output}, a recipe to edit; next, with your own samples as val.npz:\n")
    for text, why in commands:
        say(f"  {text}\n      {why}")


def _spelled(options: dict[str, Any]) -> str:
    """Options of the running command, as the user gave them."""
    words: list[str] = []
    for name, word in given_options(click.get_current_context()).items():
        value = options.get(name)
        if value is True:
            words.append(word)
        elif value is not None:
            values = value if isinstance(value, tuple) else (value,)
            words += [part for one in values for part in (word, str(one))]
    return shlex.join(words)


@command(example="snndeploy inspect model.nir")
@_model
@click.option("--groups", is_flag=True, help="Also show which kernels can only go together.")
@semantics_options
@json_option
def inspect(model: Path, groups: bool, as_json: bool, **options: Any) -> None:
    """Show what a model file (or a bundle) holds, how it will be read, and what its exporter lost."""
    from ..bundle import read_bundle
    from ..ingest import read_model, read_netx
    from ..pipeline import inspect_program, inspect_report
    from ..pipeline.stakes.assumptions import weighed
    from .show.render import print_inspection, print_json

    kind = admitted(model)
    if kind == "netx":
        report = inspect_program(read_netx(model), str(model))
    elif kind == "bundle":
        report = inspect_program(read_bundle(model).program, str(model))
    else:
        reading = read_model(model, options["frontend"], **semantics_of(options))
        reading = dataclasses.replace(reading, network=weighed(reading))
        report = inspect_report(reading, groups=groups)
    print_json(report) if as_json else print_inspection(report)


@command("compile", example="snndeploy compile model.nir -t loihi2 -d val.npz")
@_model
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Bundle (default: MODEL.snnb, beside the model).",
)
@page_option
@click.option("--force", is_flag=True, help="Replace an existing bundle, and an existing page.")
@click.option(
    "--for",
    "layout",
    type=click.Choice(["chip", "netx"]),
    default="chip",
    show_default=True,
    help="What is to hold the integers; netx: a .net file, too.",
)
@click.option(
    "--locked",
    type=click.Path(path_type=Path),
    metavar="LOCK.toml",
    help="Make the very program of this lock again, or say what is different.",
)
@compile_options
@_objective
@resume_options
@cluster_option
@data_options
@json_option
def compile_(
    model: Path,
    output: Path | None,
    html: Path | None,
    force: bool,
    locked: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Compile a NIR or .net file to a bundle: compress, lower to integers, place, check."""
    from ..bundle import refuse_existing
    from ..data import input_shapes
    from ..export.netx import refuse_network
    from ..ingest import read_network
    from ..pipeline import (
        bundle_of,
        loaded_bundle,
        loaded_report,
        place_file,
        report_of,
        save_certified,
    )
    from .options import compile_locked, compile_model, samples_of, semantics_of
    from .show.render import print_compile_report, print_json

    output = output or model.with_suffix(".snnb")
    kind = admitted(model)
    refuse_existing(output, force)
    refuse_html(html, force)
    if kind == "netx":
        loaded = place_file(
            model,
            options["target"],
            options["board"],
            options["compare"],
            objective=options["objective"],
            starts=options["starts"],
        )
        samples = samples_of(options, input_shapes(loaded.program))
        fits, report = loaded.fits, loaded_report(loaded)
        described: Compiled | Loaded = loaded
        bundle = loaded_bundle(loaded, samples) if fits else None
    else:
        if options["layout"] == "netx":
            refuse_network(read_network(model, options["frontend"], **semantics_of(options)))
        if locked is None:
            compiled, samples = compile_model(model, {**options, "tell_all": True})
        else:
            compiled, samples = compile_locked(model, locked, options)
        fits, described = compiled.fits, compiled
        bundle = bundle_of(compiled, samples) if fits else None
        report = report_of(compiled) if bundle is None else dict(bundle.report)
    if bundle is not None:
        report = {**report, "certificate": save_certified(output, bundle, force=force)}
    shown, name = (described, model.stem) if bundle is None else (output, output.stem)
    write_html(html, shown, force=force, report=report, name=name)
    print_json(report) if as_json else print_compile_report(report)
    if not fits:
        _does_not_fit(report, as_json, "; no bundle was written", fixable=kind != "netx")
    say(f"wrote {output}", err=True)


@command(example="snndeploy check model.nir -t loihi1")
@_model
@compile_options
@_objective
@data_options
@click.option(
    "--fix",
    "fix_path",
    type=click.Path(path_type=Path),
    metavar="OUT.toml",
    help="Write the recipe that makes it fit.",
)
@click.option(
    "--fix-seconds",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="How long --fix looks for something better than the first recipe that fits.",
)
@click.option(
    "--try-seconds",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="How long it is tried what would help against violations, the worst first.",
)
@page_option
@click.option("--force", is_flag=True, help="Replace an existing recipe, and an existing page.")
@json_option
def check(
    model: Path,
    fix_path: Path | None,
    fix_seconds: float,
    html: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Check a NIR file, a .net file or a bundle against a target's budgets: every violation at once.

    With --fix, changes that may fit become recipes, and these are tried: with --data the one that keeps
    most answers is written, without the one with the least membrane error.
    """
    from ..pipeline import (
        certificate_of,
        check_bundle,
        fix_bundle,
        fix_model,
        fix_record,
        loaded_report,
        place_file,
        refuse_place,
        report_of,
        write_text,
    )
    from ..pipeline.accounts.recorded import stored_report
    from .options import compile_model
    from .show.render import print_compile_report, print_fix, print_json

    if fix_path is not None:
        refuse_place(fix_path, force, option="--fix", suffix=".toml")
    refuse_html(html, force)
    described: Path | Compiled | Loaded = model
    placed = True
    fixing = None
    kind = admitted(model)
    if kind == "bundle":
        given = given_options(click.get_current_context())
        target = options["target"] if "target" in given else None
        objective = options["objective"] if "objective" in given else None
        with stored_report(str(model)):
            placed = (target, options["board"], objective) == (None, None, None)
            report = check_bundle(model, target, options["board"], objective)
            _ = [report[key] for key in ("fits", "findings", "target", "board")]
        report["certificate"] = certificate_of(model)
        if fix_path is not None:
            fixing = fix_bundle(model, target, options["board"])
    elif kind == "netx":
        described = place_file(
            model,
            options["target"],
            options["board"],
            options["compare"],
            objective=options["objective"],
            starts=options["starts"],
        )
        report = loaded_report(described)
    else:
        compiled, samples = compile_model(model, {**options, "tell_all": True})
        described, report = compiled, report_of(compiled)
        if fix_path is not None:
            fixing = fix_model(
                compiled,
                lambda recipe: compile_model(model, {**options, "recipe": recipe})[0],
                samples,
                seconds=fix_seconds,
                tell=lambda text: aside(f"fix: {text}"),
            )
    if fixing is not None:
        report["fix"] = fix_record(fixing)
        if fixing.recipe is not None and fix_path is not None:
            write_text(fix_path, fixing.recipe.to_toml(), force=force, option="--fix")
    write_html(html, described, force=force, report=report, placed=placed, name=model.stem)
    if as_json:
        print_json(report)
    else:
        with stored_report(str(model)) if kind == "bundle" else nullcontext():
            print_compile_report(report)
    if fixing is not None and not as_json:
        print_fix(report, str(fix_path))
    if fixing is not None and fixing.partial:
        say("interrupted: this is what was found until then", err=True)
        sys.exit(INTERRUPTED)
    if not report["fits"] and (fixing is None or fixing.recipe is None):
        _does_not_fit(report, as_json, fixable=fixing is None and kind != "netx")


def _does_not_fit(
    report: dict[str, Any], as_json: bool, therefore: str = "", *, fixable: bool
) -> None:
    """Leave with the exit code for it; the findings have been printed already."""
    errors = sum(f["severity"] == "error" for f in report["findings"])
    if not as_json:
        say(
            f"error[does-not-fit]: {errors} violation(s) on {report['target']} ({report['board']})"
            + therefore,
            err=True,
        )
        if fixable:
            say("  next: snndeploy check … --fix FILE.toml looks for a recipe that fits", err=True)
    sys.exit(DoesNotFit.exit_code)


@command(example="snndeploy compare model.nir --targets loihi1,loihi2,xylo-a2 -d val.npz")
@_model
@click.option(
    "--targets",
    default="loihi1,loihi2,xylo-a2",
    show_default=True,
    help="Names or .toml files, separated by commas.",
)
@click.option(
    "-r",
    "--recipe",
    default="default",
    show_default=True,
    help="Name or .toml file of a recipe; 'none' for no compression.",
)
@semantics_options
@data_options
@html_option
@json_option
def compare(
    model: Path,
    targets: str,
    recipe: str,
    html: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Compile a network for several chips: what fits, what it takes, how often it answers right."""
    from ..pipeline.advise.choosing import compare_targets
    from .options import admitted, read_weighed
    from .show.render import console, print_json, table

    refuse_html(html, force)
    admitted(model)
    network, samples = read_weighed(model, options)
    names = [name.strip() for name in targets.split(",") if name.strip()]
    chosen = None if recipe == "none" else recipe
    found = compare_targets(network, names, recipe=chosen, samples=samples)
    records = [c.record() for c in found]
    if html is not None:
        from ..report import comparison_page

        save_page(html, comparison_page(model.name, records), force=force)
    if as_json:
        print_json(records)
        return
    rows = [
        (
            c.target,
            c.answer,
            "" if c.cores is None else f"{c.cores} of {c.board_cores}",
            _range(c.step_ns, 1e-3),
            _range(c.energy_nj, 1e-3),
            "" if c.accuracy is None else f"{c.accuracy:.1%}",
            ", ".join(c.why),
        )
        for c in found
    ]
    head = ("target", "answer", "cores", "step, us", "sample, uJ", "accuracy", "because")
    console().print(table("targets", head, rows))
    trained = next((c.trained for c in found if c.trained is not None), None)
    if trained is not None:
        say(f"as trained: {trained:.1%}")
    for c in found:
        for text in c.told:
            say(f"{c.target}: {text}")


def _range(ends: tuple[float, float] | None, unit: float) -> str:
    from ..report import span

    return "" if ends is None else span(ends[0] * unit, ends[1] * unit, ",.3g")
