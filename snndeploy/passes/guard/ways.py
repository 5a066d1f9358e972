"""Passes that ran, and the network before and after each; the same by passes that look closer."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...errors import PassRefused
from ...ir.network import Network
from ..base import Keeper, Pass, PassContext, PassEvent, PassResult, PassRun
from ..runner import PassLog, check_requirements, run_passes


class History:
    """The network before and after every pass, as the observer is told of them."""

    def __init__(self) -> None:
        self.networks: list[tuple[Network, Network]] = []
        self._before: Network | None = None

    def beside(self, ctx: PassContext) -> PassContext:
        """``ctx`` whose observer lets this one listen."""

        def observe(event: PassEvent) -> None:
            if event.kind == "start":
                self._before = event.network
            elif event.kind == "end" and self._before is not None and event.network is not None:
                self.networks.append((self._before, event.network))
            ctx.observer(event)

        return dataclasses.replace(ctx, observer=observe)


@dataclass(frozen=True, eq=False)
class PassWay:
    """Passes that ran, and the network before and after each."""

    log: PassLog
    networks: tuple[tuple[Network, Network], ...]

    def bound(self) -> float:
        """What the answers differ by."""
        return 0.0 if self.log.answers is None else self.log.answers.bound

    def eased(self, relief: Mapping[str, float]) -> tuple[Pass, ...]:
        """The passes with so much given back."""
        parts = (
            step.eased(before, after, relief)
            for step, (before, after) in zip(self.log.passes, self.networks, strict=True)
        )
        return tuple(itertools.chain.from_iterable(parts))


@dataclass(frozen=True, eq=False)
class _Begun:
    """A `Keeper` of what another way has computed: its first passes, then what ``others`` keeps."""

    way: PassWay
    passes: int
    others: Keeper | None

    def result(
        self, step: Pass, net: Network, ctx: PassContext, run: Callable[[], PassRun]
    ) -> PassRun:
        """As `Keeper.result`."""
        if ctx.index > self.passes:
            return run() if self.others is None else self.others.result(step, net, ctx, run)
        done = self.way.log.steps[ctx.index - 1]
        _, after = self.way.networks[ctx.index - 1]
        result = PassResult(
            network=after if done.modified else net,
            modified=done.modified,
            metrics=done.metrics,
            findings=done.findings,
        )
        return PassRun(result, done.seconds, taken=True)


def way_of(net: Network, passes: Sequence[Pass], ctx: PassContext) -> PassWay:
    """Run passes, and remember what each was given and made of it."""
    history = History()
    log = run_passes(net, passes, history.beside(ctx))
    return PassWay(log, tuple(history.networks))


def closer_ways(net: Network, first: PassWay, ctx: PassContext) -> tuple[PassWay, ...]:
    """As much taken by passes that look closer, where there are such and they can run.

    What comes before the first of them is as ``first`` has it, and is not computed again.
    """
    passes = first.log.passes
    closer = tuple(p.closer() for p in passes)
    if ctx.calibration is None or closer == passes:
        return ()
    try:
        check_requirements(net, closer)
    except PassRefused:
        return ()
    pairs = zip(passes, closer, strict=True)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return (way_of(net, closer, dataclasses.replace(ctx, kept=_Begun(first, same, ctx.kept))),)
