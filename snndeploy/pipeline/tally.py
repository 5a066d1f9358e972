"""Batches of a run, added up: what is kept does not grow with the samples, but for their answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from ..ir.arrays import Array
from ..ir.placement import Placement
from ..ir.program import Program
from ..mapping import step_time, traffic
from ..report import run_report
from ..simulate.data import Samples
from ..simulate.energy import Activity, estimate_cmos, estimate_energy, measure_activity
from ..simulate.recording import Recording
from ..target import Target
from ..verify import Comparison, compare
from ..verify.compare import merge


@dataclass(eq=False)
class Tally:
    """Accuracy, comparisons and events of the batches so far."""

    program: Program
    placement: Placement
    target: Target
    samples: int = 0
    steps: int = 0
    right: dict[str, int] = field(default_factory=dict)
    predictions: dict[str, list[int]] = field(default_factory=dict)
    comparisons: dict[tuple[str, str], Comparison] = field(default_factory=dict)
    activity: Activity | None = None
    spikes: dict[str, Array] = field(default_factory=dict)

    def add(self, runs: Mapping[str, Recording], samples: Samples) -> None:
        """Count one batch that every engine has run."""
        output = next(g.name for g in self.program.groups if g.role == "output")
        for engine, run in runs.items():
            answers = run.predictions(output)
            self.predictions.setdefault(engine, []).extend(answers.tolist())
            if samples.labels is not None:
                hits = int(np.count_nonzero(answers == samples.labels))
                self.right[engine] = self.right.get(engine, 0) + hits
        for a, b in pairwise(runs):
            found = compare(runs[a], runs[b], (a, b))
            before = self.comparisons.get((a, b))
            self.comparisons[a, b] = found if before is None else merge(before, found, self.samples)
        exact = next((runs[e] for e in ("integer", "lava") if e in runs), None)
        if exact is not None:
            for name, count in spike_counts(self.program, exact).items():
                self.spikes[name] = self.spikes.get(name, 0) + count
            events = count_events(self.program, self.placement, self.target, exact)
            self.activity = events if self.activity is None else _joined(self.activity, events)
        self.samples += len(samples)
        self.steps = samples.steps

    def accuracy(self) -> dict[str, float]:
        """Fraction of the samples so far that each engine answers right; empty without labels."""
        return {engine: hits / max(1, self.samples) for engine, hits in self.right.items()}

    def report(self, *, partial: bool = False) -> dict[str, Any]:
        """The run report; ``partial`` marks one that was interrupted."""
        activity = self.activity
        energy, time = {}, None
        if activity is not None:
            steps = max(1, self.samples * self.steps)
            mean = {name: count / steps for name, count in self.spikes.items()}
            time = step_time(self.program, self.placement, self.target, mean)
            models = {self.target.name: self.target.energy, **self.target.energy_alternatives}
            energy = {name: estimate_energy(activity, model) for name, model in models.items()}
            energy |= estimate_cmos(self.program, activity)
        report = run_report(
            samples=self.samples,
            steps=self.steps,
            accuracy=self.accuracy(),
            predictions=self.predictions,
            comparisons=list(self.comparisons.values()),
            activity=activity,
            energy=energy,
            time=time,
        )
        return {**report, "partial": partial}


def spike_counts(program: Program, recording: Recording) -> dict[str, Array]:
    """Spikes of every neuron over a recorded run."""
    return {
        g.name: (recording.spikes[g.name] != 0).sum(axis=(0, 1))
        for g in program.groups
        if g.kind != "readout"
    }


def count_events(
    program: Program, placement: Placement, target: Target, recording: Recording
) -> Activity:
    """Count the events of a recorded run, and the messages that they send across a placement."""
    sent = traffic(program, placement, target, spike_counts(program, recording))
    return measure_activity(
        program,
        recording,
        messages=round(sent.messages),
        hops=(round(sent.hops_x), round(sent.hops_y)),
    )


def _joined(a: Activity, b: Activity) -> Activity:
    """Events of both batches."""

    def summed(x: Mapping[str, int], y: Mapping[str, int]) -> dict[str, int]:
        return {name: x[name] + y[name] for name in x}

    return dataclasses.replace(
        a,
        samples=a.samples + b.samples,
        spikes=summed(a.spikes, b.spikes),
        synops=summed(a.synops, b.synops),
        dense_synops=summed(a.dense_synops, b.dense_synops),
        updates=a.updates + b.updates,
        messages=a.messages + b.messages,
        hops=(a.hops[0] + b.hops[0], a.hops[1] + b.hops[1]),
    )
