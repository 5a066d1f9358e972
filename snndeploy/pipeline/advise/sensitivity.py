"""How much each layer can lose: accuracy or spikes against kernels removed and bits, one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...calibrate.stream import stream
from ...data import Feed, Samples
from ...errors import PassRefused
from ...ir.arrays import Array
from ...ir.network import Network
from ...passes.base import Pass
from ...passes.kept import kept_in
from ...passes.kernels.coupling import coupling
from ...passes.kernels.remove_kernels import Fold, RemoveKernels
from ...passes.kernels.scores import Criterion
from ...passes.metrics import measure
from ...passes.quantization.quantize import Quantize
from ...progress import Progress, silent
from ...recipe import CalibrationOptions, Recipe
from ...report.chart import Panel, line_chart
from ..compilation import compress
from ..opening import Model, open_network
from .judging import refuse_unfit


@dataclass(frozen=True, kw_only=True)
class Point:
    """One layer changed, everything else as trained.

    ``kind`` is ``"ratio"`` (of kernels removed) or ``"bits"``; ``distance`` is the fraction of output
    spikes that only one of both networks has (of outputs that do not spike: the relative L2 distance);
    ``saved`` is the fraction of all weight bits that the change saves.
    """

    layer: str
    kind: str
    value: float
    accuracy: float | None
    distance: float
    saved: float


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """All points, and the unchanged network's ``accuracy`` (None without labels)."""

    points: tuple[Point, ...]
    accuracy: float | None
    samples: int
    score: str
    fold: str

    @property
    def noise(self) -> float | None:
        """How far apart two accuracies of so many samples may be by chance, in 95 of 100 cases.

        The normal approximation of two independent shares, about that of the network as trained; as the
        same samples judge both, it is on the safe side. No less than what two samples make.
        """
        if self.accuracy is None:
            return None
        spread = 1.96 * (2 * self.accuracy * (1 - self.accuracy) / self.samples) ** 0.5
        return max(spread, min(1.0, 2 / self.samples))

    def record(self) -> dict[str, Any]:
        """JSON-compatible."""
        return {**dataclasses.asdict(self), "noise": self.noise}


def sensitivity(
    model: Model,
    samples: Samples,
    *,
    ratios: Sequence[float] = (0.125, 0.25, 0.5),
    bits: Sequence[int] = (8, 4, 3, 2),
    score: Criterion = "l1",
    fold: Fold = "none",
    seed: int = 0,
    frontend: str | None = None,
    semantics: Mapping[str, Any] | None = None,
    checkpoints: Path | None = None,
    resume: bool = False,
    progress: Progress = silent,
) -> Sensitivity:
    """Change one layer at a time and run the samples.

    Args:
        model: as of `compile`; as trained (real-valued).
        samples: calibrate the changes and judge them.
        ratios: fractions of a layer's kernels (or neurons) to remove.
        bits: widths to quantise a layer's weights to (symmetric, per channel).
        score: which kernels go.
        fold: whether those that stay make up for them.
        seed: of the score ``"random"``.
        frontend: as of `compile`.
        semantics: as of `compile`.
        checkpoints: a folder for the points (None: none are kept).
        resume: take the points that are there already.
        progress: is told ``(samples done, samples)`` over all changes.

    Raises:
        InputError: there are no samples, or labels that are no classes of the network.
        PassRefused: the network is quantised already.
    """
    network = open_network("sensitivity", model, frontend, semantics)
    refuse_unfit(network, samples, "sensitivity")
    if any(p.weight.quantized for p in network.projections):
        raise PassRefused(
            "already-quantized",
            "sensitivity is about a real-valued network",
            hint="start from the network as it was trained",
        )
    kept = kept_in(checkpoints, resume=resume)
    calibration = CalibrationOptions(samples=len(samples))
    changes = list(_changes(network, ratios, bits, score, fold))
    feed, trained = Feed(network, samples), _emitted(network, samples)
    storage = measure(network).total("storage_bits")

    def tried(layer: str, kind: str, value: float, step: Pass) -> Point:
        recipe = Recipe(seed=seed, guard="off", calibration=calibration, passes=(step,))
        changed = compress(network, recipe=recipe, calibration=samples).network
        emitted = trained if changed is network else _emitted(changed, samples)
        return Point(
            layer=layer,
            kind=kind,
            value=value,
            accuracy=_accuracy(emitted, samples),
            distance=_distance(trained, emitted),
            saved=1 - measure(changed).total("storage_bits") / storage,
        )

    points = []
    for done, change in enumerate(changes):
        progress(done * len(samples), len(changes) * len(samples))
        point = partial(tried, *change)
        if kept is None:
            points.append(point())
            continue
        what, step = f"{change[1]}-{done}", change[3]
        options = (step.name, repr(step.options()), str(seed))
        name = kept.name(what, *options, kept.network(network), kept.samples(feed))
        points.append(kept.once(name, Point, point))
    progress(len(changes) * len(samples), len(changes) * len(samples))
    return Sensitivity(
        points=tuple(points),
        accuracy=_accuracy(trained, samples),
        samples=len(samples),
        score=score,
        fold=fold,
    )


def _changes(
    network: Network, ratios: Sequence[float], bits: Sequence[int], score: Criterion, fold: Fold
) -> Iterator[tuple[str, str, float, Pass]]:
    ops = {p.name: p.op for p in network.projections}
    for group in coupling(network):
        layer = next((n for n in group.incoming if not ops[n].one_to_one), None)
        if layer is None or group.fixed:
            continue
        for ratio in ratios:
            step = RemoveKernels(layers=(layer,), ratio=ratio, score=score, fold=fold)
            yield layer, "ratio", ratio, step
    for projection in network.projections:
        if not projection.op.one_to_one:
            for width in bits:
                step_q = Quantize(layers=(projection.name,), bits=width, per="channel")
                yield projection.name, "bits", width, step_q


def _emitted(network: Network, samples: Samples) -> Array:
    """What the output emits: ``(steps, samples, neurons)``."""
    output = network.with_role("output")[0].name
    parts = [chunk.recording.spikes[output] for chunk in stream(network, samples.inputs)]
    return np.concatenate(parts, axis=1).reshape(samples.steps, len(samples), -1)


def _accuracy(emitted: Array, samples: Samples) -> float | None:
    if samples.labels is None:
        return None
    answers = emitted.sum(axis=0, dtype=np.float64).argmax(axis=-1)
    return float((answers == samples.labels).mean())


def _distance(a: Array, b: Array) -> float:
    if a.dtype.kind == "f":
        norm = float(np.linalg.norm(a.astype(np.float64)))
        return float(np.linalg.norm(a.astype(np.float64) - b)) / norm if norm else 0.0
    either = float(np.maximum(a, b).sum(dtype=np.float64))
    both = float(np.minimum(a, b).sum(dtype=np.float64))
    return 1 - both / either if either else 0.0


def suggested(found: Sensitivity, tolerance: float) -> Recipe:
    """A recipe that takes from each layer the most that alone costs at most ``tolerance``.

    Costs of several layers add up: start with a fraction of what is allowed in all. Without labels
    the tolerance is one of ``distance``.
    """
    if found.accuracy is None:
        fine = [p for p in found.points if p.distance <= tolerance]
    else:
        fine = [
            p
            for p in found.points
            if p.accuracy is not None and found.accuracy - p.accuracy <= tolerance
        ]
    ratios: dict[str, float] = {}
    bits: dict[str, float] = {}
    for point in fine:
        if point.kind == "ratio":
            ratios[point.layer] = max(point.value, ratios.get(point.layer, 0.0))
        else:
            bits[point.layer] = min(point.value, bits.get(point.layer, np.inf))
    steps: list[Pass] = [
        RemoveKernels(
            layers=tuple(n for n in ratios if ratios[n] == ratio),
            ratio=ratio,
            score=found.score,  # type: ignore[arg-type]
            fold=found.fold,  # type: ignore[arg-type]
        )
        for ratio in sorted(set(ratios.values()) - {0.0})
    ]
    steps += [
        Quantize(layers=tuple(n for n in bits if bits[n] == width), bits=int(width), per="channel")
        for width in sorted(set(bits.values()), reverse=True)
    ]
    return Recipe(
        name="sensitivity",
        passes=tuple(steps),
        description=f"what each layer can lose alone at a tolerance of {tolerance:g}",
    )


def sensitivity_table(
    found: Sensitivity,
) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, columns and rows for people, for each kind of change."""
    tables = []
    for kind, title in (("ratio", "kernels removed"), ("bits", "bits per weight")):
        points = [p for p in found.points if p.kind == kind]
        values = list(dict.fromkeys(p.value for p in points))
        at = {(p.layer, p.value): p for p in points}
        rows = [
            (layer, *(f"{_height(at[layer, v]):.1%}" for v in values))
            for layer in dict.fromkeys(p.layer for p in points)
        ]
        heads = [f"{v:.1%}" if kind == "ratio" else f"{v:g}" for v in values]
        if rows:
            tables.append((title, ("layer", *heads), rows))
    return tables


def sensitivity_chart(found: Sensitivity) -> str:
    """Accuracy (or the share of equal output spikes) against each change as SVG, a line per layer."""
    panels = []
    for kind, label in (("ratio", "fraction of kernels removed"), ("bits", "bits per weight")):
        points = [p for p in found.points if p.kind == kind]
        lines = {
            layer: [(p.value, _height(p)) for p in points if p.layer == layer]
            for layer in dict.fromkeys(p.layer for p in points)
        }
        if lines:
            panels.append(Panel(label=label, lines=lines))
    return line_chart(panels, measured_by(found), found.accuracy)


def measured_by(found: Sensitivity) -> str:
    """What the shares of table and chart are."""
    return "equal output spikes" if found.accuracy is None else "accuracy"


def _height(point: Point) -> float:
    """Accuracy, else how many of the output's spikes stay."""
    return max(0.0, 1 - point.distance) if point.accuracy is None else point.accuracy
