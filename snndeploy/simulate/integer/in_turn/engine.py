"""The engine for chips whose neurons take spike after spike: in chip time, as the chip runs.

On such a chip all neurons run from the first step on. A group of depth d hears a sample's first step
d - 1 steps after the first; what its bias does until then counts. So the whole chip is run, and of each
group the steps of the sample are kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ....ir.arrays import size
from ...recording import RegisterUse
from ..plan import RunPlan
from ..train import States, Train
from .kernel import fits, run_compiled
from .plain import TurnTrace, run_plain
from .wiring import wiring_of

_VALUES = 1 << 22
"""Places (steps, samples, neurons) that are run at once."""


class TurnEngine:
    """A program prepared once, for runs on chunks of samples."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.wiring = wiring_of(plan.program)

    @property
    def batch(self) -> int:
        """Samples at once: their trains are held in int64."""
        return max(1, _VALUES // max(1, self.wiring.neurons * 256))

    def run(self, trains: Mapping[str, Train], samples: int, states: States) -> None:
        """Fill the trains of all groups that are not inputs, for the chunk's ``samples``."""
        program = self.plan.program
        given = {n: t.values[:, t.base : t.base + samples] for n, t in trains.items()}
        steps = len(next(iter(given.values())))
        late = {g.name: g.depth - 1 for g in program.on_chip}
        total = steps + max(late.values(), default=0)
        inputs = [g for g in program.groups if g.kind == "input"]
        sent = np.zeros((total, samples, sum(size(g.shape) for g in inputs)), np.int64)
        first = 0
        for g in inputs:
            last = first + size(g.shape)
            sent[:steps, :, first:last] = given[g.name]
            first = last
        watch = states.watch
        if watch is not None or not fits(self.wiring, sent):
            trace = run_plain(self.wiring, sent, watch=watch is not None)
        else:
            trace = run_compiled(self.wiring, sent, states=bool(states.u))
        first = 0
        for g in program.on_chip:
            last, then = first + size(g.shape), slice(late[g.name], late[g.name] + steps)
            given[g.name][:] = trace.spikes[then, :, first:last]
            if g.name in states.u:
                here = slice(trains[g.name].base, trains[g.name].base + samples)
                states.u[g.name][:, here] = trace.u[then, :, first:last, 0]
                states.v[g.name][:, here] = trace.v[then, :, first:last]
            if watch is not None:
                watch.tell(g.name, _use(trace, slice(first, last), program.arithmetic.state_max))
            first = last


def _use(trace: TurnTrace, neurons: slice, limit: int) -> RegisterUse:
    assert trace.wide is not None
    assert trace.lost is not None
    u, v = (int(x[neurons].max(initial=0)) for x in trace.wide)
    wraps, clips = (int(x[neurons].sum()) for x in trace.lost)
    return RegisterUse(limit=limit, u_peak=u, v_peak=v, wraps=wraps, clips=clips)
