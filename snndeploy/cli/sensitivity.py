"""Commands that try what a network can lose: kernels, bits, time steps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from .options import cluster_option, data_options, json_option, resume_options, semantics_options
from .show.help import command
from .show.telling import INTERRUPTED, say, tell

if TYPE_CHECKING:
    from ..data import Samples
    from ..ir.network import Network


def _read(model: Path, options: dict[str, Any]) -> tuple[Network, Samples]:
    """The network, and the samples that --data names."""
    from .options import admitted, read_weighed, required

    admitted(model)
    network, samples = read_weighed(model, options)
    tell(network.findings)
    return network, required(samples)


def _fractions(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    """Parse fractions in 0 … 1, separated by commas."""
    del context, parameter
    numbers = _numbers(value, float)
    if not all(0 <= n < 1 for n in numbers):
        raise click.BadParameter(f"{value!r}: ratios are at least 0 and below 1")
    return numbers


def _widths(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """Parse bit widths, separated by commas."""
    del context, parameter
    numbers = _numbers(value, int)
    if not all(1 <= n <= 16 for n in numbers):
        raise click.BadParameter(f"{value!r}: widths are 1 to 16 bits")
    return numbers


def _numbers(value: str, kind: type) -> tuple[Any, ...]:
    try:
        parts = [kind(part) for part in value.split(",") if part.strip()]
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of numbers, like 0.25,0.5") from error
    return tuple(dict.fromkeys(parts))


@command(example="snndeploy sensitivity model.nir -d val.npz")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--ratios",
    default="0.125,0.25,0.5",
    show_default=True,
    callback=_fractions,
    help="Fractions of a layer's kernels to remove.",
)
@click.option(
    "--bits", default="8,4,3,2", show_default=True, callback=_widths, help="Widths of weights."
)
@click.option(
    "--sparsities",
    default="",
    callback=_fractions,
    help="Fractions of a layer's weights to prune, e.g. 0.5,0.75,0.9 (default: not tried).",
)
@click.option("--score", default="l1", show_default=True, help="Which kernels go (remove-kernels).")
@click.option(
    "--fold",
    type=click.Choice(["none", "weights", "bias", "threshold"]),
    default="none",
    show_default=True,
    help="Whether the kernels that stay make up for them.",
)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw it (.svg).")
@click.option(
    "--recipe",
    "recipe_file",
    type=click.Path(path_type=Path),
    help="Write a recipe that takes from each layer what --tolerance allows.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Accuracy (or equal spikes) that a layer may cost.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the score 'random'.")
@click.option("--force", is_flag=True, help="Replace existing files.")
@cluster_option
@resume_options
@semantics_options
@data_options
@json_option
def sensitivity(
    model: Path,
    ratios: tuple[float, ...],
    bits: tuple[int, ...],
    sparsities: tuple[float, ...],
    score: str,
    fold: Any,
    plot: Path | None,
    recipe_file: Path | None,
    tolerance: float,
    seed: int,
    force: bool,
    cluster: str | None,
    checkpoints: Path | None,
    resume: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Show what each layer can lose alone: accuracy against kernels removed, weights pruned, bits."""
    from ..errors import did_you_mean
    from ..passes.kernels.scores import CRITERIA
    from ..pipeline import refuse_place, write_text
    from ..pipeline.advise.sensitivity import (
        measured_by,
        sensitivity_chart,
        sensitivity_table,
        suggested,
    )
    from ..pipeline.advise.sensitivity import sensitivity as measured
    from ..workers import workers_at
    from .show.progress import progress_bar
    from .show.render import console, print_json, table

    if score not in CRITERIA:
        raise UsageError(
            "score-unknown",
            f"there is no score {score!r}",
            where="--score",
            hint=did_you_mean(score, CRITERIA),
        )
    if not (ratios or bits or sparsities):
        raise UsageError(
            "sensitivity-nothing",
            "there is nothing to try: no ratios, no widths and no sparsities",
            where="--ratios, --bits, --sparsities",
            hint="leave out only some of them",
        )
    if plot is not None:
        refuse_place(plot, force, option="--plot", suffix=".svg")
    if recipe_file is not None:
        refuse_place(recipe_file, force, option="--recipe", suffix=".toml")
    network, samples = _read(model, options)
    with progress_bar("sensitivity") as bar, workers_at(cluster) as workers:
        found = measured(
            network,
            samples,
            ratios=ratios,
            bits=bits,
            sparsities=sparsities,
            score=score,
            fold=fold,
            seed=seed,
            checkpoints=checkpoints,
            resume=resume,
            workers=workers,
            progress=bar.progress,
        )
    if plot is not None:
        write_text(plot, sensitivity_chart(found), force=force, option="--plot")
    if recipe_file is not None:
        write_text(
            recipe_file, suggested(found, tolerance).to_toml(), force=force, option="--recipe"
        )
    if as_json:
        print_json(found.record())
    else:
        out = console()
        for title, columns, rows in sensitivity_table(found):
            out.print(f"{measured_by(found)}, {title} of one layer")
            out.print(table("", columns, rows))
            out.print()
        if found.accuracy is not None:
            out.print(
                f"as trained: {found.accuracy:.1%} of {found.samples} samples; accuracies of so few "
                f"that are less than {100 * (found.noise or 0):.1f} points apart may be equal (95 %)",
                highlight=False,
                soft_wrap=True,
            )
    for path in (plot, recipe_file):
        if path is not None:
            say(f"wrote {path}", err=True)
    if found.partial:
        say(f"interrupted after {len(found.points)} changes", err=True)
        sys.exit(INTERRUPTED)


@command("reduce-timesteps", example="snndeploy reduce-timesteps model.nir -d val.npz")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="How much accuracy (or agreement) may fall.",
)
@click.option("--rescale", is_flag=True, help="Also try lower thresholds for fewer steps.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write the network with its rescaled thresholds (.nir).",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
@semantics_options
@data_options
@json_option
def reduce_timesteps(
    model: Path,
    tolerance: float,
    rescale: bool,
    output: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Evaluate a network after every number of time steps, and name the fewest that suffice."""
    from ..export import write_nir
    from ..pipeline import refuse_place
    from ..pipeline.advise.timesteps import reduce_timesteps as measured
    from ..pipeline.advise.timesteps import timesteps_table
    from .show.progress import progress_bar
    from .show.render import console, print_json, table

    if output is not None:
        if not rescale:
            raise UsageError(
                "rescale-missing",
                "without --rescale no threshold changes: the file would be the network as it is",
                where="-o",
                hint="add --rescale, or leave -o out",
            )
        refuse_place(output, force, option="-o", suffix=".nir")
    network, samples = _read(model, options)
    with progress_bar("time steps") as bar:
        found = measured(
            network, samples, tolerance=tolerance, rescale=rescale, progress=bar.progress
        )
    if output is not None:
        write_nir(output, found.network, force=force)
        same = " (no lower threshold helped: it is the network as it was)"
        unchanged = rescale and found.chosen.factor == 1
        say(f"wrote {output}{same if unchanged else ''}", err=True)
    if as_json:
        print_json(found.record())
        return
    columns, rows = timesteps_table(found)
    console().print(table(f"{len(samples)} samples", columns, rows))
    say(
        f"{found.chosen.steps} of {samples.steps} steps are enough: --steps {found.chosen.steps}"
        + ("" if found.chosen.factor == 1 else f", thresholds × {found.chosen.factor:g}")
    )
