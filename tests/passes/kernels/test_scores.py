"""Scores of kernels: each against what it is defined as."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from snndeploy.calibrate.moments import filtered
from snndeploy.calibrate.statistics import observe
from snndeploy.errors import PassRefused
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.passes.base import PassContext
from snndeploy.passes.kernels.compensate import fold
from snndeploy.passes.kernels.coupling import coupling
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.passes.kernels.scores import CRITERIA, SCORES, column_units, gather_evidence
from snndeploy.recipe import Recipe
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import (
    ZOO,
    chain_net,
    conv_net,
    grouped_net,
    recurrent_net,
    reshape_net,
    residual_net,
    spikes,
)
from tests.support.removal import context, group_of, silenced


def score(net: Network, population: str, criterion: Any, **options: Any) -> Array:
    group = group_of(net, population)
    ctx = context(net)
    return SCORES[criterion](group, gather_evidence(net, [group], criterion, ctx, **options))


# --- scores -----------------------------------------------------------------------------------


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("factory", ZOO)
def test_every_score_ranks_every_group(factory: Any, criterion: Any) -> None:
    net = factory(0)
    groups = [g for g in coupling(net) if not g.fixed]
    evidence = gather_evidence(net, groups, criterion, context(net))
    for group in groups:
        found = SCORES[criterion](group, evidence)
        assert found.shape == (group.count,)
        assert np.isfinite(found).all()
        assert (found >= 0).all()


@pytest.mark.parametrize("criterion", ["svs", "nuclear", "rate"])
def test_silent_channels_score_nothing_and_go_first(criterion: Any) -> None:
    net = silenced(conv_net(), {"s2": np.array([0, 1, 0, 0, 1, 0], bool)})
    found = score(net, "s2", criterion)
    assert found[[1, 4]].tolist() == [0, 0]
    assert (found[[0, 2, 3, 5]] > 0).all()


def test_scores_of_activity_are_its_figures() -> None:
    net = conv_net()
    figures = observe(net, spikes(net, samples=8), ["s1"])["s1"]
    assert np.allclose(score(net, "s1", "rate"), figures.rate)
    assert np.allclose(score(net, "s1", "nuclear"), figures.nuclear)
    assert np.allclose(score(net, "s1", "sca"), figures.magnitude)
    svs = score(net, "s1", "svs")
    assert figures.rank is not None
    assert (svs - figures.rank >= 0).all()
    assert (svs - figures.rank < 1 / 8).all()  # less than two mean ranks of 8 samples can differ


def test_coupled_channels_add_up() -> None:
    net = residual_net()
    figures = observe(net, spikes(net, samples=8), ["a", "b"])
    assert np.allclose(score(net, "a", "rate"), figures["a"].rate + figures["b"].rate)
    net = grouped_net()
    b = observe(net, spikes(net, samples=8), ["a", "b", "c", "d"])
    expected = sum(v.rate.reshape(2, -1).sum(axis=1) for v in b.values())
    assert np.allclose(score(net, "a", "rate"), expected)


def test_random_depends_on_seed_and_layer_only() -> None:
    net, group = conv_net(), group_of(conv_net(), "s2")

    def draw(seed: int) -> Array:
        ctx = PassContext(seed=seed, scope="remove-kernels")
        return SCORES["random"](group, gather_evidence(net, [group], "random", ctx))

    assert np.array_equal(draw(0), draw(0))
    assert not np.array_equal(draw(0), draw(1))


def slow_membrane_error(net: Network, name: str, change: Array) -> float:
    """Mean over samples of the squared membrane that ``change`` of a dense weight makes, by a loop."""
    p = next(q for q in net.projections if q.name == name)
    run = run_float(net, spikes(net, samples=8))
    x = run.spikes[p.sources[0].population].astype(float)
    neuron = net.population(p.target).neuron
    assert neuron is not None
    y = filtered(x, float(neuron.leak), None) @ change.T
    return float(np.square(y).sum() / x.shape[1])


def test_second_order_is_the_membrane_error_behind() -> None:
    rng = np.random.default_rng(0)
    net = chain_net([rng.normal(size=(6, 8)), rng.normal(size=(4, 6))])
    weight = net.projections[1].weight.data
    found = score(net, "h1", "second-order")
    gone = np.zeros(6, bool)
    for unit in np.argsort(found):
        gone[unit] = True
        assert float(found[unit]) == pytest.approx(
            slow_membrane_error(net, "fc2", np.where(gone, weight, 0)), rel=1e-6, abs=1e-12
        )
    first = int(np.argmin(found))
    alone = [slow_membrane_error(net, "fc2", weight * (np.arange(6) == u)) for u in range(6)]
    assert first == int(np.argmin(alone))


def test_second_order_with_folding_is_the_error_that_is_left() -> None:
    rng = np.random.default_rng(1)
    net = chain_net([rng.normal(size=(6, 8)), rng.normal(size=(4, 6))])
    weight = net.projections[1].weight.data
    ctx = context(net)
    found = score(net, "h1", "second-order", folded=True, ridge=1e-9)
    group = group_of(net, "h1")
    order = np.argsort(found)
    for k in (1, 2, 4):
        small = group.keep(np.sort(order[k:]))
        assert ctx.calibration is not None
        after = fold(net, [small], ctx.calibration.inputs, ridge=1e-9).projections[1].weight.data
        assert (after[:, order[:k]] == 0).all()
        left = slow_membrane_error(net, "fc2", after - weight)
        assert float(found[order[k - 1]]) == pytest.approx(left, rel=1e-3, abs=1e-6)
        cut = np.where(np.isin(np.arange(6), order[:k]), weight, 0)
        assert left <= slow_membrane_error(net, "fc2", cut) + 1e-12


def test_a_duplicate_costs_nothing_with_folding() -> None:
    """Two equal neurons: one is free to remove, as the other can carry both weights."""
    rng = np.random.default_rng(2)
    first = rng.normal(size=(5, 8))
    first[3] = first[1]
    net = chain_net([first, rng.normal(size=(4, 5)).astype(np.float64)])
    ctx = context(net, samples=16)
    found = score(net, "h1", "second-order", folded=True, ridge=1e-6)
    assert int(np.argmin(found)) in (1, 3)
    step = RemoveKernels(
        keep={"fc1": 4}, score="second-order", fold="weights", ridge=1e-6, kinds=("dense",)
    )
    small = step.apply(net, ctx).network
    data = spikes(net, seed=5, samples=20)
    assert np.array_equal(
        run_float(net, data).spikes["output"], run_float(small, data).spikes["output"]
    )
    plain = dataclasses.replace(step, fold="none").apply(net, ctx).network
    assert not np.array_equal(
        run_float(net, data).spikes["output"], run_float(plain, data).spikes["output"]
    )


# --- refusals and form ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"score": "svs"}, "the score 'svs' looks at samples"),
        ({"score": "second-order"}, "the score 'second-order' looks at samples"),
        ({"fold": "weights"}, "fold = 'weights' looks at samples"),
        ({"variance": 0.9}, "variance looks at samples"),
    ],
)
def test_data_driven_options_need_samples(options: dict[str, Any], why: str) -> None:
    with pytest.raises(PassRefused) as caught:
        RemoveKernels(ratio=0.5, **options).apply(conv_net(), PassContext())
    assert caught.value.code == "calibration-missing"
    assert str(caught.value) == (
        f"{why}, and there are none\n"
        "  next: give some (--data or --calib), or use a method or score that needs none"
    )


def test_columns_know_their_units() -> None:
    net = reshape_net()
    group = group_of(net, "a")
    conv = next(p for p in net.projections if p.name == "conv")
    assert column_units(conv, group).tolist() == np.repeat(np.arange(4), 9).tolist()
    net = conv_net()
    group = group_of(net, "s2")
    fc1 = next(p for p in net.projections if p.name == "fc1")
    assert column_units(fc1, group).tolist() == np.repeat(np.arange(6), 4).tolist()
    loop = recurrent_net()
    assert set(group_of(loop, "h").columns) == {"loop", "self", "fc_out"}


def test_options_round_trip_through_toml() -> None:
    recipe = Recipe(
        passes=(RemoveKernels(score="second-order", fold="threshold", cores=3, variance=0.99),)
    )
    assert Recipe.from_toml(recipe.to_toml()) == recipe
