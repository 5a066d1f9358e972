"""Fewer time steps, step by step, training at each length from the weights of the one before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, ClassVar

from pydantic import Field

from ...errors import PassRefused, RecipeError
from ...ir.finding import Finding
from ...ir.network import Network
from ..base import PassContext, PassResult, PassStage
from ..given import answers_window
from .finetune import keep_constraints, trained
from .options import TrainingPass, training_data


@dataclass(frozen=True, kw_only=True)
class TrainSteps(TrainingPass):
    """Train for ever shorter samples (temporal pruning of Chowdhury et al. 2021).

    For each number of steps the network trains for ``epochs`` on the first so many steps of each
    sample, and starts from the weights of the stage before. It takes ``steps`` or ``halvings``. The
    number of steps that the network is trained for then stands in its notes as ``steps``, and later
    passes train on as many.
    """

    name: ClassVar[str] = "train-steps"
    stage: ClassVar[PassStage] = "any"

    steps: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """The numbers of steps, falling."""
    halvings: Annotated[int, Field(ge=0)] = 0
    """How often the number of steps is halved (rounded up)."""
    direct: bool = False
    """Train at the last number of steps alone, for as many epochs in all."""
    max_drop: Annotated[float, Field(ge=0, le=1)] = 1.0
    """A stage that costs more than this of the accuracy before the first one ends it: the stage
    before is the result."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.steps) == bool(self.halvings):
            raise RecipeError(
                "steps-schedule",
                "it takes either steps or halvings",
                where=self.name,
                hint="for example steps = [8, 4, 2], or halvings = 3",
            )
        if any(a <= b for a, b in pairwise(self.steps)):
            raise RecipeError(
                "steps-schedule",
                f"the numbers of steps {self.steps} do not fall",
                where=self.key("steps"),
                hint="for example steps = [8, 4, 2]",
            )

    def requires(self, net: Network) -> None:
        """The patterns must match."""
        self.select(net)

    def accepts(self, net: Network, ctx: PassContext) -> None:
        """An answer per sample: where every step has one, none can be left out."""
        if answers_window(training_data(ctx, net).samples):
            raise PassRefused(
                "labels-per-step",
                "every step has a label of its own, and none can be left out",
                hint="leave this pass out of the recipe",
            )

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Train at each length."""
        from .loop.session import Session, with_notes

        session = Session(self, net, ctx)
        session.refresh(session.module)
        longest = session.steps
        schedule = self.steps or tuple(-(-longest // 2**k) for k in range(1, self.halvings + 1))
        if schedule[0] > longest:
            raise RecipeError(
                "steps-schedule",
                f"it starts at {schedule[0]} steps, samples have {longest}",
                where=self.key("steps"),
                hint="give longer samples, or start lower",
            )
        epochs = self.epochs
        if self.direct:
            epochs, schedule = epochs * len(schedule), schedule[-1:]
        before, reached = session.accuracy(), longest
        metrics = {f"steps={longest} (before)": {"accuracy": before}}
        for wanted in schedule:
            kept = session.module.snapshot()
            session.fit(f"{wanted}-steps", epochs, steps=wanted)
            accuracy = session.accuracy(wanted)
            metrics[f"steps={wanted}"] = {"accuracy": accuracy}
            if before - accuracy > self.max_drop:
                session.module.restore(kept)
                break
            reached = wanted
        result = trained(net, session)
        return replace(
            result,
            network=with_notes(result.network, steps=str(reached)),
            modified=True,
            metrics={**result.metrics, **metrics},
            findings=(*result.findings, _finding(reached, metrics)),
        )

    def ensures(self, before: Network, after: Network) -> None:
        """Masks and codes stay."""
        keep_constraints(self, before, after)


def _finding(steps: int, metrics: dict[str, dict[str, float]]) -> Finding:
    told = ", ".join(f"{name} {m['accuracy']:.1%}" for name, m in metrics.items())
    return Finding(
        code="steps-reduced",
        severity="note",
        where="time",
        message=f"trained for {steps} steps per sample ({told}); run it with as many",
    )
