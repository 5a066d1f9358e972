"""Commands that run a program: simulate, verify, report, demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ..errors import VerificationFailed
from .options import compile_options, data_options, json_option

_ENGINES = ("float", "integer", "lava")


def _engines(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """Parse a comma-separated list of engines."""
    from ..errors import did_you_mean

    del context, parameter
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    for name in names:
        if name not in _ENGINES:
            raise click.BadParameter(f"there is no engine {name!r}; {did_you_mean(name, _ENGINES)}")
    return names


def _leave_if_partial(report: dict[str, Any]) -> None:
    """After Ctrl-C: what was done has been printed, the exit code says that it is not all."""
    if report["partial"]:
        click.echo(f"interrupted after {report['samples']} samples", err=True)
        sys.exit(130)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-e", "--engine", "engines", default="integer", show_default=True, callback=_engines,
    help="float, integer, lava; several by commas.",
)  # fmt: skip
@compile_options
@data_options
@json_option
def simulate(model: Path, engines: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Run samples on a NIR file (compiled on the way) or a bundle."""
    from ..pipeline import run_bundle, run_compiled
    from .options import compile_model, required, samples_of
    from .progress import progress_bar
    from .render import print_json, print_run_report

    with progress_bar(", ".join(engines)) as progress:
        if model.is_dir():
            report = run_bundle(
                model, engines, lambda shape: required(samples_of(options, shape)), progress
            )
        else:
            compiled, samples = compile_model(model, options)
            report = run_compiled(compiled, required(samples), engines, progress)
    print_json(report) if as_json else print_run_report(report)
    _leave_if_partial(report)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--engines", default="integer,lava", show_default=True, callback=_engines,
    help="Engines that must agree.",
)  # fmt: skip
@data_options
@json_option
def verify(bundle: Path, engines: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Check that a bundle does what it promises: its own golden run, or --data, on every engine."""
    from ..pipeline import verify_bundle
    from .options import samples_of
    from .progress import progress_bar
    from .render import print_json, print_run_report

    with progress_bar("verify") as progress:
        report = verify_bundle(bundle, engines, lambda shape: samples_of(options, shape), progress)
    print_json(report) if as_json else print_run_report(report)
    _leave_if_partial(report)
    if report["placement"]:
        first = report["placement"][0]
        raise VerificationFailed(
            "placement-differs", f"its placement is not its program: {first['where']}: "
            f"{first['message']}", where=str(bundle), hint="compile it again",
        )  # fmt: skip
    differing = [c for c in report["comparisons"] if not c["equal"]]
    if differing:
        names = ", ".join(" and ".join(c["engines"]) for c in differing)
        raise VerificationFailed(
            "spikes-differ", f"{names} do not agree spike for spike", where=str(bundle),
            hint="the first difference of each layer is listed above",
        )  # fmt: skip
    if not as_json:
        click.echo("verified: every spike is the same")


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@json_option
def report(bundle: Path, as_json: bool) -> None:
    """Show what the compiler said about a bundle."""
    from ..bundle import read_bundle
    from .render import print_compile_report, print_json

    data = read_bundle(bundle).report
    print_json(data) if as_json else print_compile_report(data)


@click.command()
@click.option("-n", "--samples", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Keep the bundle here.")
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@json_option
def demo(samples: int, output: Path | None, force: bool, as_json: bool) -> None:
    """Handwritten digits from a trained network to a verified Lava run, in one go."""
    from ..demo import run_demo
    from .progress import pass_progress, progress_bar
    from .render import print_demo, print_json

    with progress_bar("running") as progress:
        result = run_demo(
            samples=samples, output=output, force=force, observer=pass_progress(), progress=progress
        )
    print_json(result) if as_json else print_demo(result)
    if not result["equal"]:
        raise VerificationFailed(
            "spikes-differ", "the integer and the Lava engine do not agree", where="demo"
        )
