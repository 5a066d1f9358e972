"""The front: recipes that none other found beats, each compiled once more as a user will."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ...recipe import Recipe
from ..compilation import compile
from ..run import run_samples
from .space import described
from .trial import TrialBench, TrialOutcome, cost_in, words_of


@dataclass(frozen=True, kw_only=True)
class FrontMember:
    """A recipe of the front, and what it comes to.

    Attributes:
        number: of its trial.
        recipe: what ``snndeploy compile -r`` takes.
        digest: of the program that it gives.
        what: the recipe in words.
        right: right answers of the samples that judged; ``accuracy`` is their share.
        drop: percentage points that the network as it was trained is ahead.
        cores: that its placement takes.
        words: of synaptic memory.
        step_ns: upper estimate of a step's time (None: nothing is known about it).
        energy_nj: upper estimate of the energy per sample (None: likewise).
        cost: that of them which is least on the front.
    """

    number: int
    recipe: Recipe = field(repr=False)
    digest: str
    what: str
    right: int
    accuracy: float
    drop: float
    cores: int
    words: int
    step_ns: float | None
    energy_nj: float | None
    cost: float

    def record(self) -> dict[str, Any]:
        """As plain data, the recipe as TOML."""
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "recipe"}
        return {**shown, "recipe": self.recipe.to_toml()}


def front_of(outcomes: Iterable[TrialOutcome]) -> list[TrialOutcome]:
    """Trials judged on all samples that none beats, the cheapest first."""
    judged = [o for o in outcomes if o.judged and o.cost is not None]
    points = [(float(o.cost or 0.0), int(o.right.sum()), o.number) for o in judged]
    best = set(unbeaten(points))
    return sorted(
        (o for o in judged if o.number in best), key=lambda o: (o.cost, -int(o.right.sum()))
    )


def unbeaten(points: Sequence[tuple[float, int, int]]) -> list[int]:
    """Numbers of the (cost, right answers, number) that none beats; of equal ones, the first."""
    found, most = [], -1
    for _, right, number in sorted(points, key=lambda p: (p[0], -p[1], p[2])):
        if right > most:
            found.append(number)
            most = right
    return found


def settled(bench: TrialBench, front: Sequence[TrialOutcome]) -> tuple[FrontMember, ...]:
    """Compile and run each of the front as a user does, and keep those that are on it still.

    Searching places with as little effort as need be, so memory and cores may come out a little less.
    """
    members = [_settled(bench, outcome) for outcome in front]
    found = {m.number: m for m in members if m is not None}
    numbers = unbeaten([(m.cost, m.right, m.number) for m in found.values()])
    return tuple(found[number] for number in numbers)


def _settled(bench: TrialBench, outcome: TrialOutcome) -> FrontMember | None:
    recipe = bench.space.recipe(outcome.choice)
    member = member_of(bench, recipe, outcome.number, described(outcome.choice))
    assert member is None or member.digest == outcome.digest, (
        "compiling again gives the same program"
    )
    return member


def member_of(bench: TrialBench, recipe: Recipe, number: int, what: str) -> FrontMember | None:
    """A recipe compiled as ``snndeploy compile -r`` does, and judged; None if it does not fit."""
    compiled = compile(
        bench.network,
        target=bench.target,
        recipe=recipe,
        board=str(bench.chips),
        calibration=bench.samples,
        objective=bench.objective,
    )
    cores = len(compiled.placement.cores)
    if not compiled.fits or cores > bench.cores:
        return None
    report = run_samples(
        bench.judges,
        ["integer"],
        compiled.program,
        compiled.placement,
        bench.target,
        output=bench.output,
    )
    right = sum(
        int(given == wanted)
        for given, wanted in zip(report["predictions"]["integer"], bench.answers, strict=True)
    )
    words = words_of(compiled.program, compiled.placement, bench.target)
    time = cost_in(report, "time", bench.target) if report["time"] is not None else None
    known = bench.target.name in report["energy"]
    energy = cost_in(report, "energy", bench.target) if known else None
    costs = {"memory": float(words), "cores": float(cores), "time": time, "energy": energy}
    cost = costs[bench.least]
    assert cost is not None
    accuracy = right / len(bench.judges)
    return FrontMember(
        number=number,
        recipe=recipe,
        digest=compiled.program.digest,
        what=what,
        right=right,
        accuracy=accuracy,
        drop=100 * (bench.trained - accuracy),
        cores=cores,
        words=words,
        step_ns=time,
        energy_nj=energy,
        cost=cost,
    )
