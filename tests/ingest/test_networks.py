"""From graphs to networks: whatever the wiring, the same spikes as stepping the graph."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import nir
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from snndeploy.errors import InputError
from snndeploy.ingest import read_network
from snndeploy.ingest.normal_form.loops import closing_links
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Conv, Dense, Pointwise, Reshape, SumPool
from snndeploy.simulate.float.engine import run_float
from tests.support.nir_graphs import chain, conv2d, cuba, full, graph, lif

DT = 1e-3


def read(model: Any, **options: Any) -> Network:
    return read_network(model, **{"frontend": "nir", "dt": DT, **options})


def applied(node: Any, x: torch.Tensor) -> torch.Tensor:
    """A linear NIR node in torch, for a batch."""
    kind = type(node).__name__
    field = lambda name: torch.tensor(np.asarray(getattr(node, name)), dtype=torch.float64)  # noqa: E731
    if kind in ("Affine", "Linear"):
        return functional.linear(x, field("weight"), field("bias") if kind == "Affine" else None)
    if kind == "Scale":
        return x * field("scale")
    if kind in ("Conv1d", "Conv2d"):
        convolve = functional.conv1d if kind == "Conv1d" else functional.conv2d
        return convolve(
            x, field("weight"), field("bias"), node.stride, node.padding, node.dilation, node.groups
        )
    if kind in ("SumPool2d", "AvgPool2d"):
        kernel, stride, padding = (
            tuple(np.broadcast_to(np.asarray(v), 2).tolist())
            for v in (node.kernel_size, node.stride, node.padding)
        )
        padded = functional.pad(x, (padding[1],) * 2 + (padding[0],) * 2)
        pooled = functional.avg_pool2d(padded, kernel, stride)
        return pooled * (kernel[0] * kernel[1] if kind == "SumPool2d" else 1)
    return torch.flatten(x, node.start_dim + 1, node.end_dim)


def linear_output(model: nir.NIRGraph, x: Array) -> Array:
    """What a chain of linear nodes makes of ``x`` (samples, *shape)."""
    value = torch.tensor(x, dtype=torch.float64)
    for name, node in model.nodes.items():
        if name not in ("input", "output"):
            value = applied(node, value)
    return value.numpy()


def assert_chain(model: nir.NIRGraph, shape: tuple[int, ...], **options: Any) -> Network:
    """A purely linear graph becomes one readout projection that computes the same, bias included."""
    network = read(model, **options)
    x = np.random.default_rng(0).normal(size=(2, 3, *shape))
    run = run_float(network, x, dtype="float64")
    want = linear_output(model, x.reshape(6, *shape))
    np.testing.assert_allclose(run.spikes["output"].reshape(want.shape), want, rtol=1e-9, atol=1e-9)
    assert len(network.projections) == 1
    return network


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def pool(kind: str, **fields: Any) -> Any:
    values = {"kernel_size": 2, "stride": 2, "padding": 0, **fields}
    return getattr(nir, kind)(**{k: np.array(v) for k, v in values.items()})


def flatten(start: int = 0, end: int = -1) -> nir.Flatten:
    return nir.Flatten({"input": None}, start, end)


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], Any]] = {
    "plain": ((2, 7, 6), conv2d(normal(3, 2, 3, 3), normal(3))),
    "not square": ((2, 7, 9), conv2d(normal(3, 2, 3, 5), stride=(2, 1), padding=(0, 2))),
    "dilated": ((2, 9, 9), conv2d(normal(3, 2, 3, 3), dilation=(2, 3), padding=1)),
    "grouped": ((4, 6, 6), conv2d(normal(6, 2, 3, 3), normal(6), groups=2)),
    "depthwise": ((4, 6, 6), conv2d(normal(4, 1, 3, 3), groups=4, padding=1)),
    "same, odd": ((2, 6, 5), conv2d(normal(3, 2, 3, 5), padding="same")),
    "same, even": ((2, 6, 5), conv2d(normal(3, 2, 4, 2), padding="same")),
    "same, dilated": ((2, 6, 7), conv2d(normal(3, 2, 2, 3), padding="same", dilation=(3, 2))),
    "valid": ((2, 6, 5), conv2d(normal(3, 2, 3, 3), padding="valid", stride=2)),
    "one axis": ((3, 11), nir.Conv1d(None, normal(4, 3, 3), 2, 1, 1, 1, normal(4))),
    "one axis, same": ((3, 11), nir.Conv1d(None, normal(4, 3, 4), 1, "same", 1, 1, normal(4))),
    "one axis, dilated": ((4, 12), nir.Conv1d(None, normal(4, 2, 3), 1, 0, 2, 2, normal(4))),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case: str) -> None:
    shape, node = CONVOLUTIONS[case]
    network = assert_chain(chain(shape, node), shape)
    assert isinstance(network.projections[0].op, Conv)


CHAINS: dict[str, tuple[tuple[int, ...], list[Any], list[type]]] = {
    "nothing but a connection": ((4,), [], [Pointwise]),
    "affine": ((4,), [nir.Affine(normal(3, 4), normal(3))], [Dense]),
    "scale": ((4,), [nir.Scale(normal(4))], [Pointwise]),
    "scale by one number": ((2, 4, 4), [nir.Scale(np.full((2, 4, 4), 3.0))], [Pointwise]),
    "scale by one": ((4,), [nir.Scale(np.ones(4)), nir.Linear(normal(3, 4))], [Dense]),
    "sum pool": ((2, 6, 4), [pool("SumPool2d")], [SumPool, Pointwise]),
    "average pool": ((2, 6, 4), [pool("AvgPool2d")], [SumPool, Pointwise]),
    "pool, padded": (
        (2, 6, 4),
        [pool("AvgPool2d", kernel_size=3, padding=[1, 0])],
        [SumPool, Pointwise],
    ),
    "pool, conv": (
        (2, 6, 6),
        [pool("AvgPool2d"), conv2d(normal(3, 2, 3, 3), normal(3))],
        [SumPool, Conv],
    ),
    "conv, pool": (
        (2, 6, 6),
        [conv2d(normal(3, 2, 3, 3), normal(3)), pool("AvgPool2d")],
        [Conv, SumPool],
    ),
    "conv, pool, flatten, affine, scale": (
        (2, 6, 6),
        [pool("AvgPool2d"), flatten(), nir.Affine(normal(5, 18), normal(5)), nir.Scale(normal(5))],
        [SumPool, Reshape, Dense],
    ),
    "scale, conv": (
        (4, 6, 6),
        [
            nir.Scale(np.broadcast_to(normal(4, 1, 1), (4, 6, 6)).copy()),
            conv2d(normal(4, 2, 3, 3), groups=2, padding=1),
        ],
        [Conv],
    ),
    "conv, scale": (
        (2, 6, 6),
        [
            conv2d(normal(3, 2, 3, 3), normal(3), padding=1),
            nir.Scale(np.broadcast_to(normal(3, 1, 1), (3, 6, 6)).copy()),
        ],
        [Conv],
    ),
    "scale, pool, conv": (
        (2, 6, 6),
        [
            nir.Scale(np.broadcast_to(normal(2, 1, 1), (2, 6, 6)).copy()),
            pool("SumPool2d"),
            conv2d(normal(3, 2, 2, 2)),
        ],
        [SumPool, Conv],
    ),
    "conv, pool, scale": (
        (2, 6, 6),
        [
            conv2d(normal(3, 2, 3, 3)),
            pool("SumPool2d"),
            nir.Scale(np.broadcast_to(normal(3, 1, 1), (3, 2, 2)).copy()),
        ],
        [Conv, SumPool],
    ),
    "scale, flatten, linear": (
        (2, 3, 3),
        [nir.Scale(normal(2, 3, 3)), flatten(), nir.Linear(normal(4, 18))],
        [Reshape, Dense],
    ),
    "two scales": ((4,), [nir.Scale(normal(4)), nir.Scale(normal(4, seed=1))], [Pointwise]),
    "two affines": (
        (4,),
        [nir.Affine(normal(3, 4), normal(3)), nir.Affine(normal(5, 3), normal(5))],
        [Dense],
    ),
    "scale each, pool": (
        (2, 4, 4),
        [nir.Scale(normal(2, 4, 4)), pool("SumPool2d")],
        [Pointwise, SumPool],
    ),
    "scale each, pool, conv: unrolled": (
        (2, 4, 4),
        [nir.Scale(normal(2, 4, 4)), pool("SumPool2d"), conv2d(normal(3, 2, 2, 2))],
        [Reshape, Dense, Reshape],
    ),
    "two convolutions: unrolled": (
        (2, 6, 6),
        [conv2d(normal(3, 2, 3, 3), normal(3)), conv2d(normal(2, 3, 3, 3), normal(2))],
        [Reshape, Dense, Reshape],
    ),
    "a middle too wide for all inputs at once: unrolled": (
        (2, 17, 17),
        [
            conv2d(normal(32, 2, 3, 3), normal(32), padding=1),
            conv2d(normal(1, 32, 9, 9), normal(1), stride=8),
        ],
        [Reshape, Dense, Reshape],
    ),
    "conv, affine: unrolled": (
        (2, 5, 5),
        [conv2d(normal(3, 2, 3, 3), normal(3)), flatten(), nir.Affine(normal(4, 27), normal(4))],
        [Reshape, Dense],
    ),
    "partly flattened": ((2, 3, 4), [flatten(1)], [Reshape, Pointwise]),
    "flatten of one axis": ((4,), [flatten(), nir.Linear(normal(3, 4))], [Dense]),
}


@pytest.mark.parametrize("case", CHAINS)
def test_chains_fold_to_one_weight(case: str) -> None:
    shape, nodes, kinds = CHAINS[case]
    network = assert_chain(chain(shape, *nodes), shape)
    assert [type(op) for op in network.projections[0].ops] == kinds


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_chains(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    shape: tuple[int, ...] = (2 * data.draw(st.integers(1, 2)), 8, data.draw(st.integers(7, 9)))
    nodes: list[Any] = []
    at = shape
    for kind in data.draw(st.lists(st.sampled_from(["conv", "avg", "sum", "scale"]), max_size=3)):
        if kind == "conv":
            groups = data.draw(st.sampled_from([1, 2]))
            kernel = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
            options = {
                "stride": data.draw(st.integers(1, 2)),
                "padding": data.draw(st.integers(0, 1)),
                "groups": groups,
            }
            nodes.append(
                conv2d(
                    rng.normal(size=(4, at[0] // groups, *kernel)), rng.normal(size=4), **options
                )
            )
        elif kind == "scale":
            nodes.append(nir.Scale(np.broadcast_to(rng.normal(size=(at[0], 1, 1)), at).copy()))
        else:
            kernel = data.draw(st.integers(1, 2))
            nodes.append(
                pool(
                    "AvgPool2d" if kind == "avg" else "SumPool2d",
                    kernel_size=kernel,
                    stride=data.draw(st.integers(1, 2)),
                )
            )
        with torch.no_grad():
            at = tuple(applied(nodes[-1], torch.zeros(1, *at, dtype=torch.float64)).shape[1:])
        if min(at[1:]) < 4:
            break
    if data.draw(st.booleans()):
        nodes += [flatten(), nir.Affine(rng.normal(size=(3, int(np.prod(at)))), rng.normal(size=3))]
    assert_chain(chain(shape, *nodes), shape)


def test_a_connection_of_very_many_sources_has_a_short_name() -> None:
    """A residual network that adds up what all its blocks emit has dozens of them."""
    middle = [f"block.{i}.neurons" for i in range(60)]
    edges = [("input", name) for name in middle] + [(name, "w") for name in middle]
    edges += [("w", "one"), ("w", "other"), ("one", "output"), ("other", "output")]
    nodes = {name: lif(3) for name in (*middle, "one", "other")}
    network = read(graph({**nodes, "w": nir.Linear(normal(3, 3))}, edges, 3))
    told = {p.name: len(p.sources) for p in network.projections if len(p.sources) > 1}
    ends = "w(block.0.neurons+...+block.59.neurons->"
    assert told == {f"{ends}one)": 60, f"{ends}other)": 60}


def test_weights_are_left_alone() -> None:
    """No gain, no factor: the very same bits, in the same dtype."""
    weight = normal(3, 4).astype(np.float32)
    projection = read(chain(4, nir.Linear(weight), lif(3), names=("fc", "lif"))).projections[0]
    assert projection.weight.data.dtype == np.float32
    np.testing.assert_array_equal(projection.weight.data, weight)
    assert projection.name == "fc"


def test_a_factor_keeps_the_dtype() -> None:
    model = chain((1, 4, 4), pool("AvgPool2d"), conv2d(normal(2, 1, 2, 2).astype(np.float32)))
    weight = read(model).projections[0].weight.data
    assert weight.dtype == np.float32
    np.testing.assert_array_equal(weight, model.nodes["n1"].weight / 4)


def test_whole_numbers_become_floats() -> None:
    model = chain(2, nir.Linear(np.array([[1, 2], [3, 4]])))
    assert read(model).projections[0].weight.data.dtype == np.float32


def stepped(
    model: nir.NIRGraph, x: Array, delayed: Collection[tuple[str, str]] = ()
) -> dict[str, Array]:
    """Step a graph of LIF and linear nodes by node, Euler, in the order of ``model.nodes``.

    Edges in ``delayed`` carry the value of the step before.
    """
    state = {
        n: np.zeros(node.v_threshold.shape)
        for n, node in model.nodes.items()
        if isinstance(node, nir.LIF)
    }
    value: dict[str, Array] = {}
    trains: dict[str, list[Array]] = {name: [] for name in state}
    for now in x:
        before, value = value, {"input": now}
        for name, node in model.nodes.items():
            if name == "input":
                continue
            arriving = [
                before.get(a) if (a, b) in delayed else value[a]
                for a, b in model.edges
                if b == name
            ]
            total = sum(v for v in arriving if v is not None)
            if isinstance(node, nir.LIF):
                v = state[name] + DT / node.tau * (node.v_leak - state[name] + node.r * total)
                fired = v > node.v_threshold
                state[name] = np.where(fired, node.v_reset, v)
                value[name] = fired.astype(float)
                trains[name].append(value[name])
            elif name == "output":
                value[name] = np.asarray(total)
            elif np.ndim(total) == 0:
                value[name] = applied(node, torch.zeros(1, node.weight.shape[1]).double())[
                    0
                ].numpy()
            else:
                value[name] = applied(node, torch.tensor(np.asarray(total))[None])[0].numpy()
    return {name: np.stack(train) for name, train in trains.items()}


def assert_stepped(model: nir.NIRGraph, shape: tuple[int, ...], **options: Any) -> Network:
    x = (np.random.default_rng(3).random((40, *shape)) < 0.5).astype(float)
    want = stepped(model, x, options.pop("delayed", ()))
    network = read(model, **options)
    run = run_float(network, x[:, None], dtype="float64")
    assert want
    for name, train in want.items():
        np.testing.assert_array_equal(run.spikes[name][:, 0], train, err_msg=name)
        assert train.any(), f"{name} is silent: the test shows nothing"
    return network


def test_affine_network_with_leak_and_reset_values() -> None:
    neuron = {"v_leak": 0.3, "v_reset": -0.2, "r": 6.0}
    model = chain(
        6,
        nir.Affine(normal(8, 6), normal(8)),
        lif(8, **neuron, tau=np.linspace(5e-3, 2e-2, 8)),
        nir.Affine(normal(4, 8), normal(4)),
        lif(4, **neuron),
        names=("f", "a", "g", "b"),
    )
    # v starts at 0, which is 0.2 above the reset: the shifted network starts there, too
    network = assert_stepped(model, (6,))
    assert "input gain" in network.notes["normalised"]


def test_residual_sum_before_a_convolution() -> None:
    """Spikes added before a convolution: one projection with two sources, its weight stored once."""
    shape = (2, 5, 5)
    nodes = {
        "c1": conv2d(normal(2, 2, 3, 3), padding=1),
        "a": lif(shape),
        "c2": conv2d(normal(2, 2, 3, 3, seed=1), padding=1),
        "b": lif(shape),
        "c3": conv2d(normal(2, 2, 3, 3, seed=2), normal(2), padding=1),
        "c": lif(shape),
    }
    edges = [
        ("input", "c1"),
        ("c1", "a"),
        ("a", "c2"),
        ("c2", "b"),
        ("a", "c3"),
        ("b", "c3"),
        ("c3", "c"),
        ("c", "output"),
    ]
    network = assert_stepped(graph(nodes, edges, shape), shape)
    last = next(p for p in network.projections if p.name == "c3")
    assert [s.population for s in last.sources] == ["a", "b"]


def test_sum_of_equal_pools_before_a_weight() -> None:
    """Both paths pool alike, so they may be added before the pool."""
    shape = (1, 4, 4)
    nodes = {
        "p": pool("SumPool2d"),
        "a": lif(shape),
        "q": pool("SumPool2d"),
        "f": flatten(),
        "fc": nir.Linear(normal(3, 4)),
        "b": lif(3),
    }
    edges = [
        ("input", "a"),
        ("input", "p"),
        ("a", "q"),
        ("p", "f"),
        ("q", "f"),
        ("f", "fc"),
        ("fc", "b"),
        ("b", "output"),
    ]
    network = assert_stepped(graph(nodes, edges, shape), shape)
    assert [p.name for p in network.projections] == ["input->a", "fc"]


def test_different_paths_into_one_weight() -> None:
    """Paths that differ before a shared weight become projections of their own, named apart."""
    nodes = {"s": nir.Scale(normal(4)), "a": lif(4), "fc": nir.Linear(normal(3, 4)), "b": lif(3)}
    edges = [("input", "a"), ("input", "s"), ("s", "fc"), ("a", "fc"), ("fc", "b"), ("b", "output")]
    network = assert_stepped(graph(nodes, edges), (4,))
    names = [p.name for p in network.projections]
    assert names == ["input->a", "fc(a->b)", "fc(input->b)"]


def test_one_weight_with_two_readers() -> None:
    nodes = {"fc": nir.Affine(normal(3, 4), normal(3)), "a": lif(3), "b": lif(3)}
    edges = [("input", "fc"), ("fc", "a"), ("fc", "b"), ("a", "output"), ("b", "output")]
    network = assert_stepped(graph(nodes, edges), (4,))
    assert [p.name for p in network.projections][:2] == ["fc(input->a)", "fc(input->b)"]
    assert network.population("output").neuron is not None  # a sum of two needs a readout


@pytest.mark.parametrize("placement", ["spikes", "nirtorch"])
def test_recurrence(placement: str) -> None:
    nodes = {
        "fc": nir.Affine(normal(5, 4), normal(5)),
        "w": nir.Affine(normal(5, 5), normal(5)),
        "a": lif(5),
    }
    edges = [("input", "fc"), ("fc", "a"), ("a", "w"), ("w", "a"), ("a", "output")]
    edge = ("a", "w") if placement == "spikes" else ("w", "a")
    model = graph(nodes, edges)
    if placement == "nirtorch":
        model.nodes = {k: model.nodes[k] for k in ("input", "fc", "a", "w", "output")}
    network = assert_stepped(model, (4,), delayed={edge}, recurrent_delay=placement)
    loop = next(p for p in network.projections if p.name == "w")
    assert loop.sources[0].max_delay == 1
    assert (loop.bias is None) == (placement == "spikes")


def test_self_loop() -> None:
    """Without a weight between, nothing but the step stops the loop."""
    model = graph({"a": lif(3, r=30.0)}, [("input", "a"), ("a", "a"), ("a", "output")], 3)
    network = assert_stepped(model, (3,), delayed={("a", "a")})
    waits = {p.name: p.sources[0].max_delay for p in network.projections}
    assert waits == {"input->a": 0, "a->a": 1}


def test_loop_over_two_populations() -> None:
    nodes = {
        "fc": nir.Linear(normal(4, 4)),
        "back": nir.Linear(normal(4, 3)),
        "a": lif(4),
        "to": nir.Linear(normal(3, 4)),
        "b": lif(3),
    }
    edges = [
        ("input", "fc"),
        ("fc", "a"),
        ("a", "to"),
        ("to", "b"),
        ("b", "back"),
        ("back", "a"),
        ("b", "output"),
    ]
    network = assert_stepped(graph(nodes, edges), (4,), delayed={("b", "back")})
    assert network.notes["normalised"] == "loop: what b sends to a arrives one step later"


def test_closing_links() -> None:
    links = [("in", "a"), ("a", "b"), ("b", "c"), ("c", "a"), ("c", "c")]
    assert closing_links(["in", "a", "b", "c"], links, {"a", "b", "c"}) == (("c", "a"), ("c", "c"))
    # the filter c closes the loop, so the wait sits where its spikes come from
    assert closing_links(["in", "a", "b", "c"], links[:4], {"a", "b"}) == (("b", "c"),)
    assert closing_links(["a", "b"], [("a", "b"), ("b", "a")], set()) == (("b", "a"),)


def test_delay_nodes() -> None:
    """Delays per neuron before the weights, one delay behind them, and both at once."""
    delays = np.array([0, 1, 2, 3]) * DT
    model = chain(
        4,
        nir.Delay(delays),
        nir.Affine(normal(3, 4), full(3, 2.0)),
        nir.Delay(full(3, 2 * DT)),
        lif(3),
        names=("d", "fc", "e", "a"),
    )
    with pytest.raises(InputError, match=r"a bias arrives 2 steps late, its weights 5") as caught:
        read(model)
    assert caught.value.code == "delayed-bias"
    model.nodes["fc"] = nir.Linear(normal(3, 4))
    source = read(model).projections[0].sources[0]
    np.testing.assert_array_equal(source.delay, [2, 3, 4, 5])
    x = np.zeros((9, 1, 4))
    x[0] = 1
    sent = run_float(read(chain(4, model.nodes["d"])), x).spikes["output"][:, 0]
    np.testing.assert_array_equal(sent[:4], np.eye(4))


def test_delayed_bias() -> None:
    """A bias in front of a delay arrives with it; behind the delay it acts from the first step."""
    affine = nir.Affine(np.zeros((2, 2)), np.ones(2))
    late = read(chain(2, affine, nir.Delay(full(2, 3 * DT))))
    early = read(chain(2, nir.Delay(full(2, 3 * DT)), affine))
    runs = [run_float(n, np.zeros((5, 1, 2))).spikes["output"][:, 0, 0] for n in (late, early)]
    assert [r.tolist() for r in runs] == [[0, 0, 0, 1, 1], [1, 1, 1, 1, 1]]


def test_delay_through_a_flatten() -> None:
    delays = np.arange(8) * DT
    source = read(chain((2, 2, 2), flatten(), nir.Delay(delays))).projections[0].sources[0]
    np.testing.assert_array_equal(source.delay, np.arange(8).reshape(2, 2, 2))


def test_a_delay_in_a_loop_is_delay_enough() -> None:
    nodes = {"a": lif(3), "w": nir.Linear(normal(3, 3)), "d": nir.Delay(full(3, 2 * DT))}
    edges = [("input", "a"), ("a", "w"), ("w", "d"), ("d", "a"), ("a", "output")]
    network = read(graph(nodes, edges, 3))
    loop = next(p for p in network.projections if p.name == "w")
    assert loop.sources[0].max_delay == 2


def test_gain_per_channel_folds_into_a_convolution() -> None:
    r = np.broadcast_to(np.array([2.0, 20.0])[:, None, None], (2, 4, 4)).copy()
    shape = (2, 4, 4)
    model = chain(
        shape, conv2d(normal(2, 2, 3, 3), normal(2), padding=1), lif(shape, r=r), names=("c", "a")
    )
    network = assert_stepped(model, shape)
    assert network.population("a").neuron.threshold == 1  # type: ignore[union-attr]
    ratio = network.projections[0].weight.data / model.nodes["c"].weight
    np.testing.assert_allclose(ratio[:, 0, 0, 0], [0.2, 2.0])


def test_gain_per_neuron_moves_into_the_threshold() -> None:
    shape = (2, 4, 4)
    r = np.random.default_rng(0).uniform(5, 20, shape)
    model = chain(
        shape,
        conv2d(normal(2, 2, 3, 3), normal(2), padding=1),
        lif(shape, r=r, v_leak=0.2),
        names=("c", "a"),
    )
    network = assert_stepped(model, shape)
    np.testing.assert_array_equal(network.projections[0].weight.data, model.nodes["c"].weight)
    assert network.population("a").neuron.threshold.shape == shape  # type: ignore[union-attr]


def test_gain_per_neuron_of_a_readout_is_unrolled() -> None:
    shape = (2, 3, 3)
    r = np.random.default_rng(0).uniform(5, 20, shape)
    leaky = nir.LI(tau=full(shape, DT), r=r, v_leak=full(shape, 0.0))
    weight = normal(2, 2, 3, 3)
    network = read(chain(shape, conv2d(weight, padding=1), leaky, names=("c", "li")))
    assert [type(op) for op in network.projections[0].ops] == [Reshape, Dense, Reshape]
    x = normal(1, 2, *shape)
    want = functional.conv2d(torch.tensor(x[0]), torch.tensor(weight), padding=1).numpy() * r
    np.testing.assert_allclose(run_float(network, x, dtype="float64").spikes["li"][0], want)


def test_readouts_and_integrators() -> None:
    nodes = {
        "fc": nir.Linear(normal(3, 4)),
        "li": nir.LI(full(3, 1e-2), full(3, 10.0), full(3, 0.5)),
        "i": nir.I(full(3, 1e3)),
    }
    edges = [("input", "fc"), ("fc", "li"), ("li", "i"), ("i", "output")]
    network = read(graph(nodes, edges))
    x = normal(6, 1, 4)
    run = run_float(network, x, dtype="float64")
    v = total = np.zeros(3)
    for t in range(6):
        v = 0.9 * v + 0.1 * 0.5 + nodes["fc"].weight @ x[t, 0]
        total = total + v
        np.testing.assert_allclose(run.spikes["li"][t, 0], v)
        np.testing.assert_allclose(run.spikes["i"][t, 0], total)


def test_cuba_li_and_threshold() -> None:
    cell = cuba(3)
    li = nir.CubaLI(cell.tau_syn, cell.tau_mem, cell.r, cell.v_leak, cell.w_in)
    network = read(chain(3, li, nir.Threshold(full(3, 0.5)), names=("li", "t")))
    x = np.abs(normal(10, 1, 3))
    run = run_float(network, x, dtype="float64")
    assert run.spikes["t"].dtype == np.uint8
    np.testing.assert_array_equal(run.spikes["t"], run.spikes["li"] > 0.5)
    assert 0 < run.spikes["t"].mean() < 1


def test_parameters_of_one_value_serve_all_neurons() -> None:
    network = read(chain(4, nir.Linear(normal(3, 4)), lif(1), names=("fc", "a")))
    assert network.population("a").shape == (3,)


def test_batch_axes_are_dropped() -> None:
    neuron = lif((1, 3))
    model = graph(
        {
            "fc": nir.Linear(normal(3, 4)),
            "a": neuron,
            "gc": nir.Linear(normal(2, 3)),
            "output": nir.Output({"output": np.array([1, 1, 2])}),
        },
        [("input", "fc"), ("fc", "a"), ("a", "gc"), ("gc", "output")],
        (1, 1, 4),
    )
    network = read(model)
    assert [p.shape for p in network.populations] == [(4,), (3,), (2,)]
    told = {f.where: f.message for f in network.findings if f.code == "batch-axis"}
    assert told["graph:input"] == "shape (1, 1, 4) read as (4,), without batch axes"
    kept = read(chain((1, 5, 5), conv2d(np.ones((1, 1, 3, 3)))))
    assert kept.population("input").shape == (1, 5, 5)


def test_flatten_that_still_counts_the_batch() -> None:
    node = nir.Flatten({"input": np.array([1, 2, 3, 4])}, 1, -1)
    assert read(chain((2, 3, 4), node)).population("output").shape == (24,)


def test_flatten_behind_the_last_neuron_is_no_population() -> None:
    network = read(chain((2, 3, 3), lif((2, 3, 3)), flatten(), names=("a", "f")))
    assert [p.name for p in network.with_role("output")] == ["a"]
    assert "a flatten behind a was dropped" in network.notes["normalised"]


def test_order_and_digest_do_not_depend_on_names_or_order_in_the_file() -> None:
    nodes = {
        "fc": nir.Linear(normal(3, 4)),
        "a": lif(3),
        "gc": nir.Linear(normal(2, 3)),
        "b": lif(2),
    }
    edges = [("input", "fc"), ("fc", "a"), ("a", "gc"), ("gc", "b"), ("b", "output")]
    first = read(graph(nodes, edges))
    renamed = {"fc": "z9", "a": "10", "gc": "2", "b": "0"}
    second = read(
        graph(
            {renamed[k]: nodes[k] for k in reversed(nodes)},
            [(renamed.get(a, a), renamed.get(b, b)) for a, b in reversed(edges)],
        )
    )
    assert first.digest == second.digest
    assert [p.name for p in first.populations] == ["input", "a", "b"]
    assert [p.name for p in second.populations] == ["input", "10", "0"]


def refused(model: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        read(model)
    return caught.value


BIG = chain(
    (2, 64, 64), conv2d(normal(8, 2, 3, 3), padding=1), conv2d(normal(8, 8, 3, 3), padding=1)
)
LINEAR_LOOP = graph(
    {"w": nir.Linear(normal(3, 3)), "s": nir.Scale(normal(3)), "a": lif(3)},
    [("input", "w"), ("w", "s"), ("s", "w"), ("s", "a"), ("a", "output")],
    3,
)
REFUSED: dict[str, tuple[Any, str, str, str]] = {
    "too large to unroll": (
        BIG,
        "linear-chain",
        "the weights of n0, n1 follow each other",
        "output",
    ),
    "loop without a neuron": (
        LINEAR_LOOP,
        "linear-loop",
        "a loop without a neuron: s -> w -> s",
        "s",
    ),
    "fraction of a step": (
        chain(3, nir.Delay(full(3, 1.5 * DT))),
        "fractional-delay",
        "a delay of 1.5 steps (dt 0.001)",
        "n0",
    ),
    "delay backwards": (chain(3, nir.Delay(full(3, -DT))), "fractional-delay", "-1 steps", "n0"),
    "delays behind weights": (
        chain(3, nir.Linear(normal(2, 3)), nir.Delay(np.array([0, DT]))),
        "delay-behind-weights",
        "delays that differ between neurons",
        "n1",
    ),
    "same padding with stride": (
        chain((1, 8, 8), conv2d(normal(1, 1, 3, 3), padding="same", stride=2)),
        "unsupported-node",
        "padding 'same' with stride (2, 2)",
        "n0",
    ),
    "missing flatten": (
        chain((2, 3, 3), nir.Linear(normal(2, 18))),
        "shape-mismatch",
        "Dense cannot take an input of shape (2, 3, 3)",
        "n0",
    ),
    "channels": (
        chain((3, 8, 8), conv2d(normal(4, 2, 3, 3))),
        "shape-mismatch",
        "Conv cannot",
        "n0",
    ),
    "neuron of another size": (
        chain(3, lif(4)),
        "shape-mismatch",
        "'input' delivers (3,) to this LIF, which has (4,)",
        "n0",
    ),
    "output of another size": (
        graph(
            {"a": lif(3), "output": nir.Output({"output": np.array([4])})},
            [("input", "a"), ("a", "output")],
            3,
        ),
        "shape-mismatch",
        "it says (4,), but (3,)",
        "output",
    ),
    "batched matrix": (
        chain(4, nir.Linear(normal(2, 3, 4))),
        "weight-shape",
        "weight of shape (2, 3, 4), expected (out, in)",
        "n0",
    ),
    "bias": (
        chain(4, nir.Affine(normal(3, 4), normal(2))),
        "weight-shape",
        "bias of shape (2,)",
        "n0",
    ),
    "kernel": (chain((1, 4, 4), conv2d(normal(1, 1, 3))), "weight-shape", "for a Conv2d", "n0"),
    "groups": (
        chain((3, 4, 4), conv2d(normal(4, 1, 2, 2), groups=3)),
        "weight-shape",
        "4 output channels in 3 groups",
        "n0",
    ),
    "stride zero": (
        chain((1, 4, 4), conv2d(normal(1, 1, 2, 2), stride=0)),
        "weight-shape",
        "stride is [0, 0], expected numbers >= 1",
        "n0",
    ),
    "three strides": (
        chain((1, 4, 4), conv2d(normal(1, 1, 2, 2), stride=(1, 1, 1))),
        "weight-shape",
        "expected 2 numbers",
        "n0",
    ),
    "flatten axis": (chain(4, flatten(1)), "shape-mismatch", "Flatten from axis 1 to -1", "n0"),
    "flatten backwards": (
        chain((2, 3, 4), flatten(2, 1)),
        "shape-mismatch",
        "back to axis 1",
        "n0",
    ),
    "scale": (chain(4, nir.Scale(normal(3))), "shape-mismatch", "scale of shape (3,)", "n0"),
    "empty input": (chain(0, lif(1)), "empty-population", "its shape is (0,)", "input"),
    "kernel larger than its input": (
        chain((1, 2, 2), conv2d(normal(1, 1, 3, 3))),
        "shape-mismatch",
        "the output would be (0, 0)",
        "n0",
    ),
    "size unknown": (
        graph(
            {"a": lif(3), "b": lif(1), "s": nir.Scale(np.ones(1))},
            [("input", "a"), ("a", "output"), ("b", "s"), ("s", "b")],
            3,
        ),
        "shape-unknown",
        "no input or neuron says how large",
        "b",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    model, code, message, node = REFUSED[case]
    error = refused(model)
    assert error.code == code
    assert message in error.message
    assert error.where == f"graph:{node}"


def test_too_many_linear_paths() -> None:
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    last = "input"
    for i in range(10):
        a, b, s = f"a{i}", f"b{i}", f"s{i}"
        nodes |= {a: nir.Scale(normal(3)), b: nir.Scale(normal(3)), s: nir.Scale(normal(3))}
        edges += [(last, a), (last, b), (a, s), (b, s)]
        last = s
    error = refused(graph(nodes, [*edges, (last, "output")], 3))
    assert error.code == "linear-paths"


def test_a_batch_axis_of_neurons_behind_a_convolution() -> None:
    """(1, 3, 4, 4) behind a Conv2d, also with a Scale in between, and its Flatten that counts it too."""
    model = chain(
        (1, 2, 6, 6),
        conv2d(normal(3, 2, 3, 3)),
        nir.Scale(np.ones(1)),
        lif((1, 3, 4, 4)),
        nir.Flatten({"input": np.array([1, 3, 4, 4])}, 1, -1),
        nir.Linear(normal(2, 48)),
        lif((1, 2)),
    )
    network = read(model)
    assert [p.shape for p in network.populations] == [(2, 6, 6), (3, 4, 4), (2,)]
    assert len([f for f in network.findings if f.code == "batch-axis"]) == 3
