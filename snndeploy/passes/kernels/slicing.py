"""Cut units out of a network: populations, what comes in, what goes out, through every operator."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from ...errors import PassRefused
from ...ir.arrays import Array, Shape, frozen, parameter
from ...ir.network import Network, Population, Projection, Source
from ...ir.ops import Conv, Dense, Op, Pointwise, Reshape, SumPool, Weighted
from ...ir.weights import Weight
from .coupling import CouplingGroup


def shrink(net: Network, groups: Iterable[CouplingGroup]) -> Network:
    """The network with only the kept units of ``groups``; other populations stay as they are.

    Args:
        net: a network with real-valued weights.
        groups: groups of `coupling(net)`, each with the units to keep.

    Raises:
        PassRefused: a projection's bias would start earlier, as it arrives with the longest delay
            of its sources and the neurons with that delay would go.
    """
    kept = {p.name: np.ones(p.shape[0], dtype=bool) for p in net.populations}
    rows: dict[str, Array] = {}
    for group in groups:
        for name, units in group.units.items():
            kept[name] = np.isin(units, group.kept)
        for name, units in group.rows.items():
            rows[name] = np.isin(units, group.kept)
    return dataclasses.replace(
        net,
        populations=tuple(_population(p, kept[p.name]) for p in net.populations),
        projections=tuple(_projection(net, p, kept, rows.get(p.name)) for p in net.projections),
    )


def _population(population: Population, kept: Array) -> Population:
    if kept.all():
        return population
    shape = (int(kept.sum()), *population.shape[1:])
    neuron = population.neuron
    if neuron is not None:
        arrays = {
            name: _axis_0(value, population.shape, kept)
            for name, value in neuron.parameters().items()
        }
        neuron = neuron.changed(shape, **arrays)
    before = np.arange(population.shape[0]) if population.kept is None else population.kept
    left = frozen(before[kept], np.int64)
    return dataclasses.replace(population, shape=shape, neuron=neuron, kept=left)


def _axis_0(values: Array, shape: Shape, kept: Array) -> Array:
    """Slice something broadcastable to ``shape`` along its axis 0, where it has that axis."""
    spans = values.ndim == len(shape) and values.shape[0] == shape[0]
    return values[kept] if spans else values


def _projection(
    net: Network, projection: Projection, kept: dict[str, Array], rows: Array | None
) -> Projection:
    shape = net.source_shape(projection)
    inside, target = kept[projection.sources[0].population], kept[projection.target]
    if inside.all() and target.all():
        return projection
    alive = np.broadcast_to(inside.reshape(-1, *(1,) * (len(shape) - 1)), shape)
    ops: list[Op] = []
    weight = projection.weight
    for op in projection.ops:
        out = _behind(op, alive, rows)
        if op is projection.op:
            weight = _weight(projection.op, weight, alive, out)
        ops.append(_operator(op, alive, out, weight))
        alive = out
    bias = projection.bias
    sources = tuple(_source(s, shape, kept[s.population]) for s in projection.sources)
    if bias is not None:
        bias = _axis_0(bias, net.population(projection.target).shape, target)
        _refuse_earlier_bias(projection, sources)
    return dataclasses.replace(
        projection, sources=sources, ops=tuple(ops), weight=weight, bias=bias
    )


def _refuse_earlier_bias(projection: Projection, sources: tuple[Source, ...]) -> None:
    before = projection.bias_delay
    after = max(s.max_delay for s in sources)
    if after < before:
        raise PassRefused(
            "bias-earlier",
            f"without those kernels its bias would arrive after {after} steps instead of {before}",
            where=projection.name,
            hint=f"spare the layers that feed {projection.sources[0].population} by ignore",
        )


def _source(source: Source, shape: Shape, kept: Array) -> Source:
    delay = _axis_0(source.delay, shape, kept)
    new_shape = (int(kept.sum()), *shape[1:])
    return Source(source.population, parameter(delay, new_shape, dtype=np.int64))


def _behind(op: Op, alive: Array, rows: Array | None) -> Array:
    """What lives behind ``op``: ``rows`` of a weight (None: all), and what hears only what lives."""
    out = np.ones(op.out_shape(alive.shape), dtype=bool)
    match op:
        case Dense() | Conv():
            return out if rows is None else out & rows.reshape(-1, *(1,) * (out.ndim - 1))
        case SumPool():
            return out & _channels(alive).reshape(-1, 1, 1)
        case Reshape() | Pointwise():
            return alive.reshape(out.shape)


def _channels(alive: Array) -> Array:
    """Which indices of axis 0 live; coupling guarantees that a channel lives or dies whole."""
    return alive.reshape(alive.shape[0], -1)[:, 0]


def _weight(op: Weighted, weight: Weight, alive: Array, out: Array) -> Weight:
    def cut(values: Array) -> Array:
        match op:
            case Pointwise():
                return _axis_0(values, op.shape, _channels(alive))
            case Dense() | Conv():
                values = values[_channels(out)]
                # Groups of a grouped convolution go whole: those that stay keep all their inputs.
                return values[:, _channels(alive)] if op.mixes_channels else values

    mask = None if weight.mask is None else cut(weight.mask)
    return Weight(cut(weight.data), mask=mask)


def _operator(op: Op, alive: Array, out: Array, weight: Weight) -> Op:
    channels_in, channels_out = int(_channels(alive).sum()), int(_channels(out).sum())
    match op:
        case Dense():
            return Dense(channels_out, channels_in)
        case Conv():
            groups = op.groups if op.groups == 1 else channels_in // weight.shape[1]
            return dataclasses.replace(
                op, out_channels=channels_out, in_channels=channels_in, groups=groups
            )
        case Pointwise():
            return Pointwise((channels_in, *op.shape[1:]), weight.shape)
        case Reshape():
            return Reshape((channels_out, *op.shape[1:]))
        case SumPool():
            return op
