"""Running samples on one engine or several, and reporting how they compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ..errors import UsageError
from ..ir.arrays import Array, size
from ..ir.network import Network
from ..ir.placement import Placement
from ..ir.program import Program
from ..lower import encode_inputs
from ..simulate.data import Samples
from ..simulate.recording import Recording
from ..target import Target
from .compilation import Compiled
from .tally import Tally

Engine = Literal["float", "integer", "lava"]
Progress = Callable[..., None]
"""Called with (done, total) and, after whole batches, the accuracy so far per engine."""

_BATCH_VALUES = 1 << 27
"""Places (steps x samples x neurons) that the recordings of one batch may hold."""


def run_engine(
    engine: str,
    samples: Samples,
    *,
    network: Network | None = None,
    program: Program | None = None,
    progress: Progress | None = None,
) -> Recording:
    """Run samples on one engine.

    Args:
        engine: ``float`` runs ``network``, ``integer`` and ``lava`` run ``program``.
        samples: what to run; converted to the program's integer messages.
        network: the trained or the compressed network.
        program: its integer form.
        progress: called with (done, total).

    Raises:
        InputError: data that do not fit the input.
        UsageError: the engine lacks what it runs.
        BackendMissing: Lava is not there.
    """
    if engine == "float":
        from ..simulate.float_engine import run_float

        if network is None:
            raise _network_missing()
        return run_float(network, samples.inputs)
    if program is None:
        raise UsageError("program-missing", f"the {engine} engine runs a program")
    return run_program(engine, program, program_messages(program, samples), progress)


def run_program(
    engine: str, program: Program, messages: Mapping[str, Array], progress: Progress | None = None
) -> Recording:
    """Run a program on the integer messages of its inputs, ``(steps, samples, *shape)`` each.

    Raises:
        UsageError: ``float``, which runs no program.
        BackendMissing: Lava is not there.
    """
    if engine == "float":
        raise _network_missing()
    if engine == "integer":
        from ..simulate.integer import run_integer

        return run_integer(program, messages, progress=progress)
    from ..simulate.lava_engine import run_lava

    return run_lava(program, messages, progress=progress)


def _network_missing() -> UsageError:
    return UsageError(
        "network-missing", "the float engine runs a trained network; a bundle holds none",
        hint="give the .nir file instead of the bundle",
    )  # fmt: skip


def program_messages(program: Program, samples: Samples) -> dict[str, Array]:
    """The integers that each input group of ``program`` sends for these samples."""
    return {
        g.name: encode_inputs(samples.inputs, g.message_bits, float(g.scale), f"input {g.name}")
        for g in program.groups
        if g.kind == "input"
    }


def run_compiled(
    compiled: Compiled,
    samples: Samples,
    engines: Sequence[str],
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run samples on several engines (float: the network as it was trained) and report."""
    return run_samples(
        samples, engines, compiled.program, compiled.placement, compiled.target,
        network=compiled.source, progress=progress,
    )  # fmt: skip


def run_samples(
    samples: Samples,
    engines: Sequence[str],
    program: Program,
    placement: Placement,
    target: Target,
    *,
    network: Network | None = None,
    batch: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run samples batch by batch on every engine, and report on all of them.

    Memory is bounded by the batch (default: some hundred samples, more for Lava, which takes long to
    start). Ctrl-C after the first batch gives the report so far, with ``"partial": true``.

    Args:
        samples: what to run.
        engines: names, in the order in which they are compared.
        program: what the integer and the Lava engine run.
        placement: where it sits, for messages and energy.
        target: what it was compiled for.
        network: what the float engine runs.
        batch: samples at a time.
        progress: called with (samples done, samples, accuracy so far per engine) after each batch, and
            with (samples done, samples) in between, where samples count once per engine.
    """
    tally = Tally(program, placement, target)
    batch = batch or _batch(samples, engines, program)
    total = len(samples) * len(engines)
    try:
        for part in samples.batches(batch):
            runs = {}
            for k, engine in enumerate(engines):
                before = tally.samples * len(engines) + k * len(part)
                runs[engine] = run_engine(
                    engine, part, network=network, program=program,
                    progress=_shifted(progress, before, total, len(part)),
                )  # fmt: skip
            tally.add(runs, part)
            if progress:
                progress(tally.samples * len(engines), total, tally.accuracy())
    except KeyboardInterrupt:
        if not tally.samples:
            raise
        return tally.report(partial=True)
    return tally.report()


def _batch(samples: Samples, engines: Sequence[str], program: Program) -> int:
    """Samples at a time: what the recordings of all engines may hold, and what suits the engines."""
    values = samples.steps * sum(size(g.shape) for g in program.groups) * len(engines)
    return max(1, min(_BATCH_VALUES // max(1, values), 1024 if "lava" in engines else 256))


def _shifted(
    progress: Progress | None, before: int, total: int, samples: int
) -> Callable[[int, int], None] | None:
    """Progress of one engine on one batch, as part of the whole run."""
    if progress is None:
        return None
    return lambda done, of: progress(before + samples * done // max(1, of), total)


def report_runs(
    runs: dict[str, Recording],
    samples: Samples,
    program: Program,
    placement: Placement,
    target: Target,
) -> dict[str, Any]:
    """Accuracy of each engine, each against the one before it, SynOps and energy."""
    tally = Tally(program, placement, target)
    tally.add(runs, samples)
    return tally.report()
