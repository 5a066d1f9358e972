"""The command that trains: a recipe with labelled samples, to a bundle or a NIR file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import DoesNotFit, UsageError
from ..progress import silent
from .options import (
    Files,
    data_options,
    files_named,
    json_option,
    resume_options,
    semantics_options,
    target_options,
)
from .show.help import command
from .show.telling import say, told_progress

if TYPE_CHECKING:
    from ..passes.base import Observer, PassEvent


@command(
    example="snndeploy finetune model.nir -r qp-snn --train train.npz --val val.npz -o tuned.nir"
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-r", "--recipe", required=True, help="Name or .toml file of a recipe that trains.")
@click.option(
    "--train",
    required=True,
    multiple=True,
    callback=files_named,
    metavar="[NAME=]FILE",
    help="Labelled samples to learn from (as --data elsewhere).",
)
@click.option(
    "--val",
    multiple=True,
    callback=files_named,
    metavar="[NAME=]FILE",
    help="Labelled samples that choose the best epoch and judge the result.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Bundle, or a .nir file of the trained network (default: MODEL.snnb, beside the model).",
)
@click.option("--force", is_flag=True, help="Replace what exists.")
@click.option("--aware", default="", help="Train with the rounding of this target, e.g. loihi2.")
@click.option("--device", default="cpu", show_default=True, help="Where torch computes: cpu, cuda.")
@resume_options
@semantics_options
@target_options
@data_options
@json_option
def finetune(
    model: Path,
    recipe: str,
    train: Files,
    val: Files,
    output: Path | None,
    force: bool,
    aware: str,
    device: str,
    checkpoints: Path | None,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Compress with training: a recipe, labelled samples, and a network that lowers as trained."""
    from ..bundle import refuse_existing
    from ..data import input_shapes
    from ..export import write_nir
    from ..ingest import read_model
    from ..pipeline import (
        bundle_of,
        finetune,
        finetune_report,
        refuse_place,
        report_of,
        save_bundle,
    )
    from ..pipeline.finetuning import trained_steps
    from ..pipeline.stakes.assumptions import weighed
    from .options import admitted, required, samples_of, semantics_of
    from .show.render import print_compile_report, print_json

    if options["data"] is not None:
        raise UsageError(
            "finetune-data",
            "it has two sets of samples",
            where="--data",
            hint="give --train, and --val beside it",
        )
    output = output or model.with_suffix(".snnb")
    as_network = output.suffix == ".nir"
    if not as_network:
        refuse_existing(output, force)
    # where a network goes that does not fit: never the place of the model itself
    network_file = output if as_network else output.with_name(f"{output.stem}-trained.nir")
    refuse_place(network_file, force)
    admitted(model)
    reading = read_model(model, options["frontend"], **semantics_of(options))
    shapes = input_shapes(reading.network)
    samples = required(samples_of({**options, "data": train}, shapes))
    network = weighed(reading, samples)
    whole = {**options, "data": val, "samples": None, "skip": 0}  # -n and --skip are of --train
    validation = samples_of(whole, shapes)
    with training_progress() as observer:
        compiled = finetune(
            network,
            samples,
            recipe=recipe,
            validation=validation,
            target=options["target"],
            board=options["board"],
            aware=aware,
            device=device,
            folder=checkpoints,
            resume=resume,
            observer=observer,
        )
    judging = samples if validation is None else validation
    report = report_of(compiled) | finetune_report(
        compiled, judging, held_out=validation is not None
    )
    written = output
    if as_network or not compiled.fits:
        written = network_file
        write_nir(written, compiled.network, force=force)
    else:
        golden = trained_steps(compiled, judging)
        save_bundle(output, bundle_of(compiled, golden), force=force)
    if as_json:
        print_json(report)
    else:
        print_compile_report(report)
        _print_figures(report["figures"])
    if validation is None:
        say(
            "warning[training-accuracy]: there is no --val, so it is judged on samples which "
            "the network was trained on; on new ones it is usually lower",
            err=True,
        )
    say(f"wrote {written}", err=True)
    if not compiled.fits and not as_network:
        say(
            f"error[does-not-fit]: the trained network does not fit {report['target']} "
            f"({report['board']}), so it was written as NIR",
            err=True,
        )
        sys.exit(DoesNotFit.exit_code)


def _print_figures(found: Mapping[str, Any]) -> None:
    from .show.render import console, table

    before, after = found["before"], found["after"]
    rows = (
        (f"{found['measure']} on {found['on']} samples", "{:.2%}", "accuracy"),
        ("connections", "{:.2%}", "density"),
        ("bits per weight", "{:.2f}", "bits"),
        ("weights, bits", "{:,.0f}", "size_bits"),
        ("index, bits", "{:,.0f}", "index_bits"),
        ("spikes per neuron and step", "{:.4f}", "rate"),
        ("SynOps per sample", "{:,.0f}", "synops"),
        ("SynOps per step", "{:,.0f}", "synops_per_step"),
        ("input MACs per sample", "{:,.0f}", "input_macs"),
        ("steps", "{}", "steps"),
    )
    lines = [(name, form.format(before[key]), form.format(after[key])) for name, form, key in rows]
    lines += [("R_mem", "", f"{after['r_mem']:.2%}"), ("R_ops", "", f"{after['r_ops']:.2%}")]
    title = f"figures on {found['samples']} {found['on']} samples"
    console().print(table(title, ("", "before", "after"), lines))


@contextmanager
def training_progress() -> Iterator[Observer]:
    """An observer: a bar per pass with the last epoch's line on a terminal, plain lines elsewhere."""
    if not told_progress():
        yield silent
        return
    if not sys.stderr.isatty():

        def line(event: PassEvent) -> None:
            if event.kind == "start":
                say(f"pass {event.index}/{event.total}  {event.name}", err=True)
            elif event.kind == "end" and event.status:
                say(f"  {event.status}", err=True)
            elif event.status:
                text = f"  {event.what} {event.done}/{event.of}  {event.status}"
                say(text, err=True)

        yield line
        return

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[tuple[int, str], Any] = {}

        def bar(event: PassEvent) -> None:
            if event.kind != "progress":
                return
            key = (event.index, event.what)
            if key not in tasks:
                label = f"{event.index}/{event.total} {event.name} {event.what}"
                tasks[key] = bars.add_task(label, total=event.of, status="")
            bars.update(tasks[key], completed=event.done, status=event.status)

        yield bar
