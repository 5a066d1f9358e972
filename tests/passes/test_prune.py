"""prune: exactly so many, the smallest, deterministically; and masks are kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snndeploy.errors import PassRefused, RecipeError
from snndeploy.ir.network import Network
from snndeploy.ir.weights import Weight
from snndeploy.passes.base import PassContext
from snndeploy.passes.prune import Prune, budget, prune_lowest
from tests.support.builders import chain_net, conv_net, recurrent_net, residual_net

CTX = PassContext()
A = np.array([[3.0, -1.0, 2.0], [0.5, -4.0, 1.0]])
B = np.array([[0.1, 0.2], [-0.3, 0.4]])


def pruned(net: Network, **options: object) -> dict[str, Weight]:
    result = Prune(**options).apply(net, CTX)  # type: ignore[arg-type]
    return {p.name: p.weight for p in result.network.projections}


def test_the_smallest_magnitudes_go() -> None:
    weight = pruned(chain_net([A, B]), sparsity=0.5)["fc1"]
    assert weight.data.tolist() == [[3.0, 0.0, 2.0], [0.0, -4.0, 0.0]]
    assert weight.mask is not None
    assert weight.mask.tolist() == [[True, False, True], [False, True, False]]


def test_equal_magnitudes_go_in_order() -> None:
    weight = pruned(
        chain_net([np.array([[1.0, -1.0, 1.0, -1.0]]), np.ones((1, 1))]),
        sparsity=0.5,
        layers=("fc1",),
    )["fc1"]
    assert weight.data.tolist() == [[0.0, 0.0, 1.0, -1.0]]


def test_global_scope_lets_layers_compete() -> None:
    net = chain_net([A, B])
    result = Prune(sparsity=0.4, scope="global").apply(net, CTX)
    fc1, fc2 = (p.weight for p in result.network.projections)
    assert (fc1.alive, fc2.alive) == (6, 0)
    (finding,) = result.findings
    assert (finding.code, finding.severity, finding.where) == ("layer-emptied", "warning", "fc2")
    assert result.metrics["fc2"] == {"pruned": 4, "sparsity": 1.0, "energy_lost": 1.0}


def test_what_was_pruned_counts_and_stays_pruned() -> None:
    mask = np.array([[False, True, True], [True, True, True]])
    net = chain_net([A, B])
    first = dataclasses.replace(net.projections[0], weight=Weight(A, mask=mask))
    weights = pruned(net.replace(projections=[first]), sparsity=0.5)
    # 3.0 was pruned before; the two smallest of the others join it, not three.
    assert weights["fc1"].data.tolist() == [[0.0, 0.0, 2.0], [0.0, -4.0, 1.0]]
    assert weights["fc1"].alive == 3


def test_a_lower_sparsity_than_reached_changes_nothing() -> None:
    once = Prune(sparsity=0.5).apply(chain_net([A, B]), CTX).network
    again = Prune(sparsity=0.25).apply(once, CTX)
    assert not again.modified
    assert again.network is once


def test_an_exact_zero_that_stays_is_alive() -> None:
    weight = pruned(chain_net([np.zeros((2, 2)), np.ones((1, 2))]), sparsity=0.25)["fc1"]
    assert (weight.alive, weight.nonzero) == (3, 0)


@given(
    hnp.arrays(np.float64, hnp.array_shapes(max_dims=3), elements=st.floats(0, 10)),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_exactly_k_of_the_lowest(scores: np.ndarray, sparsity: float, seed: int) -> None:
    alive = np.random.default_rng(seed).random(scores.shape) < 0.8
    k = budget(sparsity, scores.size)
    (mask,) = prune_lowest([scores], [alive], k)
    assert (mask <= alive).all()
    assert (~mask).sum() == max(k, (~alive).sum())
    gone = alive & ~mask
    if gone.any() and mask.any():
        assert scores[gone].max() <= scores[mask].min()


@given(st.integers(0, 20), st.floats(0, 0.99), st.sampled_from(["layer", "global"]))
@settings(deadline=None)
def test_the_pass_keeps_its_promise_on_any_network(seed: int, sparsity: float, scope: str) -> None:
    net = conv_net(seed)
    weights = pruned(net, sparsity=sparsity, scope=scope)
    total = sum(w.data.size for w in weights.values())
    dead = {n: w.data.size - w.alive for n, w in weights.items()}
    if scope == "global":
        assert sum(dead.values()) == budget(sparsity, total)
    else:
        assert dead == {n: budget(sparsity, w.data.size) for n, w in weights.items()}


@pytest.mark.parametrize(
    ("sparsity", "weights", "k"), [(0.3, 10, 3), (0.5, 3, 2), (0.1, 4, 0), (0.7, 10, 7)]
)
def test_the_budget_is_the_nearest_number(sparsity: float, weights: int, k: int) -> None:
    assert budget(sparsity, weights) == k


def test_one_to_one_layers_are_pruned_only_by_name() -> None:
    net = recurrent_net()
    assert pruned(net, sparsity=0.5)["self"].mask is None
    assert pruned(net, sparsity=0.5, layers=("self",))["self"].alive == 4


def test_patterns_choose_and_ignore() -> None:
    weights = pruned(conv_net(), sparsity=0.5, layers=("conv*", "fc1"), ignore=("conv1",))
    assert [n for n, w in weights.items() if w.mask is not None] == ["conv2", "fc1"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"layers": ("conf*",)},
            "prune.layers: 'conf*' matches no layer\n  next: did you mean 'conv3'?",
        ),
        (
            {"ignore": ("x",)},
            "prune.ignore: 'x' matches no layer\n  next: known: conv1, conv2, conv3, fc, shortcut",
        ),
        (
            {"layers": ("short*",)},
            "prune.layers: 'short*' matches no layer that 'prune' works on (shortcut: it is "
            "one-to-one)\n  next: spell a layer's name out to include it anyway",
        ),
    ],
)
def test_a_pattern_that_matches_nothing(options: dict[str, tuple[str, ...]], text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Prune(sparsity=0.5, **options).apply(residual_net(), CTX)  # type: ignore[arg-type]
    assert caught.value.code == "pattern-matches-nothing"
    assert str(caught.value) == text


@pytest.mark.parametrize("sparsity", [float("nan"), float("inf"), -0.1, 1, True, "0.5"])
def test_a_sparsity_out_of_range_is_refused(sparsity: float) -> None:
    with pytest.raises(RecipeError, match=r"prune\.sparsity: input should be"):
        Prune(sparsity=sparsity)


def test_ignoring_everything_is_refused() -> None:
    with pytest.raises(PassRefused) as caught:
        Prune(sparsity=0.5, ignore=("*",)).apply(conv_net(), CTX)
    assert caught.value.code == "nothing-to-prune"
    assert str(caught.value) == "prune.ignore: every layer that was chosen is also ignored"
