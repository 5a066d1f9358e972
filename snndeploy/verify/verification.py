"""Stages of one network on the same samples: where they part, and what costs the accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..ir.answers import UNLABELLED
from ..ir.arrays import Array
from ..ir.network import Network
from ..ir.program import Program
from ..simulate.recording import Recording, RegisterUse
from .agreement import Agreement, AgreementMeter
from .substitution import Substitution, same_populations

_MOST_ATTRIBUTED = 256
"""Lost answers per pair of stages for which every layer is tried."""

EXACT = ("integer", "lava", "xylosim", "golden")
"""Engines that run the program, and so must agree in every spike."""


@dataclass(frozen=True, kw_only=True)
class PairResult:
    """Two neighbouring stages.

    Attributes:
        stages: the earlier and the later one.
        layers: agreement of every population (of the kernels that are left, where some were removed).
        not_compared: populations of different shapes, where it is not known which neurons are the same.
        lost: samples (steps, where these have labels) that the earlier stage answers right and the later
            one does not; without labels, those that they answer differently.
        gained: samples where it is the other way round (0 without labels).
        attributed: the lost samples that were looked into (the first ones, where there are many).
        alone: of those, how many each layer loses when it alone is replaced (see `Substitution`).
        no_layer_alone: of those, how many no layer loses alone.
    """

    stages: tuple[str, str]
    layers: Mapping[str, Agreement]
    not_compared: tuple[str, ...]
    lost: int
    gained: int
    attributed: int
    alone: Mapping[str, int]
    no_layer_alone: int


class Verification:
    """Adds up what a verification says, batch by batch.

    Args:
        program: what the integer stages run.
        networks: what the float stages run, by stage; both, where both are known.
        tau: time constant of the van Rossum distance, in steps.
    """

    def __init__(
        self,
        program: Program,
        networks: Mapping[str, Network],
        *,
        tau: float,
        output: str | None = None,
    ) -> None:
        self.program = program
        self.output = output or next(g.name for g in program.groups if g.role == "output")
        self.networks = dict(networks)
        self.tau = tau
        self.registers: dict[str, RegisterUse] = {}
        self._pairs: dict[tuple[str, str], _Pair] = {}
        self._emits: dict[str, bool] = {}

    def add(self, runs: Mapping[str, Recording], labels: Array | None, window: int = 1) -> None:
        """Take in one batch that every stage has run; ``window`` is that of its `Samples`."""
        for a, b in pairwise(runs):
            if (a, b) not in self._pairs:
                self._pairs[a, b] = _Pair(self, a, b)
            self._pairs[a, b].add(runs[a], runs[b], labels, window)
        for stage, run in runs.items():
            emits = bool(run.spikes[self.output].any())
            self._emits[stage] = emits or self._emits.get(stage, False)
            for name, use in run.registers.items():
                seen = self.registers.get(name)
                self.registers[name] = use if seen is None else seen + use

    @property
    def silent(self) -> tuple[str, ...]:
        """Stages whose answering output emitted nothing at all: what they answer is no answer."""
        return tuple(stage for stage, emits in self._emits.items() if not emits)

    def results(self) -> tuple[PairResult, ...]:
        """Every pair of neighbouring stages, in their order."""
        return tuple(pair.result() for pair in self._pairs.values())


class _Pair:
    """What is added up for two neighbouring stages."""

    def __init__(self, verification: Verification, a: str, b: str) -> None:
        program, networks = verification.program, verification.networks
        self.stages = (a, b)
        self.tau = verification.tau
        self.output = verification.output
        self.compared = [g for g in program.on_chip if g.kind != "constant"]
        self.meters: dict[str, AgreementMeter] = {}
        self.not_compared: tuple[str, ...] = ()
        self.lost = self.gained = self.attributed = self.no_layer_alone = 0
        self.alone: dict[str, int] = {}
        self.kept = kept_kernels(networks) if a == "float" else {}
        self.substitution: Substitution | None = None
        if a in networks and (b in networks or b in EXACT):
            after = networks.get(b, program)
            if same_populations(networks[a], after, self.kept):
                self.substitution = Substitution(networks[a], after, self.kept, self.output)
                self.alone = {", ".join(unit): 0 for unit in self.substitution.units}

    def add(self, a: Recording, b: Recording, labels: Array | None, window: int) -> None:
        """Take in one batch."""
        for group in self.compared:
            x, y = (run.spikes[group.name] for run in (a, b))
            if group.name in self.kept:
                x = x[:, :, self.kept[group.name]]
            if x.shape != y.shape:
                self.not_compared = tuple(dict.fromkeys((*self.not_compared, group.name)))
                continue
            if group.name not in self.meters:
                self.meters[group.name] = AgreementMeter(self.tau, spiking=group.kind != "readout")
            self.meters[group.name].add(x, y)
        if labels is not None and labels.ndim > 1:
            self._add_steps(a, b, labels, window)
            return
        before, after = a.predictions(self.output), b.predictions(self.output)
        lost = before != after
        if labels is not None:
            self.gained += int(np.count_nonzero((before != labels) & (after == labels)))
            lost = (before == labels) & (after != labels)
        self.lost += int(np.count_nonzero(lost))
        if self.substitution is not None:
            self._attribute(self.substitution, a, np.flatnonzero(lost))

    def _add_steps(self, a: Recording, b: Recording, labels: Array, window: int) -> None:
        """Count steps instead of samples; no layer is found for them."""
        before, after = (run.step_predictions(self.output, window) for run in (a, b))
        known = labels != UNLABELLED
        self.lost += int(np.count_nonzero(known & (before == labels) & (after != labels)))
        self.gained += int(np.count_nonzero(known & (before != labels) & (after == labels)))

    def _attribute(self, substitution: Substitution, run: Recording, lost: Array) -> None:
        """Try every layer on the samples that the later stage loses, while there are not too many."""
        some = lost[: _MOST_ATTRIBUTED - self.attributed]
        if not len(some):
            return
        part = Recording(
            engine=run.engine, spikes={name: train[:, some] for name, train in run.spikes.items()}
        )
        right = part.predictions(self.output)
        changed = {name: answer != right for name, answer in substitution.answers(part).items()}
        for name, where in changed.items():
            self.alone[name] += int(np.count_nonzero(where))
        self.no_layer_alone += int(np.count_nonzero(~_any(changed.values(), len(some))))
        self.attributed += len(some)

    def result(self) -> PairResult:
        """The figures so far."""
        return PairResult(
            stages=self.stages,
            layers={name: meter.result() for name, meter in self.meters.items()},
            not_compared=self.not_compared,
            lost=self.lost,
            gained=self.gained,
            attributed=self.attributed,
            alone=dict(self.alone),
            no_layer_alone=self.no_layer_alone,
        )


def kept_kernels(networks: Mapping[str, Network]) -> dict[str, Array]:
    """Of populations that lost kernels, the indices within the trained network that are left."""
    if not networks.keys() >= {"float", "compressed"}:
        return {}
    kept = {}
    for population in networks["compressed"].populations:
        before = networks["float"].population(population.name).kept
        if population.kept is not None:
            kept[population.name] = population.kept
            if before is not None:  # what was trained had lost kernels before
                kept[population.name] = np.searchsorted(before, population.kept)
    return kept


def _any(masks: Iterable[Array], n: int) -> Array:
    total = np.zeros(n, bool)
    for mask in masks:
        total |= mask
    return total
