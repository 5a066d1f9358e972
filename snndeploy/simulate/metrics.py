"""NeuroBench's metrics by their definitions, of a network and a recorded run (arXiv 2304.04640).

They describe the network as a framework would run it, not what a chip makes of it: see
`snndeploy.simulate.energy` for that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..ir.arrays import Array, size
from ..ir.network import Network, Projection
from ..ir.ops import Op, Reshape, SumPool, chain_shapes, index_map, weighted_index
from .recording import Recording


@dataclass(frozen=True, kw_only=True)
class NeuroBench:
    """Static and per-sample figures.

    Attributes:
        footprint: bytes of all weights, biases and neuron parameters, zeros included.
        connection_sparsity: fraction of the weights that are zero.
        activation_sparsity: fraction of (neuron, step, sample) without a spike, inputs left out.
        dense: synaptic operations per sample if nothing were zero.
        effective_macs: those per sample whose weight and input are not zero, where inputs are values.
        effective_acs: the same where inputs are 0 and ±1 only.
        membrane_updates: changes of a membrane potential per sample; None if v was not recorded.
    """

    footprint: int
    connection_sparsity: float
    activation_sparsity: float
    dense: float
    effective_macs: float
    effective_acs: float
    membrane_updates: float | None


def neurobench(network: Network, recording: Recording) -> NeuroBench:
    """Measure ``network`` on ``recording``, a run of the float engine (with v for membrane updates).

    Raises:
        InputError: the recording lacks a population of the network.
    """
    for population in network.populations:
        if population.name not in recording.spikes:
            raise InputError(
                "recording-incomplete", f"{population.name} was not recorded", where="metrics",
                hint="record all populations",
            )  # fmt: skip
    samples = next(iter(recording.spikes.values())).shape[1]
    weights = [p.weight.values() for p in network.projections]
    spiking = [p.name for p in network.populations if p.neuron is not None and p.neuron.spiking]
    trains = [recording.spikes[name] for name in spiking]
    counted = [_operations(network, p, recording) for p in network.projections]
    return NeuroBench(
        footprint=_footprint(network),
        connection_sparsity=1 - _fraction(weights),
        activation_sparsity=1 - _fraction(trains),
        dense=sum(c.dense for c in counted) / samples,
        effective_macs=sum(c.effective for c in counted if not c.binary) / samples,
        effective_acs=sum(c.effective for c in counted if c.binary) / samples,
        membrane_updates=_membrane_updates(recording, spiking, samples),
    )


def _fraction(arrays: list[Array]) -> float:
    """Fraction of values that are not zero."""
    total = sum(a.size for a in arrays)
    return sum(int(np.count_nonzero(a)) for a in arrays) / max(total, 1)


def _footprint(network: Network) -> int:
    arrays = [p.weight.values() for p in network.projections]
    arrays += [p.bias for p in network.projections if p.bias is not None]
    for population in network.populations:
        if population.neuron is not None:
            arrays += population.neuron.parameters().values()
    return sum(4 * a.size for a in arrays)  # frameworks store float32


@dataclass(frozen=True)
class _Operations:
    """Synaptic operations of a projection over a run; ``binary``: its inputs are 0 and ±1 only."""

    dense: int
    effective: int
    binary: bool


def _operations(network: Network, projection: Projection, recording: Recording) -> _Operations:
    source_shape = network.source_shape(projection)
    k = weighted_index(projection.ops)
    shape = chain_shapes(projection.ops[:k], source_shape)[-1]
    m = index_map(projection.ops[k], shape)
    if m.weight_index is None:
        raise ValueError(f"{projection.name} has no weighted operator")
    alive = projection.weight.values().reshape(-1)[m.weight_index] != 0
    every = np.bincount(m.in_index, minlength=m.in_size)
    nonzero = np.bincount(m.in_index[alive], minlength=m.in_size)
    x = sum(recording.spikes[s.population].astype(np.float64) for s in projection.sources)
    rows = _through(projection.ops[:k], np.asarray(x).reshape(-1, *source_shape))
    active = np.count_nonzero(rows, axis=0)
    return _Operations(
        dense=int(every.sum()) * len(rows),
        effective=int(active @ nonzero),
        binary=bool(np.isin(rows, (-1, 0, 1)).all()),
    )


def _through(ops: tuple[Op, ...], x: Array) -> Array:
    """Rows of inputs to the weighted operator, flat: pools and reshapes applied."""
    shape = x.shape[1:]
    flat = x.reshape(len(x), -1)
    for op in ops:
        if isinstance(op, SumPool):
            m = index_map(op, shape)
            pooled = np.zeros((len(flat), m.out_size))
            np.add.at(pooled.T, m.out_index, flat.T[m.in_index])
            flat = pooled
        elif not isinstance(op, Reshape):
            raise ValueError(f"{op} in front of the weighted operator")
        shape = op.out_shape(shape)
    return flat.reshape(len(x), size(shape))


def _membrane_updates(recording: Recording, names: list[str], samples: int) -> float | None:
    """Neurons whose v differs from that of the step before (after the reset, as the package compares
    them); the first step counts whole."""
    if not all(name in recording.v for name in names):
        return None
    total = 0
    for name in names:
        v = recording.v[name]
        total += v[0].size + int(np.count_nonzero(v[1:] != v[:-1]))
    return total / samples
