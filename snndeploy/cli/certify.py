"""The command that has a separate checker prove a bundle again."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..errors import InputError, VerificationFailed
from .options import json_option
from .show.help import command
from .show.telling import say


@command(example="snndeploy certify model.snnb")
@click.argument("bundle", type=click.Path(path_type=Path))
@json_option
def certify(bundle: Path, as_json: bool) -> None:
    """Prove a bundle again from its files alone, by a checker that shares no code with the compiler.

    Exits with 6 when two things in the bundle cannot both be true, and with 3 when it cannot be read.
    """
    from ..pipeline import certificate_of, not_certified
    from ..report import certificate_line
    from .show.render import print_json

    told = certificate_of(bundle)
    if told["refused"]:
        raise InputError(
            "bundle-refused",
            f"it {told['refused']}",
            where=str(bundle),
            hint="make a bundle with: snndeploy compile MODEL.nir -o NAME.snnb",
        )
    failed = not_certified(bundle, told)
    if as_json:
        print_json(told if failed is None else {**told, "error": failed.record()})
        sys.exit(0 if failed is None else VerificationFailed.exit_code)
    for title, key in (
        ("proved", "proved"),
        ("not proved", "not_proved"),
        ("not checked", "not_checked"),
    ):
        for line in told[key]:
            say(f"{title}: {line}")
    if failed is not None:
        raise failed
    say(certificate_line(told))
