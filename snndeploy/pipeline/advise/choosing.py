"""One network on several chips: whether it fits, what it takes, and how often it answers right."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...chip import Target, load_target
from ...data import Samples
from ...errors import SnnDeployError
from ...recipe import Recipe
from ..compilation import compile
from ..compiled import Compiled
from ..opening import Model, open_network
from ..run import run_compiled


@dataclass(frozen=True, kw_only=True)
class TargetAnswer:
    """What became of a network on one chip.

    Attributes:
        target: name of the chip.
        answer: ``fits``, ``does not fit`` or ``refused``.
        why: codes of the errors that keep it from fitting, or of the refusal.
        told: sentences of those errors, or of what is done otherwise on this chip.
        cores: taken, of the cores of the board; None where it was refused.
        board_cores: those of the board.
        step_ns: time of a step, from low to high; None where nothing is known about it.
        energy_nj: energy per sample, likewise; None without data.
        accuracy: share of the samples that its integers answer right; None without labels.
        trained: that of the network as it was trained.
    """

    target: str
    answer: str
    why: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    cores: int | None = None
    board_cores: int | None = None
    step_ns: tuple[float, float] | None = None
    energy_nj: tuple[float, float] | None = None
    accuracy: float | None = None
    trained: float | None = None

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Figures:
    """What a run, or an assumption about one, tells of time, energy and answers."""

    step_ns: tuple[float, float] | None = None
    energy_nj: tuple[float, float] | None = None
    accuracy: Mapping[str, float] = field(default_factory=dict)


def compare_targets(
    model: Model,
    targets: Sequence[str | Path | Target],
    *,
    recipe: str | Path | Recipe | None = "default",
    frontend: str | None = None,
    semantics: Mapping[str, Any] | None = None,
    samples: Samples | None = None,
) -> tuple[TargetAnswer, ...]:
    """Compile a network for every target, and run it there where there are samples.

    Args:
        model: as of `compile`.
        targets: names, paths or targets, in the order of the answer.
        recipe: passes that run for each of them.
        frontend: as of `compile`.
        semantics: as of `compile`.
        samples: what it is calibrated and run on; labels tell its accuracy.

    Returns:
        A candidate per target; a chip that has no form of the network is one that refused.

    Raises:
        SnnDeployError: the model, the recipe or a target cannot be read.
    """
    network = open_network("compare", model, frontend, semantics)
    chips = [t if isinstance(t, Target) else load_target(t) for t in targets]
    found = []
    for chip in chips:
        try:
            compiled = compile(network, target=chip, recipe=recipe, calibration=samples)
        except SnnDeployError as error:
            found.append(
                TargetAnswer(
                    target=chip.name, answer="refused", why=(error.code,), told=(error.message,)
                )
            )
            continue
        found.append(_answer(compiled, samples))
    return tuple(found)


def _answer(compiled: Compiled, samples: Samples | None) -> TargetAnswer:
    errors = [f for f in compiled.findings if f.severity == "error"]
    changed = [f for f in compiled.findings if f.code == "neuron-adapted"]
    figures = _run(compiled, samples) if not errors else _Figures()
    return TargetAnswer(
        target=compiled.target.name,
        answer="does not fit" if errors else "fits",
        why=tuple(dict.fromkeys(f.code for f in errors)),
        told=tuple(f"{f.where}: {f.message}" for f in (errors or changed)),
        cores=len(compiled.placement.cores),
        board_cores=compiled.target.chips(compiled.board) * compiled.target.chip.cores.limit,
        step_ns=figures.step_ns,
        energy_nj=figures.energy_nj,
        accuracy=figures.accuracy.get("integer"),
        trained=figures.accuracy.get("float"),
    )


def _run(compiled: Compiled, samples: Samples | None) -> _Figures:
    if samples is None:
        from ...mapping import step_time

        time = step_time(compiled.program, compiled.placement, compiled.target)
        return _Figures(step_ns=None if time is None else (time.low, time.high))
    report = run_compiled(compiled, samples, ("float", "integer"))
    time, energy = report["time"], report["energy"].get(compiled.target.name)
    return _Figures(
        step_ns=None if time is None else (time["low_ns"], time["high_ns"]),
        energy_nj=None if energy is None else (energy["low"], energy["high"]),
        accuracy=report.get("accuracy") or {},
    )
