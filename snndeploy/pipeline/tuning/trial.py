"""One trial: a recipe costed by the memory model alone, then judged on few samples before many."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from ...chip import Target, family_of
from ...data import Samples
from ...errors import LoweringRefused, PassRefused, RecipeError
from ...ir.arrays import Array
from ...ir.network import Network
from ...ir.placement import Placement
from ...ir.program import Program
from ...lower import InputCoding, fitted_in_turn, lower
from ...mapping import check_program, fits, place_program
from ...mapping.bound.bounds import group_bounds
from ...mapping.bound.verdict import fewest_cores
from ...mapping.count.memory import Memory
from ...mapping.place import Effort
from ...recipe import Recipe
from ..compilation import compress
from ..compiled import SHARE, Objective
from ..run import answers_of, run_samples
from .race import Rival, hopeless, rungs
from .space import RecipeChoice, RecipeSpace, Setting

TuneCost: TypeAlias = Literal["memory", "cores", "time", "energy"]
"""What is to be least: words of synaptic memory, cores, nanoseconds per step, nanojoules per sample."""

UNITS: Mapping[TuneCost, str] = {"memory": "words", "cores": "cores", "time": "ns", "energy": "nJ"}
_BEFORE: frozenset[TuneCost] = frozenset(("memory", "cores"))
"""What the placement alone tells."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrialOutcome:
    """What became of a trial.

    Attributes:
        number: its place in the search.
        choice: what the recipe was made of.
        why: empty for a trial that was judged on all samples; else what ended it: ``refused: CODE``,
            ``cannot fit`` (by a bound that places nothing), ``does not fit``, ``same as N`` (another
            trial's program), or what `hopeless` says.
        digest: of its program.
        cores: that it takes.
        words: of synaptic memory.
        cost: what is to be least (None: not known yet when it ended).
        right: which answers were right, of those that were asked for.
        seconds: that it took.
    """

    number: int
    choice: Mapping[str, Setting]
    why: str = ""
    digest: str = ""
    cores: int | None = None
    words: int | None = None
    cost: float | None = None
    right: Array = field(default_factory=lambda: np.zeros(0, bool), repr=False)
    seconds: float = 0.0

    @property
    def judged(self) -> bool:
        """Whether it was judged on all samples."""
        return not self.why

    @property
    def accuracy(self) -> float:
        """Share of right answers among those that were asked for."""
        return float(self.right.mean()) if len(self.right) else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class TrialBench:
    """All that trials have in common.

    Attributes:
        space: the recipes.
        chips: of the board.
        cores: the most that may be taken.
        samples: all of them; passes see the first ``space.samples``, the others judge.
        inputs: how data enter the chip.
        answers: what is right for each of the others.
        least: what is to be least.
        objective: what placements are to be.
        floor: how many answers have to be right (None: any number).
        output: the population that answers.
        trained: share of the answers that the network as it was trained gives right.
    """

    space: RecipeSpace
    chips: int
    cores: int
    samples: Samples
    inputs: InputCoding
    answers: Array
    least: TuneCost
    objective: Objective
    floor: float | None
    output: str
    trained: float

    @property
    def network(self) -> Network:
        """As trained."""
        return self.space.network

    @property
    def target(self) -> Target:
        """The chip."""
        return self.space.target

    @property
    def judges(self) -> Samples:
        """The samples that no pass sees."""
        return self.samples.part(self.space.samples, None)

    @property
    def least_share(self) -> float | None:
        """Share of the answers that have to be right (None: any)."""
        return None if self.floor is None else self.floor / len(self.judges)

    def tried(
        self,
        number: int,
        choice: RecipeChoice,
        rivals: Sequence[Rival] = (),
        known: Mapping[str, int] | None = None,
    ) -> TrialOutcome:
        """Cost a recipe, and judge it if that can be of use.

        Args:
            number: of the trial.
            choice: of the recipe.
            rivals: earlier trials.
            known: digests of programs that were judged or given up, with the number of their trial.
        """
        began = time.perf_counter()
        told = self._tried(choice, rivals, known or {})
        return TrialOutcome(
            number=number, choice=dict(choice), seconds=time.perf_counter() - began, **told
        )

    def _tried(
        self, choice: RecipeChoice, rivals: Sequence[Rival], known: Mapping[str, int]
    ) -> dict[str, Any]:
        recipe = self.space.recipe(choice)
        if (least := self._least_cores(choice)) > self.cores:
            return {"why": "cannot fit", "cores": least}
        try:
            program = self.program(recipe)
        except (PassRefused, LoweringRefused, RecipeError) as error:
            return {"why": f"refused: {error.code}"}
        placement, fitting = self.placed(program)
        told: dict[str, Any] = {
            "digest": program.digest,
            "cores": len(placement.cores),
            "words": words_of(program, placement, self.target),
        }
        if not fitting:
            return {**told, "why": "does not fit"}
        if program.digest in known:
            return {**told, "why": f"same as {known[program.digest]}"}
        return {**told, **self._judged(program, placement, told, rivals)}

    def _least_cores(self, choice: RecipeChoice) -> int:
        """Cores that no placement undercuts, of the same amounts by magnitude.

        That takes a moment, and memory is nearly the same: which weights go differs, not how many.
        """
        quick = self.space.recipe({**choice, "method": "magnitude", "scale": "layer"})
        try:
            memory = Memory(self.program(quick), self.target)
        except (PassRefused, LoweringRefused, RecipeError):
            return 0
        return fewest_cores(group_bounds(memory), self.target)[0]

    def program(self, recipe: Recipe) -> Program:
        """What `compile` makes of a recipe, up to the integers."""
        log = compress(self.network, recipe=recipe, target=self.target, calibration=self.samples)
        network, _ = fitted_in_turn(log.network, family_of(self.target))
        return lower(network, self.target, inputs=self.inputs, steps=self.samples.steps)

    def placed(self, program: Program) -> tuple[Placement, bool]:
        """A placement, and whether it keeps all limits; searched for only as long as need be."""
        efforts: tuple[Effort, ...] = ("low", "normal")
        for effort in efforts:
            share = SHARE[self.objective]
            placement = place_program(program, self.target, self.chips, share=share, effort=effort)
            found = check_program(program, placement, self.target, self.chips, fixes_for=0)
            if fitting := fits(found) and len(placement.cores) <= self.cores:
                break
        return placement, fitting

    def _judged(
        self,
        program: Program,
        placement: Placement,
        told: Mapping[str, Any],
        rivals: Sequence[Rival],
    ) -> dict[str, Any]:
        """Answers, rung by rung, as long as they may matter."""
        judges = self.judges
        before = self.least in _BEFORE
        cost = float(told["words" if self.least == "memory" else "cores"]) if before else None
        right = np.zeros(0, bool)
        costs: list[tuple[int, float]] = []
        why = "" if cost is None else hopeless(right, len(judges), cost, rivals, self.floor)
        for rung in rungs(len(judges)) if not why else ():
            part = judges.part(len(right), rung - len(right))
            if before:
                given = answers_of("integer", part, self.output, program=program)
            else:
                report = run_samples(
                    part, ["integer"], program, placement, self.target, output=self.output
                )
                given = np.asarray(report["predictions"]["integer"])
                costs.append((len(part), cost_in(report, self.least, self.target)))
                cost = sum(n * c for n, c in costs) / sum(n for n, _ in costs)
            right = np.append(right, given == self.answers[len(right) : rung])
            assert cost is not None
            why = hopeless(right, len(judges), cost, rivals, self.floor)
            if why and rung < len(judges):
                break
            if why == "below":
                break
            why = ""
        return {"why": why, "cost": cost, "right": right}


def words_of(program: Program, placement: Placement, target: Target) -> int:
    """Units of synaptic memory that a placement takes, copies of kernels on several cores included."""
    memory = Memory(program, target)
    return sum(
        memory.stored(s.name, part.bounds).words
        for s in program.synapses
        for part in placement.of_group(s.target)
    )


def cost_in(report: Mapping[str, Any], least: TuneCost, target: Target) -> float:
    """Time per step or energy per sample in the report of a run: the upper end of what is estimated."""
    if least == "time":
        return float(report["time"]["high_ns"])
    return float(report["energy"][target.name]["high"])
