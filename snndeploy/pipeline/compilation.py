"""The whole way from a trained network to a placed program, in a row."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..chip import Target, family_of, load_target, native_only
from ..data import Feed, Samples
from ..errors import InputError
from ..export.netx_blocks import in_single_blocks
from ..ir.finding import Finding
from ..ir.network import Network
from ..ir.program import Program
from ..lower import InputCoding, LayoutName, fitted_in_turn, infer_coding, lower
from ..mapping import check_program, place_program
from ..passes.adapt import Adapt, adapted, unconnected, unsupported
from ..passes.base import Observer, PassContext, PassEvent, Training
from ..passes.guard.back_off import run_guarded
from ..passes.kept import kept_in
from ..passes.runner import PassLog
from ..progress import silent
from ..recipe import Recipe, load_recipe
from ..workers import HERE, Workers
from .calibrating import feed, put_aside, reference, shared_out
from .compiled import SHARE, Compiled, Objective, Scale
from .locking import data_record, read_as
from .opening import Model, open_network, open_reading
from .stakes.assumptions import weighed
from .stakes.rounding import answers_that_differ, measured_on, spikes_that_differ, told

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
    judged: Samples | None = None,
    training: Training | None = None,
    scale: Scale = "bounds",
    layout: LayoutName = "chip",
    objective: Objective = "speed",
    adapt: bool = False,
    native: bool = False,
    tell_all: bool = False,
    checkpoints: Path | None = None,
    resume: bool = False,
    try_seconds: float | None = None,
    workers: Workers = HERE,
    observer: Observer = silent,
) -> Compiled:
    """Ingest, compress, lower, place and check a network.

    Args:
        model: path of a NIR file, a ``nir.NIRGraph``, or a `Network` (which settles ``frontend`` and
            ``semantics``).
        target: name or path of a target, or a `Target`.
        recipe: name or path of a recipe, a `Recipe`, or None for no passes.
        frontend: framework that trained the network; None to find out from the file.
        semantics: single options of the frontend's semantics to override (``reset="zero"``, …), or
            ``strict=True`` to refuse whatever would have to be assumed.
        board: board of the target (its default one if None).
        inputs: how data enter the chip; inferred from ``calibration`` if None.
        calibration: a small sample of the data.
        judged: samples that tell what compression does to the answers; calibration samples that no
            pass sees, if None.
        training: what training passes train on.
        scale: ``"bounds"`` proves head-room for every input, ``"calibrated"`` trusts the samples.
        layout: ``"netx"`` lowers to integers that lava-dl's ``.net`` files hold.
        objective: ``"speed"`` gives every slice a core of its own while there are enough, ``"cores"``
            takes as few as it finds.
        adapt: start with the pass `Adapt`, which gives neurons forms that the target has.
        native: neurons are the chip's own, without programs (see `snndeploy.chip.native_only`).
        tell_all: neurons and inputs that the target has no form of are findings beside the budgets,
            which are those of the network that `Adapt` would make; else they are refused.
        checkpoints: a folder for the results of passes, which are the long part (None: none are kept).
        resume: take the results that are there already.
        try_seconds: how long is tried what would help where it does not fit (None: all of it).
        workers: who goes through calibration samples; see `workers_at`. The bits are the same.
        observer: told about the progress of passes, and of the check.

    Returns:
        All stages. Violated budgets are in ``findings``, not raised.

    Raises:
        SnnDeployError: the file, recipe or target is bad, or a pass or the lowering refuses.
    """
    chip = target if isinstance(target, Target) else load_target(target)
    if native:
        chip = native_only(chip)
    recipe = _recipe(recipe)
    if adapt and not any(isinstance(p, Adapt) for p in recipe.passes):
        recipe = recipe.model_copy(update={"passes": (Adapt(), *recipe.passes)})
    asked = recipe
    chips = chip.chips(board)
    opened = open_reading("compile", model, frontend, semantics)
    source = opened if isinstance(opened, Network) else weighed(opened, calibration)
    counted, unwired = unconnected(source) if tell_all and not adapt else (source, ())
    log = compress(
        counted,
        recipe=recipe,
        target=chip,
        calibration=calibration,
        judged=judged,
        training=training,
        checkpoints=checkpoints,
        resume=resume,
        workers=workers,
        observer=observer,
    )
    family = family_of(chip)
    network, told_of_neurons = fitted_in_turn(log.network, family)
    if layout == "netx":
        network = in_single_blocks(network)
    log = dataclasses.replace(log, network=network, notes=(*log.notes, *told_of_neurons))
    if log.passes != recipe.passes:
        recipe = recipe.model_copy(update={"passes": log.passes})
    if inputs is None and calibration is not None:
        inputs = infer_coding(x for part in calibration.batches() for x in part.values)
    observed = None
    if scale == "calibrated":
        observed = observed_peaks(log.network, calibration)
    steps = {} if calibration is None else {"steps": calibration.steps}
    network, missing = log.network, tuple[Finding, ...]()
    if tell_all:
        missing = (*unwired, *unsupported(network, chip), *_graded(network, chip, inputs))
        if missing:
            network = adapted(network, family).network
            inputs = InputCoding.named("binary") if _graded(network, chip, inputs) else inputs
    program = lower(network, chip, inputs=inputs, observed=observed, layout=layout, **steps)
    if not missing:
        differing = spikes_that_differ(log.network, program, calibration)
        findings = (*program.findings, *told(differing, measured_on(data=calibration is not None)))
        program = dataclasses.replace(program, differing=differing, findings=findings)
        rounded = _on_the_chip(counted, log, program, asked, (calibration, judged, training))
        log = dataclasses.replace(log, notes=(*log.notes, *rounded))
    placement = place_program(program, chip, chips=chips, share=SHARE[objective])
    checked = check_program(
        program,
        placement,
        chip,
        chips=chips,
        seconds=try_seconds,
        tell=partial(_checking, observer),
    )
    return Compiled(
        source=source,
        log=log,
        program=program,
        placement=placement,
        target=chip,
        board=chip.board(board),
        recipe=recipe,
        scale=scale,
        layout=layout,
        objective=objective,
        findings=(*missing, *checked, *source.findings, *program.findings, *log.findings),
        inputs=inputs,
        read=read_as(frontend, semantics or {}),
        data=data_record(
            calibration, None if scale == "calibrated" else recipe.calibration.samples
        ),
    )


def _checking(observer: Observer, what: str, done: int, of: int) -> None:
    observer(PassEvent(kind="progress", name="check", what=what, done=done, of=of))


def _graded(network: Network, chip: Target, inputs: InputCoding | None) -> tuple[Finding, ...]:
    """Inputs of several spikes, or of values, on a chip whose spikes are all alike."""
    if inputs is None or inputs.kind == "binary" or chip.neurons.graded_spikes:
        return ()
    return tuple(
        Finding(
            code="graded-input",
            severity="error",
            where=p.name,
            message=f"{chip.name} has binary spikes only, the data are "
            + (
                "-1, 0 and 1: split them by sign (--split-signs)"
                if inputs.only_signs
                else f"{inputs.kind}: encode them as spikes (--encode rate), or bin events so finely "
                "that no bin holds two (--bin-ms)"
            ),
        )
        for p in network.with_role("input")
    )


def compress(
    model: Model,
    *,
    recipe: str | Path | Recipe | None = "auto",
    frontend: str | None = None,
    semantics: Mapping[str, Any] | None = None,
    target: str | Path | Target = "loihi2",
    calibration: Samples | None = None,
    judged: Samples | None = None,
    training: Training | None = None,
    checkpoints: Path | None = None,
    resume: bool = False,
    workers: Workers = HERE,
    observer: Observer = silent,
) -> PassLog:
    """Run the passes of a recipe, compare the answers as its guard says, and nothing else.

    Args:
        model: as of `compile`.
        recipe: name or path of a recipe, a `Recipe`, or None for no passes.
        frontend: as of `compile`.
        semantics: as of `compile`.
        target: whose limits passes may ask about.
        calibration: what data-driven passes look at, and what the answers are compared on.
        judged: samples that the answers are compared on instead.
        training: what passes that train learn from.
        checkpoints: as of `compile`.
        resume: as of `compile`.
        workers: as of `compile`.
        observer: told about the progress of passes.

    Returns:
        The compressed network, and what each pass did.

    Raises:
        SnnDeployError: the recipe or target is bad, or a pass refuses.
    """
    network = open_network("compress", model, frontend, semantics)
    kept = kept_in(checkpoints, resume=resume)
    recipe = _recipe(recipe)
    passes = recipe.passes
    if recipe.blind and calibration is None:
        passes = tuple(p.blind() for p in passes)
    seen, compared, held_out = shared_out(recipe, calibration, judged, training)
    fitted, aside = put_aside(recipe, seen)
    steps = recipe.calibration.steps or None
    context = PassContext(
        seed=recipe.seed,
        target=target if isinstance(target, Target) else load_target(target),
        calibration=feed(network, fitted, recipe),
        aside=None if aside is None else Feed(network, aside, steps=steps),
        training=training,
        observer=observer,
        watch=reference(network, compared, recipe, held_out=held_out),
        kept=kept,
        workers=workers,
    )
    return run_guarded(network, passes, context, guard=recipe.guard, limit=recipe.max_divergence)


def _on_the_chip(
    trained: Network,
    log: PassLog,
    program: Program,
    recipe: Recipe,
    data: tuple[Samples | None, Samples | None, Training | None],
) -> tuple[Finding, ...]:
    """Where the integers answer otherwise, although the passes kept the answers."""
    _, compared, held_out = shared_out(recipe, *data)
    limit = recipe.max_divergence
    told = log.answers is not None and log.answers.bound > limit
    if told or recipe.guard == "off" or compared is None or not len(compared):
        return ()
    return answers_that_differ(
        trained,
        program,
        compared.cut(recipe.calibration.steps or None),
        limit,
        steps=int(log.network.notes.get("steps", 0)) or None,
        held_out=held_out,
    )


def _recipe(recipe: str | Path | Recipe | None) -> Recipe:
    if recipe is None:
        return Recipe(name="none")
    return recipe if isinstance(recipe, Recipe) else load_recipe(recipe)


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
