"""Which scale a population gets, in each of the cases that `choose_scale` tells apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snndeploy.chip import load_target
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import Program
from snndeploy.lower import InputCoding, lower
from tests.support.builders import inputs, lif, project

LOIHI2 = load_target("loihi2")
MOST = (1 << 23) - 1
UNIT = 64


def loud(n: int, peak: int, weight: float = 1.0, **fields: Any) -> Program:
    """One neuron that hears ``n`` inputs of up to ``peak`` spikes, all of one weight."""
    layer = project("w", "input", "output", Dense(1, n), np.full((1, n), weight))
    net = Network(
        (inputs((n,)), lif("output", (1,), "output", **{"threshold": 1.0, **fields})), (layer,)
    ).verify()
    coding = (
        InputCoding(kind="graded", peak=float(peak)) if peak > 1 else InputCoding.named("binary")
    )
    return lower(net, LOIHI2, inputs=coding)


def chosen(program: Program) -> tuple[float, int, bool]:
    """Scale, threshold mantissa, and whether head-room is proved."""
    g, room = program.group("output"), program.headroom["output"]
    return float(g.scale.max()), int(g.vth.max()), not room.wraps and room.clip_steps is None


def test_where_nothing_is_large_the_largest_scale_whose_weights_have_an_exponent() -> None:
    """A weight of 1 is 254 * 2**7 units at the most: 2**14 of them are the threshold."""
    assert chosen(loud(1, 1, leak=0.0)) == (2.0**20, 2**14, True)


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_the_largest_that_holds_all_input(n: int) -> None:
    """v is at most the threshold, n, and a step's input, n; a larger scale would have no proof."""
    scale, vth, proved = chosen(loud(n, 1, leak=0.0, threshold=float(n)))
    assert proved
    assert scale * 2 * n <= MOST < 2 * scale * 2 * n
    assert vth == scale * n / UNIT


@pytest.mark.parametrize("n", [120, 400])
def test_a_coarse_threshold_that_is_exact_is_the_right_one(n: int) -> None:
    """All numbers are whole there, so a finer grid would hold nothing else, and prove less.

    Of 400 inputs of 255 spikes a scale of 64 is the last with room; a threshold of 1 is one unit.
    """
    scale = {120: 256.0, 400: 64.0}[n]
    assert chosen(loud(n, 255, leak=0.0, compare=">=")) == (scale, scale / UNIT - 1, True)


@pytest.mark.parametrize("what", ["leak", "bias", "threshold", "weight"])
def test_one_that_is_not_exact_is_resolved_at_the_price_of_the_proof(what: str) -> None:
    """The same neuron with one number off the grid: a threshold of 32 units, and u may wrap."""
    off = {"leak": {"leak": 0.9}, "bias": {"bias": 0.3}, "threshold": {"threshold": 1.1}}
    fields = {"leak": 0.0, "compare": ">=", **off.get(what, {})}
    weight = 1.1 if what == "weight" else 1.0
    scale, vth, proved = chosen(loud(400, 255, weight, **fields))
    exact, _, _ = chosen(loud(400, 255, leak=0.0, compare=">="))
    assert scale > exact
    assert not proved
    assert 31 <= vth < (128 if what == "weight" else 64)
