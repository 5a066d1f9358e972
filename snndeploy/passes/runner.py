"""Run passes one after the other, checked and measured."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..brief import brief, brief_html
from ..calibrate.fidelity import Fidelity
from ..errors import RecipeError, SnnDeployError
from ..ir.finding import Finding
from ..ir.network import Network
from .base import ORDER, Pass, PassContext, PassEvent, PassResult, PassRun, out_of_order
from .metrics import NetworkMetrics, measure
from .order import refuse_wrong_side

TAKEN = "taken from an earlier run"
"""The status of a pass that did not have to run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PassStep:
    """What one pass did: its options, the counts before and after, and what it reported.

    ``answers`` compares the network after it with the one before the first pass, on samples.
    """

    index: int
    name: str
    options: Mapping[str, Any]
    modified: bool
    seconds: float
    before: NetworkMetrics
    after: NetworkMetrics
    metrics: Mapping[str, Mapping[str, float]]
    findings: tuple[Finding, ...]
    digest: str
    answers: Fidelity | None = None

    __repr__ = brief
    _repr_html_ = brief_html


@dataclass(frozen=True, kw_only=True, eq=False)
class PassLog:
    """The compressed network and how it came about.

    ``passes`` are those that made it, and ``notes`` say what became of its answers.
    """

    network: Network
    steps: tuple[PassStep, ...]
    passes: tuple[Pass, ...] = ()
    notes: tuple[Finding, ...] = ()

    __repr__ = brief
    _repr_html_ = brief_html

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What became of the answers, and everything the passes reported, in running order."""
        return (*self.notes, *(finding for step in self.steps for finding in step.findings))

    @property
    def answers(self) -> Fidelity | None:
        """How the network's answers compare with those before the first pass, where measured."""
        return self.steps[-1].answers if self.steps else None


def check_order(passes: Sequence[Pass]) -> None:
    """Apply the order law to a list of passes before any of them runs.

    Raises:
        RecipeError: a pass comes after a later kind of compression.
    """
    reached, by = passes[0].stages[-1] if passes else "any", 0
    for index, step in enumerate(passes[1:], start=1):
        if out_of_order(reached, step.stages[0]):
            raise RecipeError(
                "order-law",
                f"{step.name!r} comes after {passes[by].name!r}",
                where=f"passes[{index}]",
                hint=f"the order is {' → '.join(ORDER)}",
            )
        if step.stages[-1] != "any":
            reached, by = step.stages[-1], index


def run_passes(net: Network, passes: Sequence[Pass], ctx: PassContext) -> PassLog:
    """Run ``passes`` in order; the network is verified after each of them.

    Every pass is asked first whether it can run on what the ones before it will leave, and on the
    samples. With
    ``ctx.watch`` the answers are compared after each.

    ``ctx.observer`` gets a start and an end event per pass with the network at that point, from
    which numbered intermediate dumps can be written (`PassEvent.label`).

    Raises:
        RecipeError: the order law is violated, or a pattern matches nothing.
        SnnDeployError: the error of a pass, its ``where`` preceded by which pass it was and which
            ones had finished.
    """
    check_order(passes)
    net.verify()
    check_requirements(net, passes)
    check_samples(net, passes, ctx)
    steps: list[PassStep] = []
    used: Counter[str] = Counter()
    source = net
    counts = measure(net)
    answers: Fidelity | None = None
    for index, step in enumerate(passes, start=1):
        used[step.name] += 1
        nth = used[step.name]
        scope = step.name if nth == 1 else f"{step.name}#{nth}"
        own = dataclasses.replace(ctx, scope=scope, index=index, total=len(passes), source=source)
        event = PassEvent(
            kind="start",
            name=step.name,
            index=index,
            total=len(passes),
            network=net,
            metrics=counts,
        )
        ctx.observer(event)
        result, seconds, taken = _finished(step, net, own, [s.name for s in steps])
        before, net, counts = counts, result.network, measure(result.network)
        if ctx.watch is not None and (result.modified or answers is None):
            answers = ctx.watch.fidelity(net)
        steps.append(
            PassStep(
                index=index,
                name=step.name,
                options=step.options(),
                modified=result.modified,
                seconds=seconds,
                before=before,
                after=counts,
                metrics=result.metrics,
                findings=result.findings,
                digest=net.digest,
                answers=answers,
            )
        )
        status = TAKEN if taken else ""
        end = dataclasses.replace(event, kind="end", network=net, metrics=counts, status=status)
        ctx.observer(end)
    return PassLog(network=net, steps=tuple(steps), passes=tuple(passes))


def check_requirements(net: Network, passes: Sequence[Pass]) -> None:
    """Ask every pass whether it can run on what those before it will leave, before any runs.

    Raises:
        SnnDeployError: the first refusal, with the pass's number.
    """
    for index, step in enumerate(passes, start=1):
        with _placed(f"pass {index} of {len(passes)} ({step.name})"):
            refuse_wrong_side(step.name, step.stages[0], net)
            step.requires(net)
            if index < len(passes):
                net = step.expect(net)


def check_samples(net: Network, passes: Sequence[Pass], ctx: PassContext) -> None:
    """Ask every pass whether it can work on the samples, before any runs.

    Raises:
        SnnDeployError: the first refusal, with the pass's number.
    """
    for index, step in enumerate(passes, start=1):
        with _placed(f"pass {index} of {len(passes)} ({step.name})"):
            step.accepts(net, ctx)


@contextmanager
def _placed(place: str) -> Iterator[None]:
    """Errors of the body say which pass they are of."""
    try:
        yield
    except SnnDeployError as error:
        where = f"{place} {error.where}" if error.where else place
        raise type(error)(error.code, error.message, where=where, hint=error.hint) from error


def _finished(step: Pass, net: Network, ctx: PassContext, done: list[str]) -> PassRun:
    """The result of a pass, which an earlier run may have kept."""

    def run() -> PassRun:
        began = time.perf_counter()
        result = _with_history(step, net, ctx, done)
        return PassRun(result, time.perf_counter() - began)

    return run() if ctx.kept is None else ctx.kept.result(step, net, ctx, run)


def _with_history(step: Pass, net: Network, ctx: PassContext, done: list[str]) -> PassResult:
    history = f", after {', '.join(done)}" if done else ""
    place = f"pass {ctx.index} of {ctx.total} ({step.name}{history})"
    try:
        with _placed(place):
            return step.apply(net, ctx)
    except SnnDeployError:
        raise
    except Exception as error:
        raise SnnDeployError(
            "pass-crashed",
            f"{type(error).__name__}: {error}",
            where=place,
            hint="this is a bug of the pass; report it with the recipe and the network",
        ) from error
