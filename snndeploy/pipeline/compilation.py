"""The whole way from a trained network to a placed program, in a row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..chip import Target, load_target
from ..data import Feed, Samples
from ..errors import InputError
from ..ir.network import Network
from ..lower import InputCoding, infer_coding, lower
from ..mapping import check_program, place_program
from ..passes.base import Observer, PassContext, Training
from ..passes.runner import PassLog, run_passes
from ..progress import silent
from ..recipe import Recipe, load_recipe
from .compiled import SHARE, Compiled, Objective, Scale
from .opening import Model, open_network

_PEAK_SAMPLES = 64
"""Samples whose membranes are recorded together."""


def compile(
    model: Model,
    *,
    target: str | Path | Target = "loihi2",
    recipe: str | Path | Recipe | None = "default",
    frontend: str | None = None,
    semantics: Mapping[str, Any] | None = None,
    board: str | None = None,
    inputs: InputCoding | None = None,
    calibration: Samples | None = None,
    training: Training | None = None,
    scale: Scale = "bounds",
    objective: Objective = "speed",
    observer: Observer = silent,
) -> Compiled:
    """Ingest, compress, lower, place and check a network.

    Args:
        model: path of a NIR file, a ``nir.NIRGraph``, or a `Network` (which settles ``frontend`` and
            ``semantics``).
        target: name or path of a target, or a `Target`.
        recipe: name or path of a recipe, a `Recipe`, or None for no passes.
        frontend: framework that trained the network; None to find out from the file.
        semantics: single options of the frontend's semantics to override (``reset="zero"``, …).
        board: board of the target (its default one if None).
        inputs: how data enter the chip; inferred from ``calibration`` if None.
        calibration: a small sample of the data.
        training: what training passes train on.
        scale: ``"bounds"`` proves head-room for every input, ``"calibrated"`` trusts the samples.
        objective: ``"speed"`` gives every slice a core of its own while there are enough, ``"cores"``
            takes as few as it finds.
        observer: told about the progress of passes.

    Returns:
        All stages. Violated budgets are in ``findings``, not raised.

    Raises:
        SnnDeployError: the file, recipe or target is bad, or a pass or the lowering refuses.
    """
    chip = target if isinstance(target, Target) else load_target(target)
    recipe = _recipe(recipe)
    chips = chip.chips(board)
    source = open_network("compile", model, frontend, semantics)
    log = compress(
        source,
        recipe=recipe,
        target=chip,
        calibration=calibration,
        training=training,
        observer=observer,
    )
    if inputs is None and calibration is not None:
        inputs = infer_coding(part.inputs for part in calibration.batches())
    observed = None
    if scale == "calibrated":
        observed = observed_peaks(log.network, calibration)
    steps = {} if calibration is None else {"steps": calibration.steps}
    program = lower(log.network, chip, inputs=inputs, observed=observed, **steps)
    placement = place_program(program, chip, chips=chips, share=SHARE[objective])
    checked = check_program(program, placement, chip, chips=chips)
    return Compiled(
        source=source,
        log=log,
        program=program,
        placement=placement,
        target=chip,
        board=chip.board(board),
        recipe=recipe,
        scale=scale,
        findings=(*checked, *program.findings, *log.findings),
    )


def compress(
    model: Model,
    *,
    recipe: str | Path | Recipe | None = "sbc-plus",
    frontend: str | None = None,
    semantics: Mapping[str, Any] | None = None,
    target: str | Path | Target = "loihi2",
    calibration: Samples | None = None,
    training: Training | None = None,
    observer: Observer = silent,
) -> PassLog:
    """Run the passes of a recipe, and nothing else.

    Args:
        model: as of `compile`.
        recipe: name or path of a recipe, a `Recipe`, or None for no passes.
        frontend: as of `compile`.
        semantics: as of `compile`.
        target: whose limits passes may ask about.
        calibration: what data-driven passes look at.
        training: what passes that train learn from.
        observer: told about the progress of passes.

    Returns:
        The compressed network, and what each pass did.

    Raises:
        SnnDeployError: the recipe or target is bad, or a pass refuses.
    """
    network = open_network("compress", model, frontend, semantics)
    recipe = _recipe(recipe)
    context = PassContext(
        seed=recipe.seed,
        target=target if isinstance(target, Target) else load_target(target),
        calibration=_feed(network, calibration, recipe),
        training=training,
        observer=observer,
    )
    return run_passes(network, recipe.passes, context)


def _recipe(recipe: str | Path | Recipe | None) -> Recipe:
    if recipe is None:
        return Recipe(name="none")
    return recipe if isinstance(recipe, Recipe) else load_recipe(recipe)


def _feed(network: Network, samples: Samples | None, recipe: Recipe) -> Feed | None:
    """As much of the samples as the recipe says."""
    wanted = recipe.calibration
    if samples is None:
        return None
    return Feed(network, samples, first=wanted.samples, steps=wanted.steps or None)


def observed_peaks(network: Network, samples: Samples | None) -> dict[str, float]:
    """Largest |u| of every population on the samples, from the float engine.

    Raises:
        InputError: there are no samples.
    """
    from ..simulate.float.engine import run_float

    if samples is None:
        raise InputError(
            "calibration-missing", "a calibrated scale needs samples", hint="give --data"
        )
    names = [p.name for p in network.populations if p.role != "input"]
    peaks = dict.fromkeys(names, 0.0)
    for part in samples.batches(_PEAK_SAMPLES):
        run = run_float(network, part.inputs, record=names)
        for name in names:
            peaks[name] = max(peaks[name], float(abs(run.u[name]).max(initial=0.0)))
    return peaks
