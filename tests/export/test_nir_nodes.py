"""What stands in the nodes that are written, number by number: what other readers than ours get."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from snndeploy.errors import InputError
from snndeploy.export.nir import nir_graph
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Conv, Dense, Pointwise, Reshape, SumPool
from tests.support.builders import inputs, lif, project

DT = 1e-3


def nodes_of(network: Network) -> tuple[dict[str, dict[str, Any]], set[tuple[str, str]]]:
    graph = nir_graph(network.verify())
    edges = {(a.decode(), b.decode()) for a, b in graph["edges"]}
    return graph["nodes"], edges


def delays(nodes: dict[str, dict[str, Any]]) -> dict[str, list[float]]:
    """Steps of every Delay node."""
    return {
        name: np.rint(node["delay"] / DT).tolist()
        for name, node in nodes.items()
        if node["type"] == "Delay"
    }


def looped(*, back: int = 1, out: int = 0) -> Network:
    """Two loops that have nothing in common: of a population with itself, and of two."""
    one = np.ones((2, 2))
    return Network(
        (inputs((2,)), lif("a", (2,)), lif("b", (2,)), lif("c", (2,), "output")),
        (
            project("in", "input", "a", Dense(2, 2), one),
            project("there", "a", "b", Dense(2, 2), one),
            project("back", "b", "a", Dense(2, 2), 2 * one, delay=back),
            project("out", "b", "c", Dense(2, 2), one, delay=out),
            project("self", "c", "c", Dense(2, 2), -one, delay=1),
        ),
    )


def test_a_loop_waits_a_step_by_itself() -> None:
    """No node says it; what leads on from a loop, or waits for longer, has one."""
    nodes, edges = nodes_of(looped())
    assert delays(nodes) == {}
    assert {("c", "self"), ("self", "c"), ("b", "back"), ("back", "a"), ("b", "out")} <= edges
    nodes, edges = nodes_of(looped(back=3, out=1))
    assert delays(nodes) == {"back_delay": [2, 2], "out_delay": [1, 1]}
    assert {("b", "back_delay"), ("back_delay", "back"), ("b", "out_delay")} <= edges
    assert ("b", "out") not in edges


def test_the_undelayed_side_of_a_loop_stays_undelayed() -> None:
    nodes, edges = nodes_of(looped(back=2))
    assert delays(nodes) == {"back_delay": [1, 1]}
    assert ("a", "there") in edges


def test_delays_of_each_neuron() -> None:
    network = Network(
        (inputs((2,)), lif("a", (2,), "output")),
        (project("in", "input", "a", Dense(2, 2), np.ones((2, 2)), delay=np.array([0, 4])),),
    )
    assert delays(nodes_of(network)[0]) == {"in_delay": [0, 4]}


def test_fields_of_a_convolution() -> None:
    op = Conv(4, 2, (3, 5), (2, 1), ((1, 1), (2, 2)), (1, 1), 2)
    weight = np.arange(4 * 1 * 3 * 5).reshape(4, 1, 3, 5) / 8
    network = Network(
        (inputs((2, 9, 6)), lif("a", (4, 5, 6), "output", bias=np.ones((4, 5, 6)) / 2)),
        (project("in", "input", "a", op, weight),),
    )
    node = nodes_of(network)[0]["in"]
    assert node["type"] == "Conv2d"
    told = {k: np.asarray(v).tolist() for k, v in node.items() if k not in ("type", "weight")}
    assert told == {
        "bias": [0.5] * 4,
        "input_shape": [9, 6],
        "stride": [2, 1],
        "padding": [1, 2],
        "dilation": [1, 1],
        "groups": 2,
    }
    np.testing.assert_array_equal(node["weight"], weight)


def test_fields_of_a_convolution_along_a_line() -> None:
    op = Conv(3, 2, (3,), (1,), ((1, 1),), (1,), 1)
    network = Network(
        (inputs((2, 7)), lif("a", (3, 7), "output")),
        (project("in", "input", "a", op, np.ones((3, 2, 3))),),
    )
    node = nodes_of(network)[0]["in"]
    assert (node["type"], node["input_shape"].tolist()) == ("Conv1d", 7)
    assert (node["bias"].tolist(), node["padding"].tolist()) == ([0, 0, 0], [1])


@pytest.mark.parametrize(
    ("before", "after", "dilation", "said"),
    [(1, 2, 1, True), (2, 1, 1, False), (0, 3, 1, False), (2, 4, 2, False), (3, 3, 2, True)],
)
def test_padding_that_is_said(before: int, after: int, dilation: int, *, said: bool) -> None:
    """An even kernel that keeps its size pads one more behind: that is what "same" means."""
    kernel = 4
    size = 9 + before + after - dilation * (kernel - 1)
    op = Conv(1, 1, (kernel,), (1,), ((before, after),), (dilation,), 1)
    network = Network(
        (inputs((1, 9)), lif("a", (1, size), "output")),
        (project("in", "input", "a", op, np.ones((1, 1, kernel))),),
    )
    if said:
        padding = np.asarray(nodes_of(network)[0]["in"]["padding"]).tolist()
        assert padding == ("same" if before != after else [before])
    else:
        with pytest.raises(InputError) as caught:
            nodes_of(network)
        assert caught.value.code == "export-nir"
        assert "is not symmetric" in caught.value.message


@pytest.mark.parametrize(
    ("pads", "told"),
    [
        (((1, 1), (0, 1)), "same"),  # what an odd and an even kernel need to keep the size
        (((1, 1), (1, 1)), [1, 1]),
        (((0, 1), (1, 1)), None),
        (((1, 1), (1, 0)), None),
    ],
)
def test_padding_along_two_lines(pads: tuple[tuple[int, int], ...], told: object) -> None:
    op = Conv(1, 1, (3, 2), (1, 1), pads, (1, 1), 1)
    shape = tuple(5 + sum(p) - k + 1 for p, k in zip(pads, op.kernel, strict=True))
    network = Network(
        (inputs((1, 5, 5)), lif("a", (1, *shape), "output")),
        (project("in", "input", "a", op, np.ones((1, 1, 3, 2))),),
    )
    if told is None:
        with pytest.raises(InputError, match="is not symmetric"):
            nodes_of(network)
    else:
        assert np.asarray(nodes_of(network)[0]["in"]["padding"]).tolist() == told


@pytest.mark.parametrize(("read", "kind"), [(False, "Output"), (True, "LI")])
def test_a_linear_answer_is_a_node_where_something_reads_it(*, read: bool, kind: str) -> None:
    one = np.ones((2, 2))
    back = [project("back", "o", "a", Dense(2, 2), one, delay=1)] if read else []
    network = Network(
        (inputs((2,)), lif("a", (2,)), lif("o", (2,), "output", threshold=None, leak=0.0)),
        (
            project("in", "input", "a", Dense(2, 2), one),
            project("out", "a", "o", Dense(2, 2), one),
            *back,
        ),
    )
    assert nodes_of(network)[0]["o"]["type"] == kind


def test_fields_of_pools_and_views() -> None:
    pool, view = SumPool((2, 3), (2, 1), (1, 0)), Reshape((2 * 4 * 2,))
    network = Network(
        (inputs((2, 6, 4)), lif("a", (3,), "output")),
        (project("in", "input", "a", [pool, view, Dense(3, 16)], np.ones((3, 16))),),
    )
    nodes, edges = nodes_of(network)
    assert nodes["in_SumPool2d"]["kernel_size"].tolist() == [2, 3]
    assert nodes["in_SumPool2d"]["stride"].tolist() == [2, 1]
    assert nodes["in_SumPool2d"]["padding"].tolist() == [1, 0]
    flatten = nodes["in_Flatten"]
    assert flatten["input_type"].tolist() == [2, 4, 2]
    assert (int(flatten["start_dim"]), int(flatten["end_dim"])) == (0, -1)
    row = ["input", "in_SumPool2d", "in_Flatten", "in", "a"]
    assert set(itertools.pairwise(row)) <= edges


def test_weights_of_one_are_an_edge_and_others_a_node() -> None:
    def single(weight: float) -> tuple[dict[str, Any], set[tuple[str, str]]]:
        op = Pointwise((3,), (1,))
        return nodes_of(
            Network(
                (inputs((3,)), lif("a", (3,), "output")),
                (project("in", "input", "a", op, np.full(1, weight)),),
            )
        )

    nodes, edges = single(1.0)
    assert set(nodes) == {"input", "a", "output"}
    assert ("input", "a") in edges
    nodes, edges = single(0.5)
    assert {("input", "in"), ("in", "a")} <= edges


def test_names_that_are_taken_and_slashes() -> None:
    network = Network(
        (inputs((2,), "x/y"), lif("x_y", (2,)), lif("output", (2,), "output")),
        (
            project("x_y", "x/y", "x_y", Dense(2, 2), np.eye(2)),
            project("out", "x_y", "output", Dense(2, 2), np.eye(2)),
        ),
    )
    nodes, edges = nodes_of(network)
    assert set(nodes) == {"x_y", "x_y_2", "x_y_3", "output", "output_2", "out"}
    assert {("x_y", "x_y_3"), ("x_y_3", "x_y_2"), ("output", "output_2")} <= edges


def test_a_population_that_nothing_hears_is_refused() -> None:
    network = Network(
        (inputs((2,)), lif("deaf", (2,)), lif("a", (2,), "output")),
        (
            project("in", "input", "a", Dense(2, 2), np.eye(2)),
            project("more", "input", "deaf", Dense(2, 2), np.eye(2)),
        ),
    )
    with pytest.raises(InputError) as caught:
        nodes_of(network)
    assert (caught.value.code, caught.value.where) == ("export-nir", "population deaf")


@pytest.mark.parametrize(
    ("fields", "kind", "told"),
    [
        (
            {"leak": 0.75, "drive": 0.5},
            "LIF",
            {"tau": 4 * DT, "r": 4, "v_leak": 2, "v_threshold": 3, "v_reset": 0},
        ),
        (
            {"leak": 0.75, "drive": 0.5, "syn_leak": 0.5},
            "CubaLIF",
            {
                "tau_mem": 4 * DT,
                "tau_syn": 2 * DT,
                "r": 4,
                "w_in": 2,
                "v_leak": 2,
                "v_threshold": 3,
                "v_reset": 0,
            },
        ),
        ({"leak": 1.0}, "IF", {"r": 1000, "v_threshold": 3, "v_reset": 0}),
        (
            {"leak": 0.5, "threshold": None, "syn_leak": 0.75},
            "CubaLI",
            {"tau_mem": 2 * DT, "tau_syn": 4 * DT, "r": 2, "w_in": 4, "v_leak": 0},
        ),
        ({"leak": 0.5, "threshold": None}, "LI", {"tau": 2 * DT, "r": 2, "v_leak": 0}),
        ({"leak": 1.0, "threshold": None}, "I", {"r": 1000}),
    ],
    ids=["LIF", "CubaLIF", "IF", "CubaLI", "LI", "I"],
)
def test_fields_of_neurons(fields: dict[str, Any], kind: str, told: dict[str, float]) -> None:
    network = Network(
        (inputs((2,)), lif("a", (2,), "output", **{"threshold": 3.0, **fields})),
        (project("in", "input", "a", Dense(2, 2), np.eye(2)),),
    )
    nodes, edges = nodes_of(network)
    node = nodes["a"]
    assert node["type"] == kind
    assert ("a", "output") in edges
    found = {k: v.tolist() for k, v in node.items() if k != "type"}
    assert found.keys() == told.keys()
    for name, value in told.items():
        np.testing.assert_allclose(found[name], [value] * 2, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"leak": np.array([0.5, 1.0])}, "some of its neurons leak and some do not"),
        ({"leak": 1.0, "syn_leak": 0.5}, "its synapse or membrane does not decay"),
        ({"leak": 0.5, "syn_leak": np.array([0.5, 1.0])}, "its synapse or membrane does not"),
    ],
)
def test_neurons_that_are_refused(fields: dict[str, Any], what: str) -> None:
    network = Network(
        (inputs((2,)), lif("a", (2,), "output", **fields)),
        (project("in", "input", "a", Dense(2, 2), np.eye(2)),),
    )
    with pytest.raises(InputError) as caught:
        nodes_of(network)
    assert caught.value.where == "population a"
    assert what in caught.value.message


def behind_a_pool(bias: np.ndarray[Any, Any], padding: int = 0, view: bool = True) -> Network:
    """A convolution of two channels, a pool of 2 x 3, and the bias behind it."""
    op = Conv(2, 1, (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    pool = SumPool((2, 3), (2, 3), (padding, 0))
    size = 2 * (2 + padding) * 2
    shape = (size,) if view else (2, 2 + padding, 2)
    ops = [op, pool, Reshape((size,))] if view else [op, pool]
    return Network(
        (inputs((1, 4, 6)), lif("a", shape, "output", leak=0.5, bias=bias.reshape(shape))),
        (project("in", "input", "a", ops, np.ones((2, 1, 1, 1))),),
    )


@pytest.mark.parametrize("view", [False, True])
def test_a_bias_behind_a_pool_is_that_of_its_window(*, view: bool) -> None:
    """Six values are added up, so each brings a sixth."""
    channels = np.repeat([3.0, -1.5], 4)
    nodes, _ = nodes_of(behind_a_pool(channels, view=view))
    np.testing.assert_allclose(nodes["in"]["bias"], [0.5, -0.25], rtol=1e-12)
    np.testing.assert_array_equal(nodes["a"]["v_leak"], np.zeros(nodes["a"]["v_leak"].shape))


def test_a_bias_that_no_kernel_says_is_one_of_the_neuron() -> None:
    """It differs within a channel, or windows at the border hold fewer values."""
    each = np.arange(8.0)
    nodes, _ = nodes_of(behind_a_pool(each))
    np.testing.assert_array_equal(nodes["in"]["bias"], [0, 0])
    np.testing.assert_allclose(nodes["a"]["v_leak"], 2 * each, rtol=1e-12)
    border = np.repeat([3.0, -1.5], 6)
    nodes, _ = nodes_of(behind_a_pool(border, padding=1))
    np.testing.assert_array_equal(nodes["in"]["bias"], [0, 0])
    np.testing.assert_allclose(nodes["a"]["v_leak"], 2 * border, rtol=1e-12)


def test_a_bias_is_said_once() -> None:
    """By the first projection that comes at once."""
    network = Network(
        (inputs((2,)), lif("a", (2,), "output", bias=np.array([0.5, 0.25]))),
        (
            project("late", "input", "a", Dense(2, 2), np.eye(2), delay=1),
            project("one", "input", "a", Dense(2, 2), np.eye(2)),
            project("two", "input", "a", Dense(2, 2), np.eye(2)),
        ),
    )
    nodes, _ = nodes_of(network)
    assert [nodes[n]["type"] for n in ("late", "one", "two")] == ["Linear", "Affine", "Linear"]
    assert nodes["one"]["bias"].tolist() == [0.5, 0.25]


@pytest.mark.parametrize("shape", [(3,), (1, 3)])
def test_a_bias_that_nothing_carries_comes_from_an_input_times_zero(shape: tuple[int, ...]) -> None:
    """A current that decays has no v_leak: a branch brings it, flat, from an input of any shape."""
    bias = np.array([0.5, 0.0, -1.0])
    view = [Reshape((3,))] if len(shape) > 1 else []
    op = Pointwise((3,), (1,)) if not view else Dense(3, 3)
    weight = np.full(1, 0.5) if not view else np.eye(3)
    network = Network(
        (inputs(shape), lif("a", (3,), "output", leak=0.5, syn_leak=0.5, bias=bias)),
        (project("in", "input", "a", [*view, op], weight, delay=1),),
    )
    nodes, edges = nodes_of(network)
    assert nodes["a_nothing"]["weight"].tolist() == [[0.0] * 3]
    assert nodes["a_bias"]["weight"].tolist() == [[0.0]] * 3
    assert nodes["a_bias"]["bias"].tolist() == bias.tolist()
    row = ["input", *(["a_bias_Flatten"] if view else []), "a_nothing", "a_bias", "a"]
    assert set(itertools.pairwise(row)) <= edges
    assert ("a_bias_Flatten" in nodes) is bool(view)
