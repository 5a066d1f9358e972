"""Commands about what frameworks mean: frontend list, frontend probe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import VerificationFailed
from .options import admitted, json_option, semantics_of, semantics_options
from .show.telling import say

if TYPE_CHECKING:
    from ..verify import Attempt


@click.group()
def frontend() -> None:
    """List the frontends, or find the one that reproduces a recorded run."""


@frontend.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List what each framework means by a NIR file, and where that was found."""
    from ..ingest import PRESETS
    from .show.render import console, print_json, table

    if as_json:
        print_json({name: vars(profile) for name, profile in PRESETS.items()})
        return
    rows = [(p.name, p.describe(), p.source) for p in PRESETS.values()]
    console().print(table("frontends", ("name", "what a step is", "source"), rows))


@frontend.command("probe")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--trace",
    required=True,
    type=click.Path(path_type=Path),
    help="The framework's own run: .npz with input, output and any layer_<node>.",
)
@semantics_options
@json_option
def probe_(model: Path, trace: Path, as_json: bool, **options: Any) -> None:
    """Find the profile under which a model reproduces its framework's own run exactly.

    What is given as an option is not searched.
    """
    from ..verify import probe
    from .show.render import print_json

    admitted(model)
    fixed = semantics_of(options)
    found = probe(model, trace, options["frontend"], **fixed)
    best, words = found.best, flags(found.best, fixed)
    if as_json:
        print_json(
            {
                "exact": found.exact,
                "options": words,
                "also": list(found.also),
                "best": dataclasses.asdict(best),
                "ignored": list(found.ignored),
                "attempts": [dataclasses.asdict(a) for a in found.attempts[:10]],
            }
        )
    elif found.exact:
        say(f"exact: {words}")
        say(f"  all {best.total:,} recorded values are the same")
        if found.also:
            say(f"  so they are with: {', '.join(found.also)}")
    else:
        say(f"nearest: {words}")
        for name, count in (best.differing or {}).items():
            say(f"  {name}: {count:,} values differ")
        if best.first is not None:
            at = best.first
            say(
                f"  first in {best.layer}: step {at.step}, sample {at.sample}, "
                f"neuron {at.neuron}: the framework has {at.values[0]:g}, ours {at.values[1]:g}"
            )
    for key in found.ignored if not as_json else ():
        say(f"  {key} names no population and was not compared", err=True)
    if not found.exact and as_json:
        raise click.exceptions.Exit(VerificationFailed.exit_code)
    if not found.exact:
        raise VerificationFailed(
            "no-exact-profile",
            "no profile reproduces the recorded run",
            where=str(trace),
            hint="check that the file and the run are of one model; exporters also lose things: "
            "snndeploy inspect",
        )


def flags(attempt: Attempt, fixed: Mapping[str, object]) -> str:
    """The command line options that select an attempt's profile, beside answers that were given."""
    words = [f"--frontend {attempt.frontend}"]
    for key, value in (*fixed.items(), *attempt.overrides):
        words.append(f"--semantics {key}={'none' if value is None else value}")
    return " ".join(words)
