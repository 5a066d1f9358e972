"""Small networks for tests, built directly: ``from tests.support.builders import conv_net``.

Weights are multiples of 1/16 and leaks are of 1/8, so that float64 sums are exact in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from snndeploy.ir.arrays import Array, Shape, frozen
from snndeploy.ir.network import Network, Population, Projection, Role, Source
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Conv, Dense, Op, Pointwise, Reshape, SumPool, index_map
from snndeploy.ir.weights import Weight


def lif(name: str, shape: Shape, role: Role = "hidden", **parameters: Any) -> Population:
    """A leaky integrate-and-fire population (leak 0.875, threshold 1, reset to zero)."""
    fields = {"leak": 0.875, "threshold": 1.0, **parameters}
    return Population(name, shape, Neuron.create(shape, **fields), role)


def inputs(shape: Shape, name: str = "input") -> Population:
    return Population(name, shape, None, "input")


def project(
    name: str,
    sources: str | Sequence[str],
    target: str,
    ops: Op | Sequence[Op],
    weight: Any,
    *,
    delay: Any = 0,
    **fields: Any,
) -> Projection:
    """A projection from one or several populations that share ``delay``."""
    names = [sources] if isinstance(sources, str) else sources
    chain = tuple(ops) if isinstance(ops, (list, tuple)) else (ops,)
    stored = weight if isinstance(weight, Weight) else Weight(np.asarray(weight))
    return Projection(
        name,
        tuple(Source(n, frozen(delay, np.int64)) for n in names),
        target,
        chain,
        stored,
        **fields,
    )


def conv(cin: int, cout: int, kernel: int = 3, *, stride: int = 1, groups: int = 1) -> Conv:
    """A square convolution with 'same' padding for odd kernels."""
    pad = kernel // 2
    return Conv(
        cout, cin, (kernel, kernel), (stride, stride), ((pad, pad), (pad, pad)), (1, 1), groups
    )


def weights(rng: np.random.Generator, shape: Shape) -> Array:
    """Multiples of 1/16 in -0.5 … 0.5, float32, none of them zero."""
    values = rng.integers(-8, 9, shape)
    return np.where(values == 0, 3, values).astype(np.float32) / 16


def chain_net(layers: Sequence[Array]) -> Network:
    """A dense chain: one ``(out, in)`` weight per layer, projections ``fc1``, ``fc2``, …"""
    populations = [inputs((layers[0].shape[1],))]
    projections = []
    for i, w in enumerate(layers, start=1):
        name = "output" if i == len(layers) else f"h{i}"
        populations.append(lif(name, (w.shape[0],), "output" if name == "output" else "hidden"))
        projections.append(project(f"fc{i}", populations[-2].name, name, Dense(*w.shape), w))
    return Network(tuple(populations), tuple(projections)).verify()


def conv_net(seed: int = 0, channels: Sequence[int] = (4, 6), hidden: int = 10) -> Network:
    """conv1 – (pool, conv2) – (pool, flatten, fc1) – fc2 on a (2, 8, 8) input."""
    rng = np.random.default_rng(seed)
    a, b = channels
    c1, c2, d1, d2 = conv(2, a), conv(a, b), Dense(hidden, b * 4), Dense(5, hidden)
    pool = SumPool((2, 2), (2, 2))
    bias = rng.integers(0, 3, (a, 8, 8)) / 16
    populations = (
        inputs((2, 8, 8)),
        lif("s1", (a, 8, 8), bias=bias, threshold=1 + np.arange(a).reshape(a, 1, 1) / 4),
        lif("s2", (b, 4, 4), reset="subtract"),
        lif("s3", (hidden,), drive=rng.integers(0, 3, hidden) / 16),
        lif("output", (5,), "output"),
    )
    projections = (
        project("conv1", "input", "s1", c1, weights(rng, c1.weight_shape)),
        project(
            "conv2",
            "s1",
            "s2",
            [pool, c2],
            weights(rng, c2.weight_shape),
            bias=rng.integers(0, 3, (b, 1, 1)) / 16,
        ),
        project("fc1", "s2", "s3", [pool, Reshape((b * 4,)), d1], weights(rng, d1.weight_shape)),
        project("fc2", "s3", "output", d2, weights(rng, d2.weight_shape)),
    )
    return Network(populations, projections).verify()


def residual_net(seed: int = 0, channels: int = 4) -> Network:
    """An identity shortcut (one-to-one into ``b``) and a sum of two sources before ``conv3``."""
    rng = np.random.default_rng(seed)
    c = channels
    shape = (c, 6, 6)
    ops: list[Conv | Dense] = [conv(2, c), conv(c, c), conv(c, 3), Dense(4, 3 * 36)]
    w = [weights(rng, op.weight_shape) for op in ops]
    populations = (
        inputs((2, 6, 6)),
        lif("a", shape),
        lif("b", shape),
        lif("c", (3, 6, 6)),
        lif("output", (4,), "output"),
    )
    projections = (
        project("conv1", "input", "a", ops[0], w[0]),
        project("conv2", "a", "b", ops[1], w[1]),
        project("shortcut", "a", "b", Pointwise(shape), np.float32(1)),
        project("conv3", ["a", "b"], "c", ops[2], w[2]),
        project("fc", "c", "output", [Reshape((108,)), ops[3]], w[3]),
    )
    return Network(populations, projections).verify()


def sum_net(seed: int = 0) -> Network:
    """Two branches that only meet in the sum before ``join``, a strided convolution."""
    rng = np.random.default_rng(seed)
    join = conv(4, 3, stride=2)
    populations = (
        inputs((2, 6, 6)),
        lif("a", (4, 6, 6)),
        lif("b", (4, 6, 6)),
        lif("output", (3, 3, 3), "output"),
    )
    projections = (
        project("left", "input", "a", conv(2, 4), weights(rng, (4, 2, 3, 3))),
        project("right", "input", "b", conv(2, 4, 1), weights(rng, (4, 2, 1, 1)), delay=1),
        project("join", ["a", "b"], "output", join, weights(rng, join.weight_shape)),
    )
    return Network(populations, projections).verify()


def recurrent_net(seed: int = 0, hidden: int = 8) -> Network:
    """A dense hidden population with a full self loop, one-to-one feedback and per-neuron delays."""
    rng = np.random.default_rng(seed)
    n = hidden
    populations = (
        inputs((6,)),
        lif("h", (n,), leak=rng.integers(4, 8, n) / 8, syn_leak=0.5),
        lif("output", (3,), "output"),
    )
    projections = (
        project("fc_in", "input", "h", Dense(n, 6), weights(rng, (n, 6))),
        project(
            "loop",
            "h",
            "h",
            Dense(n, n),
            weights(rng, (n, n)) / 2,
            delay=1,
            bias=rng.integers(0, 3, n) / 16,
        ),
        project("self", "h", "h", Pointwise((n,), (n,)), -weights(rng, (n,)), delay=1),
        project(
            "fc_out", "h", "output", Dense(3, n), weights(rng, (3, n)), delay=rng.integers(0, 3, n)
        ),
    )
    return Network(populations, projections).verify()


def grouped_net(seed: int = 0, groups: int = 2, per_group: int = 2, multiplier: int = 2) -> Network:
    """Depthwise with a multiplier (``dw``: 4 -> 8), then groups of 3 outputs (``gr``: 8 -> 6)."""
    rng = np.random.default_rng(seed)
    a = groups * per_group
    b, c = a * multiplier, 3 * groups
    ops: list[Conv | Dense] = [
        conv(2, a),
        conv(a, b, groups=a),
        conv(b, c, groups=groups),
        Dense(3, c * 25),
    ]
    w = [weights(rng, op.weight_shape) for op in ops]
    populations = (
        inputs((2, 5, 5)),
        lif("a", (a, 5, 5)),
        lif("b", (b, 5, 5)),
        lif("c", (c, 5, 5)),
        lif("d", (c * 25,)),
        lif("output", (3,), "output"),
    )
    projections = (
        project("conv1", "input", "a", ops[0], w[0]),
        project("dw", "a", "b", ops[1], w[1]),
        project("gr", "b", "c", ops[2], w[2]),
        project("wire", "c", "d", [Reshape((c * 25,)), Pointwise((c * 25,), ())], np.float32(1.5)),
        project("fc", "d", "output", ops[3], w[3]),
    )
    return Network(populations, projections).verify()


def reshape_net(seed: int = 0) -> Network:
    """Dense neurons viewed as (4, 3, 3) by a pooled convolution whose output is viewed flat."""
    rng = np.random.default_rng(seed)
    c = conv(4, 5)
    chain: list[Op] = [Reshape((4, 3, 3)), SumPool((2, 2), (1, 1)), c, Reshape((20,))]
    populations = (inputs((6,)), lif("a", (36,)), lif("b", (20,)), lif("output", (3,), "output"))
    projections = (
        project("fc_in", "input", "a", Dense(36, 6), weights(rng, (36, 6))),
        project("conv", "a", "b", chain, weights(rng, c.weight_shape)),
        project("fc_out", "b", "output", Dense(3, 20), weights(rng, (3, 20))),
    )
    return Network(populations, projections).verify()


ZOO: tuple[Callable[..., Network], ...] = (
    conv_net,
    residual_net,
    sum_net,
    recurrent_net,
    grouped_net,
    reshape_net,
)
"""One factory per structure that passes have to handle; each takes a seed."""


def spikes(net: Network, seed: int = 0, steps: int = 8, samples: int = 3) -> Array:
    """Random binary input ``(steps, samples, *shape)`` for a network with one input."""
    shape = net.with_role("input")[0].shape
    return np.random.default_rng(seed).integers(0, 2, (steps, samples, *shape)).astype(np.float32)


def linear_response(net: Network, x: Array) -> dict[str, Array]:
    """What each population receives if every population passed on its input unchanged.

    Plain enumeration of `index_map`, for networks without delays: the slowest and clearest oracle.
    """
    value = {net.with_role("input")[0].name: x.reshape(-1).astype(np.float64)}
    for name in net.order:
        if name in value:
            continue
        total = np.zeros(int(np.prod(net.population(name).shape)))
        for projection in net.incoming(name):
            y = np.sum([value[s.population] for s in projection.sources], axis=0)
            shape = net.source_shape(projection)
            for op in projection.ops:
                m = index_map(op, shape)
                w = np.ones(m.in_index.size)
                if m.weight_index is not None:
                    w = projection.weight.values().reshape(-1)[m.weight_index]
                y = np.bincount(m.out_index, w * y[m.in_index], minlength=m.out_size)
                shape = op.out_shape(shape)
            if projection.bias is not None:
                y = y + np.broadcast_to(projection.bias, shape).reshape(-1)
            total += y
        value[name] = total
    return value
