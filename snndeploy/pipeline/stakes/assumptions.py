"""How much a guess matters: what every other answer to an open question would change, measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ...data import Samples
from ...errors import InputError
from ...ingest import Reading
from ...ingest.assumed import assumed_finding
from ...ir.arrays import Array, size
from ...ir.network import Network
from ...simulate.recording import Recording
from .drawn import RANDOM, affordable, drawn, run_moment

_SAMPLES = 32
_DRAWN = (16, 8)
"""Steps and samples where there are no data."""


def weighed(reading: Reading, samples: Samples | None = None) -> Network:
    """The network as it was read; what it assumes is told with the spikes that are at stake.

    Every alternative to what was assumed is run by the float engine beside the network as it was read.

    Args:
        reading: a model and how it was read.
        samples: the user's data; without them, random spikes.
    """
    network = reading.network
    if not reading.assumptions:
        return network
    inputs, told = _inputs(network, samples)
    taken = run_moment(network, inputs)
    effects = {
        (a.field, answer): f"{_at_stake(reading, a.field, answer, taken, inputs)}, on {told}"
        for a in reading.assumptions
        for answer in a.alternatives
    }
    measured = assumed_finding(reading.assumptions, reading.raw.source, effects)
    found = tuple(measured if f.code == measured.code else f for f in network.findings)
    return dataclasses.replace(network, findings=found)


def _inputs(network: Network, samples: Samples | None) -> tuple[Mapping[str, Array], str]:
    """What the network is run on, and what that is called."""
    entries = network.with_role("input")
    neurons = sum(size(p.shape) for p in network.populations)
    if samples is None or any(p.shape != samples.shape_of(p.name) for p in entries):
        return drawn({p.name: p.shape for p in entries}, *affordable(neurons, *_DRAWN)), RANDOM
    steps, n = affordable(neurons, samples.steps, min(len(samples), _SAMPLES))
    some = samples.first(n).cut(steps).by_input(p.name for p in entries)
    cut = "" if steps == samples.steps else f", {steps} steps of each"
    return some, f"the first {n} of the samples{cut}"


def _at_stake(
    reading: Reading, field: str, answer: object, taken: Recording, inputs: Mapping[str, Array]
) -> str:
    """How many places of the hidden and output populations differ, and how many answers."""
    try:
        other = run_moment(reading.under(field, answer), inputs)
    except InputError as error:
        return f"impossible ({error.message})"
    names = [p.name for p in reading.network.populations if p.neuron is not None]
    differing = sum(int((taken.spikes[n] != other.spikes[n]).sum()) for n in names)
    total = sum(taken.spikes[n].size for n in names)
    output = reading.network.with_role("output")[0].name
    answers = taken.predictions(output) != other.predictions(output)
    return (
        f"{differing:,} of {total:,} outputs of neurons differ, and {int(answers.sum())} of "
        f"{len(answers)} answers"
    )
