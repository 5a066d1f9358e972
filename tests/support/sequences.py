"""Spikes of five channels, and a network whose one output says a value."""

from __future__ import annotations

import nir
import numpy as np

from snndeploy.ir.arrays import Array
from tests.support.nir_graphs import chain, lif

N, STEPS = 10, 24


def inputs() -> Array:
    return (np.random.default_rng(1).random((STEPS, N, 5)) < 0.5).astype(np.uint8)


def angles() -> tuple[nir.NIRGraph, Array]:
    """A readout of one neuron, and values that it should say."""
    rng = np.random.default_rng(5)
    leaky = nir.LI(tau=np.full(1, 2e-2), r=np.full(1, 20.0), v_leak=np.zeros(1))
    nodes = (nir.Linear(rng.normal(size=(8, 5))), lif(8), nir.Linear(rng.normal(size=(1, 8))))
    return chain(5, *nodes, leaky), rng.normal(size=N)
