"""Running samples on one engine or several, and reporting how they compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

from ..errors import UsageError
from ..ir.arrays import Array
from ..ir.network import Network
from ..ir.placement import Placement
from ..ir.program import Program
from ..lower import encode_inputs
from ..report import run_report
from ..simulate.data import Samples
from ..simulate.energy import estimate_energy, measure_activity
from ..simulate.recording import Recording, accuracy
from ..target import Target
from ..verify import compare
from .compilation import Compiled

Engine = Literal["float", "integer", "lava"]
Progress = Callable[[int, int], None]


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
            raise UsageError(
                "network-missing", "the float engine runs a trained network; a bundle holds none",
                hint="give the .nir file instead of the bundle",
            )  # fmt: skip
        return run_float(network, samples.inputs)
    if program is None:
        raise UsageError("program-missing", f"the {engine} engine runs a program")
    messages = program_messages(program, samples)
    if engine == "integer":
        from ..simulate.integer import run_integer

        return run_integer(program, messages, progress=progress)
    from ..simulate.lava_engine import run_lava

    return run_lava(program, messages, progress=progress)


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
    runs = {
        engine: run_engine(
            engine, samples, network=compiled.source, program=compiled.program, progress=progress
        )
        for engine in engines
    }
    return report_runs(runs, samples, compiled.program, compiled.placement, compiled.target)


def report_runs(
    runs: dict[str, Recording],
    samples: Samples,
    program: Program,
    placement: Placement,
    target: Target,
) -> dict[str, Any]:
    """Accuracy of each engine, each against the one before it, SynOps and energy."""
    output = next(g.name for g in program.groups if g.role == "output")
    predictions = {engine: run.predictions(output) for engine, run in runs.items()}
    labels = samples.labels
    exact = next((runs[engine] for engine in ("integer", "lava") if engine in runs), None)
    activity, energy = None, {}
    if exact is not None:
        activity = measure_activity(program, placement, target.chip, exact)
        models = {target.name: target.energy, **target.energy_alternatives}
        energy = {name: estimate_energy(activity, model) for name, model in models.items()}
    return run_report(
        samples=len(samples),
        steps=samples.steps,
        accuracy={} if labels is None else {e: accuracy(p, labels) for e, p in predictions.items()},
        predictions={engine: p.tolist() for engine, p in predictions.items()},
        comparisons=[compare(runs[a], runs[b], (a, b)) for a, b in pairwise(runs)],
        activity=activity,
        energy=energy,
    )
