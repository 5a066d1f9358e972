"""Fewer time steps, less activity, and the figures of the papers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from snndeploy.ir.arrays import Array, frozen
from snndeploy.ir.network import Network, Population, Projection, Source
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Conv
from snndeploy.ir.weights import Weight
from snndeploy.measure.neurobench import neurobench
from snndeploy.passes.base import PassContext
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.training.figures import figures, noise_curve
from snndeploy.passes.training.finetune import FineTune
from snndeploy.passes.training.loop.penalties import ActivityPrice, fan_outs
from snndeploy.passes.training.torch_network.module import TrainableNetwork
from snndeploy.passes.training.train_steps import TrainSteps
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import chain_net, conv_net
from tests.support.labelled import Labelled, accuracy, context, digits_mlp, flat


def test_direct_goes_to_the_last_number_of_steps_for_as_many_epochs() -> None:
    network = digits_mlp()
    direct = TrainSteps(steps=(8, 4), epochs=1, direct=True).apply(network, context(flat=True))
    alone = TrainSteps(steps=(4,), epochs=2).apply(network, context(flat=True))
    assert direct.network.digest == alone.network.digest
    assert list(direct.metrics)[-2:] == ["steps=16 (before)", "steps=4"]


def test_fewer_steps_stand_in_the_notes_and_a_drop_ends_it() -> None:
    network = digits_mlp()
    result = TrainSteps(steps=(8, 4), epochs=4, lr=5e-3, batch=32).apply(
        network, context(flat=True)
    )
    assert result.network.notes["steps"] == "4"
    short = Labelled({"input": flat(350, 450).inputs["input"][:4]}, flat(350, 450).labels)
    assert accuracy(result.network, short) == result.metrics["steps=4"]["accuracy"]
    learnt = Labelled({"input": flat(0, 350).inputs["input"][:4]}, flat(0, 350).labels)
    assert accuracy(result.network, learnt) > accuracy(network, learnt) + 0.02
    halved = TrainSteps(halvings=2, epochs=4, lr=5e-3, batch=32).apply(network, context(flat=True))
    assert halved.network.digest == result.network.digest
    again = TrainSteps(halvings=1, epochs=1).apply(halved.network, context(flat=True))
    assert again.network.notes["steps"] == "2"
    assert "steps=4 (before)" in again.metrics
    strict = TrainSteps(steps=(8, 1), epochs=1, max_drop=0.1).apply(network, context(flat=True))
    assert strict.network.notes["steps"] == "8"
    assert [f.code for f in strict.findings] == ["steps-reduced"]


def test_activity_costs_what_its_price_says() -> None:
    network, found = digits_mlp(), []
    for price in (0.0, 0.1, 1.0, 3.0):
        how = FineTune(epochs=12, activity=price, lr=1e-2)
        after = how.apply(network, context(flat=True)).network
        run = run_float(after, flat(0, 350).inputs["input"])
        found.append((float(run.spikes["h1"].mean()), accuracy(after, flat(0, 350))))
    rates = [rate for rate, _ in found]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.75 * rates[0]
    assert all(right > found[0][1] - 0.015 for _, right in found)


def test_a_budget_of_synops_is_kept() -> None:
    network = digits_mlp()
    samples = flat(0, 350)
    of_inputs = float(samples.inputs["input"].sum()) * 32 / 350
    budget = of_inputs + (figures(network, samples).synops - of_inputs) / 2
    how = FineTune(epochs=10, lr=1e-2, activity=30.0, synops=budget)
    after = figures(how.apply(network, context(flat=True)).network, samples)
    assert after.synops < 1.02 * budget
    assert after.accuracy > 0.9


def test_target_rate_is_free() -> None:
    network = digits_mlp()
    module = TrainableNetwork(network)
    name = network.with_role("input")[0].name
    run = module({name: torch.tensor(flat(0, 20).inputs["input"], dtype=torch.float32)})
    rate = float(run.spikes["h1"].detach().sum()) / (32 * 16 * 20)

    def price(target: float) -> float:
        activity = ActivityPrice(module, weight=2.0, target_rate=target, synops=0.0)
        return float(activity.loss(module, run).detach())

    assert price(0.0) == pytest.approx(2 * rate, rel=1e-5)
    assert price(rate / 2) == pytest.approx(rate, rel=1e-5)
    assert price(1.1 * rate) == 0


def test_synops_are_those_of_neurobench_and_nothing_without_spikes() -> None:
    network = conv_net()
    rng = np.random.default_rng(0)
    x = (rng.random((7, 5, 2, 8, 8)) < 0.4).astype(np.float32)
    found = figures(network, Labelled({"input": x}, np.zeros(5, np.int64)))
    run = run_float(network, x)
    by_hand = 0.0
    fan_out = fan_outs(TrainableNetwork(network))
    for name, spikes in run.spikes.items():
        if name in fan_out:
            by_hand += float((spikes.sum((0, 1)) * fan_out[name].numpy()).sum())
    assert found.synops == pytest.approx(by_hand / 5)
    # without pools in front, an operation of NeuroBench is one weight met by one spike
    dense = digits_mlp()
    samples = flat(0, 20)
    bench = neurobench(dense, run_float(dense, samples.inputs["input"]))
    assert figures(dense, samples).synops == pytest.approx(bench.effective_acs)
    silent = Labelled({"input": np.zeros((5, 2, 64), np.float32)}, np.zeros(2, np.int64))
    assert figures(dense, silent).synops == 0


def test_a_conventional_network_multiplies_each_weight_where_it_lies_on_the_map() -> None:
    rng = np.random.default_rng(0)
    weights = [(rng.random((4, 6)) + 0.1).astype(np.float32), np.eye(4, dtype=np.float32)]
    samples = Labelled({"input": np.zeros((5, 2, 6), np.float32)}, np.zeros(2, np.int64))
    assert figures(chain_net(weights), samples).macs == 24 + 4
    # 3 x 3 kernels, padded by one: an edge of 8 pixels has 3 * 8 - 2 products
    kernel = Weight((rng.random((5, 2, 3, 3)) + 0.1).astype(np.float32))
    conv = Conv(5, 2, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    network = Network(
        (
            Population("input", (2, 8, 8), None, "input"),
            Population(
                "out", (5, 8, 8), Neuron.create((5, 8, 8), leak=0.5, threshold=1.0), "output"
            ),
        ),
        (Projection("w", (Source("input", frozen(0, np.int64)),), "out", (conv,), kernel),),
    )
    x = np.zeros((3, 2, 2, 8, 8), np.float32)
    found = figures(network, Labelled({"input": x}, np.zeros(2, np.int64)))
    assert found.macs == 2 * 5 * 22 * 22


def test_pruning_takes_its_share_of_synops() -> None:
    """With spikes that know nothing of the weights, SynOps fall as the density does."""
    rng = np.random.default_rng(0)
    dense = chain_net([rng.standard_normal((50, 400)).astype(np.float32)])
    mask = rng.random((50, 400)) < 0.3
    (p,) = dense.projections
    sparse = dense.replace(
        projections=[dataclasses.replace(p, weight=Weight(p.weight.data, mask=mask))]
    )
    x = (rng.random((20, 20, 400)) < 0.2).astype(np.float32)
    samples = Labelled({"input": x}, np.zeros(20, np.int64))
    a, b = figures(sparse, samples), figures(dense, samples)
    assert b.synops == pytest.approx(x.sum() * 50 / 20)
    assert a.r_ops(b) == pytest.approx(mask.mean(), abs=0.005)
    assert a.density == mask.mean()
    assert a.r_mem(b) == pytest.approx(mask.mean())
    assert a.synops_per_step == pytest.approx(a.synops / 20)


def test_sizes_by_hand() -> None:
    rng = np.random.default_rng(0)
    network = chain_net([rng.standard_normal((10, 100)).astype(np.float32)])
    network = Prune(sparsity=0.95).apply(network, PassContext()).network
    network = Quantize(bits=4).apply(network, PassContext()).network
    x = Labelled({"input": np.zeros((2, 1, 100), np.float32)}, np.zeros(1, np.int64))
    found = figures(network, x)
    assert found.size_bits == 50 * 4
    assert found.index_bits == 50 * 10  # an address of 10 bits each: less than a bit for all 1000
    assert found.bits == 4


def test_noise_costs_accuracy_and_none_costs_nothing() -> None:
    samples = flat(350, 450)
    images = samples.inputs["input"].mean(axis=0)

    def encode(values: Array) -> Array:
        from snndeploy.data.encode import rate

        return rate(values, 16)

    assert samples.labels is not None
    curve = noise_curve(
        digits_mlp(), images, samples.labels, encode, (0.0, 0.2, 2.0), np.random.default_rng(0)
    )
    assert curve[0.0] == pytest.approx(accuracy(digits_mlp(), samples), abs=0.05)
    assert curve[0.0] >= curve[0.2] > curve[2.0]
