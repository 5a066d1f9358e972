"""Gains for a chip with one kind of neuron: never worse than without, and without labels."""

from __future__ import annotations

import numpy as np
import pytest

from snndeploy.chip import load_target
from snndeploy.errors import PassRefused
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.lower import lower
from snndeploy.passes.base import PassContext
from snndeploy.passes.correct.adapt_gains import AdaptGains
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import inputs, lif, project
from tests.support.calibrated import Samples

XYLO = load_target("xylo-a2")
RNG = np.random.default_rng(5)
SPIKES = (RNG.random((30, 24, 6)) < 0.3).astype(np.float32)


def network() -> Network:
    """Large weights: on the chip its neurons spike several times where they spiked once."""
    return Network(
        (inputs((6,), "in"), lif("hidden", (10,)), lif("out", (4,), "output")),
        (
            project("w1", "in", "hidden", Dense(10, 6), RNG.normal(0.8, 1.0, (10, 6))),
            project("w2", "hidden", "out", Dense(4, 10), RNG.normal(0.1, 0.5, (4, 10))),
        ),
    ).verify()


def test_answers_come_nearer_and_no_label_is_looked_at() -> None:
    net = network()
    context = PassContext(target=XYLO, source=net, calibration=Samples({"in": SPIKES}))
    done = AdaptGains(tries=5).run(net, context)
    figures = done.metrics["w1"]
    assert figures["loss"] < figures["loss_before"]
    answers = run_float(net, SPIKES).predictions("out")

    def agreeing(n: Network) -> int:
        run = run_integer(lower(n, XYLO), SPIKES.astype(int))
        return int((run.predictions("out") == answers).sum())

    assert agreeing(done.network) >= agreeing(net)
    hidden = done.network.population("hidden").neuron
    assert hidden is not None
    assert (hidden.compare, hidden.reset, hidden.max_spikes) == (">=", "subtract", 31)
    assert hidden.threshold is not None
    assert float(hidden.threshold) == pytest.approx(figures["threshold_factor"])
    assert {f.code for f in done.findings} == {"neuron-adapted"}
    AdaptGains().ensures(net, done.network)


def test_a_chip_with_several_kinds_of_neurons_needs_no_such_pass() -> None:
    context = PassContext(target=load_target("loihi2"), calibration=Samples({"in": SPIKES}))
    with pytest.raises(PassRefused) as caught:
        AdaptGains().run(network(), context)
    assert caught.value.code == "no-own-neuron"
