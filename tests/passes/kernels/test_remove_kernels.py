"""remove-kernels: what is coupled, that arrays really shrink, and who stays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snndeploy.errors import PassRefused, RecipeError, SnnDeployError
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Conv, Dense
from snndeploy.ir.weights import Weight
from snndeploy.passes.base import PassContext
from snndeploy.passes.kernels.coupling import connected, coupling, survivors
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.passes.kernels.slicing import shrink
from snndeploy.passes.metrics import measure
from tests.support.builders import (
    ZOO,
    chain_net,
    conv,
    conv_net,
    grouped_net,
    inputs,
    lif,
    project,
    recurrent_net,
    reshape_net,
    residual_net,
    sum_net,
    weights,
)
from tests.support.removal import group_of

CTX = PassContext()


def shapes(net: Network) -> dict[str, tuple[int, ...]]:
    return {p.name: p.shape for p in net.populations}


def weight_of(net: Network, name: str) -> Array:
    return next(p for p in net.projections if p.name == name).weight.data


# --- coupling ---------------------------------------------------------------------------------


def test_a_chain_has_one_group_per_population() -> None:
    groups = coupling(conv_net())
    assert [g.populations for g in groups] == [("input",), ("s1",), ("s2",), ("s3",), ("output",)]
    assert [g.count for g in groups] == [2, 4, 6, 10, 5]
    assert [bool(g.fixed) for g in groups] == [True, False, False, False, True]
    assert groups[1].incoming == ("conv1",)
    assert groups[1].outgoing == ("conv2",)


def test_shortcut_and_sum_couple_their_populations() -> None:
    group = group_of(residual_net(), "a")
    assert group.populations == ("a", "b")
    assert group.count == 4
    assert group.incoming == ("conv1", "conv2", "shortcut")
    assert group.outgoing == ("conv2", "shortcut", "conv3")


def test_a_sum_alone_couples_its_sources() -> None:
    group = group_of(sum_net(), "b")
    assert group.populations == ("a", "b")
    assert group.count == 4
    assert group.incoming == ("left", "right")


def test_groups_of_a_convolution_go_whole() -> None:
    group = group_of(grouped_net(), "a")
    # dw ties 2 outputs to each input; gr ties 4 of those (2 inputs of dw) to 3 outputs; the
    # one-to-one wire behind a flatten ties each of these to its 25 neurons.
    assert group.populations == ("a", "b", "c", "d")
    assert group.count == 2
    assert group.units["a"].tolist() == [0, 0, 1, 1]
    assert group.units["b"].tolist() == [0] * 4 + [1] * 4
    assert group.units["d"].tolist() == [0] * 75 + [1] * 75


def test_a_reshape_gathers_neurons_into_channels() -> None:
    net = reshape_net()
    assert group_of(net, "a").count == 4
    assert np.array_equal(group_of(net, "a").units["a"], np.repeat(np.arange(4), 9))
    assert np.array_equal(group_of(net, "b").units["b"], np.repeat(np.arange(5), 4))


def test_a_group_prints_what_it_holds() -> None:
    group = group_of(residual_net(), "a").keep([0, 2, 3])
    assert str(group) == (
        "group a + b: keeps 3 of 4\n"
        "  in:  conv1, conv2, shortcut\n"
        "  out: conv2, shortcut, conv3\n"
        "  a: 0, 2-3\n"
        "  b: 0, 2-3"
    )
    assert str(group_of(residual_net(), "output")) == (
        "group output: fixed, output is an output of the network\n  in:  fc\n  out: nothing"
    )


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(
            st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))
        )
    )
)
@settings(deadline=None)
def test_connected_components_match_networkx(graph: tuple[int, list[tuple[int, int]]]) -> None:
    import networkx as nx

    count, edges = graph
    reference = nx.Graph(edges)
    reference.add_nodes_from(range(count))
    a, b = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    label = connected(count, a, b)
    for component in nx.connected_components(reference):
        assert {int(label[n]) for n in component} == {min(component)}


@pytest.mark.parametrize("factory", ZOO)
def test_survivors_are_the_units_that_were_kept(factory: Callable[[int], Network]) -> None:
    """Also after two removals: the indices that a population remembers are those of the first."""
    net = factory(0)
    groups = [g for g in coupling(net) if not g.fixed]
    kept = [g.keep(np.arange(g.count)[g.count // 3 :]) for g in groups]
    once = shrink(net, kept)
    found = {g.populations[0]: g.kept.tolist() for g in survivors(net, once)}
    assert all(found[g.populations[0]] == g.kept.tolist() for g in kept)
    assert all(len(g.kept) == g.count for g in survivors(net, net))
    again = [g.keep([g.count - 1]) for g in coupling(once) if not g.fixed]
    twice = shrink(once, again)
    for g in again:
        name = g.populations[0]
        first = next(k for k in survivors(net, twice) if name in k.units)
        assert first.kept.tolist() == [group_of(net, name).count - 1]
        then = next(k for k in survivors(once, twice) if name in k.units)
        assert then.kept.tolist() == [g.count - 1]


# --- shrinking --------------------------------------------------------------------------------


def test_arrays_really_shrink_through_pool_flatten_and_dense() -> None:
    net = conv_net()
    small = shrink(net, [group_of(net, "s1").keep([1, 3]), group_of(net, "s2").keep([0, 2, 5])])
    small.verify()
    assert shapes(small) == {
        "input": (2, 8, 8),
        "s1": (2, 8, 8),
        "s2": (3, 4, 4),
        "s3": (10,),
        "output": (5,),
    }
    assert np.array_equal(weight_of(small, "conv1"), weight_of(net, "conv1")[[1, 3]])
    kept = weight_of(net, "conv2")[np.ix_([0, 2, 5], [1, 3])]
    assert np.array_equal(weight_of(small, "conv2"), kept)
    columns = np.arange(24).reshape(6, 4)[[0, 2, 5]].reshape(-1)
    assert np.array_equal(weight_of(small, "fc1"), weight_of(net, "fc1")[:, columns])
    assert weight_of(small, "fc2") is not None
    s1, old = small.population("s1").neuron, net.population("s1").neuron
    assert s1 is not None
    assert old is not None
    assert np.array_equal(s1.bias, old.bias[[1, 3]])
    assert s1.threshold is not None
    assert s1.threshold.reshape(-1).tolist() == [1.25, 1.75]
    bias = next(p for p in small.projections if p.name == "conv2").bias
    assert bias is not None
    assert bias.shape == (3, 1, 1)


def test_recurrence_shrinks_on_both_sides_with_its_delays() -> None:
    net = recurrent_net()
    keep = [0, 4, 5]
    small = shrink(net, [group_of(net, "h").keep(keep)])
    small.verify()
    assert np.array_equal(weight_of(small, "loop"), weight_of(net, "loop")[np.ix_(keep, keep)])
    assert np.array_equal(weight_of(small, "self"), weight_of(net, "self")[keep])
    before = next(p for p in net.projections if p.name == "fc_out").sources[0].delay
    after = next(p for p in small.projections if p.name == "fc_out").sources[0].delay
    assert np.array_equal(np.broadcast_to(after, (3,)), before[keep])


def test_a_single_remaining_group_is_an_ordinary_convolution() -> None:
    net = grouped_net()
    small = shrink(net, [group_of(net, "a").keep([1])])
    small.verify()
    ops = {p.name: p.op for p in small.projections}
    assert isinstance(ops["dw"], Conv)
    assert isinstance(ops["gr"], Conv)
    assert (ops["dw"].in_channels, ops["dw"].out_channels, ops["dw"].groups) == (2, 4, 2)
    assert (ops["gr"].in_channels, ops["gr"].out_channels, ops["gr"].groups) == (4, 3, 1)
    assert ops["fc"] == Dense(3, 75)


def test_one_dimensional_convolutions() -> None:
    rng = np.random.default_rng(0)
    a = Conv(4, 2, (3,), (1,), ((1, 1),), (1,))
    b = Conv(2, 4, (3,), (2,), ((0, 0),), (1,))
    net = Network(
        (inputs((2, 9)), lif("a", (4, 9)), lif("output", (2, 4), "output")),
        (
            project("conv1", "input", "a", a, weights(rng, a.weight_shape)),
            project("conv2", "a", "output", b, weights(rng, b.weight_shape)),
        ),
    ).verify()
    small = shrink(net, [group_of(net, "a").keep([1, 2, 3])]).verify()
    assert shapes(small)["a"] == (3, 9)
    assert np.array_equal(weight_of(small, "conv2"), weight_of(net, "conv2")[:, 1:])


def test_prune_masks_are_cut_along() -> None:
    net = conv_net()
    masked = net.map_projections(
        lambda p: dataclasses.replace(p, weight=Weight(p.weight.data, mask=p.weight.data > 0))
    )
    small = shrink(masked, [group_of(net, "s1").keep([0])])
    for p in small.projections:
        assert np.array_equal(p.weight.mask, p.weight.data > 0)  # type: ignore[arg-type]


# --- the pass ---------------------------------------------------------------------------------


def test_the_smallest_kernels_go() -> None:
    net = conv_net()
    norm = np.abs(weight_of(net, "conv1")).sum(axis=(1, 2, 3))
    result = RemoveKernels(ratio=0.5, layers=("conv1",)).apply(net, CTX)
    keep = np.sort(np.argsort(norm, kind="stable")[2:])
    assert result.modified
    assert np.array_equal(weight_of(result.network, "conv1"), weight_of(net, "conv1")[keep])
    assert result.metrics["conv1"]["units"] == 4
    assert result.metrics["conv1"]["kept"] == 2
    assert result.metrics["conv1"]["score_kept"] == pytest.approx(norm[keep].sum() / norm.sum())
    assert shapes(result.network)["s2"] == (6, 4, 4)


def test_equal_scores_lose_the_lower_index_first() -> None:
    net = chain_net([np.ones((4, 3)), np.arange(8.0).reshape(2, 4)])
    result = RemoveKernels(ratio=0.5, kinds=("dense",)).apply(net, CTX)
    assert np.array_equal(weight_of(result.network, "fc2"), [[2.0, 3.0], [6.0, 7.0]])


def test_coupled_scores_add_up_and_are_reported() -> None:
    net = residual_net()
    score = sum(np.abs(weight_of(net, n)).sum(axis=(1, 2, 3)) for n in ("conv1", "conv2"))
    result = RemoveKernels(keep={"conv2": 3}).apply(net, CTX)
    lost = int(np.argmin(score))
    kept = [i for i in range(4) if i != lost]
    assert np.array_equal(weight_of(result.network, "conv1"), weight_of(net, "conv1")[kept])
    assert shapes(result.network)["a"] == shapes(result.network)["b"] == (3, 6, 6)
    (finding,) = result.findings
    assert (finding.code, finding.where) == ("kernels-coupled", "a, b")


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"ratio": 0.0}, 6),
        ({"ratio": 0.25}, 4),
        ({"ratio": 0.3}, 4),
        ({"ratio": 0.99}, 1),
        ({"ratio": 0.5, "round_to": 2}, 4),
        ({"ratio": 0.5, "round_to": 4}, 4),
        ({"ratio": 0.5, "round_to": 16}, 6),
        ({"ratio": 0.9, "keep": {"conv2": 5}}, 5),
    ],
)
def test_how_many_stay(options: dict[str, object], kept: int) -> None:
    result = RemoveKernels(layers=("conv2",), **options).apply(conv_net(), CTX)  # type: ignore[arg-type]
    assert shapes(result.network)["s2"] == (kept, 4, 4)
    assert result.modified == (kept < 6)


@given(st.sampled_from(ZOO), st.integers(0, 50), st.floats(0, 0.999), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_any_ratio_leaves_a_valid_network(factory, seed, ratio, round_to) -> None:  # type: ignore[no-untyped-def]
    net = factory(seed)
    step = RemoveKernels(ratio=ratio, round_to=round_to, kinds=("conv", "dense"))
    small = step.apply(net, CTX).network
    assert measure(small).total("synapses") <= measure(net).total("synapses")
    assert [p.shape for p in small.with_role("output")] == [
        p.shape for p in net.with_role("output")
    ]


def test_wildcards_take_only_the_given_kinds_and_skip_fixed_layers() -> None:
    net = conv_net()
    small = RemoveKernels(ratio=0.5).apply(net, CTX).network
    assert shapes(small)["s3"] == (10,)
    small = RemoveKernels(ratio=0.5, kinds=("dense",), layers=("fc*",)).apply(net, CTX).network
    assert shapes(small)["s3"] == (5,)
    assert shapes(small)["s1"] == (4, 8, 8)
    assert shapes(small)["output"] == (5,)


def test_ignoring_one_layer_spares_everything_coupled_to_it() -> None:
    small = RemoveKernels(ratio=0.5, ignore=("shortcut",)).apply(residual_net(), CTX).network
    assert shapes(small)["a"] == shapes(small)["b"] == (4, 6, 6)
    assert shapes(small)["c"] == (1, 6, 6)  # half of 3, the half rounded up


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "none of ratio, keep, variance, cores is given"),
        ({"ratio": 0.2, "round_to": 8}, "ratio = 0.2, rounded up to multiples of 8"),
        ({"keep": {"conv1": 4, "conv2": 6}}, "keep = {'conv1': 4, 'conv2': 6}"),
    ],
)
def test_a_pass_that_removes_nothing_says_so(options: dict[str, object], why: str) -> None:
    result = RemoveKernels(**options).apply(conv_net(), CTX)  # type: ignore[arg-type]
    assert not result.modified
    (finding,) = result.findings
    assert (finding.code, finding.where) == ("kernels-kept", "s1, s2")
    assert finding.message == f"no kernel was removed: {why}"
    assert RemoveKernels(ratio=0.5).apply(conv_net(), CTX).findings == ()


# --- refusals ---------------------------------------------------------------------------------


def refusal(step: RemoveKernels, net: Network) -> SnnDeployError:
    with pytest.raises((PassRefused, RecipeError)) as caught:
        step.apply(net, CTX)
    return caught.value


def test_naming_a_fixed_layer_is_refused() -> None:
    error = refusal(RemoveKernels(ratio=0.5, layers=("fc2",)), conv_net())
    assert error.code == "kernels-fixed"
    assert str(error) == (
        "fc2: its kernels cannot be removed: output is an output of the network, which keeps its "
        "shape\n  next: leave it out of remove-kernels.layers"
    )


def test_a_layer_tied_to_the_input_is_fixed() -> None:
    rng = np.random.default_rng(0)
    op = conv(2, 4, groups=2)
    net = Network(
        (inputs((2, 4, 4)), lif("a", (4, 4, 4)), lif("output", (4, 4, 4), "output")),
        (
            project("dw", "input", "a", op, weights(rng, op.weight_shape)),
            project("out", "a", "output", conv(4, 4), weights(rng, (4, 4, 3, 3))),
        ),
    ).verify()
    error = refusal(RemoveKernels(ratio=0.5, layers=("dw",)), net)
    assert str(error).startswith(
        "dw: its kernels cannot be removed: input is an input of the network"
    )


def test_nothing_left_to_remove_is_refused() -> None:
    error = refusal(RemoveKernels(ratio=0.5, ignore=("conv1", "conv2")), conv_net())
    assert error.code == "nothing-to-remove"
    assert str(error) == (
        "remove-kernels.ignore: every group of layers that was chosen is also ignored"
    )


def test_a_network_without_convolutions_is_an_unmatched_pattern() -> None:
    error = refusal(RemoveKernels(ratio=0.5), chain_net([np.ones((2, 2)), np.ones((2, 2))]))
    assert error.code == "pattern-matches-nothing"
    assert str(error) == (
        "remove-kernels.layers: '*' matches no layer that 'remove-kernels' works on "
        "(fc1: it is dense; fc2: it is dense)\n"
        "  next: spell a layer's name out to include it anyway"
    )


def test_keeping_more_than_there_is_is_refused() -> None:
    error = refusal(RemoveKernels(keep={"conv1": 5}), conv_net())
    assert error.code == "keep-too-many"
    assert str(error) == (
        "conv1: it has 4 kernels, 5 are to stay\n  next: lower remove-kernels.keep for 'conv1'"
    )


def test_a_bias_must_not_start_earlier() -> None:
    net = recurrent_net()
    delay = np.array([2, 1, 1, 1, 1, 1, 1, 1])
    late = net.map_projections(
        lambda p: (
            p
            if p.name != "fc_out"
            else project(p.name, "h", "output", p.op, p.weight, delay=delay, bias=np.ones(3))
        )
    )
    group = group_of(late, "h")
    shrink(late, [group.keep([0, 1])]).verify()
    with pytest.raises(PassRefused) as caught:
        shrink(late, [group.keep([1, 2])])
    assert caught.value.code == "bias-earlier"
    assert str(caught.value) == (
        "fc_out: without those kernels its bias would arrive after 1 steps instead of 2\n"
        "  next: spare the layers that feed h by ignore"
    )


def test_coupled_layers_cannot_keep_different_numbers() -> None:
    error = refusal(RemoveKernels(keep={"conv1": 2, "conv2": 3}), residual_net())
    assert error.code == "keep-conflict"
    assert str(error) == (
        "remove-kernels.keep: 2 and 3 kernels are to stay in layers that shrink together: "
        "conv1, conv2, shortcut"
    )
