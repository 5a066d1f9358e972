"""What rounding to integers will do to spikes, measured on a little when a network is compiled."""

from __future__ import annotations

import numpy as np

from ...calibrate.fidelity import beyond_doubt, kind_of_samples
from ...data import Samples
from ...ir.arrays import size
from ...ir.finding import Finding
from ...ir.network import Network
from ...ir.program import Program
from ...lower import encode_inputs
from ...simulate.jit import has_numba
from ...verify.compare import Comparison, compare, merge
from ..run import run_engine, run_program
from .drawn import RANDOM, affordable, drawn, run_moment

DATA = "the first of the samples"
"""What data are called that it was measured on."""
_SAMPLES = 32
_VALUES = 1 << 24
"""Places (step, sample, neuron) that are run: what takes a second or two."""
_DRAWN = (64, 8)
"""Steps and samples where there are no data; the first 16 steps would show half of it."""
_UPDATES = 1 << 22
"""Neuron updates without data: every compilation takes them, also those that only try something."""
_TOO_SHORT = 32
"""With fewer steps than this nothing is foretold without data."""
_STEPPED = 1 << 15
"""Steps of all groups without data: each costs a little, however few neurons a group has."""
_TOLD = 0.005
"""Share of a layer's spikes from which it is worth a line."""


def spikes_that_differ(
    network: Network, program: Program, samples: Samples | None
) -> dict[str, float]:
    """Share of each layer's spikes that are not the network's own in the integer engine.

    Of all spikes that either has; what `simulate` calls 1 - match, for the first few samples (without
    any: for random spikes). Layers are not isolated: what one gets wrong, those behind it hear. Empty
    where one sample is too much.

    Args:
        network: that was lowered (after all passes).
        program: its integers.
        samples: data to run it on.
    """
    found = _on_random(network, program) if samples is None else _on(network, program, samples)
    if found is None:
        return {}
    spiking = [g.name for g in program.on_chip if g.rule is not None and g.name in found.match]
    return {name: 1.0 - found.match[name] for name in spiking}


def answers_that_differ(
    network: Network,
    program: Program,
    samples: Samples,
    limit: float,
    *,
    steps: int | None = None,
    held_out: bool = True,
) -> tuple[Finding, ...]:
    """A warning where the program answers otherwise than the network that was trained.

    Guards compare compressed networks in real numbers; here the integers answer, of as many of the
    samples as take a second or two. As there, answers are others beyond doubt by their share less its
    standard error.

    Args:
        network: as it was trained.
        program: what became of it.
        samples: in the network's own form; where their steps have labels, each step is an answer.
            Where there are several outputs, the one counts that differs most.
        limit: share of the answers that may be others.
        steps: of each sample that the program is made for (None: all).
        held_out: whether no pass saw these samples.
    """
    count = min(len(samples), _VALUES // max(1, _neurons(program) * samples.steps))
    if not count or samples.targets is not None:  # values are no answers
        return ()
    alike: dict[str, list[float]] = {p.name: [] for p in network.with_role("output")}
    for part in samples.first(count).batches(_SAMPLES):
        wanted = run_engine("float", part, network=network)
        found = run_engine("integer", part.cut(steps), program=program)
        for output, shares in alike.items():
            a, b = (
                run.step_predictions(output, part.window)
                if part.per_step
                else run.predictions(output)[:, np.newaxis]
                for run in (wanted, found)
            )
            shares += (a[:, : b.shape[1]] == b).mean(axis=1).tolist()
    least = min(float(np.mean(shares)) for shares in alike.values())
    changed = beyond_doubt(least, count)
    if changed <= limit:
        return ()
    return (
        Finding(
            code="answers-rounded",
            severity="warning",
            where="rounding",
            message=f"in integers {least:.1%} of {count} {kind_of_samples(held_out)} are answered as "
            f"by the trained network, where {1 - limit:.0%} are asked for, though in real numbers the "
            "answers stay: "
            "learn with the chip's rounding (finetune, with aware), or take codes that lowering rounds "
            'no further (grid = "loihi")',
            resource="answers",
            used=changed,
            limit=limit,
            unit="share that is others",
            rule="what runs on the chip answers like the network that was trained",
        ),
    )


def _on(network: Network, program: Program, samples: Samples) -> Comparison | None:
    count = min(_SAMPLES, len(samples), _VALUES // max(1, _neurons(program) * samples.steps))
    if not count:
        return None
    found, done = None, 0
    for part in samples.batches(count):
        float_run = run_engine("compressed", part, network=network)
        integer_run = run_engine("integer", part, program=program)
        new = compare(float_run, integer_run, ("compressed", "integer"))
        found = new if found is None else merge(found, new, done)
        done += len(part)
        if done >= count:
            break
    return found


def _on_random(network: Network, program: Program) -> Comparison | None:
    most, drawn_samples = _DRAWN
    most = max(_TOO_SHORT, min(most, _STEPPED // len(program.groups)))
    steps, samples = affordable(_neurons(program), most, drawn_samples, _UPDATES)
    if steps < _TOO_SHORT or not has_numba():
        return None
    entries = [g for g in program.groups if g.kind == "input"]
    inputs = drawn({g.name: g.shape for g in entries}, steps, samples)
    for g in entries:  # of values that never reach 1, the largest that the program takes
        inputs[g.name] = inputs[g.name] * min(1.0, g.largest / float(g.scale))
    messages = {g.name: encode_inputs(inputs[g.name], g) for g in entries}
    return compare(run_moment(network, inputs), run_program("integer", program, messages))


def _neurons(program: Program) -> int:
    return sum(size(g.shape) for g in program.groups)


def told(differing: dict[str, float], on: str) -> tuple[Finding, ...]:
    """The layers in which rounding is seen, on what."""
    felt = {name: share for name, share in differing.items() if share >= _TOLD}
    if not felt:
        return ()
    listed = ", ".join(f"{name} {share:.1%}" for name, share in felt.items())
    return (
        Finding(
            code="spikes-rounded",
            severity="note",
            where="rounding",
            message=f"rounding to integers changes about so many spikes on {on}: {listed}",
        ),
    )


def measured_on(*, data: bool) -> str:
    """What `spikes_that_differ` measures on, in words."""
    return DATA if data else RANDOM
