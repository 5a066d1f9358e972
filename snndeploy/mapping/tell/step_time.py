"""How long a step takes at least and at most, and what sets that: the busiest core, link or barrier.

A step ends when the slowest part of the chip is done, so totals don't matter (floorline,
arXiv 2511.21549; the max-affine model of arXiv 2601.10035). For a core with ``n`` neurons, ``s``
synaptic operations and ``m`` messages to send, and the link that most messages cross::

    at least   max(n * idle, s * synaptic_op, m * message, link messages * link, barrier)
    at most    max over cores (n * active + s * synaptic_op + m * message) + link + barrier

The lower end lets everything overlap, the upper end nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...chip import Duration, Target, TimeModel, weakest
from ...ir.arrays import Array, Shape, size
from ...ir.finding import Certainty
from ...ir.placement import Placement
from ...ir.program import Program
from ..count.memory import Memory
from ..route.flows import Flows
from ..route.traffic import Rates, busiest_link, messages

ASSUMED_ACTIVITY = 0.1
"""Fraction of all neurons that spike in a step, where no run has told."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """Something that a step waits for: ``count`` events ``where``, which take ``low`` to ``high`` ns."""

    what: str
    where: str
    layers: tuple[str, ...]
    count: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """Nanoseconds per step, from ``low`` to ``high``.

    ``terms`` are what it waits for, the longest first, so the first sets the speed. ``activity`` says
    where the spikes come from, and ``certainty`` is that of the least certain constant.
    """

    low: float
    high: float
    terms: tuple[Term, ...]
    activity: str
    certainty: Certainty
    not_counted: tuple[str, ...]


def step_time(
    program: Program, placement: Placement, target: Target, spikes: Rates | None = None
) -> StepTime | None:
    """Estimate the time of a step on the chip.

    Args:
        program: what was placed.
        placement: where.
        target: the chip, with its time per event.
        spikes: spikes of each group in a mean step, one number per neuron (in the group's shape) or
            their total. None: `ASSUMED_ACTIVITY` of all neurons.

    Returns:
        The estimate, or None where the target says nothing about time.
    """
    model = target.time
    if model is None:
        return None
    activity = "measured"
    if spikes is None:
        spikes = {g.name: ASSUMED_ACTIVITY * size(g.shape) for g in program.groups}
        activity = f"assumed: {ASSUMED_ACTIVITY:.0%} of all neurons spike in a step"
    memory = Memory(program, target)
    sent = messages(memory, placement, spikes)
    synops = core_synops(memory, placement, spikes)
    spiked: dict[int, float] = {}
    for core, n in zip(sent.source.tolist(), sent.weight.tolist(), strict=True):
        spiked[core] = spiked.get(core, 0.0) + n
    neurons: dict[int, float] = {}
    layers: dict[int, dict[str, None]] = {}
    for s in placement.slices:
        neurons[s.core] = neurons.get(s.core, 0.0) + memory.family.updates(s.resources, s.neurons)
        layers.setdefault(s.core, {})[s.group] = None
    updates = Duration(
        ns=model.neuron_update_idle.ns,
        high=model.neuron_update_active.most,
        source=model.neuron_update_idle.source,
        certainty=model.neuron_update_idle.certainty,
    )
    counts = {
        "neuron updates": (neurons, updates),
        "synaptic operations": (synops, model.synaptic_op),
        "messages sent": (spiked, model.message),
    }
    terms = []
    for what, (count, each) in counts.items():
        most, core = max((count.get(core, 0.0), -core) for core in neurons)
        terms.append(_term(what, f"core {-core}", tuple(layers[-core]), most, each))
    together = max(
        sum(count.get(core, 0.0) * each.most for count, each in counts.values()) for core in neurons
    )
    link = _link(sent, target, model)
    barrier = _barrier(placement, model)
    terms += [link, barrier]
    rests_on = [
        model.neuron_update_active,
        *(each for _, each in counts.values()),
        model.link,
        model.barrier,
    ]
    terms.sort(key=lambda t: -t.low)
    return StepTime(
        low=terms[0].low,
        high=together + link.high + barrier.high,
        terms=tuple(terms),
        activity=activity,
        certainty=weakest(d.certainty for d in rests_on),
        not_counted=tuple(model.not_counted),
    )


def core_synops(memory: Memory, placement: Placement, spikes: Rates) -> dict[int, float]:
    """Synaptic operations of every core: each stored synapse that a spike reaches, zeros included."""
    program = memory.program
    rates = {g.name: _per_neuron(spikes.get(g.name, 0.0), g.shape) for g in program.groups}
    result: dict[int, float] = {}
    for s in program.synapses:
        rate: Array = np.sum([rates[o.group] for o in s.sources], axis=0)
        for part in placement.of_group(s.target):
            into = memory.fans[s.name].into(part.bounds)
            sparse = memory.stored(s.name, part.bounds).skips_zeros
            counts = into.stored if sparse else into.full
            box = tuple(slice(*b) for b in into.region)
            result[part.core] = result.get(part.core, 0.0) + float((rate[box] * counts).sum())
    return result


def _per_neuron(spikes: Array | float, shape: Shape) -> Array:
    if isinstance(spikes, np.ndarray):
        return np.broadcast_to(spikes, shape)
    return np.full(shape, spikes / max(size(shape), 1))


def _term(what: str, where: str, layers: tuple[str, ...], count: float, each: Duration) -> Term:
    return Term(
        what=what,
        where=where,
        layers=layers,
        count=count,
        low=count * each.ns,
        high=count * each.most,
    )


def _link(sent: Flows, target: Target, model: TimeModel) -> Term:
    link = busiest_link(sent, target)
    where, count = (str(link), link.messages) if link else ("no link", 0.0)
    return _term("messages over a link", where, (), count, model.link)


def _barrier(placement: Placement, model: TimeModel) -> Term:
    """The barrier at the end of a step; over several chips it is known at most."""
    one, several = model.barrier, model.barrier_chips
    high = several.most if placement.chips > 1 and several is not None else one.most
    where = f"{placement.chips} chip{'s'[: placement.chips != 1]}"
    return Term(
        what="the barrier between steps", where=where, layers=(), count=1, low=one.ns, high=high
    )
