"""The command that searches recipes: make it fit, and keep it good."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import cluster_option, data_options, json_option, semantics_options, target_options
from .show.help import command, section
from .show.telling import INTERRUPTED, say, tell

if TYPE_CHECKING:
    from ..pipeline import Tuned
    from ..pipeline.tuning.trial import TuneCost

_wanted = section(
    "What is wanted",
    click.option(
        "--cores", type=click.IntRange(min=1), help="The most cores (default: the board's)."
    ),
    click.option(
        "--max-drop",
        type=click.FloatRange(min=0),
        metavar="POINTS",
        help="Percentage points of accuracy that may be lost (default: show what each would save).",
    ),
    click.option(
        "--memory",
        "least",
        flag_value="memory",
        default="memory",
        help="Least synaptic memory (the default).",
    ),
    click.option("--fewest-cores", "least", flag_value="cores", help="Fewest cores."),
    click.option("--time", "least", flag_value="time", help="Least time per step."),
    click.option("--energy", "least", flag_value="energy", help="Least energy per sample."),
)


@command(example="snndeploy tune model.nir -d val.npz -t loihi1 --cores 8 --max-drop 1 --trials 6")
@click.argument("model", type=click.Path(path_type=Path))
@_wanted
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=96,
    show_default=True,
    help="Recipes to try, those that --study holds included.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="After so long no new recipes are tried.",
)
@click.option(
    "--study",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keep trials here (an Optuna journal), and go on from those that it holds.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Write the front's recipes, its table and a report here.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print the front with commas.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--adapt", is_flag=True, help="Give neurons that the target lacks the nearest form that it has."
)
@click.option("--force", is_flag=True, help="Replace existing files.")
@cluster_option
@semantics_options
@target_options
@data_options
@json_option
def tune(
    model: Path,
    least: TuneCost,
    cores: int | None,
    max_drop: float | None,
    trials: int,
    seconds: float | None,
    study: Path | None,
    output: Path | None,
    as_csv: bool,
    seed: int,
    adapt: bool,
    force: bool,
    cluster: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Search recipes that make a network fit, and keep it good: the front of cost and right answers.

    Recipes are costed by the memory model and the placement first; those that do not fit are not
    simulated, and those that something better beats are judged on few samples. Ctrl-C shows (and
    writes) what was found until then.
    """
    from ..pipeline import tune as searched
    from ..pipeline.tuning.told import front_csv, refuse_recipes, tune_record, write_recipes
    from ..workers import workers_at
    from .options import admitted, read_weighed, required
    from .show.progress import progress_bar
    from .show.render import print_json

    admitted(model)
    if output is not None:
        refuse_recipes(output, force=force)
    network, samples = read_weighed(model, options)
    tell(network.findings)
    with progress_bar("tune", "recipes") as bar, workers_at(cluster) as workers:
        found = searched(
            network,
            required(samples),
            target=options["target"],
            board=options["board"],
            cores=cores,
            max_drop=max_drop,
            least=least,
            trials=trials,
            seconds=seconds,
            seed=seed,
            adapt=adapt,
            study=study,
            workers=workers,
            progress=bar.progress,
        )
    files = [] if output is None else write_recipes(output, found, force=force)
    if as_json:
        print_json(tune_record(found))
    elif as_csv:
        click.echo(front_csv(found.front), nl=False)
    else:
        _print(found, files)
    if output is not None:
        say(f"wrote {output}", err=True)
    if found.partial:
        say("interrupted: this is what was found until then", err=True)
        sys.exit(INTERRUPTED)


def _print(found: Tuned, files: list[Path]) -> None:
    from ..pipeline.tuning.told import counts
    from .show.render import console, table

    rows = [
        (
            str(files[i]) if files else str(member.number),
            f"{member.accuracy:.2%}",
            f"{member.drop:.2f}",
            member.cores,
            member.words,
            "" if member.step_ns is None else f"{member.step_ns / 1e3:,.1f}",
            "" if member.energy_nj is None else f"{member.energy_nj / 1e3:,.3g}",
            member.what,
        )
        for i, member in enumerate(found.front)
    ]
    head = (
        "recipe",
        "accuracy",
        "drop",
        "cores",
        "words",
        "step, us",
        "sample, uJ",
        "what it does",
    )
    title = f"least {found.least}, on {found.samples} samples (trained: {found.trained:.2%})"
    console().print(table(title, head, rows))
    n = counts(found)
    say(
        f"{n['tried']} recipes tried: {n['on_all_samples']} judged on all samples, "
        f"{n['on_some_samples']} on some, {n['on_none']} on none. Brute force would run {n['grid']:,} "
        f"(of {n['space']:,} in all): {n['saved']:,} more."
    )
    if not found.front:
        say("no recipe keeps all limits: allow more cores, or a larger drop", err=True)
    elif files:
        say(f"next: snndeploy compile MODEL -r {files[0]}, with the same data and target")
