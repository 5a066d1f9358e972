"""Folding removed kernels into those that stay: structure, errors, and what is left alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from snndeploy.calibrate.moments import filtered
from snndeploy.ir.network import Network
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Dense
from snndeploy.passes.kernels.compensate import RIDGES, fold
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.passes.kernels.slicing import shrink
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import (
    ZOO,
    chain_net,
    conv_net,
    inputs,
    lif,
    project,
    residual_net,
    spikes,
)
from tests.support.removal import context, group_of


@pytest.mark.parametrize("factory", ZOO)
@pytest.mark.parametrize("how", ["weights", "bias", "threshold"])
def test_folding_keeps_structure(factory: Any, how: Any) -> None:
    net = factory(0)
    step = RemoveKernels(ratio=0.5, fold=how, kinds=("conv", "dense"))
    small = step.apply(net, context(net)).network
    plain = dataclasses.replace(step, fold="none").apply(net, context(net)).network
    assert [p.shape for p in small.populations] == [p.shape for p in plain.populations]
    assert [p.weight.shape for p in small.projections] == [
        p.weight.shape for p in plain.projections
    ]
    assert [p.weight.data.dtype for p in small.projections] == [
        p.weight.data.dtype for p in plain.projections
    ]
    first = net.projections[0].name  # nothing lies before it that could have changed
    assert np.array_equal(small.projections[0].weight.data, plain.projections[0].weight.data), first


def test_folding_nothing_changes_nothing() -> None:
    net = conv_net()
    ctx = context(net)
    assert ctx.calibration is not None
    same = fold(net, [group_of(net, "s1")], ctx.calibration.inputs, ridge=1e-3)
    for old, new in zip(net.projections, same.projections, strict=True):
        assert np.allclose(old.weight.data, new.weight.data, atol=1e-5)


def test_folding_lowers_the_error_behind_on_new_samples() -> None:
    rng = np.random.default_rng(3)
    mixed = rng.normal(size=(12, 4)) @ rng.normal(size=(4, 16))  # 12 neurons that say 4 things
    net = chain_net([mixed, rng.normal(size=(6, 12)) / 2])
    ctx = context(net, samples=64)
    data = spikes(net, seed=9, samples=200)
    dense = run_float(net, data).spikes["output"].sum(axis=0).astype(float)

    def off(how: Any) -> float:
        step = RemoveKernels(ratio=0.5, score="random", kinds=("dense",), fold=how)
        small = step.apply(net, ctx).network
        return float(np.abs(run_float(small, data).spikes["output"].sum(axis=0) - dense).mean())

    plain = off("none")
    for how in ("weights", "bias", "threshold"):
        assert off(how) < 0.8 * plain, how


def test_held_out_samples_choose_the_ridge() -> None:
    """The one whose weights, fitted on the others, make the least membrane error on them."""
    rng = np.random.default_rng(7)
    net = chain_net([rng.normal(size=(16, 20)), rng.normal(size=(4, 16))])
    group = group_of(net, "h1").keep(np.arange(8))
    x = spikes(net, samples=15)
    held = np.arange(15) % 5 == 4
    weight = net.projections[1].weight.data
    train = run_float(net, x[:, held]).spikes["h1"]
    y = filtered(train, float(net.population("output").neuron.leak), None)  # type: ignore[union-attr]

    def error(ridge: float) -> float:
        fitted = fold(net, [group], {"input": x[:, ~held]}, ridge=ridge)
        return float(np.square(y @ (fitted.projections[1].weight.data - weight).T).sum())

    errors = [error(r) for r in RIDGES]
    best = RIDGES[int(np.argmin(errors))]
    assert 0 < int(np.argmin(errors)) < len(RIDGES) - 1
    chosen = fold(net, [group], {"input": x}, ridge=0).projections[1].weight.data
    # pooled over both parts, the moments are those of all samples but for rounding
    same = fold(net, [group], {"input": x}, ridge=best).projections[1].weight.data
    assert np.allclose(chosen, same, atol=1e-5)


def test_a_bias_carries_what_is_constant() -> None:
    """A neuron that spikes at every step is a constant: its removal costs a bias and nothing else."""
    rng = np.random.default_rng(0)
    first = np.where(np.arange(5)[:, None] == 2, 9.0, rng.normal(size=(5, 8)))
    net = chain_net([first, rng.normal(size=(4, 5))])
    always = dataclasses.replace(
        net.population("h1"),
        neuron=Neuron.create((5,), leak=0.875, threshold=1.0, drive=np.eye(5)[2] * 4),
    )
    leakless = lif("output", (4,), "output", leak=0.0)
    net = net.replace(populations=[always, leakless])
    ctx = context(net, samples=32)
    assert ctx.calibration is not None
    group = group_of(net, "h1").keep([0, 1, 3, 4])
    data = spikes(net, seed=4, samples=50)
    dense = run_float(net, data).spikes["output"]

    def wrong(**options: Any) -> int:
        small = shrink(fold(net, [group], ctx.calibration.inputs, ridge=10.0, **options), [group])  # type: ignore[union-attr]
        return int((run_float(small, data).spikes["output"] != dense).sum())

    assert wrong(bias=True) == 0
    assert wrong() > 0


def test_a_wire_does_not_consume() -> None:
    """One-to-one shortcuts keep their weights: what they pass on goes with its unit."""
    net = residual_net()
    small = RemoveKernels(ratio=0.5, fold="weights").apply(net, context(net)).network
    shortcut = next(p for p in small.projections if p.name == "shortcut")
    assert shortcut.weight.data == np.float32(1)


def test_two_projections_into_one_population() -> None:
    rng = np.random.default_rng(0)
    net = Network(
        (inputs((6,)), lif("a", (5,)), lif("b", (4,)), lif("output", (3,), "output")),
        (
            project("in_a", "input", "a", Dense(5, 6), rng.normal(size=(5, 6))),
            project("in_b", "input", "b", Dense(4, 6), rng.normal(size=(4, 6))),
            project("a_out", "a", "output", Dense(3, 5), rng.normal(size=(3, 5))),
            project("b_out", "b", "output", Dense(3, 4), rng.normal(size=(3, 4))),
        ),
    ).verify()
    before = {p.name: p.weight.data for p in net.projections}
    step = RemoveKernels(ratio=0.4, layers=("in_a",), fold="weights")
    after = {p.name: p.weight.data for p in step.apply(net, context(net)).network.projections}
    assert after["a_out"].shape == (3, 3)
    assert np.array_equal(after["b_out"], before["b_out"])  # nothing before it changed
