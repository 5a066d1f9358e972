"""Calibration samples and small networks for the second-order passes, and their error by definition."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from snndeploy.calibrate.moments import filtered
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.passes.base import PassContext
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import chain_net


@dataclasses.dataclass
class Samples:
    inputs: dict[str, Array]
    labels: Array | None = None


def context(net: Network, steps: int = 12, samples: int = 10, **fields: Any) -> PassContext:
    shape = net.with_role("input")[0].shape
    rng = np.random.default_rng(5)
    rates = rng.uniform(0.05, 0.6, (1, samples, *shape))
    x = (rng.random((steps, samples, *shape)) < rates).astype(np.float32)
    return PassContext(calibration=Samples({"input": x}), **fields)


def dense_net(seed: int = 0, sizes: tuple[int, ...] = (20, 16, 12, 4)) -> Network:
    """Layers that fire: positive mean weights, float64."""
    rng = np.random.default_rng(seed)
    return chain_net([rng.normal(0.15, 0.4, (b, a)) for a, b in itertools.pairwise(sizes)])


def membrane_error(net: Network, other: Network, ctx: PassContext, name: str) -> float:
    """|M (W x - W0 x)|^2 per sample, x from ``net``: the definition, for dense layers."""
    assert ctx.calibration is not None
    p, q = (next(p for p in n.projections if p.name == name) for n in (net, other))
    neuron = net.population(p.target).neuron
    assert neuron is not None
    train = run_float(net, ctx.calibration.inputs["input"]).spikes[p.sources[0].population]
    y = filtered(train, float(neuron.leak), None)
    gap = y @ (q.weight.values().astype(float) - p.weight.values().astype(float)).T
    return float(np.square(gap).sum()) / train.shape[1]
