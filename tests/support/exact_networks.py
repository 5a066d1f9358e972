"""Random networks whose parameters integers represent exactly, so that every engine must agree.

Weights, thresholds and biases are small dyadic numbers. Neurons integrate without leak, or with a leak
of one half over no more steps than their v has spare bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from snndeploy.ir.arrays import Array, Shape
from snndeploy.ir.network import Network, Population, Role
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Conv, Dense, Pointwise, Reshape, SumPool
from tests.support.builders import conv, inputs, project

Rng = np.random.Generator
STEPS = 6


def _weights(rng: Rng, *shape: int) -> Array:
    return rng.integers(-6, 9, shape) / 8.0


def integrator(name: str, shape: Shape, role: Role = "hidden", **fields: Any) -> Population:
    neuron = {"leak": 1.0, "threshold": 1.0, **fields}
    return Population(name, shape, Neuron.create(shape, **neuron), role)


def dense(rng: Rng) -> Network:
    return Network(
        (inputs((9,)), integrator("a", (12,)), integrator("b", (5,), "output", compare=">=")),
        (
            project("in-a", "input", "a", Dense(12, 9), _weights(rng, 12, 9)),
            project("a-b", "a", "b", Dense(5, 12), _weights(rng, 5, 12)),
        ),
    )


def leaky(rng: Rng) -> Network:
    """Leak, synaptic filter and membrane leak of one half."""
    return Network(
        (
            inputs((9,)),
            integrator("a", (12,), leak=0.5),
            integrator("b", (8,), leak=0.5, syn_leak=0.5),
            integrator("c", (5,), "output"),
        ),
        (
            project("in-a", "input", "a", Dense(12, 9), _weights(rng, 12, 9)),
            project("a-b", "a", "b", Dense(8, 12), _weights(rng, 8, 12)),
            project("b-c", "b", "c", Dense(5, 8), _weights(rng, 5, 8)),
        ),
    )


def convolutional(rng: Rng) -> Network:
    """Strided, grouped and pooled convolutions, then a flatten."""
    return Network(
        (
            inputs((2, 8, 8)),
            integrator("a", (4, 8, 8)),
            integrator("b", (6, 2, 2)),
            integrator("c", (3,), "output"),
        ),
        (
            project("in-a", "input", "a", conv(2, 4), _weights(rng, 4, 2, 3, 3)),
            project(
                "a-b",
                "a",
                "b",
                (SumPool((2, 2), (2, 2)), conv(4, 6, stride=2, groups=2)),
                _weights(rng, 6, 2, 3, 3) / 2,
            ),
            project("b-c", "b", "c", (Reshape((24,)), Dense(3, 24)), _weights(rng, 3, 24)),
        ),
    )


def dilated(rng: Rng) -> Network:
    op = Conv(3, 2, (3, 2), (2, 1), ((1, 1), (0, 1)), (1, 2))
    shape = op.out_shape((2, 7, 6))
    return Network(
        (inputs((2, 7, 6)), integrator("a", shape, "output", leak=0.5)),
        (project("in-a", "input", "a", op, _weights(rng, 3, 2, 3, 2)),),
    )


def deep_biased(rng: Rng) -> Network:
    """Four layers whose biases fire on their own: each must begin with the sample, not before."""
    names = ["a", "b", "c", "d"]
    sizes = [7, 8, 8, 8, 4]
    populations = [inputs((7,))]
    projections = []
    for i, name in enumerate(names):
        bias = rng.integers(-3, 6, sizes[i + 1]) / 8
        role: Role = "output" if name == "d" else "hidden"
        populations.append(integrator(name, (sizes[i + 1],), role, bias=bias))
        before = "input" if i == 0 else names[i - 1]
        weight = _weights(rng, sizes[i + 1], sizes[i])
        projections.append(project(f"to-{name}", before, name, Dense(*weight.shape), weight))
    return Network(tuple(populations), tuple(projections))


def biased_filter(rng: Rng) -> Network:
    """A bias that passes the synaptic filter, and one on the membrane."""
    bias = rng.integers(-3, 6, 6) / 8
    return Network(
        (
            inputs((5,)),
            integrator("a", (6,), leak=0.5, syn_leak=0.5, bias=bias, drive=bias[::-1]),
            integrator("b", (4,), "output"),
        ),
        (
            project("in-a", "input", "a", Dense(6, 5), _weights(rng, 6, 5)),
            project("a-b", "a", "b", Dense(4, 6), _weights(rng, 4, 6)),
        ),
    )


def residual(rng: Rng) -> Network:
    """Branches of unequal depth: into one population, and added in front of one weight."""
    return Network(
        (
            inputs((4, 5, 5)),
            integrator("a", (4, 5, 5)),
            integrator("b", (4, 5, 5), bias=0.25),
            integrator("c", (4, 5, 5)),
            integrator("d", (3,), "output"),
        ),
        (
            project("in-a", "input", "a", conv(4, 4), _weights(rng, 4, 4, 3, 3)),
            project("a-b", "a", "b", conv(4, 4), _weights(rng, 4, 4, 3, 3)),
            project("b-c", "b", "c", conv(4, 4), _weights(rng, 4, 4, 3, 3)),
            project("skip", "a", "c", Pointwise((4, 5, 5)), np.asarray(1.0)),
            project(
                "sum-d", ("a", "c"), "d", (Reshape((100,)), Dense(3, 100)), _weights(rng, 3, 100)
            ),
        ),
    )


def recurrent(rng: Rng) -> Network:
    return Network(
        (
            inputs((6,)),
            integrator("a", (10,), bias=rng.integers(0, 3, 10) / 8),
            integrator("b", (4,), "output"),
        ),
        (
            project("in-a", "input", "a", Dense(10, 6), _weights(rng, 10, 6)),
            project("loop", "a", "a", Dense(10, 10), _weights(rng, 10, 10) / 2, delay=1),
            project("a-b", "a", "b", Dense(4, 10), _weights(rng, 4, 10)),
        ),
    )


def delayed(rng: Rng) -> Network:
    """Delays per projection and per neuron, beside a path without."""
    return Network(
        (inputs((6,)), integrator("a", (8,)), integrator("b", (4,), "output", bias=0.125)),
        (
            project("in-a", "input", "a", Dense(8, 6), _weights(rng, 8, 6), delay=2),
            project("a-b", "a", "b", Dense(4, 8), _weights(rng, 4, 8), delay=rng.integers(0, 4, 8)),
            project("in-b", "input", "b", Dense(4, 6), _weights(rng, 4, 6)),
        ),
    )


def subtractive(rng: Rng) -> Network:
    """Subtractive resets, in the same step and in the next, under both comparisons."""
    return Network(
        (
            inputs((7,)),
            integrator("a", (9,), reset="subtract", compare=">="),
            integrator("b", (9,), reset="subtract", reset_timing="next-step"),
            integrator("c", (4,), "output", leak=0.5, reset="subtract"),
        ),
        (
            project("in-a", "input", "a", Dense(9, 7), _weights(rng, 9, 7)),
            project("a-b", "a", "b", Dense(9, 9), _weights(rng, 9, 9)),
            project("b-c", "b", "c", Dense(4, 9), _weights(rng, 4, 9)),
        ),
    )


def many_spikes(rng: Rng) -> Network:
    """Graded input, several spikes per step, a floor: what Sinabs trains."""
    fields: dict[str, Any] = {
        "reset": "subtract",
        "compare": ">=",
        "spikes_per_step": "many",
        "v_floor": -1.0,
    }
    return Network(
        (
            inputs((2, 6, 6)),
            integrator("a", (3, 6, 6), **fields),
            integrator("b", (4,), "output", **fields),
        ),
        (
            project("in-a", "input", "a", conv(2, 3), _weights(rng, 3, 2, 3, 3)),
            project("a-b", "a", "b", (Reshape((108,)), Dense(4, 108)), _weights(rng, 4, 108)),
        ),
    )


FAMILIES: dict[str, Callable[[Rng], Network]] = {
    f.__name__: f
    for f in (
        dense,
        leaky,
        convolutional,
        dilated,
        deep_biased,
        biased_filter,
        residual,
        recurrent,
        delayed,
        subtractive,
        many_spikes,
    )
}
GRADED = ("many_spikes",)


def exact_network(family: str, seed: int) -> Network:
    """Network ``seed`` of a family."""
    return FAMILIES[family](np.random.default_rng([seed, *family.encode()])).verify()


def exact_inputs(network: Network, family: str, seed: int, samples: int = 2) -> Array:
    """Binary spikes, or event counts up to 7 for the families with graded input."""
    rng = np.random.default_rng([seed, 1, *family.encode()])
    shape = (STEPS, samples, *network.with_role("input")[0].shape)
    counts = rng.integers(0, 8, shape) * (rng.random(shape) < 0.4)
    return counts if family in GRADED else (counts > 0).astype(np.int64)
