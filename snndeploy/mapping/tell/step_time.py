"""How long a step takes at least and at most, and what sets that: the busiest core, link or barrier.

A step ends when the slowest part of the chip is done, so totals don't matter (floorline,
arXiv 2511.21549; the max-affine model of arXiv 2601.10035). For a core with ``n`` neurons, ``s``
synaptic operations and ``m`` messages to send, and the link that most messages cross::

    at least   max(n * idle, s * synaptic_op, m * message, link messages * link, barrier)
    at most    max over cores (n * active + s * synaptic_op + m * message) + link + barrier

The lower end lets everything overlap, the upper end nothing. Synaptic operations are those that energy
is counted with (`effects`), so a zero in a dense list may cost one or not, in both alike.

Steps differ, and the core that is busy in one may idle in the next: each step waits for its own busiest
core, and the mean is taken after that. (The busiest link is that of the mean step.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...chip import Duration, Target, TimeModel, weakest
from ...chip.counting import Cycles
from ...ir.arrays import Array, Shape, size
from ...ir.finding import Certainty
from ...ir.placement import Placement
from ...ir.program import Program
from ..count.memory import Memory
from ..route.fan_out import fan_out
from ..route.flows import Flows
from ..route.traffic import Rates, busiest_link, messages
from .effects import operations

ASSUMED_ACTIVITY = 0.1
"""Fraction of all neurons that spike in a step, where no run has told."""
_PLACES = 1 << 22
"""Numbers that are held at once: steps times cores."""


@dataclass(frozen=True, kw_only=True)
class TimeTerm:
    """Something that a step waits for: ``count`` to ``count_high`` events, ``low`` to ``high`` ns.

    They are those of the busiest place, which may be another in every step; ``where`` is the one that
    is busiest in most steps.
    """

    what: str
    where: str
    layers: tuple[str, ...]
    count: float
    count_high: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """Nanoseconds per step, from ``low`` to ``high``, in the mean over steps.

    ``terms`` are what it waits for, the longest first, so the first sets the speed. ``activity`` says
    where the spikes come from, and ``certainty`` is that of the least certain constant.
    """

    low: float
    high: float
    terms: tuple[TimeTerm, ...]
    activity: str
    certainty: Certainty
    not_counted: tuple[str, ...]


def step_time(
    program: Program, placement: Placement, target: Target, spikes: Rates | None = None
) -> StepTime | None:
    """Estimate the time of one step on the chip.

    Args:
        program: what was placed.
        placement: where.
        target: the chip, with its time per event.
        spikes: spikes of each group in this step, one number per neuron (in the group's shape) or
            their total. None: `ASSUMED_ACTIVITY` of all neurons.

    Returns:
        The estimate, or None where the target says nothing about time.
    """
    activity = "given"
    if spikes is None:
        spikes = {g.name: ASSUMED_ACTIVITY * size(g.shape) for g in program.groups}
        activity = f"assumed: {ASSUMED_ACTIVITY:.0%} of all neurons spike in a step"
    meter = StepMeter(program, placement, target)
    meter.add(
        {g.name: _per_neuron(spikes.get(g.name, 0.0), g.shape)[None, None] for g in program.groups}
    )
    return meter.result(activity)


class StepMeter:
    """Adds up how long steps take, each by its own busiest core.

    Args:
        program: what was placed.
        placement: where.
        target: the chip; what it says about time may be nothing, and so is the result then.
    """

    def __init__(self, program: Program, placement: Placement, target: Target) -> None:
        self.program, self.placement, self.target = program, placement, target
        self._memory = Memory(program, target)
        self._cores = {core: i for i, core in enumerate(placement.cores)}
        self._operations = list(operations(self._memory, placement)) if target.time else []
        self._sent = (
            {name: fan[0] for name, fan in fan_out(program, placement, target).items()}
            if target.time
            else {}
        )
        self._updates = np.zeros(len(self._cores))
        for s in placement.slices:
            self._updates[self._cores[s.core]] += self._memory.family.updates(
                s.resources, s.neurons
            )
        self._steps = 0
        self._spikes: dict[str, Array] = {}
        self._busiest = {what: np.zeros(len(self._cores), np.int64) for what in _COUNTED}
        self._means = dict.fromkeys((*_COUNTED, _MOST_OPERATIONS, "low", "together"), 0.0)
        self._clocked: list[Cycles] = []

    def add(self, spikes: Mapping[str, Array]) -> None:
        """Count steps.

        Args:
            spikes: of every group, ``(steps, samples, *shape)`` as recorded, where step 0 of a group is
                the first that an input can reach; groups that are not named are silent. On the chip a
                group of depth d is d steps behind the input, and samples follow one another.
        """
        trains = {
            g.name: np.roll(
                np.moveaxis(spikes[g.name], 1, 0).reshape(-1, *g.shape), g.depth, axis=0
            ).astype(np.float64)
            for g in self.program.groups
            if g.name in spikes
        }
        steps = len(next(iter(trains.values())))
        if (cycles := self._memory.family.cycles(self.program, trains)) is not None:
            sums = {what: part.sum(keepdims=True) for what, part in cycles.parts.items()}
            self._clocked.append(replace(cycles, parts=sums))
            self._steps += steps
            return
        if self.target.time is None:
            return
        for name, train in trains.items():
            self._spikes[name] = self._spikes.get(name, 0.0) + train.sum(axis=0)
        at_once = max(1, _PLACES // max(1, len(self._cores)))
        for first in range(0, steps, at_once):
            self._count(
                {n: s[first : first + at_once] for n, s in trains.items()}, self.target.time
            )

    def _count(self, trains: Mapping[str, Array], model: TimeModel) -> None:
        steps = len(next(iter(trains.values())))
        least, most, sent = (np.zeros((steps, len(self._cores))) for _ in range(3))
        sources = {s.name: [o.group for o in s.sources] for s in self.program.synapses}
        for part in self._operations:
            box = (slice(None), *(slice(*b) for b in part.region))
            core = self._cores[part.core]
            for group in sources[part.synapses]:
                if group in trains:
                    arrived = trains[group][box].reshape(steps, -1)
                    least[:, core] += arrived @ part.least.reshape(-1)
                    most[:, core] += arrived @ part.most.reshape(-1)
        for s in self.placement.slices:
            if s.group in trains:
                box = tuple(slice(*b) for b in s.bounds)
                each = self._sent[s.group].reshape(self.program.group(s.group).shape)[box]
                left = trains[s.group][(slice(None), *box)].reshape(steps, -1)
                sent[:, self._cores[s.core]] += left @ each.reshape(-1)
        updates = np.broadcast_to(self._updates, least.shape)
        counts = {"neuron updates": updates, "synaptic operations": least, "messages sent": sent}
        longest = np.full(steps, model.barrier.ns)
        for what, count in counts.items():
            busiest = count.argmax(axis=1)
            self._busiest[what] += np.bincount(busiest, minlength=len(self._cores))
            top = count.max(axis=1)
            self._means[what] += float(top.sum())
            longest = np.maximum(longest, top * _each(model)[what].ns)
        each = _each(model)
        together = (
            updates * each["neuron updates"].most
            + most * each["synaptic operations"].most
            + sent * each["messages sent"].most
        )
        self._means[_MOST_OPERATIONS] += float(most.max(axis=1).sum())
        self._means["low"] += float(longest.sum())
        self._means["together"] += float(together.max(axis=1).sum())
        self._steps += steps

    def result(self, activity: str = "measured") -> StepTime | None:
        """The mean step so far (None: nothing is known about time, or nothing was counted)."""
        model, steps = self.target.time, self._steps
        if self._clocked:
            return self._by_clock(activity)
        if model is None or not steps:
            return None
        cores = list(self._cores)
        layers: dict[int, dict[str, None]] = {}
        for s in self.placement.slices:
            layers.setdefault(s.core, {})[s.group] = None
        each, terms = _each(model), []
        for what in _COUNTED:
            core = cores[int(self._busiest[what].argmax())]
            count = self._means[what] / steps
            high = count if what != "synaptic operations" else self._means[_MOST_OPERATIONS] / steps
            terms.append(_term(what, f"core {core}", tuple(layers[core]), count, each[what], high))
        mean = {name: total / steps for name, total in self._spikes.items()}
        link = _link(messages(self._memory, self.placement, mean), self.target, model)
        barrier = _barrier(self.placement, model)
        terms += [link, barrier]
        terms.sort(key=lambda t: -t.low)
        rests_on = [
            model.neuron_update_active.certainty,
            *(duration.certainty for duration in each.values()),
            model.link.certainty,
            model.barrier.certainty,
            self.target.synapse.zero_ops.certainty,
        ]
        return StepTime(
            low=max(self._means["low"] / steps, link.low),
            high=self._means["together"] / steps + link.high + barrier.high,
            terms=tuple(terms),
            activity=activity,
            certainty=weakest(rests_on),
            not_counted=tuple(model.not_counted),
        )

    def _by_clock(self, activity: str) -> StepTime:
        """The mean of the cycles that the family's formula counted, one part after the other."""
        first, steps = self._clocked[0], self._steps
        layers = tuple(s.group for s in self.placement.slices)
        terms = []
        for what in first.parts:
            count = sum(float(c.parts[what].sum()) for c in self._clocked) / steps
            ns = count * first.ns
            terms.append(
                TimeTerm(
                    what=f"cycles of {what}",
                    where="the chip",
                    layers=layers,
                    count=count,
                    count_high=count,
                    low=ns,
                    high=ns,
                )
            )
        terms.sort(key=lambda t: -t.low)
        total = sum(t.low for t in terms)
        return StepTime(
            low=total,
            high=total,
            terms=tuple(terms),
            activity=activity,
            certainty=first.certainty,
            not_counted=first.not_counted,
        )


_COUNTED = ("neuron updates", "synaptic operations", "messages sent")
_MOST_OPERATIONS = "synaptic operations at most"


def _each(model: TimeModel) -> dict[str, Duration]:
    """The time of one event of each kind that cores are busy with."""
    idle = model.neuron_update_idle
    return {
        "neuron updates": idle.model_copy(update={"high": model.neuron_update_active.most}),
        "synaptic operations": model.synaptic_op,
        "messages sent": model.message,
    }


def _per_neuron(spikes: Array | float, shape: Shape) -> Array:
    if isinstance(spikes, np.ndarray):
        return np.broadcast_to(spikes, shape)
    return np.full(shape, spikes / max(size(shape), 1))


def _term(
    what: str,
    where: str,
    layers: tuple[str, ...],
    count: float,
    each: Duration,
    count_high: float | None = None,
) -> TimeTerm:
    most = count if count_high is None else count_high
    return TimeTerm(
        what=what,
        where=where,
        layers=layers,
        count=count,
        count_high=most,
        low=count * each.ns,
        high=most * each.most,
    )


def _link(sent: Flows, target: Target, model: TimeModel) -> TimeTerm:
    link = busiest_link(sent, target)
    where, count = (str(link), link.messages) if link else ("no link", 0.0)
    return _term("messages over a link", where, (), count, model.link)


def _barrier(placement: Placement, model: TimeModel) -> TimeTerm:
    """The barrier at the end of a step; over several chips it is known at most."""
    one, several = model.barrier, model.barrier_chips
    high = several.most if placement.chips > 1 and several is not None else one.most
    where = f"{placement.chips} chip{'s'[: placement.chips != 1]}"
    return TimeTerm(
        what="the barrier between steps",
        where=where,
        layers=(),
        count=1,
        count_high=1,
        low=one.ns,
        high=high,
    )
