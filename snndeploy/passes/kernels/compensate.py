"""Let the channels that stay take over what removed ones contributed, as membranes see it.

A layer's weights act on its neurons through the reset-free membrane, which is linear in the input:
``v = M W x`` (see `calibrate.moments`). So the weights W' for which ``W' M x'`` comes nearest to what
the dense network had, ``W M x``, are a least-squares solution from second moments of calibration
samples. x' is what the network with its units removed delivers, everything before the layer already
fitted, so a layer also makes up for what those before it still get wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import reduce

import networkx as nx
import numpy as np

from ...calibrate.moments import Moments, Response, gather, pooled, rows
from ...calibrate.stream import prefix
from ...ir.arrays import Array, size
from ...ir.network import Network, Population, Projection
from ...ir.weights import Weight
from ...progress import Progress, silent
from ...simulate.float.engine import run_float
from ...workers import HERE, Workers
from ..second_order.layers import held_out
from .coupling import CouplingGroup
from .scores import POSITIONS, column_units, consuming

THRESHOLD_FACTORS = np.geomspace(0.7, 1.4, 9)
"""Factors tried on the threshold of each channel."""
RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Ridges of which held-out samples choose, layer by layer."""
_RATE_SAMPLES = 64
"""Samples on which spike rates are compared for that: rates need few, and every factor is a run."""


def fold(
    net: Network,
    groups: Sequence[CouplingGroup],
    inputs: Mapping[str, Array],
    *,
    ridge: float = 0.0,
    kernel: Response = "membrane",
    bias: bool = False,
    threshold: bool = False,
    workers: Workers = HERE,
    progress: Progress = silent,
) -> Network:
    """The network of the same shape in which removed units have no effect and the rest makes up for it.

    Every layer behind a removed unit is fitted, in the order of the network, towards the membrane
    that it had in ``net``: ``W' = argmin E |W' M x' - W M x|² + λ |W' - W|²`` over the weights of
    inputs that stay, λ being ``ridge`` times the mean diagonal of the Hessian. One-to-one layers keep
    their weights.

    Args:
        net: the dense network.
        groups: groups of `coupling(net)` with the units to keep; cut them out afterwards.
        inputs: samples ``(steps, samples, *shape)`` per input population.
        ridge: how strongly weights hold on to their values; 0: a fifth of the samples chooses one of
            `RIDGES` for each layer.
        kernel: M, the response in which errors count (see `calibrate.moments`).
        bias: also fit a constant per neuron or channel, in `Neuron.bias`.
        threshold: also scale the threshold of each channel so that it spikes as often as before.
        workers: who goes through the samples.
        progress: is told ``(layers done, layers)``.
    """
    gone = {
        p.name: ~np.isin(column_units(p, group), group.kept)
        for group in groups
        for p in consuming(net, group)
    }
    current = net.map_projections(lambda p: _without(p, gone[p.name]) if p.name in gone else p)
    targets = _behind(net, gone)
    layers = [
        p
        for name in targets
        for p in net.incoming(name)
        if not p.op.one_to_one
        and (p.name in gone or any(s.population in targets for s in p.sources))
    ]
    lost = {n: ~np.isin(units, g.kept) for g in groups for n, units in g.units.items()}
    for done, dense in enumerate(layers):
        progress(done, len(layers))
        parts = [
            gather(
                current,
                x,
                [dense.name],
                kernel=kernel,
                reference=net,
                positions=POSITIONS,
                workers=workers,
            )
            for x in ((inputs,) if ridge else held_out(inputs))
        ]
        moments = [part[dense.name] for part in parts]
        fitted = _fitted(dense, moments, gone.get(dense.name), ridge)
        current = current.replace(projections=[fitted])
        if bias:
            offset = _offset(net, current, dense.name, inputs, workers)
            population = current.population(dense.target)
            current = current.replace(populations=[_with_bias(population, offset)])
        last = done + 1 == len(layers) or layers[done + 1].target != dense.target
        if threshold and last:
            current = _with_thresholds(current, net, dense.target, inputs, lost)
    return current


def _without(projection: Projection, gone: Array) -> Projection:
    data = rows(projection, projection.weight.data) * ~gone
    weight = Weight(data.reshape(projection.weight.shape).astype(projection.weight.data.dtype))
    return dataclasses.replace(projection, weight=weight)


def _behind(net: Network, gone: Mapping[str, Array]) -> tuple[str, ...]:
    """Populations that removed inputs reach, in the order of the network."""
    direct = {p.target for p in net.projections if p.name in gone}
    reached = direct.union(*(nx.descendants(net.graph, name) for name in direct))
    return tuple(name for name in net.order if name in reached)


def _fitted(
    dense: Projection, parts: Sequence[Moments], gone: Array | None, ridge: float
) -> Projection:
    """The projection with the weights of least squared membrane error.

    Of two parts, the second one chooses the ridge for the first; both then fit the weights.
    """
    old = rows(dense, dense.weight.data).astype(np.float64)
    if not ridge:
        fit, judge = parts
        errors = [_error(_solution(old, fit, gone, r), old, judge) for r in RIDGES]
        ridge = RIDGES[int(np.argmin(errors))]
    new = _solution(old, reduce(pooled, parts), gone, ridge)
    weight = Weight(new.reshape(dense.weight.shape).astype(dense.weight.data.dtype))
    return dataclasses.replace(dense, weight=weight)


def _error(new: Array, old: Array, moments: Moments) -> float:
    """Squared membrane error of ``new``, but for what no weights can change."""
    assert moments.cross is not None
    total = 0.0
    for g, (hessian, cross) in enumerate(zip(moments.hessian, moments.cross, strict=True)):
        mine = moments.group == g
        total += float((new[mine] @ hessian * new[mine]).sum())
        total -= 2 * float((new[mine] @ cross * old[mine]).sum())
    return total


def _solution(old: Array, moments: Moments, gone: Array | None, ridge: float) -> Array:
    """Weights ``(rows, d)`` of least squared error with a pull towards ``old``."""
    assert moments.cross is not None
    new = np.zeros_like(old)
    for g, (hessian, cross) in enumerate(zip(moments.hessian, moments.cross, strict=True)):
        mine = moments.group == g
        stays = np.diag(hessian) > 0
        held = np.ones(len(stays), bool) if gone is None else ~gone
        new[np.ix_(mine, held & ~stays)] = old[
            np.ix_(mine, held & ~stays)
        ]  # never active: as it was
        k = np.flatnonzero(stays & held)
        if not k.size:
            continue
        system = hessian[np.ix_(k, k)]
        damp = ridge * np.diag(system).mean()
        wanted = old[mine] @ cross[k].T + damp * old[np.ix_(mine, k)]
        system[np.diag_indices(k.size)] += damp
        new[np.ix_(mine, k)] = np.linalg.solve(system, wanted.T).T
    return new


def _offset(
    net: Network, current: Network, name: str, inputs: Mapping[str, Array], workers: Workers
) -> Array:
    """Bias per row that makes up for the mean error of the input current."""
    means = []
    for network in (net, current):
        found = gather(
            network, inputs, [name], kernel="current", positions=POSITIONS, workers=workers
        )[name]
        projection = next(p for p in network.projections if p.name == name)
        weight = rows(projection, projection.weight.data)
        means.append(np.einsum("rd,rd->r", weight, found.mean[found.group]))
    return np.asarray(means[0] - means[1])


def _with_bias(population: Population, offset: Array) -> Population:
    neuron = population.neuron
    assert neuron is not None
    # A row of the weight drives neurons that follow each other, however they are viewed.
    added = np.repeat(offset, size(population.shape) // len(offset)).reshape(population.shape)
    return _changed(population, bias=neuron.bias + added)


def _with_thresholds(
    current: Network,
    net: Network,
    name: str,
    inputs: Mapping[str, Array],
    lost: Mapping[str, Array],
) -> Network:
    """Scale the thresholds of one population, channel by channel, towards the dense spike rates."""
    population = current.population(name)
    if population.neuron is None or population.neuron.threshold is None:
        return current

    def rates(network: Network) -> Array:
        ahead = prefix(network, [name])
        known = {p.name for p in ahead.with_role("input")}
        few = {n: x[:, :_RATE_SAMPLES] for n, x in inputs.items() if n in known}
        run = run_float(ahead, few)
        train = run.spikes[name].astype(np.float32)
        return np.asarray(np.moveaxis(train, 2, 0).reshape(population.shape[0], -1).mean(axis=1))

    wanted = rates(net)
    errors = []
    for factor in THRESHOLD_FACTORS:
        scaled = _changed(population, threshold=population.neuron.threshold * factor)
        errors.append(np.abs(rates(current.replace(populations=[scaled])) - wanted))
    best = THRESHOLD_FACTORS[np.argmin(errors, axis=0)]
    best = np.where(lost.get(name, np.zeros(len(best), bool)), 1.0, best)
    factors = best.reshape(-1, *(1,) * (len(population.shape) - 1))
    changed = _changed(population, threshold=population.neuron.threshold * factors)
    return current.replace(populations=[changed])


def _changed(population: Population, **fields: Array) -> Population:
    neuron = population.neuron
    assert neuron is not None
    return dataclasses.replace(population, neuron=neuron.changed(population.shape, **fields))
