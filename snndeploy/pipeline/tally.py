"""Batches of a run, added up: what is kept does not grow with the samples, but for their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from ..chip import Target, arithmetic_models
from ..data import Samples
from ..ir.answers import right
from ..ir.arrays import Array
from ..ir.network import Network
from ..ir.placement import Placement
from ..ir.program import CompartmentGroup, Program
from ..mapping import StepMeter, effects
from ..measure.energy import Activity, Meter, chip_estimates, estimate_arithmetic
from ..measure.neurobench import NeuroBenchMeter
from ..report import run_report
from ..simulate.recording import Recording
from ..verify import Comparison, Verification, compare, kept_kernels
from ..verify.compare import merge
from ..verify.verification import EXACT


@dataclass(eq=False)
class Tally:
    """Accuracy, comparisons and events of the batches so far.

    ``networks`` are those that float stages run, by stage: their NeuroBench figures are measured.
    ``verification`` is told of every batch where there is one. ``output`` names the population that
    answers.
    """

    program: Program
    placement: Placement
    target: Target
    networks: Mapping[str, Network] = field(default_factory=dict)
    verification: Verification | None = None
    output: str = ""
    samples: int = 0
    steps: int = 0
    per_step: bool = False
    right: dict[str, int] = field(default_factory=dict)
    judged: dict[str, int] = field(default_factory=dict)
    predictions: dict[str, list[Any]] = field(default_factory=dict)
    missed: dict[str, list[Array]] = field(default_factory=dict)
    labels: list[int] = field(default_factory=list)
    comparisons: dict[tuple[str, str], Comparison] = field(default_factory=dict)
    activity: Activity | None = None
    neurobench: dict[str, NeuroBenchMeter] = field(default_factory=dict)

    @cached_property
    def meter(self) -> Meter:
        """Counts the events of the program as it is placed."""
        return Meter(self.program, effects(self.program, self.placement, self.target))

    @cached_property
    def clock(self) -> StepMeter:
        """Adds up how long steps take, each by its own busiest core."""
        return StepMeter(self.program, self.placement, self.target)

    def add(self, runs: Mapping[str, Recording], samples: Samples) -> None:
        """Count one batch that every engine has run."""
        for engine, run in runs.items():
            answers = run.predictions(self.output)
            if samples.per_step:
                answers = run.step_predictions(self.output, samples.window)
            self.predictions.setdefault(engine, []).extend(answers.tolist())
            if samples.labels is not None:
                hits, of = right(answers, samples.labels)
                self.right[engine] = self.right.get(engine, 0) + hits
                self.judged[engine] = self.judged.get(engine, 0) + of
            if samples.targets is not None:
                self.missed.setdefault(engine, []).append(
                    self._values(engine, run) - samples.targets
                )
            if engine in self.networks:
                meter = self.neurobench.setdefault(engine, NeuroBenchMeter(self.networks[engine]))
                meter.add(run)
        if samples.labels is not None and not samples.per_step:
            self.labels.extend(samples.labels.tolist())
        for a, b in pairwise(runs):
            found = self._compared(runs, a, b)
            before = self.comparisons.get((a, b))
            self.comparisons[a, b] = found if before is None else merge(before, found, self.samples)
        if self.verification is not None:
            self.verification.add(runs, samples.labels, samples.window)
        exact = next((runs[e] for e in ("integer", "lava", "xylosim") if e in runs), None)
        if exact is not None:
            self.clock.add(
                {g.name: exact.spikes[g.name] != 0 for g in self.program.groups if _sends(g)}
            )
            events = self.meter.measure(exact)
            self.activity = events if self.activity is None else self.activity + events
        self.samples += len(samples)
        self.per_step = samples.per_step
        self.steps = samples.steps

    def _compared(self, runs: Mapping[str, Recording], a: str, b: str) -> Comparison:
        """Two engines place by place; values that integers hold in another unit are left out."""
        pair = [runs[a], runs[b]]
        if (a in EXACT) != (b in EXACT):
            alike = {
                g.name
                for g in self.program.groups
                if g.kind != "readout" and (g.kind != "input" or float(g.scale) == 1.0)
            }
            pair = [
                replace(run, spikes={n: s for n, s in run.spikes.items() if n in alike})
                for run in pair
            ]
        if a == "float":
            kept = kept_kernels(self.networks)
            trains = {n: s[:, :, kept[n]] if n in kept else s for n, s in pair[0].spikes.items()}
            pair[0] = replace(pair[0], spikes=trains)
        return compare(pair[0], pair[1], (a, b))

    def _values(self, engine: str, run: Recording) -> Array:
        """Mean over time of what the output emits, ``(samples, neurons)``, in the network's units."""
        means = run.means(self.output)
        group = self.program.group(self.output)
        if engine not in EXACT or group.kind != "readout" or self.output in run.units:
            return means
        return means / float(group.scale.reshape(-1)[0])

    def errors(self) -> dict[str, dict[str, float]]:
        """How far outputs are from their target values: root mean square, and mean magnitude."""
        found = {engine: np.concatenate(parts) for engine, parts in self.missed.items()}
        return {
            engine: {"rmse": float((e**2).mean() ** 0.5), "mae": float(abs(e).mean())}
            for engine, e in found.items()
        }

    def accuracy(self) -> dict[str, float]:
        """Fraction of the samples (or labelled steps) so far that each engine answers right.

        Empty without labels.
        """
        return {e: hits / max(1, self.judged[e]) for e, hits in self.right.items()}

    def report(self, *, partial: bool = False) -> dict[str, Any]:
        """The run report; ``partial`` marks one that was interrupted."""
        activity = self.activity
        energy, time = {}, None
        if activity is not None:
            time = self.clock.result()
            ends = None if time is None else (time.low, time.high)
            energy = chip_estimates(activity, self.target, ends)
            for model in arithmetic_models():
                energy |= estimate_arithmetic(self.program, activity, model)
        report = run_report(
            samples=self.samples,
            steps=self.steps,
            output=self.output,
            outputs=[g.name for g in self.program.groups if g.role == "output"],
            accuracy=self.accuracy(),
            errors=self.errors(),
            predictions=self.predictions,
            labelled_steps=max(self.judged.values(), default=None) if self.per_step else None,
            labels=self.labels or None,
            comparisons=list(self.comparisons.values()),
            activity=activity,
            energy=energy,
            neurobench={name: meter.metrics() for name, meter in self.neurobench.items()},
            verification=self.verification,
            time=time,
        )
        return {**report, "partial": partial}


def _sends(group: CompartmentGroup) -> bool:
    """Whether it sends events: a readout is read, not sent."""
    return group.kind != "readout"
