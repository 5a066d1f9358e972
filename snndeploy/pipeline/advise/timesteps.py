"""Fewer time steps: what a network answers after each step of a sample, from one run over the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ...calibrate.stream import stream
from ...data import Samples
from ...ir.answers import chosen as answered
from ...ir.arrays import Array
from ...ir.linear.unroll import unroll
from ...ir.network import Network, Population
from ...progress import Progress, silent
from ..opening import Model, open_network
from .judging import refuse_step_labels, refuse_unfit

FACTORS = (0.6, 0.7, 0.8, 0.9, 1.0)
"""Thresholds tried when rescaling: fewer steps leave less time to reach them."""


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """The network stopped after ``steps`` steps.

    ``accuracy`` counts answers from the output summed over these steps (None without labels),
    ``same`` those that the whole sample gives too. ``latency`` is in chip steps: one more per layer.
    ``synops`` per sample: one per spike and synapse that is not zero, inputs that are not zero counted
    as spikes.
    """

    steps: int
    factor: float
    accuracy: float | None
    same: float
    latency: int
    synops: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Timesteps:
    """Every prefix (longest first) at the factor that serves it best, and the one chosen.

    ``network`` has the thresholds of the chosen prefix.
    """

    prefixes: tuple[Prefix, ...]
    chosen: Prefix
    network: Network
    tolerance: float

    def record(self) -> dict[str, Any]:
        """JSON-compatible."""
        return {
            "prefixes": [dataclasses.asdict(p) for p in self.prefixes],
            "chosen": dataclasses.asdict(self.chosen),
            "tolerance": self.tolerance,
        }


def reduce_timesteps(
    model: Model,
    samples: Samples,
    *,
    tolerance: float = 0.01,
    rescale: bool = False,
    frontend: str | None = None,
    semantics: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Timesteps:
    """Evaluate a network after T, T - 1, … 1 steps and choose the fewest within ``tolerance``.

    A prefix of a run is the run of that length, as nothing looks ahead: one pass over the data gives
    all of them. With ``rescale``, thresholds of the hidden layers (and with them biases, relative to
    the threshold) are also tried at `FACTORS` of their size, one pass each.

    Args:
        model: as of `compile`; float or quantised.
        samples: with labels, accuracy decides; without, agreement with the answer of the whole sample.
        tolerance: how much accuracy (or agreement) may fall, as a fraction.
        rescale: try lower thresholds for fewer steps.
        frontend: as of `compile`.
        semantics: as of `compile`.
        progress: is told ``(samples done, samples)`` over all passes.

    Raises:
        InputError: samples that do not fit the network, labels that are none of its classes, or none;
            ``labels-per-step``, labels of single steps.
    """
    network = open_network("reduce-timesteps", model, frontend, semantics)
    refuse_unfit(network, samples, "timesteps")
    refuse_step_labels(
        samples,
        "so that none can be left out",
        "timesteps",
        "reduce time steps of networks that answer once per sample",
    )
    factors = FACTORS if rescale else (1.0,)
    total = len(factors) * len(samples)
    runs: dict[float, _Counted] = {}
    for i, factor in enumerate(sorted(factors, reverse=True)):  # 1 first: it is the reference
        before = i * len(samples)
        told = partial(_shifted, progress, before, total)
        runs[factor] = _count(scaled_thresholds(network, factor), samples, told)
    reference = runs[1.0].answers[-1]
    depth = max(network.depth.values())
    table = {
        factor: [_prefix(t, factor, run, samples, reference, depth) for t in range(samples.steps)]
        for factor, run in runs.items()
    }
    best = [
        max((rows[t] for rows in table.values()), key=lambda p: (_quality(p), p.factor))
        for t in range(samples.steps)
    ]
    enough = _quality(table[1.0][-1]) - tolerance
    chosen = next(p for p in best if _quality(p) >= enough - 1e-12)
    return Timesteps(
        prefixes=tuple(reversed(best)),
        chosen=chosen,
        tolerance=tolerance,
        network=scaled_thresholds(network, chosen.factor),
    )


def scaled_thresholds(network: Network, factor: float) -> Network:
    """``network`` with the thresholds of its spiking hidden populations times ``factor``.

    Their biases and drives scale along, so that what acts from the first step on keeps its weight
    against the threshold.
    """
    if factor == 1.0:
        return network
    return network.replace(
        populations=[
            _scaled(p, factor)
            for p in network.with_role("hidden")
            if p.neuron is not None and p.neuron.spiking
        ]
    )


def _scaled(population: Population, factor: float) -> Population:
    neuron = population.neuron
    assert neuron is not None
    fields = {name: getattr(neuron, name) * factor for name in ("threshold", "bias", "drive")}
    return dataclasses.replace(population, neuron=neuron.changed(population.shape, **fields))


def _shifted(progress: Progress, before: int, total: int, done: int, _of: int) -> None:
    """Progress of one pass as part of all of them."""
    progress(before + done, total)


@dataclass(frozen=True, eq=False)
class _Counted:
    """Answers ``(steps, samples)`` and synaptic operations ``(steps,)`` of all samples, cumulative."""

    answers: Array
    synops: Array


def _count(network: Network, samples: Samples, progress: Progress) -> _Counted:
    output = network.with_role("output")[0].name
    fan_out = _fan_out(network)
    answers: list[Array] = []
    synops = np.zeros(samples.steps)
    for chunk in stream(network, samples.inputs):
        spikes = chunk.recording.spikes
        emitted = spikes[output].reshape(samples.steps, chunk.stop - chunk.start, -1)
        answers.append(answered(np.cumsum(emitted, axis=0, dtype=np.float64)))
        for name, fan in fan_out.items():
            active = (spikes[name] != 0).sum(axis=1).reshape(samples.steps, -1)
            synops += active @ fan
        progress(chunk.stop, len(samples))
    return _Counted(np.concatenate(answers, axis=1), np.cumsum(synops))


def _fan_out(network: Network) -> dict[str, Array]:
    """Synapses that are not zero behind each neuron of each population, flat."""
    fans: dict[str, Array] = {}
    for projection in network.projections:
        alive = (projection.weight.values() != 0).astype(np.int64)
        matrix = unroll(projection.ops, alive, network.source_shape(projection))
        count = np.bincount(matrix.cols, minlength=matrix.shape[1])
        for source in projection.sources:
            fans[source.population] = fans.get(source.population, 0) + count
    return fans


def _prefix(
    t: int, factor: float, run: _Counted, samples: Samples, reference: Array, depth: int
) -> Prefix:
    answers = run.answers[t]
    return Prefix(
        steps=t + 1,
        factor=factor,
        accuracy=None if samples.labels is None else float((answers == samples.labels).mean()),
        same=float((answers == reference).mean()),
        latency=t + 1 + depth,
        synops=float(run.synops[t]) / len(samples),
    )


def _quality(prefix: Prefix) -> float:
    return prefix.same if prefix.accuracy is None else prefix.accuracy


def timesteps_table(found: Timesteps) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """Columns and rows for people."""
    columns = ("steps", "threshold", "accuracy", "same answers", "chip steps", "SynOps", "")
    rows: list[tuple[str, ...]] = [
        (
            str(p.steps),
            f"× {p.factor:g}",
            "" if p.accuracy is None else f"{p.accuracy:.1%}",
            f"{p.same:.1%}",
            str(p.latency),
            f"{p.synops:,.0f}",
            "chosen" if p == found.chosen else "",
        )
        for p in found.prefixes
    ]
    return columns, rows
