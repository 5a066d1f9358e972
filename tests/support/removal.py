"""What tests of removal share: calibration contexts, groups by name, and kernels that cannot spike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.passes.base import PassContext
from snndeploy.passes.kernels.coupling import CouplingGroup, coupling
from tests.support.builders import spikes


@dataclass(frozen=True)
class Samples:
    inputs: dict[str, Array]
    labels: Array | None = None


def context(net: Network, samples: int = 8, **fields: Any) -> PassContext:
    """A context with random spikes to calibrate on."""
    data = spikes(net, samples=samples)
    return PassContext(calibration=Samples({net.with_role("input")[0].name: data}), **fields)


def group_of(net: Network, population: str) -> CouplingGroup:
    return next(g for g in coupling(net) if population in g.units)


def silenced(net: Network, gone: Mapping[str, Array]) -> Network:
    """The network in which the given channels (per population, True = silent) can never spike."""
    changed = []
    for name, silent in gone.items():
        p = net.population(name)
        assert p.neuron is not None
        high = silent.reshape(-1, *(1,) * (len(p.shape) - 1))
        threshold = np.where(high, 1e9, p.neuron.threshold)
        neuron = p.neuron.changed(p.shape, threshold=threshold)
        changed.append(dataclasses.replace(p, neuron=neuron))
    return net.replace(populations=changed)


def lost(groups: list[CouplingGroup]) -> dict[str, Array]:
    """Per population, True where the unit is not kept."""
    return {name: ~np.isin(u, g.kept) for g in groups for name, u in g.units.items()}
