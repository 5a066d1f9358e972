"""Taking a population's channels apart: the rows that lead to them and the columns that leave them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from snndeploy.ir.arrays import Array, Shape, frozen, size
from snndeploy.ir.network import Network, Population, Projection
from snndeploy.ir.neurons import PARAMETERS, Neuron
from snndeploy.ir.ops import Conv, Dense, Op, Reshape, SumPool, chain_shapes, weighted_index
from snndeploy.ir.weights import Weight

Indices = Sequence[int]


class DoesNotApply(Exception):
    """A relation says nothing of this case."""


def population_of(p: Population, indices: Indices) -> Population:
    """``p`` with only these channels, in this order."""
    shape = (len(indices), *p.shape[1:])
    assert p.neuron is not None
    values = {name: getattr(p.neuron, name) for name in PARAMETERS}
    parts = {n: taken(v, indices, p.shape) for n, v in values.items() if v is not None}
    kept = {
        f.name: getattr(p.neuron, f.name)
        for f in dataclasses.fields(p.neuron)
        if f.name not in parts
    }
    return dataclasses.replace(p, shape=shape, neuron=Neuron.create(shape, **kept, **parts))


def taken(values: Array, indices: Indices, shape: Shape) -> Array:
    """Channels of what broadcasts to ``shape``."""
    if values.ndim < len(shape) or values.shape[0] == 1 != shape[0]:
        return values
    return frozen(values[list(indices)])


def rows(network: Network, q: Projection, indices: Indices) -> Projection:
    """``q`` into these channels of its target only."""
    shape = network.population(q.target).shape
    at = weighted_index(q.ops)
    op, after = q.ops[at], q.ops[at + 1 :]
    channels, smaller = shape[0], (len(indices), *shape[1:])
    block = 1
    new: tuple[Op, ...]
    if isinstance(op, Dense) and all(isinstance(o, Reshape) for o in after) and len(after) < 2:
        block = op.out_features // channels
        new = (Dense(len(indices) * block, op.in_features), *(Reshape(smaller) for _ in after))
    elif isinstance(op, Conv) and op.groups == 1 and all(isinstance(o, SumPool) for o in after):
        new = (dataclasses.replace(op, out_channels=len(indices)), *after)
    else:
        raise DoesNotApply(f"rows of {op}")
    bias = None if q.bias is None else taken(q.bias, indices, shape)
    weight = _cut(q.weight, indices, channels, block, 0)
    return dataclasses.replace(q, ops=(*q.ops[:at], *new), weight=weight, bias=bias)


def columns(network: Network, q: Projection, name: str, indices: Indices) -> Projection:
    """``q`` out of these channels of its source only."""
    if {s.population for s in q.sources} != {name}:
        raise DoesNotApply("several sources are added")
    shape = network.source_shape(q)
    at = weighted_index(q.ops)
    shapes = chain_shapes(q.ops, shape)
    op, before = q.ops[at], q.ops[:at]
    channels, block = shape[0], size(shapes[at]) // shape[0]
    pools = [o for o in before if isinstance(o, SumPool)]
    new: tuple[Op, ...]
    if isinstance(op, Dense) and len(before) - len(pools) < 2:
        flat = len(indices) * block
        views = [Reshape((flat,)) for o in before if isinstance(o, Reshape)]
        new = (*pools, *views, Dense(op.out_features, flat))
    elif isinstance(op, Conv) and op.groups == 1 and len(pools) == len(before):
        block, new = 1, (*pools, dataclasses.replace(op, in_channels=len(indices)))
    else:
        raise DoesNotApply(f"columns of {op}")
    sources = tuple(dataclasses.replace(s, delay=taken(s.delay, indices, shape)) for s in q.sources)
    weight = _cut(q.weight, indices, channels, block, 1)
    return dataclasses.replace(q, sources=sources, ops=(*new, *q.ops[at + 1 :]), weight=weight)


def _cut(w: Weight, indices: Indices, channels: int, block: int, axis: int) -> Weight:
    index = (np.asarray(indices)[:, None] * block + np.arange(block)).reshape(-1)

    def cut(values: Array | None) -> Any:
        if values is None or values.ndim <= axis or values.shape[axis] != channels * block:
            return values
        return np.take(values, index, axis)

    scale = w.scale
    if axis == 0 and scale is not None and scale.ndim:
        scale = cut(scale)
    return dataclasses.replace(w, data=cut(w.data), scale=scale, mask=cut(w.mask))


def with_parts(network: Network, name: str, parts: dict[str, Indices]) -> Network:
    """Instead of population ``name`` several, by name, each with some of its channels.

    A connection within it becomes one between every two of them; what is heard of it, the sum of what
    is heard of them.
    """
    whole = network.population(name)
    populations: list[Population] = []
    for p in network.populations:
        if p.name != name:
            populations.append(p)
            continue
        for part, indices in parts.items():
            populations.append(dataclasses.replace(population_of(p, indices), name=part))
    projections = []
    for q in network.projections:
        leaves = any(s.population == name for s in q.sources)
        into = parts if q.target == name else {q.target: range(whole.shape[0])}
        for target, wanted in into.items():
            here = rows(network, q, wanted) if q.target == name else q
            if not leaves:
                projections.append(_named(here, target, None, name))
                continue
            if len(parts) > 1 and q.bias is not None and any(s.delay.ndim for s in q.sources):
                raise DoesNotApply("a bias that waits for one of the parts")
            for number, (source, indices) in enumerate(parts.items()):
                part = _named(columns(network, here, name, indices), target, source, name)
                bias = part.bias if number == 0 else None  # a bias comes once
                projections.append(dataclasses.replace(part, bias=bias))
    return dataclasses.replace(
        network, populations=tuple(populations), projections=tuple(projections)
    ).verify()


def _named(q: Projection, target: str, source: str | None, name: str) -> Projection:
    sources = tuple(
        dataclasses.replace(s, population=source)
        if source is not None and s.population == name
        else s
        for s in q.sources
    )
    return dataclasses.replace(
        q, name=f"{q.name}>{target}<{source or ''}", target=target, sources=sources
    )
