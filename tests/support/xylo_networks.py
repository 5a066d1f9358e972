"""Networks whose neurons are Xylo's own, and what is sent to them."""

from __future__ import annotations

import dataclasses

import numpy as np

from snndeploy.ir.arrays import Array, frozen
from snndeploy.ir.network import Network, Population, Projection, Source
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Dense
from tests.support.builders import inputs, lif, project


def hidden_layers(seed: int = 0, *, bias: bool = False, readout: bool = False) -> Network:
    """Two hidden layers, the second with a loop, and an output."""
    rng = np.random.default_rng(seed)

    def layer(n: int, role: str = "hidden", *, spikes: bool = True) -> Population:
        neuron = Neuron.create(
            (n,),
            leak=0.875,
            syn_leak=0.5,
            drive=rng.normal(0, 0.1, n) if bias else 0.0,
            **({"threshold": 1.0, "compare": ">=", "reset": "subtract"} if spikes else {}),
        )
        return Population(role + str(n), (n,), neuron, role)  # type: ignore[arg-type]

    a, b, out = layer(12), layer(9), layer(5, "output", spikes=not readout)
    sizes = {"in": 6, a.name: 12, b.name: 9, out.name: 5}

    def dense(source: str, target: str, delay: int = 0) -> Projection:
        weight = rng.normal(0.1, 0.4, (sizes[target], sizes[source]))
        p = project(
            f"{source}->{target}", source, target, Dense(sizes[target], sizes[source]), weight
        )
        return dataclasses.replace(p, sources=(Source(source, frozen(delay, np.int64)),))

    return Network(
        (Population("in", (6,), None, "input"), a, b, out),
        (
            dense("in", a.name),
            dense(a.name, b.name),
            dense(b.name, b.name, 1),
            dense(b.name, out.name),
        ),
    ).verify()


def once_per_step(seed: int = 0) -> Network:
    """Neurons that spike once and forget: Xylo's spike many times, and remember."""
    rng = np.random.default_rng(seed)
    once = {"leak": 0.9, "syn_leak": 0.5, "threshold": 1.0, "reset": "zero"}
    return Network(
        (inputs((6,), "in"), lif("h", (16,), **once), lif("out", (5,), "output", **once)),
        (
            project("w1", "in", "h", Dense(16, 6), rng.normal(0.2, 0.6, (16, 6))),
            project("w2", "h", "out", Dense(5, 16), rng.normal(0.1, 0.5, (5, 16))),
        ),
    ).verify()


def sent(seed: int = 1) -> Array:
    """Spikes of six channels, 40 steps of 5 samples."""
    return np.random.default_rng(seed).poisson(2.0, (40, 5, 6))
