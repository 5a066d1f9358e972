"""Which scale a population gets, in each of the cases that `choose_scale` tells apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snndeploy.chip import family_of, load_target
from snndeploy.errors import LoweringRefused
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import Program
from snndeploy.lower import InputCoding, lower
from snndeploy.lower.neurons import _refuse_large_bias
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


def of(weights: Any, **fields: Any) -> Program:
    """One neuron that hears plain spikes."""
    w = np.atleast_2d(np.asarray(weights, np.float64))
    n, m = w.shape
    net = Network(
        (inputs((m,)), lif("output", (n,), "output", **fields)),
        (project("w", "input", "output", Dense(n, m), w),),
    ).verify()
    return lower(net, LOIHI2, inputs=InputCoding.named("binary"))


@pytest.mark.parametrize(("more", "scale"), [(0, 2.0**18), (1, 2.0**17)])
def test_the_last_unit_of_a_register_counts(more: int, scale: float) -> None:
    """The threshold and one spike take v to 2**23 - 1 at a scale of 2**18, or one unit beyond."""
    threshold = (MOST + more) / 2**18 - 1
    assert chosen(of([1.0], leak=0.0, threshold=threshold))[0] == scale


@pytest.mark.parametrize(
    ("weight", "scale", "exponent"), [(127 / 128, 2.0**21, 7), (129 / 128, 2.0**20, 7)]
)
def test_the_last_mantissa_of_the_last_exponent_counts(
    weight: float, scale: float, exponent: int
) -> None:
    """254 * 2**7 units are 127/128 at a scale of 2**21; a little more is too much."""
    program = of([weight], leak=0.0, threshold=0.5)
    assert chosen(program)[0] == scale or weight > 1
    assert program.synapses[0].exponent == exponent


@pytest.mark.parametrize(("more", "scale", "steps"), [(63, 2.0**17, 63), (64, 2.0**16, 127)])
def test_the_last_unit_below_zero_counts(more: int, scale: float, steps: int) -> None:
    """A bias that inhibits takes v down for all 64 steps of a sample, and not into the register's end.

    Its field has 12 bits, in which it is 2**17 units a step, or half of that: a little more.
    """
    bias = -(MOST - 63 + more) / 64 / 2**17
    program = of([1.0], leak=1.0, bias=bias)
    assert chosen(program) == (scale, scale / UNIT, False)
    assert program.headroom["output"].clip_steps == steps


def test_a_floor_bounds_what_inhibition_takes() -> None:
    """From -1 a step of 100 takes v to -101, and 2**16 holds that; without one 64 steps add up."""
    assert chosen(of([1.0] + [-1.0] * 100, leak=0.999, v_floor=-1.0))[0] == 2.0**16


def test_a_threshold_of_256_units_is_fine_enough() -> None:
    """Six that inhibit reach 384 in a sample: 2**14 holds it, and 256 units of threshold.

    A finer one, which so slow a leak asks for, would let v clip.
    """
    program = of([1.0] + [-1.0] * 6, leak=0.999)
    assert chosen(program)[:2] == (2.0**14, 256)
    finer = of([1.0] + [-1.0] * 12, leak=0.999)  # 2**13 would be 128 units
    assert chosen(finer)[0] > 2.0**14


@pytest.mark.parametrize(("peak", "wraps"), [(10, False), (20, True)])
def test_a_threshold_of_32_units_is_worth_a_proof(peak: int, wraps: bool) -> None:
    """Where no scale has both, they are the coarsest: proved where that is so, else unproved."""
    program = loud(400, peak, leak=0.9)
    assert chosen(program) == (2.0**11, 32, False)  # v may clip below, which is not asked for
    assert program.headroom["output"].wraps == wraps


@pytest.mark.parametrize(("bias", "held"), [(4095.49, True), (4095.51, False), (-4095.51, False)])
def test_a_bias_is_held_that_rounds_to_the_last_of_its_field(bias: float, held: bool) -> None:
    """4095 * 2**7 is the largest."""
    neuron = lif("n", (1,), bias=bias, threshold=1.0).neuron
    assert neuron is not None
    if held:
        _refuse_large_bias("n", neuron, np.asarray(128.0), family_of(LOIHI2))
        return
    with pytest.raises(LoweringRefused, match=r"its bias takes 524,225 .* biases of loihi2 end at"):
        _refuse_large_bias("n", neuron, np.asarray(128.0), family_of(LOIHI2))
