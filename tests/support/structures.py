"""One small network of every structure that training has to follow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from tests.support.builders import conv_net, inputs, lif, project, recurrent_net, residual_net


def delayed_net() -> Network:
    """Delays of their own for every neuron, a delayed bias, and a loop through two populations."""
    rng = np.random.default_rng(3)
    w = [rng.integers(-8, 9, s).astype(np.float32) / 16 for s in ((6, 5), (6, 6), (6, 6), (3, 6))]
    populations = (
        inputs((5,)),
        lif("a", (6,)),
        lif("b", (6,), reset="subtract"),
        lif("output", (3,), "output"),
    )
    projections = (
        project("in", "input", "a", Dense(6, 5), 2 * w[0], delay=np.arange(5)),
        project("forth", "a", "b", Dense(6, 6), 2 * w[1], delay=1, bias=np.full(6, 0.25)),
        project("back", "b", "a", Dense(6, 6), w[2], delay=2),
        project("out", ["a", "b"], "output", Dense(3, 6), w[3], delay=3, bias=np.full(3, 0.5)),
    )
    return Network(populations, projections).verify()


NETWORKS: dict[str, Callable[[], Network]] = {
    "conv": conv_net,
    "residual": residual_net,
    "recurrent": recurrent_net,
    "delayed": delayed_net,
}
