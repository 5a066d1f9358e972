"""The intermediate representation: operators, index maps, digests, verification and text."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from snndeploy.errors import InputError
from snndeploy.ir.arrays import Array, Shape, frozen, parameter, size
from snndeploy.ir.linear.float_chain import float_chain
from snndeploy.ir.network import Network, Population, Projection, Source
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import (
    Conv,
    Dense,
    Op,
    Pointwise,
    Reshape,
    SumPool,
    chain_shapes,
    index_map,
    weighted_index,
)
from snndeploy.ir.text import network_text, number_range
from snndeploy.ir.weights import Weight
from tests.support.builders import inputs, lif, project


def by_index_map(op: Op, weight: Array | None, x: Array) -> Array:
    """Apply one operator to one sample, synapse by synapse."""
    m = index_map(op, x.shape)
    values = 1.0 if m.weight_index is None or weight is None else weight.reshape(-1)[m.weight_index]
    out = np.zeros(m.out_size)
    np.add.at(out, m.out_index, values * x.reshape(-1)[m.in_index])
    return out.reshape(op.out_shape(x.shape))


@st.composite
def operators(draw: st.DrawFn) -> tuple[Op, Shape]:
    """An operator and an input shape that it takes."""
    kind = draw(st.sampled_from(["conv1", "conv2", "pool", "dense", "pointwise", "reshape"]))
    few = st.integers(1, 3)
    if kind == "dense":
        op = Dense(draw(few), draw(few))
        return op, (op.in_features,)
    channels, length, width = draw(few), draw(st.integers(5, 8)), draw(st.integers(5, 8))
    shape = (channels, length, width)
    if kind == "pointwise":
        return Pointwise(shape, draw(st.sampled_from([(), shape, (channels, 1, 1)]))), shape
    if kind == "reshape":
        return Reshape(draw(st.sampled_from([(size(shape),), (channels, length * width)]))), shape
    pair = st.tuples(few, few)
    if kind == "pool":
        padding = draw(st.tuples(st.integers(0, 1), st.integers(0, 1)))
        return SumPool(draw(pair), draw(pair), padding), shape
    axes = int(kind[-1])
    groups = draw(st.integers(1, 2))
    numbers = st.tuples(*[few] * axes)
    padding = draw(st.tuples(*[st.tuples(st.integers(0, 2), st.integers(0, 2))] * axes))
    dilation = draw(st.tuples(*[st.integers(1, 2)] * axes))
    op = Conv(
        groups * draw(few),
        groups * channels,
        draw(numbers),
        draw(numbers),
        padding,
        dilation,
        groups,
    )
    return op, (groups * channels, *shape[1 : 1 + axes])


@settings(max_examples=150, deadline=None)
@given(operators(), st.integers(0, 2**32 - 1))
def test_index_map_is_the_operator(pair: tuple[Op, Shape], seed: int) -> None:
    op, shape = pair
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, *shape))
    weight = rng.normal(size=op.weight_shape) if op.weighted else None
    stored = None if weight is None else torch.tensor(weight)
    got = float_chain((op,), stored, torch.tensor(x)).numpy()
    for sample in range(2):
        np.testing.assert_allclose(by_index_map(op, weight, x[sample]), got[sample], atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(operators())
def test_index_map_lists_each_synapse_once(pair: tuple[Op, Shape]) -> None:
    op, shape = pair
    m = index_map(op, shape)
    assert (m.out_size, m.in_size) == (size(op.out_shape(shape)), size(shape))
    assert ((m.out_index >= 0) & (m.out_index < m.out_size)).all()
    assert ((m.in_index >= 0) & (m.in_index < m.in_size)).all()
    if isinstance(op, Conv):
        assert len({*zip(m.out_index, m.in_index, strict=True)}) == m.out_index.size
    if op.weighted:
        assert m.weight_index is not None
        assert m.weight_index.max() < size(op.weight_shape)


def test_conv_is_torch_conv() -> None:
    rng = np.random.default_rng(0)
    x, weight = (
        torch.tensor(rng.normal(size=(3, 4, 9, 8))),
        torch.tensor(rng.normal(size=(6, 2, 3, 2))),
    )
    op = Conv(6, 4, (3, 2), (2, 1), ((2, 2), (1, 1)), (2, 3), 2)
    want = functional.conv2d(x, weight, None, (2, 1), (2, 1), (2, 3), 2)
    np.testing.assert_array_equal(float_chain((op,), weight, x).numpy(), want.numpy())


def test_chains() -> None:
    ops = (
        SumPool((2, 2), (2, 2)),
        Conv(3, 2, (2, 2), (1, 1), ((0, 1), (0, 1)), (1, 1)),
        Reshape((12,)),
    )
    assert chain_shapes(ops, (2, 4, 4)) == [(2, 4, 4), (2, 2, 2), (3, 2, 2), (12,)]
    assert weighted_index(ops) == 1
    for broken in (ops[:1], (ops[1], ops[1])):
        with pytest.raises(ValueError, match="exactly one weighted operator"):
            weighted_index(broken)
    with pytest.raises(ValueError, match="needs a weight"):
        float_chain(ops, None, torch.zeros(1, 2, 4, 4))


@pytest.mark.parametrize(
    ("op", "shape", "message"),
    [
        (Dense(2, 3), (4,), r"its weight expects \(3,\)"),
        (Conv(1, 1, (3,), (1,), ((0, 0),), (1,)), (2, 5), r"its weight expects \(1, L\)"),
        (Conv(1, 1, (3, 3), (1, 1), ((0, 0),) * 2, (1, 1)), (1, 2, 2), "the output would be"),
        (Pointwise((3,)), (4,), r"its weight expects \(3,\)"),
        (SumPool((2, 2), (2, 2)), (4,), "it expects"),
        (SumPool((3, 3), (1, 1)), (1, 2, 2), "the output would be"),
        (Reshape((3,)), (4,), "it must hold 3 values"),
    ],
)
def test_operators_refuse_shapes(op: Op, shape: Shape, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        op.out_shape(shape)
    assert caught.value.code == "shape-mismatch"


def test_parameters_take_their_smallest_form() -> None:
    assert parameter(np.full((2, 3, 3), 0.5), (2, 3, 3)).shape == ()
    per_channel = np.broadcast_to(np.array([1.0, 2.0])[:, None, None], (2, 3, 3))
    assert parameter(per_channel, (2, 3, 3)).shape == (2, 1, 1)
    assert parameter(np.arange(18.0).reshape(2, 3, 3), (2, 3, 3)).shape == (2, 3, 3)
    with pytest.raises(ValueError, match="read-only"):
        frozen([1, 2])[0] = 3


def test_arrays_that_nobody_can_write_to_are_shared() -> None:
    fixed = frozen(np.arange(6.0).reshape(2, 3))
    assert frozen(fixed) is frozen(fixed, np.float64) is fixed
    assert frozen(whole := fixed.reshape(3, 2)) is whole  # it shows all of what is read-only
    owned = np.arange(6)
    shown = owned.view()
    shown.setflags(write=False)
    for other in (owned, shown, fixed[:1], fixed.T, np.broadcast_to(fixed[0], (2, 3))):
        copied = frozen(other)
        assert not np.shares_memory(copied, other)
        assert copied.flags.c_contiguous
        assert not copied.flags.writeable
        np.testing.assert_array_equal(copied, other)
    assert frozen(fixed, np.float32).dtype == np.float32
    owned[0] = 7
    assert frozen(shown)[0] == 7


def test_weights() -> None:
    pruned = Weight(np.array([[1.0, 2.0]]), mask=np.array([[True, False]]))
    assert (pruned.alive, pruned.nonzero, pruned.quantized) == (1, 1, False)
    np.testing.assert_array_equal(pruned.values(), [[1, 0]])
    codes = Weight(np.array([[3, 0]], np.int8), scale=np.array(0.5), bits=4)
    assert (codes.alive, codes.nonzero) == (2, 1)
    np.testing.assert_array_equal(codes.values(), [[1.5, 0]])
    for broken in (
        {"data": np.ones(2), "bits": 4},
        {"data": np.ones(2), "scale": np.ones(()), "bits": 4},
        {"data": np.ones(2), "mask": np.ones(3, bool)},
    ):
        with pytest.raises(ValueError, match=r"codes|mask|broadcast"):
            Weight(**broken)  # type: ignore[arg-type]


# --- networks -------------------------------------------------------------------------------------


def sample(rng: np.random.Generator, names: tuple[str, ...], flip: bool = False) -> Network:
    """A residual, recurrent network whose populations are named and ordered as asked."""
    x, a, b, c = names
    populations = [
        inputs((1, 4, 4), x),
        lif(a, (2, 4, 4)),
        lif(b, (2, 4, 4), leak=0.5),
        lif(c, (3,), "output"),
    ]
    op = Conv(2, 1, (3, 3), (1, 1), ((1, 1),) * 2, (1, 1))
    square = Conv(2, 2, (3, 3), (1, 1), ((1, 1),) * 2, (1, 1))
    projections = [
        project(f"{x}{a}", x, a, op, rng.normal(size=(2, 1, 3, 3))),
        project(f"{a}{b}", a, b, square, rng.normal(size=(2, 2, 3, 3))),
        project(f"{b}{a}", b, a, square, rng.normal(size=(2, 2, 3, 3)), delay=1),
        Projection(
            f"{c}",
            (Source(a), Source(b, frozen(2, np.int64))),
            c,
            (Reshape((32,)), Dense(3, 32)),
            Weight(rng.normal(size=(3, 32))),
        ),
    ]
    if flip:
        populations, projections = populations[::-1], projections[::-1]
    return Network(tuple(populations), tuple(projections)).verify()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1000),
    st.lists(st.text("abcdef", min_size=1), min_size=4, max_size=4, unique=True),
    st.booleans(),
)
def test_digest_ignores_names_and_order(seed: int, names: list[str], flip: bool) -> None:
    one = sample(np.random.default_rng(seed), ("in", "p", "q", "r"))
    other = sample(np.random.default_rng(seed), tuple(f"{n}_" for n in names), flip)
    assert one.digest == other.digest


def changed(network: Network, name: str, **fields: Any) -> Network:
    projection = next(p for p in network.projections if p.name == name)
    return network.replace(projections=[dataclasses.replace(projection, **fields)])


def test_digest_sees_content() -> None:
    base = sample(np.random.default_rng(0), ("x", "a", "b", "c"))
    weight = next(p for p in base.projections if p.name == "ab").weight
    other = Weight(weight.data + np.eye(3) * 1e-9)
    pruned = Weight(weight.data, mask=np.abs(weight.data) > 0.5)
    neuron = base.population("b").neuron
    assert neuron is not None
    first = Conv(2, 1, (3, 3), (1, 1), ((1, 1),) * 2, (1, 1))
    variants = [
        changed(base, "ab", weight=other),
        changed(base, "ab", weight=pruned),
        changed(base, "ab", bias=frozen(np.ones((2, 1, 1)))),
        changed(base, "ba", sources=(Source("b", frozen(2, np.int64)),)),
        changed(
            base, "ab", sources=(Source("x"),), ops=(first,), weight=Weight(np.ones((2, 1, 3, 3)))
        ),
        *(
            base.replace([dataclasses.replace(base.population("b"), neuron=other_neuron)])
            for other_neuron in (
                dataclasses.replace(neuron, compare=">="),
                dataclasses.replace(neuron, leak=frozen(0.25)),
            )
        ),
    ]
    assert len({base.digest, *(v.digest for v in variants)}) == 1 + len(variants)
    assert changed(base, "ab", weight=Weight(weight.data.copy())).digest == base.digest


def test_negative_zero_is_zero() -> None:
    base = sample(np.random.default_rng(0), ("x", "a", "b", "c"))
    zeros = [changed(base, "ab", weight=Weight(np.full((2, 2, 3, 3), z))) for z in (0.0, -0.0)]
    assert zeros[0].digest == zeros[1].digest


def test_order_and_depth() -> None:
    network = sample(np.random.default_rng(0), ("x", "a", "b", "c"), flip=True)
    assert network.order == ("x", "a", "c", "b") or network.order == ("x", "a", "b", "c")
    assert network.depth == {"x": 0, "a": 1, "b": 2, "c": 2}
    assert [p.name for p in network.outgoing("a")] == ["c", "ab"]
    assert {p.name for p in network.incoming("a")} == {"xa", "ba"}


def dense(**fields: Any) -> Projection:
    values = {
        "name": "p",
        "sources": (Source("x"),),
        "target": "a",
        "ops": (Dense(2, 2),),
        "weight": Weight(np.ones((2, 2))),
        **fields,
    }
    return Projection(**values)


X, A, B = inputs((2,), "x"), lif("a", (2,), "output"), lif("b", (2,))
BROKEN: dict[str, tuple[tuple[Population, ...], tuple[Projection, ...], str, str]] = {
    "two of one name": ((X, A, A), (), "duplicate-name", "two populations are named 'a'"),
    "projections of one name": (
        (X, A),
        (dense(), dense()),
        "duplicate-name",
        "two projections are",
    ),
    "a name without end": (
        (X, A, lif("n" * 513, (2,))),
        (),
        "name-too-long",
        "a population's name has 513 characters where 512 are allowed",
    ),
    "no input": ((A,), (), "no-input", "no input population: nothing reads data"),
    "no output": ((X, B), (), "no-output", "no output population: nothing answers"),
    "empty": ((X, A, lif("e", (0,))), (dense(),), "empty-population", "its shape is (0,)"),
    "input with a neuron": (
        (X, A, Population("i", (2,), A.neuron, "input")),
        (dense(),),
        "role",
        "inputs, and only inputs",
    ),
    "hidden without": (
        (X, A, Population("i", (2,), None)),
        (dense(),),
        "role",
        "have no neuron model",
    ),
    "no source": ((X, A), (dense(sources=()),), "no-source", "the projection has no source"),
    "unknown source": (
        (X, A),
        (dense(sources=(Source("z"),)),),
        "unknown-population",
        "there is no population 'z'",
    ),
    "into an input": ((X, A), (dense(target="x"),), "input-driven", "x is an input"),
    "unequal sources": (
        (X, A, lif("c", (3,))),
        (dense(sources=(Source("x"), Source("c"))),),
        "shape-mismatch",
        "sources of different shapes are added",
    ),
    "operator": ((X, A), (dense(ops=(Dense(2, 3),)),), "shape-mismatch", "its weight expects (3,)"),
    "target": ((X, A), (dense(ops=(Dense(3, 2),)),), "shape-mismatch", "it delivers (3,) to a"),
    "weight": ((X, A), (dense(weight=Weight(np.ones((3, 2)))),), "shape-mismatch", "weight (3, 2)"),
    "not finite": (
        (X, A),
        (dense(weight=Weight(np.full((2, 2), np.nan))),),
        "weight-not-finite",
        "4 value(s) of its weight",
    ),
    "bias not finite": (
        (X, A),
        (dense(bias=frozen([np.inf, 0.0])),),
        "weight-not-finite",
        "1 value(s) of its bias are NaN, infinite or beyond 1e+100",
    ),
    "beyond what is computed with": (
        (X, A),
        (dense(weight=Weight(np.array([[1e100, -1e100], [1.1e100, -1.1e100]]))),),
        "weight-not-finite",
        "2 value(s) of its weight",
    ),
    "a step of nothing": (
        (X, A),
        (dense(weight=Weight(np.ones((2, 2), np.int8), scale=np.array([[1.0], [0.0]]), bits=2)),),
        "step-not-positive",
        "a step between its codes is not above 0",
    ),
    "a step without end": (
        (X, A),
        (dense(weight=Weight(np.zeros((2, 2), np.int8), scale=np.array(np.inf), bits=2)),),
        "step-not-positive",
        "a step between its codes is not above 0",
    ),
    "steps of other rows": (
        (X, A),
        (dense(weight=Weight(np.ones((2, 2), np.int8), scale=np.ones((3, 1)), bits=2)),),
        "shape-mismatch",
        "steps (3, 1), weight (2, 2)",
    ),
    "delay": (
        (X, A),
        (dense(sources=(Source("x", frozen(-1, np.int64)),)),),
        "negative-delay",
        "delay -1",
    ),
    "a delay without end": (
        (X, A),
        (dense(sources=(Source("x", frozen(65537, np.int64)),)),),
        "delay-too-long",
        "delay 65,537, more than 65,536 steps",
    ),
    "delays": (
        (X, A),
        (dense(sources=(Source("x", frozen([1, 2, 3], np.int64)),)),),
        "shape-mismatch",
        "delay (3,), neurons (2,)",
    ),
    "bias": ((X, A), (dense(bias=frozen(np.ones((2, 2)))),), "shape-mismatch", "bias (2, 2)"),
    "loop": (
        (X, A, B),
        (
            dense(name="ab", sources=(Source("a"),), target="b"),
            dense(name="ba", sources=(Source("b"),)),
            dense(),
        ),
        "same-step-loop",
        "a loop without delay cannot be computed: a -> b",
    ),
    "not fed": (
        (X, A, B),
        (dense(name="xb", target="b"),),
        "unconnected",
        "no path leads from an input",
    ),
}


def test_the_longest_name_and_delay_are_taken() -> None:
    late = dense(sources=(Source("x", frozen(65536, np.int64)),), name="p" * 512)
    assert Network((X, A), (late,)).verify().projections == (late,)


@pytest.mark.parametrize("case", BROKEN)
def test_verify(case: str) -> None:
    populations, projections, code, message = BROKEN[case]
    with pytest.raises(InputError) as caught:
        Network(populations, projections).verify()
    assert caught.value.code == code
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"threshold": np.nan}, "parameter-not-finite", "threshold holds NaN, infinity or a num"),
        ({"bias": -1.1e100}, "parameter-not-finite", "bias holds NaN, infinity or a number beyond"),
        ({"threshold": np.ones(3)}, "parameter-shape", "threshold has shape (3,), neurons (2,)"),
        ({"leak": 1.5}, "leak-out-of-range", "leak per step is 1.5…1.5, outside 0…1"),
        ({"syn_leak": -0.5}, "leak-out-of-range", "syn_leak per step is -0.5…-0.5"),
        ({"compare": "<"}, "neuron-option", "compare is '<', not one of ('>', '>=')"),
        ({"reset": "soft"}, "neuron-option", "reset is 'soft'"),
        ({"reset_timing": "later"}, "neuron-option", "reset_timing is 'later'"),
        ({"spikes_per_step": "two"}, "neuron-option", "spikes_per_step is 'two'"),
    ],
)
def test_neuron_verify(fields: dict[str, Any], code: str, message: str) -> None:
    values = {"leak": 0.5, "threshold": 1.0, **fields}
    arrays = {k: np.asarray(v) if not isinstance(v, str) else v for k, v in values.items()}
    with pytest.raises(InputError) as caught:
        Neuron(**arrays).verify("population a", (2,))  # type: ignore[arg-type]
    assert caught.value.code == code
    assert message in caught.value.message
    assert caught.value.where == "population a"


def test_delays_are_whole_steps() -> None:
    assert Source("x", np.array([1, 2], np.uint8)).delay.dtype == np.int64
    for delay in (np.array(0.5), np.array([1.0, 0.0]), np.array(True)):
        with pytest.raises(ValueError, match=f"a delay counts whole steps, and is {delay.dtype}"):
            Source("x", delay)


def test_unknown_population_names_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        sample(np.random.default_rng(0), ("input", "a", "b", "c")).population("inputs")
    assert caught.value.hint == "did you mean 'input'?"


def test_text() -> None:
    network = Network(
        (
            inputs((2, 4, 4)),
            lif(
                "a",
                (3, 2, 2),
                leak=np.array([0.5, 0.75, 0.5])[:, None, None],
                v_floor=-1.0,
                compare=">=",
                reset="subtract",
                spikes_per_step="many",
            ),
            lif("b", (5,), "output", reset_timing="next-step", bias=np.arange(5.0)),
            Population("out", (5,), Neuron.create((5,), leak=0.0), "output"),
        ),
        (
            project(
                "c",
                "input",
                "a",
                (SumPool((2, 2), (2, 2)), Conv(3, 2, (3, 1), (1, 1), ((1, 1), (0, 0)), (1, 1))),
                np.ones((3, 2, 3, 1), np.float32),
            ),
            project(
                "d",
                "a",
                "b",
                (Reshape((12,)), Dense(5, 12)),
                Weight(np.ones((5, 12), np.int8), np.array(0.5), 4, np.eye(5, 12) > 0),
            ),
            project("r", "b", "b", Pointwise((5,)), np.array(1.0), delay=np.arange(1, 6)),
            project("o", "b", "out", Pointwise((5,)), np.array(1.0), bias=frozen(np.ones(5))),
        ),
    ).verify()
    assert network_text(network).splitlines()[1:] == [
        "  input  input (2, 4, 4)",
        "  hidden a (3, 2, 2)  leak 0.5…0.75, threshold 1, v_floor -1, fires >=, reset subtract, "
        "many spikes per step",
        "  output b (5,)  leak 0.875, threshold 1, bias 0…4, fires >, reset zero (next-step)",
        "  output out (5,)  leak 0",
        "  c: input -> a  sumpool k2 s2, conv 2->3 k3x1 p1x0  [float32]",
        "  d: a -> b  flatten, dense 12->5  [4 bit, 5/60 alive]",
        "  r: b[t-1…5] -> b  one-to-one  [float64]",
        "  o: b -> out  one-to-one  [float64, delayed bias]",
    ]
    assert number_range(np.array([0.25, 0.25])) == "0.25"
