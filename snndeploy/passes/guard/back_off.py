"""Run a recipe and, where its network no longer answers like the trained one, give some of it back.

How much each layer gets back follows from what it costs alone: a layer of divergence c keeps
``sqrt(t / c)`` of its compression at the level t, so that layers above the level come down to it and
cheap ones are spared. The level is searched by bisection; a trial runs quick versions of the passes
on some calibration samples, and the last run is the passes themselves. Before anything is given
back, codes that were rounded to nearest are fitted on samples: as much is taken, at less cost.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ...calibrate.fidelity import Reference
from ...errors import PassRefused
from ...ir.arrays import Array
from ...ir.finding import Finding
from ...ir.network import Network
from ..base import Calibration, Pass, PassContext
from ..metrics import measure
from ..runner import PassLog, PassStep, run_passes
from ..training.options import TrainingPass
from .costs import (
    amounts_found,
    answers_differ,
    answers_silent,
    backed_off,
    fitted_closer,
    layer_costs,
    needed_differs,
    not_heard,
    not_measured,
    told_by_few,
    took_much,
)
from .ways import History, PassWay, closer_ways, way_of

Guard = Literal["off", "warn", "back-off", "search"]

MAX_DIVERGENCE = 0.05
"""Nats per sample. Up to it, networks of eight kinds kept 94 % of their answers and more."""
LEVELS = 16
"""Levels fall by sqrt(2) each; at the last one nothing is pruned, and what is rounded has 8 bits."""
OTHERS = LEVELS + 1
"""The last level again, of the other way to take as much."""
NOTHING = LEVELS + 2
"""The level at which everything is given back."""
_NEARLY = 1 - 1e-9
"""Relief that gives back all weights and bits, but the grid."""
_FEW = 128
"""Samples, at most about, that a trial calibrates on."""
_ROOM = 4.0
"""Where a result is below the limit by this factor, trials were too careful: a level less is tried…"""
_STEPS_UP = 3
"""…up to so many times."""
_LEAST = 1e-3
"""No layer counts for less than this part of the costliest one: small costs add up."""
STARTS: tuple[tuple[float, int], ...] = ((0.95, 4), (0.8, 4), (0.95, 8))
"""Sparsities and bits from which a search comes down."""


def run_guarded(
    net: Network,
    passes: Sequence[Pass],
    ctx: PassContext,
    *,
    guard: Guard = "warn",
    limit: float = MAX_DIVERGENCE,
) -> PassLog:
    """Run ``passes``, compare the answers (``ctx.watch``), and act as ``guard`` says.

    Where the trained network answers nothing on those samples, there is nothing to compare: a finding.
    Another where they are few, or where nearly all get the same answer. Where they are few and most
    answers do not occur among them, whoever gives back prunes nothing, and rounds to 8 bits.

    Args:
        net: as it was trained.
        passes: what is asked for.
        ctx: as for `run_passes`.
        guard: ``"off"`` compares nothing; ``"warn"`` adds a finding where the divergence is above
            the limit; ``"back-off"`` finds codes that keep closer (`Pass.closer`), and then gives back
            sparsity, bits or kernels, layer by layer, until it is not; ``"search"`` does so from several
            amounts and takes what stores least. Passes that train are not run again and again: with
            them, ``"warn"`` is what happens. What the target needs (`Pass.needed`) is never given
            back: where it alone costs more than the limit, that is a finding, and the limit holds for
            what comes on top.
        limit: largest mean divergence of the answers, its standard error included, nats per sample.

    Raises:
        SnnDeployError: as `run_passes`.
    """
    watch = ctx.watch
    if guard == "off" or watch is None:
        log = run_passes(net, passes, dataclasses.replace(ctx, watch=None))
        return log if guard == "off" else dataclasses.replace(log, notes=not_measured(log))
    if watch.silent:
        log = run_passes(net, passes, dataclasses.replace(ctx, watch=None))
        return dataclasses.replace(log, notes=(answers_silent(watch),))
    log = _guarded(net, passes, ctx, watch, guard, limit)
    if not any(step.modified for step in log.steps):
        return log
    few = told_by_few(watch, "warning" if took_much(log) else "note")
    return dataclasses.replace(log, notes=(*log.notes, *few))


def _guarded(
    net: Network,
    passes: Sequence[Pass],
    ctx: PassContext,
    watch: Reference,
    guard: Guard,
    limit: float,
) -> PassLog:
    trains = any(isinstance(p, TrainingPass) for p in passes)
    careful = watch.unheard and guard != "warn" and not trains
    if guard == "search" and not trains and not careful:
        passes = _least_stored(net, passes, ctx, watch, limit)
    way = way_of(net, passes, ctx)
    log = way.log
    if careful and took_much(log):
        return _BackOff(net, [way], ctx, watch, limit).careful()
    if log.answers is None or log.answers.bound <= limit:
        found = (amounts_found(log),) if guard == "search" and not trains else ()
        return dataclasses.replace(log, notes=found)
    if guard == "warn" or trains:
        return dataclasses.replace(log, notes=(answers_differ(net, log, watch, limit),))
    first = _needed(log)
    notes: tuple[Finding, ...] = ()
    if first is not None and first.answers is not None and first.answers.bound > limit:
        notes = (needed_differs(first, limit),)
        limit += first.answers.bound
    if log.answers.bound <= limit:
        return dataclasses.replace(log, notes=notes)
    closer = closer_ways(net, way, ctx)
    ways = sorted([way, *closer], key=PassWay.bound)
    if ways[0].bound() <= limit:
        kept = ways[0].log
        notes = (*notes, fitted_closer(log, kept, limit))
        return dataclasses.replace(kept, notes=notes)
    kept = _BackOff(net, ways, ctx, watch, limit).kept(log)
    return dataclasses.replace(kept, notes=(*notes, *kept.notes))


def _needed(log: PassLog) -> PassStep | None:
    """The last of the passes, from the first on, that no guard may give back."""
    steps = itertools.takewhile(
        lambda pair: pair[0].needed, zip(log.passes, log.steps, strict=True)
    )
    return next((step for _, step in reversed(list(steps))), None)


@dataclass(frozen=True, eq=False)
class _Some:
    """Every k-th of the calibration samples."""

    inputs: Mapping[str, Array]
    labels: Array | None = None
    window: int = 1


class _BackOff:
    """Levels of one recipe, from what was asked (0) to nothing."""

    def __init__(
        self,
        net: Network,
        ways: Sequence[PassWay],
        ctx: PassContext,
        watch: Reference,
        limit: float,
    ) -> None:
        self.net, self.way, self.others = net, ways[0], tuple(ways[1:])
        self.ctx, self.watch, self.limit = ctx, watch, limit
        self.trials = len(self.others)
        self.costs = self._costs()

    def _costs(self) -> dict[str, float]:
        same = all(
            a.shape == b.shape
            for a, b in zip(self.net.populations, self.way.log.network.populations, strict=True)
        )
        names = [p.name for p in self.net.projections]
        if same:
            found = layer_costs(self.net, self.way.log.network, self.watch)
        else:  # compressed layers fit no other network: run the recipe on one layer at a time
            found = {
                name: self._tried(self.way.eased({n: float(n != name) for n in names}))[1]
                for name in names
            }
        most = max(found.values(), default=0.0)
        return {name: max(cost, most * _LEAST) for name, cost in found.items()}

    def relief(self, level: int) -> dict[str, float]:
        """How much of its compression each layer gets back."""
        if level >= LEVELS:
            share = _NEARLY if level == LEVELS else 1.0
            return dict.fromkeys((p.name for p in self.net.projections), share)
        allowed = max(self.costs.values(), default=0.0) * 2.0 ** (-level / 2)
        return {
            name: max(0.0, 1 - (allowed / cost) ** 0.5) if cost else 0.0
            for name, cost in self.costs.items()
        }

    def at(self, level: int) -> tuple[Pass, ...]:
        """The passes of a level; of the last ones only what rounds, and what the chip needs."""
        if level >= NOTHING:
            return tuple(p for p in self.way.log.passes if p.needed)
        way = self.way if level < OTHERS else self.others[0]
        passes = way.eased(self.relief(min(level, LEVELS)))
        if level < LEVELS:
            return passes
        return tuple(p for p in passes if "quantize" in p.stages or p.needed)

    def below(self, level: int, step: int) -> int:
        """The next level to try where one did not hold, ``step`` of those before the last on."""
        if level < LEVELS:
            return min(level + step, LEVELS)
        return OTHERS if level == LEVELS and self.others else NOTHING

    def _tried(self, passes: Sequence[Pass]) -> tuple[Network, float]:
        """Quick versions of ``passes`` on some of the samples: the network, and its divergence."""
        self.trials += 1
        quiet = _quick_context(self.ctx)
        try:
            net = run_passes(self.net, [p.quick() for p in passes], quiet).network
        except PassRefused:
            return self.net, float("inf")
        return net, self.watch.bound(net)

    def level(self) -> int:
        """The lowest level that keeps the answers, as far as quick passes tell."""
        low, high = 0, LEVELS
        while high - low > 1:
            self.ctx.progress("amounts given back", LEVELS - (high - low), LEVELS)
            middle = (low + high) // 2
            _, divergence = self._tried(self.at(middle))
            low, high = (low, middle) if divergence <= self.limit else (middle, high)
        return high

    def quick(self) -> tuple[tuple[Pass, ...], int]:
        """The passes at the lowest level, and the bits that their network stores."""
        level = self.level()
        passes = self.at(level)
        net, divergence = self._tried(passes)
        if level == LEVELS and divergence > self.limit:
            return self.at(NOTHING), measure(self.net).total("storage_bits")
        return passes, measure(net).total("storage_bits")

    def kept(self, asked: PassLog) -> PassLog:
        """Run the passes themselves at the lowest level at which their answers stay.

        ``asked`` is the run that the finding compares with.
        """
        level, step = self.level(), 1
        while True:
            log = self._run(self.at(level))
            if log.answers is None or log.answers.bound <= self.limit:
                break
            level = self.below(level, step)
            step *= 2
        for _ in range(_STEPS_UP if step == 1 else 0):
            if level <= 1 or (log.answers is not None and log.answers.bound * _ROOM > self.limit):
                break
            level -= 1
            more = self._run(self.at(level))
            if more.answers is None or more.answers.bound > self.limit:
                break
            log = more
        found = backed_off(asked, log, self.limit, self.costs, self.trials)
        return dataclasses.replace(log, notes=(found,))

    def careful(self) -> PassLog:
        """Run what prunes nothing, at 8 bits, and less where even that does not hold."""
        level = LEVELS
        log = self._run(self.at(level))
        while level < NOTHING and log.answers is not None and log.answers.bound > self.limit:
            level = self.below(level, 1)
            log = self._run(self.at(level))
        found = not_heard(self.way.log.network, log.network, self.watch)
        return dataclasses.replace(log, notes=(found,))

    def _run(self, passes: tuple[Pass, ...]) -> PassLog:
        self.trials += 1
        return run_passes(self.net, passes, self.ctx)


def _quick_context(ctx: PassContext) -> PassContext:
    some: Calibration | None = None
    if ctx.calibration is not None:
        inputs = ctx.calibration.inputs
        every = max(1, next(iter(inputs.values())).shape[1] // _FEW)
        labels = ctx.calibration.labels
        some = _Some(
            {n: x[:, ::every] for n, x in inputs.items()},
            None if labels is None else labels[::every],
            ctx.calibration.window,
        )
    return dataclasses.replace(ctx, calibration=some, watch=None, observer=lambda event: None)


def _least_stored(
    net: Network, passes: Sequence[Pass], ctx: PassContext, watch: Reference, limit: float
) -> tuple[Pass, ...]:
    """Of several amounts to come down from, the passes of the one that stores least in the end."""
    best: tuple[int, tuple[Pass, ...]] | None = None
    for done, (sparsity, bits) in enumerate(STARTS):
        ctx.progress("amounts to come down from", done, len(STARTS))
        amounts = {"sparsity": sparsity, "bits": bits}
        start = [
            dataclasses.replace(p, **{k: v for k, v in amounts.items() if k in p.options()})
            for p in passes
        ]
        history = History()
        quick = [p.quick() for p in start]
        quiet = _quick_context(ctx)
        log = run_passes(net, quick, dataclasses.replace(history.beside(quiet), watch=watch))
        full = PassWay(dataclasses.replace(log, passes=tuple(start)), tuple(history.networks))
        found: tuple[tuple[Pass, ...], int]
        if log.answers is None or log.answers.bound <= limit:
            found = tuple(start), measure(log.network).total("storage_bits")
        else:
            found = _BackOff(net, [full], ctx, watch, limit).quick()
        if best is None or found[1] < best[0]:
            best = (found[1], found[0])
    return tuple(passes) if best is None else best[1]
