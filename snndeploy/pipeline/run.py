"""Running samples on one engine or several, and reporting how they compare."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from ..bundle import Bundle
from ..chip import Target
from ..data import Samples
from ..errors import UsageError
from ..ir.arrays import Array, size
from ..ir.digest.samples import SampleDigest
from ..ir.network import Network
from ..ir.placement import Placement
from ..ir.program import Program
from ..lower import encode_inputs
from ..progress import Progress, Scores, silent
from ..simulate.recording import Recording
from ..verify import Verification
from ..verify.judged import judged_output
from ..workers import HERE, Here, Shared, Task, Workers
from ..workers.base import digest_of_parts
from .compiled import Compiled, Loaded
from .tally import Tally

STAGES: tuple[str, ...] = ("float", "compressed", "integer", "lava", "xylosim")
"""What a network is on its way to the chip."""
FLOAT_STAGES = STAGES[:2]
"""The network as it was trained and after the passes, both run by the float engine."""

RunListener: TypeAlias = "Callable[[Mapping[str, Recording], Samples], None]"
"""Is handed what every engine recorded of a batch, and the batch."""

_BATCH_VALUES = 1 << 27
"""Bytes that the recordings of one batch may hold: one per place (step, sample, neuron)…"""
_FLOAT_VALUES = 9
"""…and with u and v in float32 that many."""


def run_engine(
    engine: str,
    samples: Samples,
    *,
    network: Network | None = None,
    program: Program | None = None,
    progress: Progress = silent,
    states: bool = False,
    watch: bool = False,
) -> Recording:
    """Run samples on one engine.

    Args:
        engine: ``float`` and ``compressed`` run ``network``, ``integer`` and ``lava`` run ``program``.
        samples: what to run; converted to the program's integer messages.
        network: the trained or the compressed network.
        program: its integer form.
        progress: see `Progress`.
        states: record u and v of all populations too (float engine only).
        watch: note how full registers get (integer engine only).

    Raises:
        InputError: data that do not fit the input.
        UsageError: the engine lacks what it runs.
        BackendMissing: Lava is not there.
    """
    if engine in FLOAT_STAGES:
        from ..simulate.float.engine import run_float

        if network is None:
            raise network_missing(engine)
        names = [p.name for p in network.populations if p.neuron is not None] if states else []
        run = run_float(network, samples.inputs, record=names)
        outputs = [p.name for p in network.with_role("output")]
    else:
        if program is None:
            raise UsageError("program-missing", f"the {engine} engine runs a program")
        messages = program_messages(program, samples)
        run = run_program(engine, program, messages, progress, watch=watch)
        outputs = [g.name for g in program.groups if g.role == "output"]
    return replace(run, output=outputs[0])


def run_program(
    engine: str,
    program: Program,
    messages: Mapping[str, Array],
    progress: Progress = silent,
    *,
    watch: bool = False,
) -> Recording:
    """Run a program on the integer messages of its inputs, ``(steps, samples, *shape)`` each.

    Raises:
        UsageError: a float stage, which runs no program.
        BackendMissing: Lava is not there.
    """
    if engine in FLOAT_STAGES:
        raise network_missing(engine)
    if engine == "integer":
        from ..simulate.integer.engine import run_integer

        return run_integer(program, messages, progress=progress, watch=watch)
    if engine == "xylosim":
        from ..simulate.xylo.engine import run_xylosim

        return run_xylosim(program, messages, progress=progress)
    from ..simulate.lava.engine import run_lava

    return run_lava(program, messages, progress=progress)


def answers_of(
    engine: str,
    samples: Samples,
    output: str,
    *,
    network: Network | None = None,
    program: Program | None = None,
    batch: int | None = None,
) -> Array:
    """What one engine answers: ``(samples,)``, or ``(samples, steps)`` where steps have labels.

    Args:
        engine: as of `run_engine`, as are ``network`` and ``program``.
        samples: what to run.
        output: the population that answers.
        network: the trained or the compressed network.
        program: its integer form.
        batch: samples at a time (None: as many as suit the memory).

    Raises:
        InputError: data that do not fit the input.
    """
    runs = (
        run_engine(engine, part, network=network, program=program)
        for part in samples.batches(batch)
    )
    if samples.per_step:
        return np.concatenate([run.step_predictions(output, samples.window) for run in runs])
    return np.concatenate([run.predictions(output) for run in runs])


def network_missing(engine: str, where: str = "") -> UsageError:
    """The error of a float stage where no network is at hand."""
    return UsageError(
        "network-missing",
        f"the stage {engine!r} runs a network, and there is only a program here",
        where=where,
        hint="compile the .nir file again; bundles of older versions and of .net files hold none",
    )


def program_messages(program: Program, samples: Samples) -> dict[str, Array]:
    """The integers that each input group of ``program`` sends for these samples."""
    groups = {g.name: g for g in program.groups if g.kind == "input"}
    return {
        name: encode_inputs(values, groups[name])
        for name, values in samples.by_input(groups).items()
    }


def run_compiled(
    compiled: Compiled | Loaded,
    samples: Samples,
    engines: Sequence[str],
    progress: Progress = silent,
    scores: Scores = silent,
    *,
    output: str | None = None,
    heard: RunListener = silent,
    workers: Workers = HERE,
) -> dict[str, Any]:
    """Run samples on several engines (float: the network as it was trained) and report.

    Raises:
        UsageError: a float stage of what was a program from the first.
    """
    for engine in engines:
        if engine in FLOAT_STAGES and engine not in compiled.networks:
            raise network_missing(engine)
    return run_samples(
        samples,
        engines,
        compiled.program,
        compiled.placement,
        compiled.target,
        networks=compiled.networks,
        progress=progress,
        scores=scores,
        output=output,
        heard=heard,
        workers=workers,
    )


def run_samples(
    samples: Samples,
    engines: Sequence[str],
    program: Program,
    placement: Placement,
    target: Target,
    *,
    networks: Mapping[str, Network] = MappingProxyType({}),
    verification: Verification | None = None,
    batch: int | None = None,
    progress: Progress = silent,
    scores: Scores = silent,
    output: str | None = None,
    heard: RunListener = silent,
    workers: Workers = HERE,
) -> dict[str, Any]:
    """Run samples batch by batch on every engine, and report on all of them.

    Memory is bounded by the batch (default: some hundred samples, more for Lava, which takes long to
    start). Ctrl-C gives the report of the whole batches so far (within the first one: of the engines
    that have finished it), with ``"partial": true``.

    Args:
        samples: what to run.
        engines: names, in the order in which they are compared.
        program: what the integer and the Lava engine run.
        placement: where it sits, for messages and energy.
        target: what it was compiled for.
        networks: what the stages ``float`` and ``compressed`` run.
        verification: told of every batch, and reported.
        batch: samples at a time.
        progress: is told (samples done, samples), where samples count once per engine.
        scores: see `Scores`.
        output: the output population whose answers count (None: the first).
        heard: is handed the recordings of every batch, by engine, and its samples.
        workers: who runs batches; they are reported on in their order, whoever ran them.

    Raises:
        InputError: labels that are no classes of the output.
        UsageError: an unknown output.
    """
    judged = judged_output(program, samples, output)
    tally = Tally(program, placement, target, networks, verification, output=judged)
    batch = batch or _batch(samples, engines, program)
    total = len(samples) * len(engines)
    staged = _Stages(
        engines=tuple(engines), networks=networks, program=program, watch=verification is not None
    )
    runs: dict[str, Recording] = {}
    part = samples

    def count(found: dict[str, Recording], batch: Samples) -> None:
        with finishing():
            tally.add(found, batch)
            heard(found, batch)
        scores(tally.accuracy())
        progress(tally.samples * len(engines), total)

    try:
        if not isinstance(workers, Here):
            for part, found in _elsewhere(staged, samples.batches(batch), workers):
                count(found, part)
            return tally.report()
        for part in samples.batches(batch):
            runs = {}
            for k, engine in enumerate(engines):
                before = tally.samples * len(engines) + k * len(part)
                told = _shifted(progress, before, total, len(part))
                runs[engine] = staged.run(engine, part, told)
            count(runs, part)
    except KeyboardInterrupt:
        if not tally.samples:
            if not runs:
                raise
            tally.add(runs, part)
            heard(runs, part)
        return tally.report(partial=True)
    return tally.report()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Stages:
    """What a batch is run on."""

    engines: tuple[str, ...]
    networks: Mapping[str, Network]
    program: Program
    watch: bool

    def run(self, engine: str, part: Samples, progress: Progress = silent) -> Recording:
        return run_engine(
            engine,
            part,
            network=self.networks.get(engine),
            program=self.program,
            progress=progress,
            states=engine in self.networks,
            watch=self.watch,
        )

    @property
    def digest(self) -> str:
        networks = [self.networks[e].digest for e in self.engines if e in self.networks]
        return digest_of_parts(*self.engines, *networks, self.program.digest, self.watch)


def _on_all(stages: _Stages, part: Samples) -> dict[str, Recording]:
    """One batch on every engine, wherever that is."""
    return {engine: stages.run(engine, part) for engine in stages.engines}


_SENT = 16
"""Batches that are with the workers at a time."""


def _elsewhere(
    stages: _Stages, parts: Iterator[Samples], workers: Workers
) -> Iterator[tuple[Samples, dict[str, Recording]]]:
    """Batches in their order, each with what the workers made of it."""
    shared = Shared(stages.digest, stages)
    while some := list(islice(parts, _SENT)):
        tasks = [Task(SampleDigest().add(part.inputs).hex(), part) for part in some]
        yield from zip(some, workers.each(_on_all, shared, tasks), strict=True)


@contextmanager
def finishing() -> Iterator[None]:
    """Let the body finish before Ctrl-C acts, so that no batch is counted by half."""
    pressed: list[int] = []
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield  # Ctrl-C never comes here
        return
    before = signal.signal(signal.SIGINT, lambda number, _frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt


def _batch(samples: Samples, engines: Sequence[str], program: Program) -> int:
    """Samples at a time: what the recordings of all engines may hold, and what suits the engines."""
    weight = sum(_FLOAT_VALUES if e in FLOAT_STAGES else 1 for e in engines)
    values = samples.steps * sum(size(g.shape) for g in program.groups) * weight
    return max(1, min(_BATCH_VALUES // max(1, values), 1024 if "lava" in engines else 256))


def _shifted(progress: Progress, before: int, total: int, samples: int) -> Progress:
    """Progress of one engine on one batch, as part of the whole run."""
    return lambda done, of: progress(before + samples * done // max(1, of), total)


def report_runs(
    runs: dict[str, Recording],
    samples: Samples,
    program: Program,
    placement: Placement,
    target: Target,
    *,
    networks: Mapping[str, Network] = MappingProxyType({}),
    verification: Verification | None = None,
    partial: bool = False,
    output: str | None = None,
) -> dict[str, Any]:
    """Accuracy of each engine, each against the one before it, SynOps and energy.

    Raises:
        InputError: labels that are no classes of the output.
        UsageError: an unknown output.
    """
    judged = judged_output(program, samples, output)
    tally = Tally(program, placement, target, networks, verification, output=judged)
    tally.add(runs, samples)
    return tally.report(partial=partial)


def energy(compiled: Compiled | Loaded | Bundle, samples: Samples) -> dict[str, dict[str, Any]]:
    """Estimates of the energy per sample, by every model that knows the chip or the arithmetic.

    Args:
        compiled: what runs, as it is placed.
        samples: what it runs on.

    Returns:
        By the model's name: ``low`` and ``high`` in nanojoules, ``parts``, ``certainty``, ``sources``,
        what is ``not_counted``, and the ``kind`` (what the estimate is of; unlike kinds do not compare).
    """
    report = run_samples(
        samples, ["integer"], compiled.program, compiled.placement, compiled.target
    )
    estimates: dict[str, dict[str, Any]] = report["energy"]
    return estimates
