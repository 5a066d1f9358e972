"""Options that several commands share, as click declares them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..show.help import SEMANTICS, section
from .files import files_named

F = TypeVar("F", bound=Callable[..., Any])


def _all(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

resume_options = _all(
    click.option(
        "--checkpoints",
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Keep what has been finished here, so that --resume can go on from it.",
    ),
    click.option("--resume", is_flag=True, help="Go on from --checkpoints."),
)

cluster_option = click.option(
    "--cluster",
    metavar="local:N|tcp://…|FILE.json",
    help="Compute on N processes, or on a Dask scheduler (docs: how-to/cluster).",
)

semantics_options = section(
    SEMANTICS,
    click.option("--frontend", help="Framework that trained the network (default: find out)."),
    click.option("--dt", type=float, help="Time step of the trained network, seconds."),
    click.option("--reset", type=click.Choice(["zero", "subtract", "none"]), help="Reset rule."),
    click.option(
        "--reset-timing",
        type=click.Choice(["immediate", "next-step", "snntorch-delayed", "snntorch-immediate"]),
        help="When the reset acts.",
    ),
    click.option("--compare", type=click.Choice([">", ">="]), help="Firing comparison."),
    click.option(
        "--spikes-per-step", type=click.Choice(["one", "many"]), help="Spikes per neuron and step."
    ),
    click.option("--integrator", help="How leaks follow from time constants."),
    click.option("--v-min", "v_floor", type=float, help="Lower bound of v."),
    click.option("--recurrent-delay", help="Where a loop's delay sits (spikes, nirtorch)."),
    click.option(
        "--strict", is_flag=True, help="Refuse to assume what the file does not say of a network."
    ),
    click.option(
        "--accept",
        multiple=True,
        metavar="CODE",
        help="A possible loss (maybe-lost-…) that did not happen; may be repeated.",
    ),
    click.option(
        "--answers",
        metavar="NAME",
        help="The output whose answers count, of several (default: the first).",
    ),
    click.option(
        "--semantics",
        multiple=True,
        metavar="[POPULATION:]FIELD=VALUE",
        help="Any field of the profile, e.g. input_gain=unit (see: frontend list); with the name "
        "(or a pattern) of populations, for these alone, e.g. 'readout:reset=none'.",
    ),
)

target_options = section(
    "Target",
    click.option("-t", "--target", default="loihi2", show_default=True, help="Name or .toml file."),
    click.option(
        "--board",
        "--chips",
        "board",
        metavar="BOARD|N",
        help="Board of the target, or a number of chips (default: its smallest board).",
    ),
)

guard_options = section(
    "Answers kept",
    click.option(
        "--guard",
        type=click.Choice(["off", "warn", "back-off", "search"]),
        help="What happens where answers are no longer the trained network's (default: the recipe's).",
    ),
    click.option(
        "--max-divergence",
        type=click.FloatRange(min=0),
        metavar="NATS",
        help="How far answers may be from the trained network's (default: the recipe's).",
    ),
)

compile_options = _all(
    semantics_options,
    click.option(
        "--starts",
        type=click.Choice(["chip", "sample"]),
        default="chip",
        show_default=True,
        help="When the layers of a sigma-delta .net file start: all at the chip's first step, as on "
        "Loihi, or each when a sample reaches it, as SLAYER trains.",
    ),
    target_options,
    guard_options,
    click.option(
        "-r",
        "--recipe",
        default="default",
        show_default=True,
        help="Name or .toml file of a recipe; 'none' for no compression.",
    ),
    click.option(
        "--input",
        "coding",
        type=click.Choice(["binary", "graded", "analog"]),
        help="How data enter the chip (default: as --data has it).",
    ),
    click.option(
        "--input-peak",
        type=click.FloatRange(min=0, min_open=True),
        metavar="VALUE",
        help="Largest value that will ever enter (default: that of --data); registers are kept for it.",
    ),
    click.option(
        "--scale",
        type=click.Choice(["bounds", "calibrated"]),
        default="bounds",
        show_default=True,
        help="Head-room proved for every input, or seen on --data.",
    ),
    click.option(
        "--adapt",
        is_flag=True,
        help="Give neurons that the target lacks the nearest form that it has, and say what it costs.",
    ),
    click.option(
        "--split-signs",
        is_flag=True,
        help="Feed -1, 0 and 1 as spikes: a second input with negated weights takes those below zero.",
    ),
    click.option(
        "--native",
        is_flag=True,
        help="Only neurons that a board runs without microcode of its own: no neuron programs.",
    ),
)


def _sensor(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Parse three whole numbers separated by commas."""
    del context, parameter
    if value is None:
        return None
    extents = value.split(",")
    if len(extents) != 3 or not all(n.strip().isdecimal() and int(n) for n in extents):
        raise click.BadParameter(f"{value!r} is not P,H,W, for example 2,34,34")
    return tuple(int(n) for n in extents)


def _data(*names: str) -> Callable[[F], F]:
    return section(
        "Samples",
        click.option(
            *names,
            "data",
            multiple=True,
            callback=files_named,
            metavar="[NAME=]FILE",
            help="Samples: .npz, .npy, a file or a folder of events, or tonic:NAME (docs: how-to/data). "
            "Of a network with several inputs, one for each by name.",
        ),
        click.option(
            "--encode",
            type=click.Choice(["none", "rate", "latency", "direct", "delta"]),
            default="none",
            show_default=True,
            help="How images and signals become spikes.",
        ),
        click.option(
            "--steps", type=click.IntRange(min=1), help="Time steps per image or recording."
        ),
        click.option("--bin-ms", type=float, help="Length of a time step of events, milliseconds."),
        click.option(
            "--frames",
            type=click.Choice(["count", "binary"]),
            help="What events of one place and step become: their count (default), or 1.",
        ),
        click.option(
            "--time-from",
            type=click.Choice(["first-event", "zero"]),
            help="Where the time of events begins [default: first-event].",
        ),
        click.option(
            "--time-unit",
            type=click.Choice(["us", "ms", "s"]),
            help="Unit of events' times whose column does not say it [default: us].",
        ),
        click.option(
            "--sensor",
            callback=_sensor,
            metavar="P,H,W",
            help="Polarities, rows and columns of events for a flat input.",
        ),
        click.option(
            "--delta-threshold", type=float, help="Smallest change that spikes [default: 0.1]."
        ),
        click.option(
            "-n", "--samples", type=click.IntRange(min=1), help="Use the first N samples."
        ),
        click.option(
            "--skip", type=click.IntRange(min=0), default=0, help="Leave out N samples first."
        ),
        click.option(
            "--unlabelled",
            type=int,
            metavar="LABEL",
            help="Among labels of single steps, that of steps without one.",
        ),
        click.option(
            "--window",
            type=click.IntRange(min=1),
            metavar="STEPS",
            help="Sum what outputs emit over so many steps before a step is answered [default: 1].",
        ),
    )


data_options = _data("-d", "--data", "--calib")
