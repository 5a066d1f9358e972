"""Compile a model as options, or a lock, say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import UsageError
from .given import admitted, given_options, read_weighed, samples_of, semantics_of

if TYPE_CHECKING:
    from ...data import Samples
    from ...pipeline import Compiled


def compile_model(model: Path, options: dict[str, Any]) -> tuple[Compiled, Samples | None]:
    """Compile a NIR file as the command's options say; the samples are loaded on the way."""
    from ...lower import InputCoding, infer_coding, reaching
    from ...pipeline import compile
    from ...pipeline.locking import read_as
    from ...recipe import Recipe, load_recipe
    from ...workers import workers_at
    from ..show.progress import pass_progress

    admitted(model)
    network, samples = read_weighed(model, options)
    recipe = None
    if options["recipe"] != "none":
        recipe = options["recipe"]
        if not isinstance(recipe, Recipe):  # one that was made for these options says its own
            recipe = load_recipe(recipe).guarded(options["guard"], options["max_divergence"])
    coding = None if options["coding"] is None else InputCoding.named(options["coding"])
    if options.get("input_peak") is not None:
        if coding is None and samples is not None:
            coding = infer_coding(x for part in samples.batches() for x in part.values)
        coding = reaching(coding, options["input_peak"])
    with workers_at(options.get("cluster")) as workers:
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
            native=options.get("native", False),
            tell_all=options.get("tell_all", False),
            checkpoints=options.get("checkpoints"),
            resume=options.get("resume", False),
            try_seconds=options.get("try_seconds"),
            workers=workers,
            observer=pass_progress(),
        )
    read = read_as(options["frontend"], semantics_of(options))
    if options.get("split_signs"):
        read["split_signs"] = True
    return replace(compiled, read=read), samples


def compile_locked(
    model: Path, lock_file: Path, options: dict[str, Any]
) -> tuple[Compiled, Samples | None]:
    """Compile a NIR file as a lock says, to the locked program.

    Raises:
        UsageError: an option says what the lock says.
        VerificationFailed: it gives another program.
    """
    from ...data import input_shapes, split_signs
    from ...ingest import read_network
    from ...pipeline import compile
    from ...pipeline.locking import check_locked, read_as, read_lock, refuse_unlike, untold
    from ...pipeline.opening import LOCKED
    from ...workers import workers_at
    from ..show.progress import pass_progress

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
    frontend, split = semantics.pop("frontend", None), semantics.pop("split_signs", False)
    network = read_network(model, frontend, **semantics)
    if split:
        network = split_signs(network)
    samples = samples_of(options, input_shapes(network))
    refuse_unlike(lock, network.digest, samples)
    with workers_at(options.get("cluster")) as workers:
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
            workers=workers,
            observer=pass_progress(),
        )
    check_locked(lock, compiled)
    read = read_as(frontend, semantics)
    if split:
        read["split_signs"] = True
    return replace(compiled, recipe=lock.recipe, read=read), samples
