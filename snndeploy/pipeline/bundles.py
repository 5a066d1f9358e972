"""Compilations as bundles, and bundles as something to run, check and verify."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .. import toml
from ..bundle import Bundle, read_bundle, write_bundle
from ..ir.arrays import Array, Shape
from ..ir.program import Program
from ..mapping import Summary, check_program, place_program, summarise, validate_placement
from ..passes.metrics import NetworkMetrics
from ..report import compile_report, finding_record
from ..simulate.data import Samples
from ..simulate.integer import run_integer
from ..simulate.recording import Recording
from ..target import load_target
from .compilation import Compiled
from .run import Progress, program_messages, report_runs, run_program, run_samples

_GOLDEN_SAMPLES = 8
_RANDOM_GOLDEN = (16, 2, 0.2)
"""Steps, samples and spike probability of the self-test of a bundle compiled without data."""


def report_of(compiled: Compiled) -> dict[str, Any]:
    """The report of a compilation, as plain data."""
    steps = compiled.log.steps
    rows = [_pass_row("as trained", steps[0].before)] if steps else []
    rows += [_pass_row(step.name, step.after) for step in steps]
    return compile_report(
        network={"digest": compiled.network.digest, "notes": dict(compiled.source.notes)},
        program=compiled.program, summary=_summary_of(compiled),
        target=compiled.target, board=compiled.board, findings=compiled.findings,
        passes=rows, recipe=compiled.recipe.name,
    )  # fmt: skip


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


def bundle_of(compiled: Compiled, samples: Samples | None = None) -> Bundle:
    """Everything that one flashes, with a golden run on ``samples`` (or on random spikes)."""
    return Bundle(
        program=compiled.program,
        placement=compiled.placement,
        target=compiled.target,
        lock=_lock(compiled),
        report=report_of(compiled),
        golden=golden_of(compiled.program, samples),
    )


def save_bundle(path: str | Path, bundle: Bundle, *, force: bool = False) -> Path:
    """Write a bundle; see `snndeploy.bundle.write_bundle`."""
    return write_bundle(path, bundle, version=version("snndeploy"), force=force)


def _lock(compiled: Compiled) -> str:
    """What was asked for, every default spelled out, as TOML."""
    return toml.dumps(
        {
            "network": {"digest": compiled.source.digest, **compiled.source.notes},
            "compile": {
                "target": compiled.target.name,
                "board": compiled.board,
                "scale": compiled.scale,
                "inputs": {
                    g.name: {"message_bits": g.message_bits, "scale": float(g.scale)}
                    for g in compiled.program.groups
                    if g.kind == "input"
                },
            },
            "recipe": toml.loads(compiled.recipe.to_toml()),
        }
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
    path: str | Path,
    engines: Sequence[str],
    load: Callable[[Shape], Samples],
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run samples on a bundle's program and report."""
    bundle = read_bundle(path)
    return _run(bundle, load(_input_shape(bundle.program)), engines, progress)


def _run(
    bundle: Bundle, samples: Samples, engines: Sequence[str], progress: Progress | None
) -> dict[str, Any]:
    return run_samples(
        samples, engines, bundle.program, bundle.placement, bundle.target, progress=progress
    )


def _input_shape(program: Program) -> Shape:
    return next(g.shape for g in program.groups if g.kind == "input")


def verify_bundle(
    path: str | Path,
    engines: Sequence[str],
    load: Callable[[Shape], Samples | None],
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run a bundle's golden inputs (or the samples given) on every engine and compare them.

    On the golden inputs the recorded spikes come first, so every engine is held against what the
    compiler saw when it wrote the bundle. ``placement`` lists what of the program its slices do not
    hold.
    """
    bundle = read_bundle(path)
    wrong = validate_placement(bundle.program, bundle.placement, bundle.target)
    report = _compared(bundle, engines, load, progress)
    return {**report, "placement": [finding_record(f) for f in wrong]}


def _compared(
    bundle: Bundle,
    engines: Sequence[str],
    load: Callable[[Shape], Samples | None],
    progress: Progress | None,
) -> dict[str, Any]:
    samples = load(_input_shape(bundle.program))
    if samples is not None:
        return _run(bundle, samples, engines, progress)
    inputs = [g for g in bundle.program.groups if g.kind == "input"]
    messages = {g.name: bundle.golden[f"input.{g.name}"] for g in inputs}
    recorded = {g.name: bundle.golden[f"spikes.{g.name}"] for g in bundle.program.on_chip}
    runs: dict[str, Recording] = {"golden": Recording(engine="golden", spikes=recorded)}
    for engine in engines:
        runs[engine] = run_program(engine, bundle.program, messages, progress)
    first = messages[inputs[0].name]
    return report_runs(runs, Samples(first), bundle.program, bundle.placement, bundle.target)


def check_bundle(path: str | Path, target: str | None, board: str | None) -> dict[str, Any]:
    """Check a bundle's program on its own target, or place it anew on another one."""
    bundle = read_bundle(path)
    chip = bundle.target if target is None else load_target(target)
    if target is None and board is None:
        return dict(bundle.report)
    chips = chip.chips(board)
    placement = place_program(bundle.program, chip, chips=chips)
    findings = check_program(bundle.program, placement, chip, chips=chips)
    return compile_report(
        network=bundle.report["network"], program=bundle.program,
        summary=summarise(bundle.program, placement, chip, findings, chips),
        target=chip, board=board or chip.default_board,
        findings=(*findings, *bundle.program.findings),
        passes=bundle.report["passes"], recipe=bundle.report["recipe"],
    )  # fmt: skip
