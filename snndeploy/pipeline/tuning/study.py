"""The search's memory and its guesses: an Optuna study, which a journal keeps for a rerun."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import BackendMissing, InputError
from ...files import Unreadable, read_bytes, refuse_taken, unwritable, write_file
from ...limits import current
from .space import RecipeChoice, RecipeSpace, Setting
from .trial import TrialOutcome

if TYPE_CHECKING:
    import optuna

_NAME = "snndeploy tune"
_SETUP = "snndeploy setup"
_RECORD = "snndeploy trial"
_BATCH = "snndeploy batch"
_OF_A_STRANGER = (
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    AssertionError,
)
"""What reading a journal that no study wrote comes to."""


@dataclass(frozen=True)
class Asked:
    """A trial that is to be tried."""

    number: int
    batch: int
    choice: dict[str, Setting]


def require_optuna() -> None:
    """Refuse to go on without Optuna.

    Raises:
        BackendMissing: it cannot be imported.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise BackendMissing(
            "optuna-missing",
            f"tune searches with Optuna, which cannot be imported here ({error})",
            hint="pip install 'snndeploy[tune]'",
        ) from error


class TuneStudy:
    """Trials that were asked for and what became of them.

    Args:
        path: the journal (None: nothing is kept).
        setup: what the study is of; one of something else is not continued.
        space: the recipes.
        seed: of the guesses. Each guess draws from a stream of its own, so that a study that was
            interrupted goes on as if it had not been.

    Raises:
        BackendMissing: there is no Optuna.
        InputError: the journal is of another study or damaged, or cannot be written.
    """

    def __init__(
        self, path: Path | None, setup: Mapping[str, str], space: RecipeSpace, seed: int
    ) -> None:
        self._space, self._seed = space, seed
        require_optuna()
        import optuna
        from optuna.storages.journal import JournalFileBackend

        storage: optuna.storages.BaseStorage = optuna.storages.InMemoryStorage()
        with _quiet():
            if path is not None:
                _mend(path)
                try:
                    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
                except OSError as error:
                    raise unwritable(path, error, "--study") from error
                except _OF_A_STRANGER as error:
                    raise _damaged(path) from error
            try:
                self._study = optuna.create_study(
                    storage=storage,
                    study_name=_NAME,
                    directions=["maximize", "minimize"],
                    load_if_exists=True,
                )
                before = self._study.user_attrs.get(_SETUP)
                self._outcomes = {o.number: (b, o) for b, o in self._told()}
                self._left()
            except _OF_A_STRANGER as error:
                raise _damaged(path) from error
        if before is None:
            self._study.set_user_attr(_SETUP, dict(setup))
        elif before != dict(setup):
            known = before if isinstance(before, dict) else {}
            other = [name for name in setup if known.get(name) != setup[name]] or ["words"]
            raise InputError(
                "study-differs",
                f"this study began with other {', '.join(other)}",
                where=str(path),
                hint="give it another name with --study, or what it began with",
            )

    @property
    def outcomes(self) -> tuple[TrialOutcome, ...]:
        """What is known, in the order of the trials."""
        return tuple(outcome for _, (_, outcome) in sorted(self._outcomes.items()))

    def before(self, batch: int) -> tuple[TrialOutcome, ...]:
        """What earlier batches came to."""
        found = sorted(self._outcomes.items())
        return tuple(outcome for _, (of, outcome) in found if of < batch)

    def unfinished(self) -> list[Asked]:
        """Trials that were asked for when an earlier search ended; asked again under new numbers."""
        import optuna

        left = self._left()
        for number, _, _ in left:
            self._study.tell(number, state=optuna.trial.TrialState.FAIL)
        return [self._ask(batch, choice) for _, batch, choice in left if choice is not None]

    def _left(self) -> list[tuple[int, int, dict[str, Setting] | None]]:
        """Numbers, batches and choices of unfinished trials (None: not chosen to the end)."""
        import optuna

        dimensions = self._space.dimensions
        found: list[tuple[int, int, dict[str, Setting] | None]] = []
        states = (optuna.trial.TrialState.RUNNING,)
        for trial in self._study.get_trials(deepcopy=False, states=states):
            whole = trial.params.keys() == dimensions.keys() and _BATCH in trial.user_attrs
            choice = self._choice(trial.params) if whole else None
            found.append((trial.number, int(trial.user_attrs.get(_BATCH, 0)), choice))
        return found

    def _choice(self, params: Mapping[str, Setting]) -> dict[str, Setting]:
        """The choice of a trial, if it is one."""
        dimensions = self._space.dimensions
        choice = {name: params[name] for name in dimensions}
        if any(choice[name] not in values for name, values in dimensions.items()):
            raise ValueError("a choice that there is not")
        return choice

    def ask(self, index: int, batch: int, choice: RecipeChoice | None) -> Asked:
        """The next trial: a given choice, or Optuna's guess."""
        import optuna

        waiting = self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,))
        self._study.sampler = optuna.samplers.TPESampler(
            seed=_number([self._seed, index]), n_startup_trials=len(self._space.starts)
        )
        return self._ask(batch, None if waiting else choice)

    def _ask(self, batch: int, choice: RecipeChoice | None) -> Asked:
        from optuna.distributions import BaseDistribution, CategoricalDistribution

        dimensions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(values) for name, values in self._space.dimensions.items()
        }
        with _quiet():
            if choice is not None:
                self._study.enqueue_trial(dict(choice))
            trial = self._study.ask(dimensions)
            trial.set_user_attr(_BATCH, batch)
        return Asked(trial.number, batch, {name: trial.params[name] for name in dimensions})

    def tell(self, asked: Asked, outcome: TrialOutcome, cores: int, share: float | None) -> None:
        """Keep what became of a trial, and by how much it misses cores and right answers."""
        import optuna

        # the one way that Optuna has to say more about a trial which is not in hand any more
        trial_id = self._study.get_trials(deepcopy=False)[asked.number]._trial_id
        trial = optuna.trial.Trial(self._study, trial_id)
        trial.set_user_attr(_RECORD, _record(outcome))
        if outcome.cores is not None:
            over = 0.5 if outcome.why == "does not fit" else -0.5
            trial.set_constraint("cores", max(float(outcome.cores - cores), over))
        if share is not None and len(outcome.right):
            trial.set_constraint("answers", share - outcome.accuracy)
        if outcome.judged and outcome.cost is not None:
            self._study.tell(trial, (outcome.accuracy, outcome.cost))
        else:
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        self._outcomes[asked.number] = asked.batch, outcome

    def _told(self) -> Iterator[tuple[int, TrialOutcome]]:
        import optuna

        state = optuna.trial.TrialState
        done = (state.COMPLETE, state.PRUNED)
        for trial in self._study.get_trials(deepcopy=False, states=done):
            choice = self._choice(trial.params)
            outcome = _outcome(trial.number, choice, trial.user_attrs[_RECORD])
            yield int(trial.user_attrs[_BATCH]), outcome


def _record(outcome: TrialOutcome) -> dict[str, Any]:
    return {
        "why": outcome.why,
        "digest": outcome.digest,
        "cores": outcome.cores,
        "words": outcome.words,
        "cost": outcome.cost,
        "right": np.packbits(outcome.right).tobytes().hex(),
        "samples": len(outcome.right),
        "seconds": outcome.seconds,
    }


def _outcome(number: int, choice: dict[str, Setting], record: dict[str, Any]) -> TrialOutcome:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(record["right"]), np.uint8))
    samples = int(record["samples"])
    if not 0 <= samples <= len(bits):
        raise ValueError("fewer answers than there should be")
    cost = record["cost"]
    return TrialOutcome(
        number=number,
        choice=choice,
        why=str(record["why"]),
        digest=str(record["digest"]),
        cores=None if record["cores"] is None else int(record["cores"]),
        words=None if record["words"] is None else int(record["words"]),
        cost=None if cost is None else float(cost),
        right=bits[:samples].astype(bool),
        seconds=float(record["seconds"]),
    )


def _mend(path: Path) -> None:
    """Make sure that a journal is one, and drop a line that was not written to its end."""
    if not path.exists():
        refuse_taken(path, force=False, option="--study")
        return
    try:
        content = read_bytes(path, current().memory)
        whole = content[: content.rfind(b"\n") + 1]
        for line in whole.splitlines():
            if not isinstance(json.loads(line), dict):
                raise ValueError("no object")
    except (Unreadable, ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if whole != content:
        write_file(path, whole, force=True, option="--study")


def _damaged(path: Path | None) -> InputError:
    return InputError(
        "study-damaged",
        "this is no study, or a damaged one",
        where=str(path or ""),
        hint="give the study another name with --study",
    )


def _number(words: Sequence[int]) -> int:
    """A seed of its own for each guess."""
    return int(np.random.SeedSequence(list(words)).generate_state(1)[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna tells of every study, and warns of what is odd in a journal; we say what matters."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
