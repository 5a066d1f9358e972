"""Thresholds in proportion to what compression left of the membranes they are compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ...calibrate.listen import listen
from ...calibrate.stream import MAX_MEMORY
from ...ir.arrays import Array
from ...ir.network import Network

_LIMIT = 2.0
"""A threshold changes by this factor at most: beyond it is a channel that fell silent."""


def with_threshold(
    net: Network,
    reference: Network,
    name: str,
    inputs: Mapping[str, Array],
    *,
    strength: float = 1.0,
    max_memory: int = MAX_MEMORY,
) -> tuple[Network, Array]:
    """Scale the thresholds of population ``name`` by what is left of its membranes.

    The factor of a neuron (of ``(C, H, W)``: of a channel) is ``Σ max(m', 0) / Σ max(m, 0)``, summed
    over samples and steps, with m its membrane potential without reset in ``reference`` and m' the one
    in ``net``. Only what is positive counts, because only that can make a neuron fire; and sums rather
    than squares, because between least squares and its shrinking of m' towards zero (the slope of m'
    over m, at most 1) and the ratio of norms, this keeps most answers on held-out samples.

    Returns:
        The network, and the factors, broadcastable to the population's shape (ones where it does not
        spike or never got a positive potential).
    """
    population = net.population(name)
    neuron = population.neuron
    if neuron is None or neuron.threshold is None:
        return net, np.ones(())
    wanted, left = (_positive_membrane(n, name, inputs, max_memory) for n in (reference, net))
    factor = threshold_factor(wanted, left) ** strength
    changed = neuron.changed(population.shape, threshold=neuron.threshold * factor)
    return net.replace(populations=[dataclasses.replace(population, neuron=changed)]), factor


def threshold_factor(wanted: Array, left: Array) -> Array:
    """The factors of thresholds: sums of positive membranes as they were, and what is left of them."""
    ratio = np.divide(left, wanted, out=np.ones_like(left), where=wanted > 0)
    factor: Array = np.clip(ratio, 1 / _LIMIT, _LIMIT)
    return factor


def _positive_membrane(
    net: Network, name: str, inputs: Mapping[str, Array], max_memory: int
) -> Array:
    """Sum over samples, steps and positions of a channel of max(m, 0), ``(C, 1, …)``."""
    population = net.population(name)
    neuron = population.neuron
    assert neuron is not None
    total = np.zeros(population.shape[:1])
    runs = listen(net, [name], inputs, record=[name], max_memory=max_memory // 4)
    for chunk in runs:
        m = np.zeros(chunk.recording.u[name].shape[1:])
        for u in chunk.recording.u[name]:  # u holds the synaptic filter and the bias, and no reset
            m = neuron.leak * m + u + neuron.drive
            by_channel = np.maximum(m, 0).reshape(len(m), len(total), -1)
            total += by_channel.sum(axis=(0, 2))
    return total.reshape(-1, *(1,) * (len(population.shape) - 1))
