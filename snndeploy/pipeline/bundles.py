"""Compilations as bundles, and bundles as something to run, check and verify."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle import Bundle, write_bundle
from ..calibrate.fidelity import Fidelity
from ..certify import BundleRefused, certify
from ..chip import family_of
from ..data import Samples, input_shapes
from ..errors import VerificationFailed
from ..ir.arrays import Array, Shape
from ..ir.network import Network
from ..ir.program import Program
from ..mapping import Summary, check_program, place_program, summarise
from ..passes.metrics import NetworkMetrics
from ..progress import Progress, Scores, silent
from ..report import compile_report, finding_record
from ..simulate.integer.engine import run_integer
from ..simulate.recording import Recording, units_of
from ..verify import Verification, worst_inputs
from ..workers import HERE, Workers
from .accounts.audit import audit, audited_report, other_target, stale_target
from .accounts.flashing import flashing_record
from .accounts.savings import savings_record
from .compiled import SHARE, Compiled, Objective
from .locking import lock_text
from .opening import open_bundle
from .run import (
    FLOAT_STAGES,
    STAGES,
    RunListener,
    network_missing,
    program_messages,
    report_runs,
    run_engine,
    run_program,
    run_samples,
)
from .stakes.rounding import measured_on

_GOLDEN_SAMPLES = 8
_RANDOM_GOLDEN = (16, 2, 0.2)
"""Steps, samples and spike probability of the self-test of a bundle compiled without data."""


def report_of(compiled: Compiled) -> dict[str, Any]:
    """The report of a compilation, as plain data."""
    steps = compiled.log.steps
    rows = [_pass_row("as trained", steps[0].before)] if steps else []
    rows += [
        {**_pass_row(step.name, step.after), "answers": answers_record(step.answers)}
        for step in steps
    ]
    report = compile_report(
        network={"digest": compiled.network.digest, "notes": dict(compiled.source.notes)},
        program=compiled.program,
        summary=_summary_of(compiled),
        target=compiled.target,
        board=compiled.board,
        findings=compiled.findings,
        passes=rows,
        recipe=compiled.recipe.name,
        differing_on=measured_on(data=bool(compiled.data)),
    )
    return {
        **report,
        "savings": savings_record(compiled),
        "flashing": flashing_record(compiled.program, compiled.target, compiled.findings),
    }


def answers_record(answers: Fidelity | None) -> dict[str, Any] | None:
    """How answers compare with those of the network as it was trained, as plain data."""
    return None if answers is None else dataclasses.asdict(answers)


def _summary_of(c: Compiled) -> Summary:
    chips = c.target.chips(c.board)
    return summarise(c.program, c.placement, c.target, c.findings, chips)


def _pass_row(name: str, m: NetworkMetrics) -> dict[str, Any]:
    return {
        "name": name,
        "neurons": sum(m.neurons.values()),
        "weights": m.total("alive"),
        "synapses": m.total("synapses"),
        "bits": m.total("storage_bits"),
    }


def bundle_of(
    compiled: Compiled, samples: Samples | None = None, report: Mapping[str, Any] | None = None
) -> Bundle:
    """Everything that one flashes, with a golden run on ``samples`` (or on random spikes).

    Where head-room is not proved, the worst inputs that a search finds come with it.
    ``report`` is that of `report_of` where it is at hand.
    """
    return Bundle(
        program=compiled.program,
        placement=compiled.placement,
        target=compiled.target,
        lock=lock_text(compiled),
        report=report_of(compiled) if report is None else report,
        golden=golden_of(compiled.program, samples),
        networks=compiled.networks,
        worst=worst_inputs(compiled.program),
    )


def save_bundle(path: str | Path, bundle: Bundle, *, force: bool = False) -> Path:
    """Write a bundle and have it certified; see `save_certified`."""
    save_certified(path, bundle, force=force)
    return Path(path)


def save_certified(path: str | Path, bundle: Bundle, *, force: bool = False) -> dict[str, Any]:
    """Write a bundle (see `snndeploy.bundle.write_bundle`) and return its certificate.

    Raises:
        InputError: the place exists (without ``force``), is no bundle, or cannot be written.
        VerificationFailed: the separate checker found a contradiction; what was written is left to
            be looked at.
    """
    write_bundle(path, bundle, version=version("snndeploy"), force=force)
    told = certificate_of(path)
    if failed := not_certified(path, told):
        raise failed
    return told


def certificate_of(path: str | Path) -> dict[str, Any]:
    """What the separate checker says of a bundle; ``refused`` says why it did not look (else None)."""
    try:
        return {**certify(path), "refused": None}
    except BundleRefused as refused:
        empty: dict[str, Any] = {"certified": False, "contradiction": None, "bounds": {}}
        told: dict[str, Any] = {"proved": [], "not_proved": [], "not_checked": []}
        return {**empty, **told, "refused": str(refused)}


def not_certified(path: str | Path, told: Mapping[str, Any]) -> VerificationFailed | None:
    """The error that a certificate with a contradiction is."""
    found = told["contradiction"]
    if found is None:
        return None
    return VerificationFailed(
        "not-certified",
        f"{found['where']}: {found['what']}: stated {found['stated']}, found {found['found']}",
        where=str(Path(path) / found["file"]),
        hint="do not run it on a chip: compile again, and report it if that does not help",
    )


def golden_of(program: Program, samples: Samples | None) -> dict[str, Array]:
    """Inputs and the spikes that the integer engine gives for them: a bundle's self-test."""
    if samples is not None:
        inputs = program_messages(program, samples.first(_GOLDEN_SAMPLES))
    else:
        steps, n, probability = _RANDOM_GOLDEN
        rng = np.random.default_rng(0)
        inputs = {
            g.name: (rng.random((steps, n, *g.shape)) < probability).astype(np.int64)
            for g in program.groups
            if g.kind == "input"
        }
    run = run_integer(program, inputs)
    return {
        **{f"input.{name}": array for name, array in inputs.items()},
        **{f"spikes.{g.name}": run.spikes[g.name] for g in program.on_chip},
    }


def run_bundle(
    bundle: str | Path | Bundle,
    engines: Sequence[str],
    load: Callable[[Mapping[str, Shape]], Samples],
    progress: Progress = silent,
    scores: Scores = silent,
    *,
    output: str | None = None,
    heard: RunListener = silent,
    workers: Workers = HERE,
) -> dict[str, Any]:
    """Run samples on a bundle's program (and its networks) and report; ``output`` answers.

    ``heard`` is as of `run_samples`.
    """
    where = str(bundle) if not isinstance(bundle, Bundle) else ""
    bundle = open_bundle("simulate", bundle)
    return run_samples(
        load(input_shapes(bundle.program)),
        engines,
        bundle.program,
        bundle.placement,
        bundle.target,
        networks=_networks(bundle, engines, where),
        progress=progress,
        scores=scores,
        output=output,
        heard=heard,
        workers=workers,
    )


def _networks(bundle: Bundle, engines: Sequence[str], where: str) -> Mapping[str, Network]:
    """The bundle's networks, which hold all that the float stages among ``engines`` run.

    Raises:
        UsageError: the bundle lacks one of them.
    """
    for engine in engines:
        if engine in FLOAT_STAGES and engine not in bundle.networks:
            raise network_missing(engine, where)
    return bundle.networks


def verify_bundle(
    bundle: str | Path | Bundle,
    engines: Sequence[str] | None,
    load: Callable[[Mapping[str, Shape]], Samples | None],
    progress: Progress = silent,
    scores: Scores = silent,
    *,
    tau: float = 10.0,
    output: str | None = None,
) -> dict[str, Any]:
    """Hold a bundle's stages against each other, on the samples given or on its golden inputs.

    On the golden inputs the recorded spikes stand before the engines that run the program, which are
    so held against what the compiler saw when it wrote the bundle.

    Args:
        bundle: the bundle, or where it is.
        engines: stages, each held against the one before in the order of `STAGES`. None: on samples
            every stage that the bundle can run, on the golden inputs ``integer`` and the outside
            simulator of its family of chips, if there is one.
        load: gives the samples for inputs of these shapes, or None for the golden inputs.
        progress: as in `run_samples`.
        scores: as in `run_samples`.
        tau: time constant of the van Rossum distance, in steps.
        output: the output population whose answers count (None: the first).

    Returns:
        A run report with what the verification found; ``placement`` lists what of the program its
        slices do not hold, ``bundle`` where its records are not so and which budgets it exceeds.

    Raises:
        InputError: the bundle or the data cannot be used.
        UsageError: a stage needs a network that the bundle lacks.
        BackendMissing: Lava is not there.
    """
    where = str(bundle) if not isinstance(bundle, Bundle) else ""
    bundle = open_bundle("verify", bundle)
    found = audit(bundle, fixes=False)
    report = _compared(where, bundle, engines, load, progress, scores, tau, output)
    return {
        **report,
        "placement": [finding_record(f) for f in found.misplaced],
        "bundle": [
            finding_record(f) for f in (*found.untrue, *found.budgets) if f.severity == "error"
        ],
    }


def _compared(
    where: str,
    bundle: Bundle,
    engines: Sequence[str] | None,
    load: Callable[[Mapping[str, Shape]], Samples | None],
    progress: Progress,
    scores: Scores,
    tau: float,
    output: str | None,
) -> dict[str, Any]:
    samples = load(input_shapes(bundle.program))
    if engines is None:
        floats = [] if samples is None else [s for s in FLOAT_STAGES if s in bundle.networks]
        judge = family_of(bundle.target).judge
        engines = (*floats, "integer", *(() if judge is None else (judge,)))
    engines = sorted(engines, key=STAGES.index)
    networks = _networks(bundle, engines, where)
    verification = Verification(bundle.program, networks, tau=tau, output=output)
    if samples is None:
        return _verify_golden(bundle, engines, networks, verification, progress, output)
    return run_samples(
        samples,
        engines,
        bundle.program,
        bundle.placement,
        bundle.target,
        networks=networks,
        verification=verification,
        progress=progress,
        scores=scores,
        output=output,
    )


def _verify_golden(
    bundle: Bundle,
    engines: Sequence[str],
    networks: Mapping[str, Network],
    verification: Verification,
    progress: Progress,
    output: str | None,
) -> dict[str, Any]:
    """Every stage on the golden inputs, with the spikes that the bundle records for them."""
    program = bundle.program
    groups = [g for g in program.groups if g.kind == "input"]
    messages = {g.name: bundle.golden[f"input.{g.name}"] for g in groups}
    samples = Samples({g.name: messages[g.name] / float(g.scale) for g in groups})
    recorded = {g.name: bundle.golden[f"spikes.{g.name}"] for g in program.on_chip}
    runs: dict[str, Recording] = {}
    partial = False
    try:
        for engine in (e for e in engines if e in FLOAT_STAGES):
            runs[engine] = run_engine(engine, samples, network=networks[engine])
        runs["golden"] = Recording(engine="golden", spikes=recorded, units=units_of(program))
        for engine in (e for e in engines if e not in FLOAT_STAGES):
            runs[engine] = run_program(engine, program, messages, progress, watch=True)
    except KeyboardInterrupt:
        if not runs.keys() - {"golden"}:
            raise
        partial = True
    return report_runs(
        runs,
        samples,
        program,
        bundle.placement,
        bundle.target,
        networks=networks,
        verification=verification,
        partial=partial,
        output=output,
    )


def check_bundle(
    bundle: str | Path | Bundle,
    target: str | None,
    board: str | None,
    objective: Objective | None = None,
) -> dict[str, Any]:
    """Check a bundle on its own target as it is placed, or place it anew on another board or target.

    On its own, nothing recorded is taken for granted: see `audit`. Another target is of the same family.

    Raises:
        InputError: the bundle cannot be read, or its content is not that of its manifest.
        UsageError: the program's neurons are not those of the target's family.
    """
    bundle = open_bundle("check", bundle)
    chip = bundle.target if target is None else other_target(bundle, target)
    if target is None and board is None and objective is None:
        report = audited_report(bundle, audit(bundle))
        note = stale_target(bundle)
        if note is not None:
            report["findings"].append(finding_record(note))
        return report
    chips = chip.chips(board)
    share = SHARE[objective or "speed"]
    placement = place_program(bundle.program, chip, chips=chips, share=share)
    findings = check_program(bundle.program, placement, chip, chips=chips)
    return compile_report(
        network=bundle.report["network"],
        program=bundle.program,
        summary=summarise(bundle.program, placement, chip, findings, chips),
        target=chip,
        board=chip.board(board),
        findings=(*findings, *bundle.program.findings),
        passes=bundle.report["passes"],
        recipe=bundle.report["recipe"],
    )
