"""Compiling with training: a recipe whose passes learn from labelled samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..chip import Target, family_of, load_target
from ..data import Feed, Samples
from ..errors import RecipeError
from ..lower import InputCoding, fitted_in_turn, infer_coding
from ..passes.base import Observer, Training
from ..passes.correct.adapt_gains import AdaptGains
from ..passes.kept import digest_of
from ..passes.training.options import TrainingPass
from ..progress import silent
from ..recipe import Recipe, load_recipe
from .compilation import compile
from .compiled import Compiled
from .opening import Model, open_network

_JUDGED = 1000
"""Samples on which a report compares the network before and after."""


def finetune(
    model: Model,
    train: Samples,
    *,
    recipe: str | Path | Recipe,
    frontend: str | None = None,
    semantics: Mapping[str, Any] | None = None,
    validation: Samples | None = None,
    target: str | Path | Target = "loihi2",
    board: str | None = None,
    inputs: InputCoding | None = None,
    aware: str = "",
    device: str = "cpu",
    folder: Path | None = None,
    resume: bool = False,
    observer: Observer = silent,
) -> Compiled:
    """Compile a network with a recipe that trains.

    Args:
        model: as of `compile`.
        train: labelled samples; the first ones also calibrate.
        recipe: name or path of a recipe, or a `Recipe`; at least one of its passes trains.
        frontend: as of `compile`.
        semantics: as of `compile`.
        validation: labelled samples that choose the best epoch, and judge the result.
        target: name or path of a target, or a `Target`.
        board: board of the target (its default one if None).
        inputs: how data enter the chip; inferred from ``train`` if None.
        aware: name of a target whose rounding all training passes include ("": as the recipe says). On
            a chip with neurons of its own, these are trained from the start on.
        device: where torch computes.
        folder: for a checkpoint after each epoch and each pass (None: none are kept).
        resume: go on from the checkpoints in ``folder``.
        observer: told about the progress of passes.

    Returns:
        All stages of the compilation; ``training`` is what a bundle records of it.

    Raises:
        SnnDeployError: a file, recipe or target is bad, or a pass or the lowering refuses.
    """
    import torch

    network = open_network("finetune", model, frontend, semantics)
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe)
    if not any(isinstance(p, TrainingPass) for p in recipe.passes):
        raise RecipeError(
            "recipe-trains-nothing",
            f"no pass of the recipe {recipe.name!r} trains",
            hint="add a [[pass]] with name = 'finetune', or use snndeploy compile",
        )
    if aware:
        chip = load_target(aware)
        if not any(isinstance(p, AdaptGains) for p in recipe.passes):
            # where the chip's neurons are its own, they are what is trained
            network, told = fitted_in_turn(network, family_of(chip))
            network = replace(network, findings=(*network.findings, *told))
    learnt = Feed(network, train)
    judged = None if validation is None else Feed(network, validation)
    compiled = compile(
        network,
        target=target,
        recipe=recipe,
        board=board,
        observer=observer,
        inputs=inputs or infer_coding(train.values),
        calibration=train.first(recipe.calibration.samples),
        judged=validation,
        training=Training(
            samples=learnt,
            validation=judged,
            folder=folder,
            resume=resume,
            device=device,
            aware=aware,
        ),
        checkpoints=folder,
        resume=resume,
    )
    data = {"train": learnt} if judged is None else {"train": learnt, "validation": judged}
    return replace(
        compiled,
        training={
            "torch": torch.__version__,
            "device": device,
            "aware": aware,
            "steps": int(compiled.network.notes.get("steps", train.steps)),
            "data": {
                name: {"digest": digest_of(part), "samples": len(samples), "steps": samples.steps}
                for (name, part), samples in zip(data.items(), (train, validation), strict=False)
                if samples is not None
            },
            "pass": [
                {"name": step.name, **step.metrics["training"]}
                for step in compiled.log.steps
                if "training" in step.metrics
            ],
        },
    )


def trained_steps(compiled: Compiled, samples: Samples) -> Samples:
    """``samples`` at the length that the network was trained for."""
    steps = int(compiled.network.notes.get("steps", samples.steps))
    return samples.cut(steps)


def finetune_report(
    compiled: Compiled, samples: Samples, *, held_out: bool = True
) -> dict[str, Any]:
    """What training came to, and the figures of papers before and after, on labelled ``samples``.

    ``held_out`` tells whether training saw none of them: what a network has learnt by heart says nothing
    about new data, so figures on training samples are called that.
    """
    from ..passes.training.figures import figures

    few = samples.first(_JUDGED)
    before = figures(compiled.source, Feed(compiled.source, few))
    short = trained_steps(compiled, few)
    after = figures(compiled.network, Feed(compiled.network, short))
    return {
        "training": dict(compiled.training),
        "figures": {
            "samples": len(few),
            "measure": "accuracy" if few.labels is not None else "variance explained",
            "on": "validation" if held_out else "training",
            "before": asdict(before),
            "after": {**asdict(after), "r_mem": after.r_mem(before), "r_ops": after.r_ops(before)},
        },
    }
