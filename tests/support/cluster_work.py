"""All that workers do for one network: trials, accuracies and sensitivities."""

from __future__ import annotations

from typing import Any

from snndeploy.data import Samples
from snndeploy.ir.network import Network
from snndeploy.pipeline import compile, run_compiled, tune
from snndeploy.pipeline.advise.sensitivity import sensitivity
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import conv_net, spikes


def conv_data() -> Samples:
    """Sixty samples for `conv_net`, nine tenths of them labelled as it answers."""
    net = conv_net()
    x = spikes(net, steps=6, samples=60)
    labels = run_float(net, x).predictions("output").copy()
    labels[::10] = (labels[::10] + 1) % 5
    return Samples(x, labels)


def everything(net: Network, data: Samples, workers: Any) -> list[Any]:
    """What is told of a network, by several ways, without seconds."""
    found = tune(net, data, trials=6, workers=workers)
    compiled = compile(net, target="loihi1", recipe=None)
    report = run_compiled(compiled, data, ("float", "integer"), workers=workers)
    return [
        [m.record() for m in found.front],
        [(o.number, o.why, o.digest, o.cost, o.right.tolist()) for o in found.outcomes],
        sensitivity(net, data, ratios=(0.5,), bits=(4,), workers=workers).record(),
        report,
    ]
