"""What a user gave: which options, what they say of a network, and the samples that they name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import UsageError

if TYPE_CHECKING:
    from ...data import Samples
    from ...ir.network import Network
    from ...pipeline import ModelKind

_GIVEN = (click.core.ParameterSource.COMMANDLINE, click.core.ParameterSource.ENVIRONMENT)

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
    from ...pipeline import admit

    context = click.get_current_context()
    assert context.command.name is not None
    return admit(context.command.name, model, given_options(context))


def given_options(context: click.Context) -> dict[str, str]:
    """The options that the user gave, each with the first long word for it; aliases come later."""
    return {
        name: next((word for word in option.opts if word.startswith("--")), option.opts[0])
        for option in context.command.params
        if isinstance(option, click.Option) and (name := option.name or "")
        if context.get_parameter_source(name) in _GIVEN
    }


def samples_of(options: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Samples | None:
    """The samples that ``--data`` and its companions name, for inputs of these shapes."""
    from ...data import load_samples

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
        "unlabelled",
        "window",
    )
    given = {name: options[name] for name in names}
    return load_samples(options["data"], shapes, encoding=options["encode"], **given)


def required(samples: Samples | None) -> Samples:
    """Refuse to go on without samples."""
    if samples is None:
        raise UsageError("data-missing", "there is nothing to run", hint="give samples with --data")
    return samples


def read_weighed(model: Path, options: dict[str, Any]) -> tuple[Network, Samples | None]:
    """The network of a NIR file, and the samples; its findings tell what on them is at stake.

    Where inputs are split by sign, findings are those of reading: what is at stake is not measured.
    """
    from ...data import input_shapes, split_signs
    from ...ingest import read_model
    from ...pipeline.stakes.assumptions import weighed

    reading = read_model(model, options["frontend"], **semantics_of(options))
    if options.get("split_signs"):
        network = split_signs(reading.network)
        return network, samples_of(options, input_shapes(network))
    samples = samples_of(options, input_shapes(reading.network))
    return weighed(reading, samples), samples
