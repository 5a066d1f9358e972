"""NeuroBench's metrics by their definitions, of a network and a recorded run (arXiv 2304.04640).

They describe the network as a framework would run it, not what a chip makes of it: see
`snndeploy.measure.energy` for that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..ir.arrays import Array, size
from ..ir.network import Network, Projection
from ..ir.ops import Op, chain_shapes, index_map, weighted_index
from ..simulate.recording import Recording

_ROW_VALUES = 1 << 22
"""Values of a train that are looked at together."""


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
    meter = NeuroBenchMeter(network)
    meter.add(recording)
    return meter.metrics()


class NeuroBenchMeter:
    """Measures a network on runs that come batch by batch."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.samples = 0
        self._spiking = [p.name for p in network.populations if p.neuron and p.neuron.spiking]
        self._operations = {p.name: _Operations(network, p) for p in network.projections}
        self._places = self._active = 0
        self._updates: int | None = 0

    def add(self, recording: Recording) -> None:
        """Take in one batch, a run of the float engine (with v for membrane updates).

        Raises:
            InputError: the recording lacks a population of the network.
        """
        for population in self.network.populations:
            if population.name not in recording.spikes:
                raise InputError(
                    "recording-incomplete",
                    f"{population.name} was not recorded",
                    where="metrics",
                    hint="record all populations",
                )
        self.samples += next(iter(recording.spikes.values())).shape[1]
        for operations in self._operations.values():
            operations.add(recording)
        for name in self._spiking:
            self._places += recording.spikes[name].size
            self._active += int(np.count_nonzero(recording.spikes[name]))
        updates = _membrane_updates(recording, self._spiking)
        both = self._updates is not None and updates is not None
        self._updates = (self._updates or 0) + (updates or 0) if both else None

    def metrics(self) -> NeuroBench:
        """The figures of everything taken in so far."""
        counted, n = self._operations.values(), max(1, self.samples)
        weights = [p.weight.values() for p in self.network.projections]
        total = sum(w.size for w in weights)
        return NeuroBench(
            footprint=_footprint(self.network),
            connection_sparsity=1 - sum(int(np.count_nonzero(w)) for w in weights) / max(total, 1),
            activation_sparsity=1 - self._active / max(self._places, 1),
            dense=sum(c.dense for c in counted) / n,
            effective_macs=sum(c.effective for c in counted if not c.binary) / n,
            effective_acs=sum(c.effective for c in counted if c.binary) / n,
            membrane_updates=None if self._updates is None else self._updates / n,
        )


def _footprint(network: Network) -> int:
    arrays = [p.weight.values() for p in network.projections]
    arrays += [p.bias for p in network.projections if p.bias is not None]
    for population in network.populations:
        if population.neuron is not None:
            arrays += population.neuron.parameters().values()
    return sum(4 * a.size for a in arrays)  # frameworks store float32


class _Operations:
    """Synaptic operations of a projection, added up; ``binary``: its inputs were 0 and ±1 only."""

    def __init__(self, network: Network, projection: Projection) -> None:
        k = weighted_index(projection.ops)
        self.projection = projection
        self.source_shape = network.source_shape(projection)
        self.before = projection.ops[:k]
        m = index_map(projection.ops[k], chain_shapes(self.before, self.source_shape)[-1])
        if m.weight_index is None:
            raise ValueError(f"{projection.name} has no weighted operator")
        alive = projection.weight.values().reshape(-1)[m.weight_index] != 0
        self._every = int(m.in_index.size)
        self._nonzero = np.bincount(m.in_index[alive], minlength=m.in_size)
        self.dense = self.effective = 0
        self.binary = True

    def add(self, recording: Recording) -> None:
        """Take in one batch, some rows (steps and samples) at a time."""
        trains = [
            recording.spikes[s.population].reshape(-1, *self.source_shape)
            for s in self.projection.sources
        ]
        rows = len(trains[0])
        some = max(1, _ROW_VALUES // max(1, size(self.source_shape)))
        for low in range(0, rows, some):
            x = sum(train[low : low + some].astype(np.float64) for train in trains)
            values = _through(self.before, np.asarray(x))
            self.effective += int(np.count_nonzero(values, axis=0) @ self._nonzero)
            self.binary = self.binary and bool((np.abs(values[values != 0]) == 1).all())
        self.dense += self._every * rows


def _through(ops: tuple[Op, ...], x: Array) -> Array:
    """Rows of inputs to the weighted operator, flat: pools and reshapes applied."""
    shape = x.shape[1:]
    flat = x.reshape(len(x), -1)
    for op in ops:
        if not op.is_view:
            m = index_map(op, shape)
            pooled = np.zeros((len(flat), m.out_size))
            np.add.at(pooled.T, m.out_index, flat.T[m.in_index])
            flat = pooled
        shape = op.out_shape(shape)
    return flat.reshape(len(x), size(shape))


def _membrane_updates(recording: Recording, names: list[str]) -> int | None:
    """Neurons whose v differs from that of the step before (after the reset, as the package compares
    them); the first step counts whole."""
    if not all(name in recording.v for name in names):
        return None
    total = 0
    for name in names:
        v = recording.v[name]
        total += v[0].size + sum(int(np.count_nonzero(v[t] != v[t - 1])) for t in range(1, len(v)))
    return total
