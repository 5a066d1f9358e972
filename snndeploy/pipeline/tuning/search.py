"""The search: starts, guesses and small steps from the front, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...chip import Target, dump_target, load_target
from ...data import Feed, Samples
from ...passes.kept import digest_of
from ...progress import Progress, silent
from ...workers import HERE, Shared, Task, Workers
from ...workers.base import digest_of_parts
from ..opening import Model, open_network
from ..run import finishing
from .bench import bench_of
from .front import FrontMember, front_of, settled
from .race import Rival
from .space import Setting
from .study import Asked, TuneStudy, require_optuna
from .trial import TrialBench, TrialOutcome, TuneCost

TRIALS = 96
BATCH = 4
"""Trials that do not know of each other, so that as many may run at once. It decides what is found."""
_TRIES = 50
"""Draws of a small step before a guess is taken instead."""
_STREAM = 0x74756E65
"""Sets the stream of small steps apart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """What a search found.

    Attributes:
        front: recipes such that no other found is better in one respect and not worse in another, the
            cheapest first, each compiled once more as `compile` does.
        outcomes: all trials.
        grid: recipes that brute force would try over what all layers have alike.
        space: recipes in all.
        samples: that judged; passes saw the ``seen`` before them.
        trained: share of them that the network as it was trained answers right.
        least: what is least.
        partial: whether the search was interrupted.
        seconds: that it took this time.
    """

    front: tuple[FrontMember, ...]
    outcomes: tuple[TrialOutcome, ...]
    grid: int
    space: int
    samples: int
    seen: int
    trained: float
    least: TuneCost
    partial: bool
    seconds: float

    @property
    def best(self) -> FrontMember | None:
        """The cheapest recipe of the front."""
        return self.front[0] if self.front else None


def tune(
    model: Model,
    samples: Samples,
    *,
    target: str | Path | Target = "loihi2",
    board: str | None = None,
    cores: int | None = None,
    max_drop: float | None = None,
    least: TuneCost = "memory",
    trials: int = TRIALS,
    seconds: float | None = None,
    seed: int = 0,
    adapt: bool = False,
    frontend: str | None = None,
    semantics: Mapping[str, Any] | None = None,
    study: Path | None = None,
    workers: Workers = HERE,
    progress: Progress = silent,
    tell: Callable[[TrialOutcome], None] = silent,
) -> Tuned:
    """Look for recipes that make a network fit, and keep it good.

    Every trial is costed first, by bounds and the placement, and those that do not fit, or cost what
    something better costs already, are judged on few samples or on none.

    Args:
        model: as of `compile`; as trained (real-valued).
        samples: a first part is what passes see, the rest judges. Without labels, the answers of the
            trained network are the right ones.
        target: as of `compile`.
        board: as of `compile`.
        cores: the most that may be taken (None: those of the board).
        max_drop: how many percentage points of accuracy may be lost (None: the whole front is sought).
        least: what is to be least, beside wrong answers.
        trials: how many recipes to try, those of an earlier run of the study included.
        seconds: after so long no new trials begin (None: until all are done).
        seed: of the search and of the recipes.
        adapt: give neurons forms that the target has first, as the pass `adapt` does.
        frontend: as of `compile`.
        semantics: as of `compile`.
        study: a file that keeps the trials; a search with the same one goes on from it.
        workers: who tries recipes, up to four at once; see `workers_at`.
        progress: is told ``(trials done, trials)``.
        tell: is told what became of each trial.

    Returns:
        The front. Ctrl-C ends the search, and what was found until then is returned.

    Raises:
        UsageError: nothing is known about what is to be least.
        InputError: too few samples, or the study is of something else.
        BackendMissing: Optuna is not installed.
    """
    began = time.monotonic()
    require_optuna()
    network = open_network("tune", model, frontend, semantics)
    chip = target if isinstance(target, Target) else load_target(target)
    bench = bench_of(
        network,
        samples,
        chip,
        board=board,
        cores=cores,
        max_drop=max_drop,
        least=least,
        seed=seed,
        adapt=adapt,
    )
    setup = {
        "network": network.digest,
        "samples": digest_of(Feed(network, samples)),
        "target": dump_target(chip),
        "limits": f"{bench.chips} {bench.cores} {bench.floor} {least}",
        "seed": str(seed),
        "space": repr(bench.space.dimensions),
    }
    kept = TuneStudy(study, setup, bench.space, seed)
    shared = Shared(digest_of_parts(*setup.values()), bench)
    partial = _search(shared, kept, trials, seconds, seed, progress, tell, workers)
    return Tuned(
        front=settled(bench, front_of(kept.outcomes)),
        outcomes=kept.outcomes,
        grid=bench.space.uniform,
        space=bench.space.size,
        samples=len(bench.judges),
        seen=bench.space.samples,
        trained=bench.trained,
        least=least,
        partial=partial,
        seconds=time.monotonic() - began,
    )


@dataclass(frozen=True, eq=False)
class _Batch:
    """What a trial needs beside the bench."""

    asked: Asked
    rivals: Sequence[Rival]
    known: Mapping[str, int]


def _tried(bench: TrialBench, batch: _Batch) -> TrialOutcome:
    """Try one recipe, wherever that is."""
    return bench.tried(batch.asked.number, batch.asked.choice, batch.rivals, batch.known)


def _search(
    bench: Shared[TrialBench],
    study: TuneStudy,
    trials: int,
    seconds: float | None,
    seed: int,
    progress: Progress,
    tell: Callable[[TrialOutcome], None],
    workers: Workers,
) -> bool:
    """Try recipes until there are ``trials``; whether that was interrupted."""
    began = time.monotonic()
    batch = study.unfinished()
    progress(len(study.outcomes), trials)
    try:
        while (done := len(study.outcomes)) < trials or batch:
            if not batch and seconds is not None and time.monotonic() - began > seconds:
                break
            number = batch[0].batch if batch else done // BATCH
            before = study.before(number)
            room = min(BATCH - (done - len(before)), trials - done)
            while len(batch) < room:
                index = done + len(batch)
                tried: list[TrialOutcome | Asked] = [*study.outcomes, *batch]
                choice = _proposed(bench.value, before, tried, seed, index)
                batch.append(study.ask(index, number, choice))
            _run(
                bench,
                study,
                batch,
                before,
                workers,
                lambda: progress(len(study.outcomes), trials),
                tell,
            )
            batch = []
    except KeyboardInterrupt:
        return True
    return False


def _run(
    bench: Shared[TrialBench],
    study: TuneStudy,
    batch: Sequence[Asked],
    before: Sequence[TrialOutcome],
    workers: Workers,
    progress: Callable[[], None],
    tell: Callable[[TrialOutcome], None],
) -> None:
    """Try a batch, and keep what becomes of each trial as soon as it is known."""
    rivals = [
        Rival(number=o.number, cost=o.cost, right=o.right)
        for o in before
        if o.judged and o.cost is not None
    ]
    known = {o.digest: o.number for o in reversed(before) if o.digest}
    first = {tuple(o.choice.items()): o for o in reversed(before)}
    new = [asked for asked in batch if tuple(asked.choice.items()) not in first]
    history = digest_of_parts(*(f"{o.number} {o.why} {o.digest} {o.cost}" for o in before))
    tasks = [
        Task(digest_of_parts(history, a.number, a.choice), _Batch(a, rivals, known)) for a in new
    ]
    found = workers.each(_tried, bench, tasks)
    for asked in batch:
        same = first.get(tuple(asked.choice.items()))
        if same is None:
            outcome = next(found)
        else:
            outcome = TrialOutcome(
                number=asked.number,
                choice=asked.choice,
                why=f"same as {same.number}",
                digest=same.digest,
                cores=same.cores,
                words=same.words,
            )
        with finishing():
            study.tell(asked, outcome, bench.value.cores, bench.value.least_share)
        tell(outcome)
        progress()


def _proposed(
    bench: TrialBench,
    before: Sequence[TrialOutcome],
    tried: Sequence[TrialOutcome | Asked],
    seed: int,
    index: int,
) -> dict[str, Setting] | None:
    """A start, or every other time a recipe that differs in one or two steps from one of the front.

    None leaves it to Optuna.
    """
    space = bench.space
    if index < len(space.starts):
        return space.starts[index]
    front = front_of(before)
    if not front or index % 2:
        return None
    stream = np.random.default_rng(np.random.SeedSequence([seed, _STREAM, index]))
    known = {tuple(t.choice.items()) for t in tried}
    for _ in range(_TRIES):
        choice = dict(front[int(stream.integers(len(front)))].choice)
        for _ in range(int(stream.integers(1, 3))):
            steps = space.steps_from(choice)
            name, value = steps[int(stream.integers(len(steps)))]
            choice[name] = value
        if tuple(choice.items()) not in known:
            return choice
    return None
