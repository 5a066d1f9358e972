"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import UsageError
from .show.help import SEMANTICS, section

if TYPE_CHECKING:
    from ..data import Samples
    from ..ir.finding import Finding
    from ..ir.network import Network
    from ..pipeline import Compiled, ModelKind

_GIVEN = (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.ENVIRONMENT)

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
            help="Samples: .npz, .npy, a file or a folder of events, or tonic:NAME (docs: how-to/data).",
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
    )


data_options = _data("-d", "--data")
calibration_options = _data("-d", "--data", "--calib")

_SEMANTICS = (
    "dt",
    "reset",
    "reset_timing",
    "compare",
    "spikes_per_step",
    "integrator",
    "v_floor",
    "recurrent_delay",
    "answers",
)


def semantics_of(options: dict[str, Any]) -> dict[str, Any]:
    """Overrides of the frontend's semantics among a command's options."""
    given = {name: options[name] for name in _SEMANTICS if options.get(name) is not None}
    if options.get("strict"):
        given["strict"] = True
    if options.get("accept"):
        given["accept"] = options["accept"]
    for text in options.get("semantics", ()):
        field, equals, value = text.partition("=")
        if not equals:
            raise UsageError(
                "semantics-syntax",
                f"{text!r} is not [POPULATION:]FIELD=VALUE",
                where="--semantics",
                hint="for example --semantics input_gain=unit",
            )
        population, of_one, name = field.rpartition(":")
        key = name.strip().replace("-", "_")
        fields = given
        if of_one:
            fields = given.setdefault("populations", {}).setdefault(population.strip(), {})
        fields[key] = value.strip() if key == "reset" else _value(value.strip())
    return given


def _value(text: str) -> str | int | float | None:
    """A field's value as it is meant: none, a number, or a word."""
    if text.lower() == "none":
        return None
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def admitted(model: Path) -> ModelKind:
    """What the running command was given, once it is clear that it can obey its options for it.

    Raises:
        SnnDeployError: see `snndeploy.pipeline.opening.admit`.
    """
    from ..pipeline import admit

    context = click.get_current_context()
    assert context.command.name is not None
    return admit(context.command.name, model, given_options(context))


def given_options(context: click.Context) -> dict[str, str]:
    """The options that the user gave, each with the longest word for it."""
    return {
        name: max(option.opts, key=len)
        for option in context.command.params
        if isinstance(option, click.Option) and (name := option.name or "")
        if context.get_parameter_source(name) in _GIVEN
    }


def samples_of(options: dict[str, Any], shape: tuple[int, ...]) -> Samples | None:
    """The samples that ``--data`` and its companions name, for an input of ``shape``."""
    from ..data import load_samples

    if options.get("data") is None:
        return None
    names = (
        "steps",
        "bin_ms",
        "frames",
        "time_from",
        "sensor",
        "time_unit",
        "delta_threshold",
        "samples",
        "skip",
    )
    given = {name: options[name] for name in names}
    return load_samples(options["data"], shape, encoding=options["encode"], **given)


def required(samples: Samples | None) -> Samples:
    """Refuse to go on without samples."""
    if samples is None:
        raise UsageError("data-missing", "there is nothing to run", hint="give samples with --data")
    return samples


def read_weighed(model: Path, options: dict[str, Any]) -> tuple[Network, Samples | None]:
    """The network of a NIR file, and the samples; its findings tell what on them is at stake."""
    from ..ingest import read_model
    from ..pipeline.stakes.assumptions import weighed

    reading = read_model(model, options["frontend"], **semantics_of(options))
    samples = samples_of(options, reading.network.with_role("input")[0].shape)
    return weighed(reading, samples), samples


def tell(findings: Sequence[Finding], *, notes: bool = False) -> None:
    """Warnings (and notes) on standard error, for commands whose result is something else."""
    from .show.plain import plain

    for found in findings:
        if notes or found.severity != "note":
            line = f"{found.severity}[{found.code}] {found.where}: {found.message}"
            click.echo(plain(line), err=True)
            for fix in found.fixes:
                if fix.effect:
                    click.echo(plain(f"  try: {fix.text}: {fix.effect}"), err=True)


def compile_model(model: Path, options: dict[str, Any]) -> tuple[Compiled, Samples | None]:
    """Compile a NIR file as the command's options say; the samples are loaded on the way."""
    from ..lower import InputCoding
    from ..pipeline import compile
    from ..pipeline.locking import read_as
    from ..recipe import Recipe, load_recipe
    from .show.progress import pass_progress

    admitted(model)
    network, samples = read_weighed(model, options)
    recipe = None
    if options["recipe"] != "none":
        named = options["recipe"]
        chosen = named if isinstance(named, Recipe) else load_recipe(named)
        recipe = chosen.guarded(options["guard"], options["max_divergence"])
    coding = None if options["coding"] is None else InputCoding.named(options["coding"])
    compiled = compile(
        network,
        target=options["target"],
        recipe=recipe,
        board=options["board"],
        inputs=coding,
        calibration=samples,
        scale=options["scale"],
        layout=options.get("layout", "chip"),
        objective=options.get("objective", "speed"),
        adapt=options.get("adapt", False),
        tell_all=options.get("tell_all", False),
        checkpoints=options.get("checkpoints"),
        resume=options.get("resume", False),
        try_seconds=options.get("try_seconds"),
        observer=pass_progress(),
    )
    return replace(compiled, read=read_as(options["frontend"], semantics_of(options))), samples


def compile_locked(
    model: Path, lock_file: Path, options: dict[str, Any]
) -> tuple[Compiled, Samples | None]:
    """Compile a NIR file as a lock says, to the locked program.

    Raises:
        UsageError: an option says what the lock says.
        VerificationFailed: it gives another program.
    """
    from ..ingest import read_network
    from ..pipeline import compile
    from ..pipeline.locking import check_locked, read_as, read_lock, refuse_unlike, untold
    from ..pipeline.opening import LOCKED
    from .show.progress import pass_progress

    admitted(model)
    told = [
        word for name, word in given_options(click.get_current_context()).items() if name in LOCKED
    ]
    if told:
        raise UsageError(
            "lock-option",
            f"{', '.join(told)}: this is what the lock says",
            where=str(lock_file),
            hint=f"leave {', '.join(told)} out, or compile without --locked",
        )
    lock = read_lock(lock_file)
    semantics = untold(lock.read)
    frontend = semantics.pop("frontend", None)
    network = read_network(model, frontend, **semantics)
    samples = samples_of(options, network.with_role("input")[0].shape)
    refuse_unlike(lock, network.digest, samples)
    compiled = compile(
        network,
        target=lock.target,
        recipe=lock.settled,
        board=lock.board,
        inputs=lock.inputs,
        calibration=samples,
        scale=lock.scale,
        layout=lock.layout,
        objective=lock.objective,
        checkpoints=options["checkpoints"],
        resume=options["resume"],
        observer=pass_progress(),
    )
    check_locked(lock, compiled)
    return replace(compiled, recipe=lock.recipe, read=read_as(frontend, semantics)), samples
