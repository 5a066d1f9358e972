"""How much each layer can lose: accuracy or spikes against kernels, weights and bits, one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...calibrate.stream import stream
from ...data import Feed, Samples
from ...errors import PassRefused
from ...ir.answers import chosen, right, step_answers
from ...ir.arrays import Array
from ...ir.network import Network
from ...passes.base import Pass
from ...passes.kept import Kept, digest_of, kept_in
from ...passes.kernels.coupling import coupling
from ...passes.kernels.remove_kernels import Fold, RemoveKernels
from ...passes.kernels.scores import Criterion
from ...passes.metrics import measure
from ...passes.prune import Prune
from ...passes.quantization.quantize import Quantize
from ...progress import Progress, silent
from ...recipe import CalibrationOptions, Recipe
from ...report.chart import Panel, line_chart
from ...workers import HERE, Shared, Task, Workers
from ...workers.base import digest_of_parts
from ..compilation import compress
from ..opening import Model, open_network
from .judging import refuse_unfit


@dataclass(frozen=True, kw_only=True)
class Point:
    """One layer changed, everything else as trained.

    ``kind`` is ``"ratio"`` (of kernels removed), ``"sparsity"`` (weights pruned by magnitude) or
    ``"bits"``; ``distance`` is the fraction of output spikes that only one of both networks has (of
    outputs that do not spike: the relative L2 distance); ``saved`` is the fraction of all weight bits
    that the change saves.
    """

    layer: str
    kind: str
    value: float
    accuracy: float | None
    distance: float
    saved: float


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """All points (``partial``: those before an interrupt), and the unchanged network's ``accuracy``.

    That is None without labels.
    """

    points: tuple[Point, ...]
    accuracy: float | None
    samples: int
    score: str
    fold: str
    partial: bool = False

    @property
    def noise(self) -> float | None:
        """How far apart two accuracies of so many samples may be by chance, in 95 of 100 cases.

        The normal approximation of two independent shares, about that of the network as trained; as the
        same samples judge both, it is on the safe side. No less than what two samples make.
        """
        if self.accuracy is None:
            return None
        spread: float = 1.96 * (2 * self.accuracy * (1 - self.accuracy) / self.samples) ** 0.5
        return max(spread, min(1.0, 2 / self.samples))

    def record(self) -> dict[str, Any]:
        """JSON-compatible."""
        return {**dataclasses.asdict(self), "noise": self.noise}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Trained:
    """The network, what it emits, and how its changes are made."""

    network: Network
    samples: Samples
    emitted: Array
    storage: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class _Change:
    """A change of one layer."""

    layer: str
    kind: str
    value: float
    step: Pass


def _tried(trained: _Trained, change: _Change) -> Point:
    """Make a change, and run the samples."""
    network, samples = trained.network, trained.samples
    calibration = CalibrationOptions(samples=len(samples))
    recipe = Recipe(seed=trained.seed, guard="off", calibration=calibration, passes=(change.step,))
    changed = compress(network, recipe=recipe, calibration=samples).network
    emitted = trained.emitted if changed.digest == network.digest else _emitted(changed, samples)
    return Point(
        layer=change.layer,
        kind=change.kind,
        value=change.value,
        accuracy=_accuracy(emitted, samples),
        distance=_distance(trained.emitted, emitted),
        saved=1 - measure(changed).total("storage_bits") / trained.storage,
    )


def sensitivity(
    model: Model,
    samples: Samples,
    *,
    ratios: Sequence[float] = (0.125, 0.25, 0.5),
    bits: Sequence[int] = (8, 4, 3, 2),
    sparsities: Sequence[float] = (),
    score: Criterion = "l1",
    fold: Fold = "none",
    seed: int = 0,
    frontend: str | None = None,
    semantics: Mapping[str, Any] | None = None,
    checkpoints: Path | None = None,
    resume: bool = False,
    workers: Workers = HERE,
    progress: Progress = silent,
) -> Sensitivity:
    """Change one layer at a time and run the samples.

    Args:
        model: as of `compile`; as trained (real-valued).
        samples: calibrate the changes and judge them.
        ratios: fractions of a layer's kernels (or neurons) to remove.
        bits: widths to quantise a layer's weights to (symmetric, per channel).
        sparsities: fractions of a layer's weights to prune, the smallest ones.
        score: which kernels go.
        fold: whether those that stay make up for them.
        seed: of the score ``"random"``.
        frontend: as of `compile`.
        semantics: as of `compile`.
        checkpoints: a folder for the points (None: none are kept).
        resume: take the points that are there already.
        workers: who tries the changes.
        progress: is told ``(samples done, samples)`` over all changes.

    Returns:
        What each change costs; after an interrupt (Ctrl-C), of those that were tried.

    Raises:
        InputError: there are no samples, or labels that are no classes of the network.
        PassRefused: the network is quantised already.
        KeyboardInterrupt: before anything was tried.
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
    changes = list(_changes(network, ratios, bits, sparsities, score, fold))
    feed, emitted = Feed(network, samples), _emitted(network, samples)
    trained = _Trained(
        network=network,
        samples=samples,
        emitted=emitted,
        storage=measure(network).total("storage_bits"),
        seed=seed,
    )
    files = [
        "" if kept is None else _file(kept, change, place, seed, network, feed)
        for place, change in enumerate(changes)
    ]
    known = [None if kept is None else kept.load(name, Point) for name in files]
    shared = Shared(digest_of_parts(network.digest, digest_of(feed), seed), trained)
    todo = [c for c, point in zip(changes, known, strict=True) if point is None]
    tasks = [Task(digest_of_parts(c.step.name, c.step.options(), c.layer), c) for c in todo]
    found = workers.each(_tried, shared, tasks)
    points: list[Point] = []
    try:
        for done, (name, before) in enumerate(zip(files, known, strict=True)):
            progress(done * len(samples), len(changes) * len(samples))
            point = next(found) if before is None else before
            if kept is not None and before is None:
                kept.save(name, point)
            points.append(point)
        progress(len(changes) * len(samples), len(changes) * len(samples))
    except KeyboardInterrupt:
        if not points:
            raise
    return Sensitivity(
        points=tuple(points),
        accuracy=_accuracy(emitted, samples),
        samples=len(samples),
        score=score,
        fold=fold,
        partial=len(points) < len(changes),
    )


def _file(kept: Kept, change: _Change, place: int, seed: int, network: Network, feed: Feed) -> str:
    """Where a point is kept."""
    options = (change.step.name, repr(change.step.options()), str(seed))
    what = f"{change.kind}-{place}"
    return kept.name(what, *options, kept.network(network), kept.samples(feed))


def _changes(
    network: Network,
    ratios: Sequence[float],
    bits: Sequence[int],
    sparsities: Sequence[float],
    score: Criterion,
    fold: Fold,
) -> Iterator[_Change]:
    ops = {p.name: p.op for p in network.projections}
    for group in coupling(network):
        layer = next((n for n in group.incoming if not ops[n].one_to_one), None)
        if layer is None or group.fixed:
            continue
        for ratio in ratios:
            step = RemoveKernels(layers=(layer,), ratio=ratio, score=score, fold=fold)
            yield _Change(layer=layer, kind="ratio", value=ratio, step=step)
    names = [p.name for p in network.projections if not p.op.one_to_one]
    for name in names:
        for sparsity in sparsities:
            prune = Prune(layers=(name,), sparsity=sparsity)
            yield _Change(layer=name, kind="sparsity", value=sparsity, step=prune)
    for name in names:
        for width in bits:
            codes = Quantize(layers=(name,), bits=width, per="channel")
            yield _Change(layer=name, kind="bits", value=width, step=codes)


def _emitted(network: Network, samples: Samples) -> Array:
    """What the output emits: ``(steps, samples, neurons)``."""
    output = network.with_role("output")[0].name
    parts = [chunk.recording.spikes[output] for chunk in stream(network, samples.inputs)]
    return np.concatenate(parts, axis=1).reshape(samples.steps, len(samples), -1)


def _accuracy(emitted: Array, samples: Samples) -> float | None:
    if samples.labels is None:
        return None
    answers = chosen(emitted.sum(axis=0, dtype=np.float64))
    if samples.per_step:
        answers = step_answers(emitted, samples.window)
    hits, of = right(answers, samples.labels)
    return hits / max(1, of)


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
    most: dict[str, dict[str, float]] = {"ratio": {}, "sparsity": {}}
    bits: dict[str, float] = {}
    for point in fine:
        if point.kind == "bits":
            bits[point.layer] = min(point.value, bits.get(point.layer, np.inf))
        else:
            taken = most[point.kind]
            taken[point.layer] = max(point.value, taken.get(point.layer, 0.0))
    ratios, sparsities = most["ratio"], most["sparsity"]
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
        Prune(layers=tuple(n for n in sparsities if sparsities[n] == share), sparsity=share)
        for share in sorted(set(sparsities.values()) - {0.0})
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


_TITLES = {"ratio": "kernels removed", "sparsity": "weights pruned", "bits": "bits per weight"}
"""What is changed, by the kind of a `Point`."""


def sensitivity_table(
    found: Sensitivity,
) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, columns and rows for people, for each kind of change."""
    tables = []
    for kind, title in _TITLES.items():
        points = [p for p in found.points if p.kind == kind]
        values = list(dict.fromkeys(p.value for p in points))
        at = {(p.layer, p.value): p for p in points}
        rows = [
            (layer, *(f"{_height(at[layer, v]):.1%}" if (layer, v) in at else "" for v in values))
            for layer in dict.fromkeys(p.layer for p in points)
        ]
        heads = [f"{v:g}" if kind == "bits" else f"{v:.1%}" for v in values]
        if rows:
            tables.append((title, ("layer", *heads), rows))
    return tables


def sensitivity_chart(found: Sensitivity) -> str:
    """Accuracy (or the share of equal output spikes) against each change as SVG, a line per layer."""
    panels = []
    for kind, title in _TITLES.items():
        label = title if kind == "bits" else f"fraction of {title}"
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
