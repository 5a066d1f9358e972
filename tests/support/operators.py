"""At least one chain for every operator, and networks around them, whose integers are exact."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snndeploy.ir.arrays import Shape, size
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Conv, Dense, Op, Pointwise, Reshape, SumPool, chain_shapes, weighted_op
from tests.support.builders import conv, inputs, project
from tests.support.exact_networks import integrator

Chain = tuple[tuple[Op, ...], Shape]

CHAINS: dict[type, dict[str, Chain]] = {
    Dense: {"dense": ((Dense(5, 6),), (6,))},
    Conv: {
        "conv": ((conv(4, 6),), (4, 5, 6)),
        "strided": ((Conv(3, 4, (2, 3), (2, 1), ((0, 1), (1, 1)), (1, 2)),), (4, 5, 6)),
        "grouped": ((conv(4, 6, groups=2),), (4, 5, 6)),
        "line": ((Conv(3, 4, (3,), (2,), ((1, 1),), (1,)),), (4, 7)),
    },
    Pointwise: {
        "one weight": ((Pointwise((4, 3, 2)),), (4, 3, 2)),
        "one per channel": ((Pointwise((4, 3, 2), (4, 1, 1)),), (4, 3, 2)),
        "one per neuron": ((Pointwise((4, 3, 2), (4, 3, 2)),), (4, 3, 2)),
    },
    SumPool: {
        "pool, conv": ((SumPool((2, 2), (2, 2)), conv(4, 3)), (4, 6, 5)),
        "overlapping pool, conv": ((SumPool((3, 2), (2, 1), (1, 0)), conv(4, 3)), (4, 6, 5)),
        "conv, pool": ((conv(4, 3), SumPool((2, 2), (2, 2))), (4, 6, 6)),
    },
    Reshape: {
        "flatten, dense": ((Reshape((24,)), Dense(5, 24)), (4, 3, 2)),
        "dense, reshape": ((Dense(8, 6), Reshape((2, 2, 2))), (6,)),
        "pool, flatten, dense": (
            (SumPool((2, 2), (2, 2)), Reshape((16,)), Dense(5, 16)),
            (4, 4, 4),
        ),
    },
}
"""By operator, chains that hold it and what shape they take. A new operator needs its own."""


def around(ops: Sequence[Op], shape: Shape, seed: int = 0) -> Network:
    """``a`` of ``shape``, whose units may go, then the chain into ``b``, then an output."""
    rng = np.random.default_rng(seed)

    def weights(op: Op) -> np.ndarray:
        weighted = weighted_op([op])
        low = 5 if weighted.one_to_one else -6
        drawn = rng.integers(low, 9, weighted.weight_shape)
        return np.where(drawn == 0, 2, drawn) / 8.0

    axes = len(shape) - 1
    first: Op = Dense(shape[0], 3)
    if axes:
        first = Conv(shape[0], 2, (1,) * axes, (1,) * axes, ((0, 0),) * axes, (1,) * axes)
    out = chain_shapes(ops, shape)[-1]
    last = Dense(3, size(out))
    flat = () if len(out) == 1 else (Reshape((size(out),)),)
    populations = (
        inputs((3,) if not axes else (2, *shape[1:])),
        integrator("a", shape, leak=0.5),
        integrator("b", out, threshold=0.5, leak=0.5),
        integrator("output", (3,), "output", leak=0.5),
    )
    projections = (
        project("into", "input", "a", first, weights(first)),
        project("chain", "a", "b", tuple(ops), weights(weighted_op(ops))),
        project("out", "b", "output", (*flat, last), weights(last)),
    )
    return Network(populations, projections).verify()
