"""Networks that do the same as another one: what a relation compares a case with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from snndeploy.ir.arrays import Array, frozen, size
from snndeploy.ir.network import Network, Population, Projection
from snndeploy.ir.ops import Conv, Dense, Op, Reshape, chain_shapes, index_map
from snndeploy.ir.weights import Weight
from tests.fuzz.parts import DoesNotApply, Indices, with_parts

Rng = np.random.Generator


def hidden(network: Network, rng: Rng) -> Iterator[Population]:
    """Populations of neurons in random order."""
    found = [p for p in network.populations if p.neuron is not None]
    yield from (found[i] for i in rng.permutation(len(found)))


def first_that_applies(network: Network, rng: Rng, change):  # type: ignore[no-untyped-def]
    """``change(network, population)`` for the first population that it can be done to."""
    for p in hidden(network, rng):
        try:
            return change(network, p)
        except DoesNotApply:
            continue
    raise DoesNotApply("no population")


def permuted(network: Network, p: Population, rng: Rng) -> tuple[Network, str, Indices]:
    """The channels of ``p`` in another order."""
    if p.shape[0] == 1:
        raise DoesNotApply("one channel")
    order = rng.permutation(p.shape[0]).tolist()
    return with_parts(network, p.name, {p.name: order}), p.name, order


def split(network: Network, p: Population, rng: Rng) -> tuple[Network, str]:
    """``p`` as two populations, ``p~a`` and ``p~b``."""
    if p.shape[0] == 1:
        raise DoesNotApply("one channel")
    at = int(rng.integers(1, p.shape[0]))
    parts = {f"{p.name}~a": range(at), f"{p.name}~b": range(at, p.shape[0])}
    return with_parts(network, p.name, parts), p.name


def joined_by_silent(
    network: Network, p: Population, rng: Rng, *, heard: bool
) -> tuple[Network, str]:
    """``p`` with a channel more that nothing arrives at, which others hear if ``heard``."""
    assert p.neuron is not None
    count = p.shape[0]
    order = [*range(count), int(rng.integers(count))]
    new = with_parts(network, p.name, {p.name: order})
    populations, projections = [], []
    for population in new.populations:
        if population.name == p.name and population.neuron is not None:
            n, shape = population.neuron, population.shape
            quiet = {
                name: np.where(_last(shape), 0.0, np.broadcast_to(getattr(n, name), shape))
                for name in ("bias", "drive")
            }
            if n.threshold is None or not (n.threshold > 0).all():
                raise DoesNotApply("it might not be silent")
            if n.v_floor is not None and (n.v_floor > 0).any():
                raise DoesNotApply("it might not be silent")
            population = dataclasses.replace(population, neuron=n.changed(shape, **quiet))
        populations.append(population)
    for q in new.projections:
        data = np.array(q.weight.data)
        if q.target == p.name:
            block = len(data) // (count + 1)
            data[count * block :] = 0
            if q.bias is not None and np.ndim(q.bias):
                bias = np.array(np.broadcast_to(q.bias, new.population(p.name).shape))
                bias[count:] = 0
                q = dataclasses.replace(q, bias=frozen(bias))
        if not heard and any(s.population == p.name for s in q.sources):
            block = data.shape[1] // (count + 1)
            data[:, count * block :] = 0
        if (data != q.weight.data).any() and q.weight.levels in ("odd",):
            raise DoesNotApply("its codes have no zero")
        projections.append(dataclasses.replace(q, weight=dataclasses.replace(q.weight, data=data)))
    return (
        dataclasses.replace(
            new, populations=tuple(populations), projections=tuple(projections)
        ).verify(),
        p.name,
    )


def _last(shape: tuple[int, ...]) -> Array:
    marks = np.zeros(shape, bool)
    marks[-1] = True
    return marks


def later(network: Network, steps: int) -> Network:
    """Everything that inputs send arrives so much later; without what neurons do by themselves."""
    inputs = {p.name for p in network.with_role("input")}

    def change(q: Projection) -> Projection:
        sources = tuple(
            dataclasses.replace(s, delay=frozen(s.delay + steps)) if s.population in inputs else s
            for s in q.sources
        )
        return dataclasses.replace(q, sources=sources)

    return network.map_projections(change).verify()


def unbiased(network: Network) -> Network:
    """Without biases, which act from the first step on."""
    populations = [
        p
        if p.neuron is None
        else dataclasses.replace(p, neuron=p.neuron.changed(p.shape, bias=0, drive=0))
        for p in network.populations
    ]
    return network.replace(populations).map_projections(lambda q: dataclasses.replace(q, bias=None))


def scaled(network: Network, p: Population, power: int, channels: Indices | None = None) -> Network:
    """All that arrives at ``p``, and what it is compared with, times ``2**power``."""
    assert p.neuron is not None
    factor = np.ones((p.shape[0], *(1,) * (len(p.shape) - 1)))
    factor[slice(None) if channels is None else list(channels)] = 2.0**power
    one = 2.0**power if channels is None else None
    n = p.neuron
    values = {
        name: getattr(n, name) * (factor if one is None else one)
        for name in ("threshold", "v_floor", "bias", "drive")
        if getattr(n, name) is not None
    }
    changed = dataclasses.replace(p, neuron=n.changed(p.shape, **values))

    def change(q: Projection) -> Projection:
        if q.target != p.name:
            return q
        w = q.weight
        by = np.asarray(one) if one is not None else _of_rows(network, q, factor)
        if w.scale is not None and one is None:
            raise DoesNotApply("one step for all rows")
        weight = (
            dataclasses.replace(w, data=(w.data * by).astype(w.data.dtype))
            if w.scale is None
            else dataclasses.replace(w, scale=w.scale * by)
        )
        back = weight.values() / by
        if (back != w.values()).any():
            raise DoesNotApply("beyond the number format")
        bias = None if q.bias is None else frozen(q.bias * (factor if one is None else one))
        return dataclasses.replace(q, weight=weight, bias=bias)

    return network.replace([changed]).map_projections(change).verify()


def _of_rows(network: Network, q: Projection, factor: Array) -> Array:
    """Factors of channels in the form of the weights' rows."""
    op = q.op
    shapes = chain_shapes(q.ops, network.source_shape(q))
    if isinstance(op, Dense):
        at = q.ops.index(op)
        if any(not isinstance(o, Reshape) for o in q.ops[at + 1 :]):
            raise DoesNotApply("operators behind")
        return np.broadcast_to(factor, shapes[-1]).reshape(-1, 1)
    if isinstance(op, Conv) and shapes[-1][0] == op.out_channels:
        return factor.reshape(-1, *(1,) * (len(op.weight_shape) - 1))
    raise DoesNotApply("one weight for several rows")


def unrolled(network: Network) -> Network:
    """Every chain of operators as one dense matrix."""

    def change(q: Projection) -> Projection:
        if q.weight.scale is not None and q.weight.scale.ndim:
            raise DoesNotApply("a step per row")
        source, target = network.source_shape(q), network.population(q.target).shape
        data = q.weight.data
        whole = np.eye(size(source), dtype=data.dtype)
        alive = np.eye(size(source), dtype=np.int64)
        for op, shape in zip(q.ops, chain_shapes(q.ops, source)[:-1], strict=True):
            m = index_map(op, shape)
            each = np.zeros((m.out_size, m.in_size), data.dtype)
            there = np.zeros((m.out_size, m.in_size), np.int64)
            mask = np.ones(data.shape, np.int64) if q.weight.mask is None else q.weight.mask * 1
            w, a = (
                (1, 1)
                if m.weight_index is None
                else (data.reshape(-1)[m.weight_index], mask.reshape(-1)[m.weight_index])
            )
            np.add.at(each, (m.out_index, m.in_index), w)
            np.add.at(there, (m.out_index, m.in_index), a)
            whole, alive = each @ whole, there @ alive
        ops: list[Op] = [Dense(size(target), size(source))]
        ops = ops if len(source) == 1 else [Reshape((size(source),)), *ops]
        ops = ops if len(target) == 1 else [*ops, Reshape(target)]
        weight = Weight(whole, q.weight.scale, q.weight.bits)
        if q.weight.bits is not None and np.abs(whole).max(initial=0) > np.abs(data).max(initial=0):
            raise DoesNotApply("sums of codes need more bits")
        return dataclasses.replace(q, ops=tuple(ops), weight=weight)

    return network.map_projections(change).verify()


def renamed(network: Network, rng: Rng) -> tuple[Network, dict[str, str]]:
    """Other names, and populations and projections in another order."""
    names = {p.name: f"x{i}" for i, p in enumerate(network.populations)}
    populations = [dataclasses.replace(p, name=names[p.name]) for p in network.populations]
    projections = [
        dataclasses.replace(
            q,
            name=f"p{i}",
            target=names[q.target],
            sources=tuple(
                dataclasses.replace(s, population=names[s.population]) for s in q.sources
            ),
        )
        for i, q in enumerate(network.projections)
    ]
    return (
        Network(
            tuple(populations[i] for i in rng.permutation(len(populations))),
            tuple(projections[i] for i in rng.permutation(len(projections))),
        ).verify(),
        names,
    )
