"""Commands that run a program: simulate, verify, demo."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError, VerificationFailed
from .look.pages import html_option, refuse_html, write_html
from .options import admitted, cluster_option, compile_options, data_options, json_option
from .show.help import command
from .show.telling import INTERRUPTED, say, tell

if TYPE_CHECKING:
    from ..data import Samples
    from ..pipeline import Compiled, Loaded

_ENGINES = ("float", "compressed", "integer", "lava", "xylosim")


def _engines(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Parse a comma-separated list of engines."""
    from ..errors import did_you_mean

    del context, parameter
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    for name in names:
        if name not in _ENGINES:
            raise click.BadParameter(f"there is no engine {name!r}; {did_you_mean(name, _ENGINES)}")
    if len(set(names)) < max(len(names), 1):
        raise click.BadParameter("name every engine once, at least one")
    return names


def _leave_if_partial(report: dict[str, Any]) -> None:
    """After Ctrl-C: what was done has been printed, the exit code says that it is not all."""
    if report["partial"]:
        say(f"interrupted after {report['samples']} samples", err=True)
        sys.exit(INTERRUPTED)


output_option = click.option(
    "--output", metavar="NAME", help="The output that answers, of several (default: the first)."
)


@command(example="snndeploy simulate model.snnb -d val.npz")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-e",
    "--engines",
    "--engine",
    "engines",
    default="integer",
    show_default=True,
    callback=_engines,
    help="float, compressed, integer, lava; several by commas.",
)
@cluster_option
@compile_options
@data_options
@output_option
@click.option(
    "--save-spikes",
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    help="Write what populations emit: arrays ENGINE.POPULATION, (samples, steps, ...).",
)
@click.option(
    "--record",
    "recorded",
    multiple=True,
    metavar="NAME",
    help="A population (or a pattern) for --save-spikes; may be repeated [default: all].",
)
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Write labels and answers, a line per sample (or step, where steps have labels).",
)
@html_option
@json_option
def simulate(
    model: Path,
    engines: tuple[str, ...],
    cluster: str | None,
    output: str | None,
    save_spikes: Path | None,
    recorded: tuple[str, ...],
    predictions: Path | None,
    html: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run samples on a NIR file (compiled on the way), a .net file or a bundle."""
    from ..data import input_shapes
    from ..files import write_file
    from ..pipeline import place_file, refuse_place, run_bundle, run_compiled, write_text
    from ..pipeline.accounts.spikes import KeptSpikes, predictions_table
    from ..workers import workers_at
    from .options import compile_model, files_told, required, samples_of
    from .show.progress import progress_bar
    from .show.render import print_json
    from .show.render_runs import print_run_report

    refuse_html(html, force)
    if save_spikes is not None:
        refuse_place(save_spikes, force, option="--save-spikes", suffix=".npz")
    elif recorded:
        raise UsageError(
            "record-nowhere",
            "there is no file for what is recorded",
            where="--record",
            hint="name one: --save-spikes FILE.npz",
        )
    if predictions is not None:
        refuse_place(predictions, force, option="--predictions", suffix=".csv")
    kept = KeptSpikes((recorded or ("*",)) if save_spikes is not None else ())
    described: Path | Compiled | Loaded = model
    kind = admitted(model)
    with progress_bar(", ".join(engines)) as bar, workers_at(cluster) as workers:
        how: dict[str, Any] = {"output": output, "workers": workers, "heard": kept.add}
        if kind == "bundle":
            report = run_bundle(
                model, engines, lambda shapes: required(samples_of(options, shapes)), *bar, **how
            )
        elif kind == "netx":
            described = place_file(
                model,
                options["target"],
                options["board"],
                options["compare"],
                starts=options["starts"],
            )
            samples = required(samples_of(options, input_shapes(described.program)))
            report = run_compiled(described, samples, engines, *bar, **how)
        else:
            described, found = compile_model(model, options)
            tell(described.source.findings)
            report = run_compiled(described, required(found), engines, *bar, **how)
    if save_spikes is not None:
        write_file(save_spikes, kept.file(), force=force, option="--save-spikes")
        say(f"wrote {save_spikes}", err=True)
    if predictions is not None:
        table = predictions_table(report, kept.labels())
        write_text(predictions, table, force=force, option="--predictions")
        say(f"wrote {predictions}", err=True)
    report = {**report, "data": files_told(options["data"])}
    write_html(html, described, [report], force=force, name=model.stem)
    print_json(report) if as_json else print_run_report(report)
    _leave_if_partial(report)


@command(example="snndeploy verify model.snnb -d val.npz --max-drop 1")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "-e",
    "--engines",
    "--engine",
    "engines",
    callback=_engines,
    help="Stages, each held against the one before (default: integer, and lava where it has the chip's "
    "arithmetic; with --data also float and compressed, as far as the bundle holds them).",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    metavar="POINTS",
    help="Fail if accuracy falls by more percentage points from the first stage to the last.",
)
@click.option(
    "--tau",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Time constant of the van Rossum distance, in steps.",
)
@data_options
@output_option
@html_option
@json_option
def verify(
    bundle: Path,
    engines: tuple[str, ...] | None,
    max_drop: float | None,
    tau: float,
    output: str | None,
    html: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Hold the stages of a bundle against each other, on its own golden run or on --data.

    Exits with 6 when engines that must agree do not, or accuracy falls by more than --max-drop.
    """
    from ..pipeline import certificate_of, verify_bundle
    from ..report import certificate_line
    from .options import files_told, samples_of
    from .show.progress import progress_bar
    from .show.render import print_json
    from .show.render_runs import print_run_report

    def load(shapes: Mapping[str, tuple[int, ...]]) -> Samples | None:
        samples = samples_of(options, shapes)
        unlabelled = samples is None or samples.labels is None
        if max_drop is not None and (unlabelled or (engines is not None and len(engines) < 2)):
            raise UsageError(
                "drop-unknown",
                "there are no two accuracies to compare",
                where="--max-drop",
                hint="give --data with labels, and at least two --engines",
            )
        return samples

    refuse_html(html, force)
    admitted(bundle)
    with progress_bar("verify") as bar:
        report = verify_bundle(bundle, engines, load, *bar, tau=tau, output=output)
    report = {
        **report,
        "data": files_told(options["data"]) or "the golden inputs of the bundle",
        "certificate": certificate_of(bundle),
    }
    failed = _failure(report, max_drop, str(bundle))
    if failed is not None:
        report = {**report, "error": failed.record()}
    write_html(html, bundle, [report], force=force)
    if as_json:
        print_json(report)
    else:
        print_run_report(report)
        say(certificate_line(report["certificate"]))
    if failed is not None and as_json:
        sys.exit(failed.exit_code)
    if failed is not None:
        raise failed
    _leave_if_partial(report)
    if not as_json:
        exact = any(_must_agree(c) for c in report["comparisons"])
        said = "every spike is the same" if exact else "nothing had to agree in every spike"
        say(f"verified: {said}")


def _failure(
    report: dict[str, Any], max_drop: float | None, where: str
) -> VerificationFailed | None:
    """Why a verification failed, if it did."""
    if report["placement"]:
        first = report["placement"][0]
        return VerificationFailed(
            "placement-differs",
            f"its placement is not its program: {first['where']}: {first['message']}",
            where=where,
            hint="compile it again",
        )
    if report["bundle"]:
        first = report["bundle"][0]
        return VerificationFailed(
            "bundle-differs",
            f"{first['code']}: {first['where']}: {first['message']}",
            where=where,
            hint="compile it again",
        )
    differing = [c for c in report["comparisons"] if _must_agree(c) and not c["equal"]]
    if differing:
        names = ", ".join(" and ".join(c["engines"]) for c in differing)
        return VerificationFailed(
            "spikes-differ",
            f"{names} do not agree spike for spike",
            where=where,
            hint="the first difference of each layer is listed above",
        )
    if max_drop is None or report["partial"]:
        return None
    verdict, stages = report["verification"]["verdict"], list(report["accuracy"])
    if verdict["drop"] <= max_drop + 1e-9:
        return None
    return VerificationFailed(
        "accuracy-dropped",
        f"accuracy falls by {verdict['drop']:.2f} points from {stages[0]} to {stages[-1]}, "
        f"allowed are {max_drop:g}",
        where=where,
        hint=f"see where: {verdict['text']}",
    )


def _must_agree(comparison: dict[str, Any]) -> bool:
    return not set(comparison["engines"]) & {"float", "compressed"}


@command(example="snndeploy demo -n 20")
@click.option("-n", "--samples", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Keep the bundle here.")
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@json_option
def demo(samples: int, output: Path | None, force: bool, as_json: bool) -> None:
    """Handwritten digits from a trained network to a verified Lava run, in one go."""
    from ..bundle import refuse_existing
    from ..demo import run_demo
    from .show.progress import pass_progress, progress_bar
    from .show.render import print_demo, print_json

    if output is not None:
        refuse_existing(output, force)
    with progress_bar("running") as bar:
        result = run_demo(
            samples=samples,
            output=output,
            force=force,
            observer=pass_progress(),
            progress=bar.progress,
        )
    print_json(result) if as_json else print_demo(result)
    if result["equal"] is None:
        say("without Lava, whose run is left out: snndeploy lava install", err=True)
    elif not result["equal"]:
        raise VerificationFailed(
            "spikes-differ", "the integer and the Lava engine do not agree", where="demo"
        )
