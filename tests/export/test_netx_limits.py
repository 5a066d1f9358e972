"""What a .net file can hold, at its ends: what is just written, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snndeploy.errors import InputError
from snndeploy.export.netx import netx_layers, refuse_network
from snndeploy.ir.arrays import frozen
from snndeploy.ir.network import Network, Projection
from snndeploy.ir.ops import Conv, Dense, Op, Pointwise, Reshape, SumPool
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI
from tests.support.builders import inputs, lif, project


def group(name: str, shape: tuple[int, ...], depth: int, **fields: Any) -> CompartmentGroup:
    plain = {"du": 2047, "dv": 100, "vth": 40, "bias_mant": 0}
    values = {k: frozen(fields.pop(k, v), np.int64) for k, v in plain.items()}
    kind = "lif" if depth else "input"
    kept = {"role": "hidden" if depth else "input", "kind": kind, **fields}
    return CompartmentGroup(name=name, shape=shape, depth=depth, **values, **kept)


def synapses(
    source: str, target: str, weight: Any, *ops: Op, latency: Any = 1, exponent: int = 0
) -> SynapseGroup:
    w = np.asarray(weight, np.int64)
    return SynapseGroup(
        name=f"{source}->{target}",
        sources=(SynapseSource(source, frozen(latency, np.int64)),),
        target=target,
        ops=ops or (Dense(*w.shape),),
        mantissa=frozen(w, np.int64),
        exponent=exponent,
        sign_mode="mixed",
        weight_bits=9,
    )


FIRST = [[1, -2, 3], [-256, 255, 0]]
SECOND = [[5, -6], [7, 8], [0, 9]]
LOOP = [[1, 2, 3], [-4, 5, 6], [7, 8, -9]]


def program(**changes: Any) -> Program:
    """Three inputs, two neurons, three in a loop, and two accumulators."""
    parts: dict[str, Any] = {
        "in": group("in", (3,), 0),
        "a": group("a", (2,), 1, bias_mant=[64, -128]),
        "b": group("b", (3,), 2),
        "c": group("c", (2,), 3, kind="readout", role="output", du=4095, dv=0),
        "in->a": synapses("in", "a", FIRST, latency=[1, 2, 63]),
        "a->b": synapses("a", "b", SECOND, exponent=1),
        "b->b": synapses("b", "b", LOOP),
        "b->c": synapses("b", "c", np.array(SECOND).T * 4, exponent=-2),
        **changes,
    }
    found = [x for x in parts.values() if x is not None]
    return Program(
        target="any",
        arithmetic=LOIHI,
        groups=tuple(x for x in found if isinstance(x, CompartmentGroup)),
        synapses=tuple(x for x in found if isinstance(x, SynapseGroup)),
    )


def test_layers_in_numbers() -> None:
    host, a, b, c = netx_layers(program())
    assert (host["type"].tolist(), host["shape"].tolist()) == ([b"input"], [3])
    assert a["type"].tolist() == [b"dense"]
    assert a["weight"].tolist() == FIRST
    assert a["delay"].tolist() == [0, 1, 62]
    assert a["bias"].tolist() == [1, -2]
    assert a["neuron"] == {"type": b"CUBA", "iDecay": 2048, "vDecay": 100, "vThMant": 40}
    assert b["type"].tolist() == [b"dense_rec"]
    assert b["weight"].tolist() == (2 * np.array(SECOND)).tolist()
    assert b["weight_rec"].tolist() == LOOP
    assert "delay" not in b
    assert "bias" not in b
    assert c["weight"].tolist() == np.array(SECOND).T.tolist()
    assert "neuron" not in c


def test_an_input_that_has_neurons() -> None:
    """Ones, one to one, behind the first input: Lava's input layer, which may take numbers."""
    one = synapses("in", "a", [1, 1, 1], Pointwise((3,), (3,)))
    found = netx_layers(
        program(
            **{"in": replace(group("in", (3,), 0), message_bits=4, scale=frozen(8.0))},
            a=group("a", (3,), 1),
            **{"in->a": one, "a->b": synapses("a", "b", LOOP)},
        )
    )
    assert [str(layer["type"][0], "ascii") for layer in found] == ["input", "dense_rec", "dense"]
    assert (found[0]["weight"], found[0]["neuron"]["vThMant"]) == (8, 40)


def image(op: Op, shape: tuple[int, ...], *more: Op, **fields: Any) -> Program:
    """A convolution behind an image, and a dense layer behind it."""
    weight = np.arange(np.prod(op.weight_shape)).reshape(op.weight_shape)  # type: ignore[union-attr]
    size = int(np.prod(shape))
    return program(
        **{"in": group("in", (2, 5, 5), 0)},
        a=group("a", shape, 1, **fields),
        **{"in->a": synapses("in", "a", weight, op, *more)},
        **{"a->b": synapses("a", "b", np.ones((3, size)), Reshape((size,)), Dense(3, size))},
    )


def conv(pads: tuple[tuple[int, int], ...] = ((1, 1), (0, 0)), groups: int = 1) -> Conv:
    return Conv(4, 2, (3, 2), (2, 1), pads, (1, 2), groups)


def test_a_convolution_and_a_flatten() -> None:
    bias = np.array([64, 0, 128, -64]).reshape(4, 1, 1)
    _, layer, flatten, dense, _ = netx_layers(image(conv(), (4, 3, 3), bias_mant=bias))
    assert layer["type"].tolist() == [b"conv"]
    assert layer["stride"].tolist() == [2, 1]
    assert layer["padding"].tolist() == [1, 0]
    assert layer["dilation"].tolist() == [1, 2]
    assert layer["groups"] == 1
    assert layer["bias"].tolist() == [1, 0, 2, -1]
    assert flatten["type"].tolist() == [b"flatten"]
    assert flatten["shape"].tolist() == [1, 1, 36]
    assert dense["type"].tolist() == [b"dense_rec"]


def test_a_bias_of_each_position_is_written_whole() -> None:
    bias = np.arange(36).reshape(4, 3, 3) * 64
    layer = netx_layers(image(conv(groups=2), (4, 3, 3), bias_mant=bias))[1]
    assert layer["groups"] == 2
    assert layer["bias"].tolist() == (bias // 64).tolist()


def refused(made: Callable[[], Program]) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        netx_layers(made())
    assert caught.value.code == "export-netx"
    return caught.value.where, caught.value.message.removeprefix("a .net file cannot hold it: ")


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"in->a": synapses("in", "a", [[1, -257, 0]] * 2)}, "in->a", "its weights reach -257…1"),
        ({"in->a": synapses("in", "a", [[1, 256, 0]] * 2)}, "in->a", "its weights reach 0…256"),
        ({"b->b": synapses("b", "b", [[256] * 3] * 3)}, "b->b", "its weights reach 256…256"),
        ({"in->a": synapses("in", "a", FIRST, latency=64)}, "in->a", "its delays reach 63"),
        ({"in->a": synapses("in", "a", FIRST, latency=[1, 2, 64])}, "in->a", "its delays reach 63"),
        ({"b->b": synapses("b", "b", LOOP, latency=[1, 2, 1])}, "b->b", "a loop of a .net file is"),
        (
            {"b->c": synapses("b", "c", [[4, 4, 4], [4, 5, 4]], exponent=-2)},
            "b->c",
            "its weights are multiples of 1/4",
        ),
        ({"b->c": synapses("a", "c", FIRST[:1] * 2)}, "c", "it receives from a"),
        ({"b->c": None}, "c", "nothing leads from b into it"),
        ({"more": synapses("a", "b", SECOND)}, "b", "it receives from a through a->b"),
        ({"a": group("a", (2,), 1, bias_mant=[64, 32])}, "a", "its bias is no multiple of 64"),
        ({"a": group("a", (2,), 1, vth=[40, 41])}, "a", "its neurons differ from each other"),
        ({"a": group("a", (2,), 1, du=[40, 41])}, "a", "its neurons differ from each other"),
        ({"a": group("a", (2,), 1, dv=[40, 41])}, "a", "its neurons differ from each other"),
        ({"a": group("a", (2,), 1, kind="custom")}, "a", "its neurons differ from Lava's LIF"),
        (
            {"c": group("c", (2,), 3, kind="readout", du=4095, dv=0, bias_mant=64)},
            "c",
            "an accumulator of a .net file has no bias",
        ),
        (
            {"c": group("c", (2,), 3, kind="readout", du=4095, dv=0, bias_mant=[64, 0])},
            "c",
            "an accumulator of a .net file has no bias",
        ),
        (
            {"c": group("c", (2,), 3, kind="readout", du=[4095, 2047], dv=0)},
            "c",
            "its neurons differ from each other",
        ),
        (
            {"c": group("c", (2,), 3, kind="readout", du=4095, dv=[0, 1])},
            "c",
            "its neurons differ from each other",
        ),
        ({"in": replace(group("in", (3,), 0), message_bits=4)}, "in", "its input is graded"),
        ({"in": replace(group("in", (3,), 0), scale=frozen(2.0))}, "in", "its input is graded"),
        ({"b": group("b", (3,), 1)}, "the program", "its layers do not follow each other"),
        ({"in": None, "in->a": None}, "the program", "its layers do not follow each other"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], where: str, what: str) -> None:
    told = refused(lambda: program(**changes))
    assert told[0] == where
    assert told[1].startswith(what)


@pytest.mark.parametrize(
    "readout",
    [
        {"du": 4095, "dv": 1},
        {"du": 4094, "dv": 0},
        {"du": [4095, 4095], "dv": [0, 0]},
        {"du": 2047, "dv": 100, "bias_mant": 64},
    ],
)
def test_readouts_that_leak_have_neurons(readout: dict[str, Any]) -> None:
    layer = netx_layers(program(c=group("c", (2,), 3, kind="readout", **readout)))[-1]
    alone = readout["dv"] == [0, 0]
    assert ("neuron" in layer) is not alone
    assert ("bias" in layer) is ("bias_mant" in readout)


def test_another_arithmetic_is_refused() -> None:
    other = replace(LOIHI, state_shift=5)
    assert refused(lambda: replace(program(), arithmetic=other))[0] == "the program"


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (lambda: image(conv(((1, 0), (0, 0))), (4, 2, 3)), "a .net file holds two-dimensional"),
        (
            lambda: image(conv(), (4, 1, 1), SumPool((3, 3), (3, 3), (0, 0))),
            "its chain of operators",
        ),
    ],
)
def test_convolutions_that_are_refused(made: Callable[[], Program], what: str) -> None:
    assert refused(made)[1].startswith(what)


def test_a_convolution_does_not_wait() -> None:
    made = image(conv(), (4, 3, 3))
    late = [
        replace(s, sources=(SynapseSource("in", frozen(2, np.int64)),)) if s.name == "in->a" else s
        for s in made.synapses
    ]
    assert refused(lambda: replace(made, synapses=tuple(late)))[1] == "its delays reach 1 steps"


def joined(
    name: str, source: str, target: str, op: Dense | Pointwise, delay: int = 0
) -> Projection:
    return project(name, source, target, op, np.ones(op.weight_shape), delay=delay)


def network(*more: Any, **fields: Any) -> Network:
    parts = (joined("w", "input", "a", Dense(3, 4)), joined("x", "a", "b", Dense(2, 3)))
    populations = (inputs((4,)), lif("a", (3,), **fields), lif("b", (2,), "output"))
    return Network(populations, (*parts, *more)).verify()


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (lambda: network(reset="subtract"), "its reset is subtract"),
        (lambda: network(reset="none"), "its reset is none"),
        (lambda: network(reset_timing="next-step"), "its reset is zero (next-step)"),
        (lambda: network(spikes_per_step="many"), "it may spike more than once"),
        (lambda: network(v_floor=-1.0), "its membrane has a floor"),
        (lambda: network(syn_leak=0.5, bias=0.25), "its bias passes a synaptic filter"),
        (
            lambda: network(syn_leak=0.5, bias=np.array([0.25, 0.0, 0.0])),
            "its bias passes a synaptic filter",
        ),
        (lambda: network(leak=np.array([0.5, 0.5, 0.75])), "its leak differs"),
        (lambda: network(threshold=np.array([1.0, 1.0, 2.0])), "its threshold differs"),
        (lambda: network(syn_leak=np.array([0.5, 0.5, 0.75])), "its syn_leak differs"),
        (lambda: network(joined("s", "input", "b", Dense(2, 4))), "it also hears input"),
        (
            lambda: network(joined("r", "a", "a", Pointwise((3,), (3,)), delay=1)),
            "a loop of a .net file is dense",
        ),
    ],
)
def test_what_is_known_beforehand(made: Callable[[], Network], what: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_network(made())
    assert what in caught.value.message


def test_what_is_not_refused_beforehand() -> None:
    refuse_network(network())
    refuse_network(network(syn_leak=0.5))
    refuse_network(network(bias=0.25))
    refuse_network(network(joined("r", "a", "a", Dense(3, 3), delay=1)))
