"""The reference: source after source, neuron after neuron, by the functions of `snndeploy.ir.step`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....ir.arrays import Array
from ....ir.step import IntegerParameters, IntegerState, NeuronRule, arrived, decayed, step_membrane
from .wiring import Synapses, Wiring


@dataclass(eq=False)
class TurnTrace:
    """What a run of a wiring left: spikes (v of neurons that are read), u after decay, v after spikes.

    ``spikes`` and ``v`` are (steps, samples, neurons), ``u`` (steps, samples, neurons, states). ``wide``
    are the largest |u| and |v| of each neuron before they entered their registers, ``lost`` how often
    that did not hold them; both (2, neurons), and None where nobody asked.
    """

    spikes: Array
    u: Array
    v: Array
    wide: Array | None = None
    lost: Array | None = None


def run_plain(wiring: Wiring, messages: Array, *, watch: bool = False) -> TurnTrace:
    """Run a chip on what the host sends: int64 (steps, samples, channels), not negative."""
    steps, samples, _ = messages.shape
    n, states, arithmetic = wiring.neurons, wiring.states, wiring.arithmetic
    u = np.zeros((samples, n, states), np.int64)
    trace = TurnTrace(
        spikes=np.zeros((steps, samples, n), np.int64),
        u=np.zeros((steps, samples, n, states), np.int64),
        v=np.zeros((steps, samples, n), np.int64),
        wide=np.zeros((2, n), np.int64) if watch else None,
        lost=np.zeros((2, n), np.int64) if watch else None,
    )
    neurons = [_Neuron(wiring, i, samples) for i in range(n)]
    aliases = wiring.aliases
    for t in range(steps):
        _arrive(wiring, wiring.host, messages, t, u, trace, late=1)
        _arrive(wiring, wiring.inner, trace.spikes, t, u, trace, late=0)
        u = decayed(u, wiring.du, arithmetic)
        current = u.sum(axis=-1)
        passed_on = np.zeros((samples, n), np.int64)
        for i, neuron in enumerate(neurons):
            sent = neuron.step(current[:, i], passed_on[:, i], trace)
            trace.spikes[t, :, i] += sent
            for other in aliases.target[aliases.first[i] : aliases.first[i + 1]]:
                # who acted already sends them too, but does not pass them on again
                most = wiring.most[other]
                if other > i:
                    passed_on[:, other] = np.minimum(passed_on[:, other] + sent, most)
                else:
                    total = trace.spikes[t, :, other] + sent
                    trace.spikes[t, :, other] = np.minimum(total, most)
            trace.v[t, :, i] = neuron.state.v
        trace.u[t] = u
    trace.spikes[:, :, wiring.read] = trace.v[:, :, wiring.read]
    return trace


def _arrive(
    wiring: Wiring,
    synapses: Synapses,
    sent: Array,
    t: int,
    u: Array,
    trace: TurnTrace,
    *,
    late: int,
) -> None:
    """Add the spikes that arrive at step ``t`` to u, source after source."""
    for i in range(len(synapses.first) - 1):
        for k in range(synapses.first[i], synapses.first[i + 1]):
            then = t - int(synapses.steps[k]) + late
            if then < 0:
                continue
            target, state = synapses.target[k], synapses.state[k]
            n, w = sent[then, :, i], synapses.weight[k]
            before = u[:, target, state].copy()
            u[:, target, state] = arrived(before, n, w, wiring.arithmetic)
            if trace.wide is not None and trace.lost is not None:
                shift = wiring.arithmetic.state_shift
                off = before + ((n * w) << shift) != u[:, target, state]
                peak = np.abs(before + ((n * w) << shift)).max(initial=0)
                trace.wide[0, target] = max(trace.wide[0, target], peak)
                trace.lost[0, target] += np.count_nonzero(off)


class _Neuron:
    """One neuron of the row, over all samples."""

    def __init__(self, wiring: Wiring, i: int, samples: int) -> None:
        self.wiring, self.i = wiring, i
        self.most = int(wiring.most[i])
        self.state = IntegerState(*(np.zeros(samples, np.int64) for _ in range(3)))
        self.parameters = IntegerParameters(
            du=None, dv=wiring.dv[i], threshold=wiring.threshold[i], bias=wiring.bias[i]
        )

    def step(self, current: Array, passed_on: Array, trace: TurnTrace) -> Array:
        """Advance it; what it sends, with the spikes that others ``passed_on`` to it."""
        arithmetic = self.wiring.arithmetic
        see = None
        if trace.wide is not None and trace.lost is not None:
            wide, lost, i = trace.wide, trace.lost, self.i

            def see(_: Array, v: Array) -> None:
                top = arithmetic.state_max
                wide[1, i] = max(wide[1, i], int(np.abs(v).max(initial=0)))
                lost[1, i] += np.count_nonzero((v > top) | (v < -top - 1))

        sent = np.zeros_like(current)
        for n in np.unique(passed_on):  # those that have as many spikes left
            here = passed_on == n
            state = IntegerState(*(x[here] for x in (self.state.u, self.state.v, self.state.fired)))
            rule = NeuronRule(
                compare=">=",
                reset="subtract",
                spikes_per_step="many",
                max_spikes=max(self.most - int(n), 0),
            )
            own = step_membrane(rule, arithmetic, self.parameters, state, current[here], see=see)
            self.state.v[here] = state.v
            sent[here] = own + n
        return sent
