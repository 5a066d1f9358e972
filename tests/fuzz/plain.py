"""What a network means, neuron by neuron: the semantics of `snndeploy.ir.neurons` without an engine.

Every projection is a plain matrix, every neuron one call of `tests.support.scalar_step`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snndeploy.ir.arrays import Array, size
from snndeploy.ir.network import Network, Population, Projection
from snndeploy.ir.ops import chain_shapes, index_map
from tests.support.scalar_step import float_step

_NEAR = 1e-9
"""Relative size of what float64 sums in another order may differ by, with much room."""


@dataclass(frozen=True, eq=False)
class Plain:
    """Spikes ``(steps, samples, neurons)`` by population, and where a tie decided one.

    ``ties`` is true where an input that is larger or smaller by noise of floating point gives other
    spikes; from there on runs in another order of summation may differ for good. ``noise`` is how much
    that is at the most, up to each step: parts of a sum that is 0 are not.
    """

    spikes: dict[str, Array]
    ties: dict[str, Array]
    noise: dict[str, Array]


def matrix(network: Network, projection: Projection) -> Array:
    """The chain of a projection as one matrix (outputs, inputs)."""
    shape = network.source_shape(projection)
    whole = np.eye(size(shape))
    for op, before in zip(projection.ops, chain_shapes(projection.ops, shape)[:-1], strict=True):
        m = index_map(op, before)
        each = np.zeros((m.out_size, m.in_size))
        values = np.asarray(projection.weight.values(), np.float64).reshape(-1)
        np.add.at(
            each,
            (m.out_index, m.in_index),
            1.0 if m.weight_index is None else values[m.weight_index],
        )
        whole = each @ whole
    return whole


def run_plain(network: Network, inputs: Mapping[str, Array]) -> Plain:
    """Run ``network`` from its initial state on ``inputs`` (steps, samples, *shape) by name."""
    steps, samples = next(iter(inputs.values())).shape[:2]
    flat = {n: np.asarray(x, np.float64).reshape(steps, samples, -1) for n, x in inputs.items()}
    neurons = [network.population(n) for n in network.order if n not in inputs]
    sent = {p.name: np.zeros((steps, samples, size(p.shape))) for p in neurons} | flat
    ties = {p.name: np.zeros((steps, samples, size(p.shape)), bool) for p in neurons}
    noises = {name: np.zeros(x.shape) for name, x in ties.items()}
    weights = {q.name: matrix(network, q) for q in network.projections}
    for sample in range(samples):
        states = {p.name: _rest(p) for p in neurons}
        for t in range(steps):
            for p in neurons:
                x, most = _arriving(network, p, weights, sent, t, sample)
                for i, state in enumerate(states[p.name]):
                    noise = _NEAR * (most[i] + abs(state["v"]) + abs(state["u"]))
                    sent[p.name][t, sample, i], tie = _step(p, i, state, x[i], noise)
                    ties[p.name][t, sample, i] = tie
                    noises[p.name][t, sample, i] = noise
    return Plain(sent, ties, {n: np.maximum.accumulate(x) for n, x in noises.items()})


def _rest(p: Population) -> list[dict[str, float]]:
    assert p.neuron is not None
    start = np.broadcast_to(p.neuron.v_init, p.shape).reshape(-1)
    return [{"u": 0.0, "v": float(v), "n": 0.0} for v in start]


def _arriving(
    network: Network,
    p: Population,
    weights: Mapping[str, Array],
    sent: Mapping[str, Array],
    t: int,
    sample: int,
) -> tuple[Array, Array]:
    """Sum over the projections, and that of magnitudes."""
    total, most = np.zeros(size(p.shape)), np.zeros(size(p.shape))
    for q in network.incoming(p.name):
        heard = np.zeros(size(network.source_shape(q)))
        for source in q.sources:
            late = np.broadcast_to(source.delay, network.source_shape(q)).reshape(-1)
            for i, steps in enumerate(late.tolist()):
                if t >= steps:
                    heard[i] += sent[source.population][t - steps, sample, i]
        total += weights[q.name] @ heard
        most += np.abs(weights[q.name]) @ np.abs(heard)
        if q.bias is not None and t >= max(s.max_delay for s in q.sources):
            total += np.broadcast_to(q.bias, p.shape).reshape(-1)
            most += np.abs(np.broadcast_to(q.bias, p.shape)).reshape(-1)
    return total, most


def _step(
    p: Population, i: int, state: dict[str, float], x: float, noise: float
) -> tuple[float, bool]:
    """What neuron ``i`` sends; whether noise would have changed it."""
    assert p.neuron is not None
    values = {
        name: None if array is None else float(np.broadcast_to(array, p.shape).reshape(-1)[i])
        for name in ("leak", "syn_leak", "threshold", "v_floor", "bias", "drive")
        for array in [getattr(p.neuron, name)]
    }
    rule = p.neuron.rule
    noise += _NEAR * sum(abs(v) for v in values.values() if v is not None)
    others = [float_step(rule, values, dict(state), x + d) for d in (-noise, noise)]
    sent = float_step(rule, values, state, x)
    return sent, rule is not None and others != [sent, sent]
