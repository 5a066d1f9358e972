"""Neurons that send their membrane on: filters between spikes, which become synapses.

A population without a threshold is linear. What a filter with leak ``a`` hears, and sends on as v, is
what the neurons behind it hear from its sources through a synapse that keeps ``a`` per step::

    p = a p + x,  u = W p   equals   u = a u + W x

The two weights become one matrix, which is exact, and may hold many more weights than both.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from ...ir.arrays import Array, frozen, size
from ...ir.network import Network, Population, Projection, Source
from ...ir.ops import Dense, Op, Reshape
from ...ir.weights import Weight

_MOST_WEIGHTS = 1 << 24
"""More weights of one matrix than this are not worth a filter less."""


@dataclass(frozen=True)
class Filter:
    """A population that became synapses: whose, and how many weights were and are there."""

    name: str
    targets: tuple[str, ...]
    before: int
    after: int


def filters(network: Network) -> list[Population]:
    """Populations that send their membrane to others."""
    return [
        p
        for p in network.populations
        if p.neuron is not None and not p.neuron.spiking and network.outgoing(p.name)
    ]


def folded(network: Network, population: Population) -> tuple[Network, Filter] | None:
    """The network without a filter; None where synapses cannot do what it does."""
    arriving, leaving = network.incoming(population.name), network.outgoing(population.name)
    leak = _leak(population)
    if leak is None or population.role != "hidden" or not arriving:
        return None
    targets = tuple(dict.fromkeys(q.target for q in leaving))
    alone = all(p.bias is None for p in arriving) and all(
        [s.population for s in q.sources] == [population.name] and q.sources[0].delay.size == 1
        for q in leaving
    )
    heard = leak == 0 or all(_hears_it_alone(network, n, population.name) for n in targets)
    if population.name in targets or not alone or not heard:
        return None
    weights = [
        size(network.population(q.target).shape) * size(network.source_shape(p))
        for q in leaving
        for p in arriving
    ]
    if max(weights) > _MOST_WEIGHTS:
        return None
    made = [_product(network, p, q) for q in leaving for p in arriving]
    gone = {p.name for p in (*arriving, *leaving)}
    others = [] if leak == 0 else [_filtering(network.population(n), leak) for n in targets]
    changed = network.replace(others)
    changed = dataclasses.replace(
        changed,
        populations=tuple(p for p in changed.populations if p.name != population.name),
        projections=(*(p for p in changed.projections if p.name not in gone), *made),
    )
    before = sum(p.weight.data.size for p in (*arriving, *leaving))
    return changed, Filter(population.name, targets, before, sum(p.weight.data.size for p in made))


def _leak(population: Population) -> float | None:
    """What all of its membranes keep per step, where nothing else happens to them."""
    neuron = population.neuron
    if neuron is None or neuron.syn_leak is not None or neuron.v_floor is not None:
        return None
    if neuron.beyond() or any(np.any(x) for x in (neuron.bias, neuron.drive, neuron.v_init)):
        return None
    kept = np.unique(neuron.leak)
    return float(kept[0]) if kept.size == 1 else None


def _hears_it_alone(network: Network, name: str, heard: str) -> bool:
    """Whether nothing else arrives, and its synapses keep nothing yet."""
    neuron = network.population(name).neuron
    assert neuron is not None
    arriving = network.incoming(name)
    return neuron.syn_leak is None and all(
        p.bias is None and [s.population for s in p.sources] == [heard] for p in arriving
    )


def _filtering(population: Population, leak: float) -> Population:
    """Its synapses keep so much per step; the bias passes no synapse."""
    neuron = population.neuron
    assert neuron is not None
    drive: Array = np.asarray(neuron.drive + neuron.bias)
    changed = neuron.changed(population.shape, syn_leak=leak, bias=0.0, drive=drive)
    return dataclasses.replace(population, neuron=changed)


def _product(network: Network, first: Projection, second: Projection) -> Projection:
    """One projection that does both in a row."""
    middle, target = network.population(first.target), network.population(second.target)
    shape = network.source_shape(first)
    matrix = _matrix(second, middle.shape) @ _matrix(first, shape)
    flat: list[Op] = [] if len(shape) == 1 else [Reshape((size(shape),))]
    back: list[Op] = [] if len(target.shape) == 1 else [Reshape(target.shape)]
    late = second.sources[0].delay.reshape(())
    return Projection(
        f"{first.name}+{second.name}",
        tuple(Source(s.population, frozen(s.delay + late)) for s in first.sources),
        second.target,
        (*flat, Dense(*matrix.shape), *back),
        Weight(matrix),
        second.bias,
    )


def _matrix(projection: Projection, shape: tuple[int, ...]) -> Array:
    """What each of its inputs adds to each output, as real numbers."""
    import torch

    from ...ir.linear.float_chain import float_chain

    n = math.prod(shape)
    one_by_one = torch.eye(n, dtype=torch.float64).reshape(n, *shape)
    weight = torch.from_numpy(projection.weight.values().astype(np.float64))
    out = float_chain(projection.ops, weight, one_by_one)
    return np.ascontiguousarray(out.reshape(n, -1).numpy().T)
