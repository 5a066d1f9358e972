"""The full text form of a network: what it looks like, that it is read back, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from snndeploy.errors import InputError
from snndeploy.ir.arrays import frozen
from snndeploy.ir.network import Network, Population
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Conv, Dense, Pointwise, Reshape, SumPool
from snndeploy.ir.text import full_text, read_network
from snndeploy.ir.weights import Weight
from tests.support.builders import ZOO, inputs, lif, project


@pytest.mark.parametrize("factory", ZOO)
def test_what_is_written_is_read_back(factory: Callable[[], Network]) -> None:
    net = factory()
    read = read_network(full_text(net))
    assert read.digest == net.digest
    assert full_text(read) == full_text(net)


def everything() -> Network:
    """One of each thing that can be written."""
    options = {"syn_leak": 0.1, "reset": "subtract", "reset_timing": "snntorch-immediate"}
    conv = Conv(4, 2, (3, 1), (2, 1), ((1, 0), (0, 0)), (1, 2), groups=2)
    codes = Weight(
        np.array([[[[3], [-1], [0]]]] * 4, np.int32),
        scale=np.array([0.5, 0.1, 1.0, 2.0]).reshape(4, 1, 1, 1),
        bits=3,
        mask=np.array([[[[True], [True], [False]]]] * 4),
    )
    populations = (
        inputs((2, 4, 4)),
        lif("a", (4, 2, 4), threshold=np.arange(1, 5).reshape(4, 1, 1), **options),
        lif("b", (3, 2), compare=">=", spikes_per_step="many", max_spikes=3, v_floor=-1 / 3),
        lif("c", (3, 1), v_init=0.5, drive=[[0.0], [1e-9], [2.5]], reset="none"),
        Population("out", (3, 1), Neuron.create((3, 1), leak=0.0), "output"),
    )
    scaled = Weight(np.array(5, np.int32), scale=np.array(0.25), bits=4)
    line = Conv(3, 3, (2,), (1,), ((0, 0),), (1,))
    projections = (
        project("conv", "input", "a", conv, codes),
        project(
            "fc",
            "a",
            "b",
            [SumPool((2, 2), (2, 2), (0, 0)), Reshape((8,)), Dense(6, 8), Reshape((3, 2))],
            np.linspace(-1, 1, 48, dtype=np.float32).reshape(6, 8),
            delay=2,
        ),
        project("line", "b", "c", line, np.arange(18.0).reshape(3, 3, 2)),
        project("skip", ["c", "c"], "out", Pointwise((3, 1)), scaled),
        project(
            "loop",
            "c",
            "c",
            Pointwise((3, 1), (3, 1)),
            -np.ones((3, 1)),
            delay=[[1], [2], [3]],
            bias=frozen([[0.5], [0.25], [0.125]]),
        ),
    )
    return Network(populations, projections).verify()


def test_everything_is_told_apart() -> None:
    net = everything()
    assert read_network(full_text(net)).digest == net.digest


def test_the_form() -> None:
    assert full_text(everything(), digits=3).splitlines()[:13] == [
        "input  input (2, 4, 4)",
        "hidden a (4, 2, 4)  leak 0.875, syn_leak 0.1, threshold [1 2 3 4], fires >, "
        "reset subtract (snntorch-immediate)",
        "hidden b (3, 2)  leak 0.875, threshold 1, v_floor -0.333, fires >=, reset zero, "
        "many spikes per step, at most 3",
        "hidden c (3, 1)  leak 0.875, threshold 1, v_init 0.5, drive [0 1e-09 2.5], fires >, "
        "reset none",
        "output out (3, 1)  leak 0",
        "",
        "conv: input -> a  conv 2->4 k3x1 s2x1 p1:0x0 d1x2 g2  [3 bit, 8/12 alive]",
        "  3 -1 .  × 0.5",
        "  3 -1 .  × 0.1",
        "  3 -1 .  × 1",
        "  3 -1 .  × 2",
        "",
        "fc: a[t-2] -> b  sumpool k2 s2, reshape (8,), dense 8->6, reshape (3, 2)  [float32]",
    ]
    assert full_text(everything()).splitlines()[-6:] == [
        "",
        "loop: c[t-[1 2 3]] -> c  one-to-one (3, 1)  [float64, delayed bias]",
        "  -1",
        "  -1",
        "  -1",
        "  bias (3, 1) 0.5 0.25 0.125",
    ]


PLAIN = """\
# a comment
input  in (2,)
output out (2,)  leak 0.5, threshold 1, fires >, reset zero

fc: in -> out  dense 2->2  [4 bit × 0.5, delayed bias]
  1 .
  3 4
  bias (2,) 0.5 1
"""


def test_a_text_by_hand() -> None:
    net = read_network(PLAIN)
    (fc,) = net.projections
    assert fc.weight.values().tolist() == [[0.5, 0], [1.5, 2]]
    assert fc.weight.mask is not None
    assert fc.weight.mask.tolist() == [[True, False], [True, True]]
    assert fc.bias is not None
    assert fc.bias.tolist() == [0.5, 1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "input  in (2,)",
            "input in",
            "line 2: 'input in' is no population, projection or weights",
        ),
        ("input ", "entry ", "line 2: 'entry' is no role: input, hidden, output"),
        ("fires >", "burns", "line 3: 'burns' says nothing about a neuron"),
        ("leak 0.5", "leak half", "line 3: could not convert string to float: 'half'"),
        ("in -> out", "on -> out", "line 5: 'on' is no population"),
        ("dense 2->2", "dance 2->2", "line 5: 'dance 2->2' is no operator"),
        ("dense 2->2", "conv 2->2 s1", "line 5: 's1' has no kernel (k3)"),
        ("4 bit × 0.5", "int8", "line 5: 'int8' is no kind of weight: float32, float64 or 4 bit"),
        (
            "4 bit × 0.5",
            "4 bit",
            "line 5: codes need a scale: [4 bit × 0.5], or × 0.5 behind each row",
        ),
        ("  3 4\n", "  3\n", "line 5: 3 weights where 4 belong (2, 2)"),
        ("(2,) 0.5 1", "0.5 1", "line 8: 'bias 0.5 1' is no bias: its shape, then its values"),
    ],
)
def test_what_is_refused(old: str, new: str, message: str) -> None:
    assert old in PLAIN
    with pytest.raises(InputError, match=f"^{re.escape(message)}$") as caught:
        read_network(PLAIN.replace(old, new, 1))
    assert caught.value.code == "network-text"
