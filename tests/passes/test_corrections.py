"""Biases and thresholds that make up for what compression did."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from snndeploy.calibrate.moments import filtered
from snndeploy.chip import load_target
from snndeploy.errors import PassRefused
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.lower import lower
from snndeploy.passes.base import Pass
from snndeploy.passes.correct.correct_bias import CorrectBias
from snndeploy.passes.correct.correct_threshold import CorrectThreshold
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.prune_quantize import PruneQuantize
from snndeploy.passes.runner import run_passes
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import chain_net, conv_net
from tests.support.calibrated import context, dense_net


def test_a_corrected_bias_restores_mean_currents() -> None:
    net = dense_net()
    ctx = context(net, samples=30)
    steps = [Prune(sparsity=0.5), CorrectBias()]
    after = run_passes(net, steps, ctx).network
    plain = run_passes(net, steps[:1], ctx).network
    x = ctx.calibration.inputs["input"]  # type: ignore[union-attr]

    def mean(n: Network) -> Array:
        bias = n.population("h1").neuron.bias  # type: ignore[union-attr]
        return np.asarray(x.mean(axis=(0, 1)) @ n.projections[0].weight.data.T + bias)

    np.testing.assert_allclose(mean(after), mean(net), rtol=1e-6)
    assert np.abs(mean(plain) - mean(net)).max() > 0.01
    half = run_passes(net, [Prune(sparsity=0.5), CorrectBias(strength=0.5)], ctx).network
    np.testing.assert_allclose(mean(half), (mean(net) + mean(plain)) / 2, rtol=1e-6)


@pytest.mark.parametrize("step", [CorrectBias(), CorrectThreshold()])
def test_a_correction_needs_the_uncompressed_network(step: Pass) -> None:
    net = dense_net()
    with pytest.raises(PassRefused) as caught:
        step.apply(net, context(net))
    assert caught.value.code == "no-reference"


def positive_membranes(net: Network, x: Array, name: str) -> Array:
    """Sum over samples and steps of what is positive of M W x, per neuron of a dense layer."""
    p = next(p for p in net.projections if p.name == name)
    train = run_float(net, x).spikes[p.sources[0].population]
    return np.maximum(filtered(train @ p.weight.values().T, 0.875, None), 0).sum(axis=(0, 1))


def test_a_corrected_threshold_is_the_ratio_of_positive_membranes() -> None:
    net = dense_net()
    ctx = context(net, samples=30)
    steps = [Prune(sparsity=0.5, scope="layer"), CorrectThreshold()]
    after = run_passes(net, steps, ctx).network
    x = ctx.calibration.inputs["input"]  # type: ignore[union-attr]
    for name, target in (("fc1", "h1"), ("fc2", "h2"), ("fc3", "output")):
        # Later layers are measured with the earlier ones corrected, as the result has them.
        ratio = positive_membranes(after, x, name) / positive_membranes(net, x, name)
        threshold = after.population(target).neuron.threshold  # type: ignore[union-attr]
        np.testing.assert_allclose(threshold, np.clip(ratio, 0.5, 2), rtol=1e-5)
    half = run_passes(net, [steps[0], CorrectThreshold(strength=0.5)], ctx).network
    squared = half.population("h1").neuron.threshold ** 2  # type: ignore[union-attr, operator]
    np.testing.assert_allclose(squared, after.population("h1").neuron.threshold, rtol=1e-9)  # type: ignore[union-attr]


def test_a_gain_on_a_row_is_undone_by_its_threshold() -> None:
    net = dense_net()
    ctx = dataclasses.replace(context(net), source=net)
    gains = np.random.default_rng(0).uniform(0.6, 1.8, (16, 1))
    first = net.projections[0]
    weight = dataclasses.replace(first.weight, data=first.weight.data * gains)
    scaled = net.replace(projections=[dataclasses.replace(first, weight=weight)])
    after = CorrectThreshold().apply(scaled, ctx).network
    x = ctx.calibration.inputs["input"]  # type: ignore[union-attr]
    a, b, c = (run_float(n, x, dtype="float64").spikes["output"] for n in (net, after, scaled))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_thresholds_corrected_on_the_way_are_those_of_the_pass() -> None:
    # Without sequential calibration no layer's weights depend on what happens before it.
    net = dense_net()
    ctx = context(net)
    plain = Prune(sparsity=0.6, method="sbc")
    behind = run_passes(net, [plain, CorrectThreshold()], ctx).network
    inside = run_passes(net, [dataclasses.replace(plain, thresholds=True)], ctx).network
    assert inside.digest == behind.digest
    sequential = dataclasses.replace(plain, thresholds=True, sequential=True, asymmetry=(1.0,))
    other = run_passes(
        net, [dataclasses.replace(sequential, thresholds=False), CorrectThreshold()], ctx
    ).network
    assert run_passes(net, [sequential], ctx).network.digest != other.digest


def test_the_output_chooses_whether_thresholds_are_corrected() -> None:
    step = Prune(
        sparsity=0.5, method="sbc", choose="output", thresholds=True, kernels=("current", "long")
    )
    found = [(c["kernels"], c["thresholds"]) for c in step.combinations()]
    assert found == [((k,), t) for k in ("current", "long") for t in (False, True)]
    assert [
        c["thresholds"] for c in dataclasses.replace(step, thresholds=False).combinations()
    ] == [False, False]
    assert dataclasses.replace(step, choose="layer").combinations() == [{}]


def test_corrected_thresholds_are_per_channel_and_lower() -> None:
    net = conv_net()
    ctx = context(net)
    steps = [PruneQuantize(sparsity=0.5, grid="loihi"), CorrectThreshold()]
    log = run_passes(net, steps, ctx)
    neuron = log.network.population("s2").neuron
    assert neuron is not None
    assert neuron.threshold is not None
    assert neuron.threshold.shape == (6, 1, 1)
    program = lower(log.network, load_target("loihi2"))
    assert max(r.weight for r in program.rounding.values()) == 0
    assert max(r.threshold for r in program.rounding.values()) < 0.02


def test_what_falls_silent_keeps_a_positive_threshold() -> None:
    net = chain_net([np.full((6, 8), 0.5)])
    silent = net.map_projections(
        lambda p: dataclasses.replace(
            p, weight=dataclasses.replace(p.weight, data=p.weight.data * 0)
        )
    )
    ctx = dataclasses.replace(context(net), source=net)
    after = CorrectThreshold().apply(silent, ctx).network
    np.testing.assert_array_equal(after.population("output").neuron.threshold, 0.5)  # type: ignore[union-attr]
    ctx = dataclasses.replace(ctx, source=silent)
    again = CorrectThreshold().apply(silent, ctx).network
    np.testing.assert_array_equal(again.population("output").neuron.threshold, 1)  # type: ignore[union-attr]


def test_a_channel_shares_its_bias() -> None:
    net = conv_net()
    after = run_passes(net, [Prune(sparsity=0.5), CorrectBias()], context(net)).network
    neuron = after.population("s2").neuron
    assert neuron is not None
    assert neuron.bias.shape == (6, 1, 1)
