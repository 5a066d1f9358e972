"""Codes of least membrane error, alone and together with pruning."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from snndeploy.calibrate.moments import filtered
from snndeploy.chip import load_target
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.lower import lower
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.prune_quantize import PruneQuantize
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.runner import run_passes
from snndeploy.recipe import load_recipe
from tests.support.builders import conv_net, inputs, lif, project, recurrent_net
from tests.support.calibrated import context, dense_net, membrane_error


@pytest.mark.parametrize("method", ["obq", "gptq", "sbc"])
@pytest.mark.parametrize("clip", ["max", "mse", "minmax", "hessian"])
@pytest.mark.parametrize("per", ["layer", "channel"])
def test_codes_lose_less_than_rounding(method: str, clip: str, per: str) -> None:
    net = dense_net()
    ctx = context(net, samples=30)
    options: dict[str, Any] = {"bits": 3, "per": per}
    rounded = Quantize(**options, clip="mse" if clip == "hessian" else clip).apply(net, ctx).network
    found = Quantize(**options, clip=clip, method=method).apply(net, ctx)  # type: ignore[arg-type]
    for p in found.network.projections:
        assert p.weight.bits == 3
        assert p.weight.scale is not None
        np.testing.assert_array_equal(p.weight.values(), p.weight.data * p.weight.scale)
    if method == "sbc":
        a, b = (
            sum(membrane_error(net, n, ctx, f"fc{i}") for i in (1, 2, 3))
            for n in (found.network, rounded)
        )
        assert a < b


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_descent_never_loses(bits: int) -> None:
    net = dense_net()
    ctx = context(net)
    plain, refined = (
        Quantize(method="sbc", bits=bits, per="channel", clip="mse", refine=r).apply(net, ctx)
        for r in (0, 4)
    )
    for name in ("fc1", "fc2", "fc3"):
        assert refined.metrics[name]["loss"] <= plain.metrics[name]["loss"] * (1 + 1e-9)


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_steps_by_membrane_error_lose_no_more_than_those_of_the_weights(per: str) -> None:
    net = dense_net()
    ctx = context(net)
    loss = {
        clip: Quantize(method="sbc", bits=3, per=per, clip=clip, refine=2).apply(net, ctx).metrics  # type: ignore[arg-type]
        for clip in ("hessian", "minmax", "mse")
    }
    for name in ("fc1", "fc2", "fc3"):
        for other in ("minmax", "mse"):
            assert loss["hessian"][name]["loss"] <= loss[other][name]["loss"] * (1 + 1e-9)


def test_tied_steps_suit_all_projections_of_a_row() -> None:
    # Had the narrow projection alone chosen the steps, the wide one would be clipped or coarse.
    rng = np.random.default_rng(1)
    wide = rng.normal(size=(4, 6)) * np.array([[0.1], [1], [3], [10]])
    narrow = rng.normal(size=(4, 5)) * np.array([[1.0], [1], [1], [1]])
    both = Network(
        (inputs((11,)), lif("output", (4,), "output")),
        (
            project("narrow", "input", "output", Dense(4, 11), np.pad(narrow, ((0, 0), (0, 6)))),
            project("wide", "input", "output", Dense(4, 11), np.pad(wide, ((0, 0), (5, 0)))),
        ),
    ).verify()
    ctx = context(both, samples=40)
    free, tied = (
        Quantize(method="sbc", bits=4, per="channel", clip="hessian", grid=grid, refine=2)  # type: ignore[arg-type]
        .apply(both, ctx)
        .metrics["wide"]["loss"]
        for grid in ("symmetric", "loihi")
    )
    alone = Quantize(method="rtn", bits=4, per="channel", share="target").apply(both, ctx).network
    x = ctx.calibration.inputs["input"]  # type: ignore[union-attr]
    rounded = (
        sum(p.weight.values() for p in alone.projections)
        - np.pad(narrow, ((0, 0), (0, 6)))
        - np.pad(wide, ((0, 0), (5, 0)))
    )
    leak = float(both.population("output").neuron.leak)  # type: ignore[union-attr]
    gap = filtered(x, leak, None) @ rounded.T
    assert tied < float(np.square(gap).sum()) / x.shape[1]
    assert tied < 10 * free


def test_masks_stay_and_are_taken_into_account() -> None:
    net = dense_net()
    ctx = context(net)
    pruned = Prune(sparsity=0.5, method="sbc").apply(net, ctx).network
    after = Quantize(method="sbc", bits=4, per="channel").apply(pruned, ctx).network
    for a, b in zip(pruned.projections, after.projections, strict=True):
        np.testing.assert_array_equal(a.weight.mask, b.weight.mask)
        assert (b.weight.data[~b.weight.mask] == 0).all()  # type: ignore[operator]


@pytest.mark.parametrize("per", ["layer", "channel"])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("factory", [conv_net, recurrent_net, dense_net])
def test_loihi_holds_the_codes_exactly(
    factory: Callable[..., Network], bits: int, per: str
) -> None:
    net = factory()
    ignore = ("self",) if factory is recurrent_net else ()
    ctx = context(net)
    step = Quantize(method="sbc", grid="loihi", bits=bits, per=per, clip="hessian", ignore=ignore)  # type: ignore[arg-type]
    after = step.apply(net, ctx).network
    if ignore:  # leave the one-to-one loop out: its real weights are rounded by the lowering
        after = dataclasses.replace(
            after, projections=tuple(p for p in after.projections if p.name not in ignore)
        )
    program = lower(after, load_target("loihi2"))
    for name, rounding in program.rounding.items():
        assert rounding.weight == 0, name


def test_two_projections_into_one_population_differ_by_a_power_of_two() -> None:
    rng = np.random.default_rng(0)
    both = Network(
        (inputs((6,)), lif("a", (5,)), lif("output", (4,), "output")),
        (
            project("one", "input", "a", Dense(5, 6), rng.normal(size=(5, 6))),
            project("skip", "input", "output", Dense(4, 6), 0.1 * rng.normal(size=(4, 6))),
            project("two", "a", "output", Dense(4, 5), rng.normal(size=(4, 5))),
        ),
    ).verify()
    after = Quantize(method="sbc", grid="loihi", bits=4).apply(both, context(both)).network
    skip, two = (p.weight.scale for p in after.projections[1:])
    assert skip is not None
    assert two is not None
    power = np.log2(float(skip) / float(two))
    assert power == pytest.approx(round(power), abs=1e-12)
    assert lower(after, load_target("loihi2")).rounding["output"].weight == 0


def test_joint_is_prune_then_quantize_where_they_must_agree() -> None:
    # One layer, the same inputs: the mask is the same, and codes are chosen from the same weights.
    net = dense_net(sizes=(20, 12))
    ctx = context(net)
    pruned = Prune(sparsity=0.6, method="sbc", scope="lamp").apply(net, ctx).network
    apart = Quantize(method="sbc", bits=4, per="channel", clip="mse").apply(pruned, ctx).network
    joint = PruneQuantize(sparsity=0.6, bits=4, clip="mse").apply(net, ctx).network
    a, b = apart.projections[0].weight, joint.projections[0].weight
    np.testing.assert_array_equal(a.mask, b.mask)
    np.testing.assert_array_equal(a.data, b.data)
    np.testing.assert_allclose(a.scale, b.scale, rtol=1e-9)


def test_joint_keeps_the_promises_of_both() -> None:
    net = conv_net()
    result = PruneQuantize(sparsity=0.75, bits=3, sequential=True, asymmetry=(0.0, 1.0)).apply(
        net, context(net)
    )
    total = sum(p.weight.data.size for p in net.projections)
    assert sum(p.weight.alive for p in result.network.projections) == total - round(0.75 * total)
    assert {p.weight.bits for p in result.network.projections} == {3}
    assert PruneQuantize(sparsity=0.5).stages == ("prune", "quantize")


@pytest.mark.parametrize("name", ["osbc", "sbc", "sbc-plus"])
def test_shipped_recipes_run(name: str) -> None:
    recipe = load_recipe(name)
    net = dense_net()
    log = run_passes(net, recipe.passes, context(net, target=load_target("loihi2")))
    total = sum(p.weight.data.size for p in net.projections)
    alive = sum(p.weight.alive for p in log.network.projections)
    assert alive == total - round(recipe.passes[0].options()["sparsity"] * total)
    assert all(p.weight.quantized for p in log.network.projections) == (name != "sbc")
