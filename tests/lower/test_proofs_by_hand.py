"""What lowering proves of groups, against numbers that follow on paper."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from snndeploy.chip import family_of, load_target
from snndeploy.ir.arrays import frozen
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import CompartmentGroup, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.lower.exact import _registers, _sums_are_exact, saturating, truncated
from snndeploy.lower.proofs.headroom import Interval, WorstCase, headroom, worst_case
from snndeploy.lower.proofs.paced import _pause
from snndeploy.lower.proofs.rounding import rounding_of
from tests.support.builders import lif

XYLO = load_target("xylo-a2")


def ints(*values: int) -> np.ndarray:
    return frozen(np.array(values), np.int64)


def group_of(**fields: Any) -> CompartmentGroup:
    given = {"du": ints(4095), "dv": ints(0), "vth": ints(100), **fields}
    kind = given.pop("kind", "lif")
    return CompartmentGroup(name="n", shape=(2,), role="output", kind=kind, depth=1, **given)


def wide(low: float, high: float, n: int = 2) -> Interval:
    return Interval(np.full(n, low), np.full(n, high))


TWO_BY_ONE = SynapseGroup(
    name="s",
    target="n",
    ops=(Dense(2, 1),),
    mantissa=ints(2, 2).reshape(2, 1),
    sources=(SynapseSource("in", frozen(1, np.int64)),),
    exponent=0,
    sign_mode="excitatory",
    weight_bits=8,
)
"""One source for two neurons, with weights of 2."""


def test_how_far_leaks_and_a_comparison_are_off() -> None:
    """u keeps 1 - (2047 + 1) / 4096; v >= 101 units of 64 is v > 100."""
    trained = lif("n", (2,), leak=0.875, syn_leak=0.4, threshold=101 * 64.0, compare=">=").neuron
    assert trained is not None
    found = rounding_of(trained, group_of(du=ints(2047), dv=ints(512)), 0.25, np.zeros(()), LOIHI)
    assert (found.leak, found.syn_leak) == (0.0, pytest.approx(0.1))
    assert (found.threshold, found.weight) == (0.0, 0.25)
    strict = lif("n", (2,), leak=0.875, threshold=101 * 64.0, compare=">").neuron
    assert strict is not None
    found = rounding_of(strict, group_of(dv=ints(512)), 0.0, np.zeros(()), LOIHI)
    assert found.threshold == pytest.approx(1 / 101)


def test_clipping_begins_with_the_neuron_that_is_driven_most() -> None:
    limit = LOIHI.state_max
    none = np.zeros(3)
    per_step = Interval(np.zeros(3), np.array([10.0, 1000.0, 5000.0]))
    v = Interval(np.zeros(3), np.array([2.0 * limit, 2.0 * limit, 100.0]))
    worst = WorstCase(wide(0, 1, 3), per_step, v, late=none, change=none, arriving=none)
    assert headroom(worst, LOIHI).clip_steps == limit // 1000


def test_what_is_known_in_two_ways_is_bounded_by_the_smaller() -> None:
    """A readout that keeps half of v: 64 units arrive in each step, or less where spikes lie apart."""
    group = group_of(kind="readout", dv=ints(2048), bias_mant=ints(-3))
    arrives = wide(-2.0, 1.0)
    plain = worst_case(group, arrives, LOIHI)
    assert (plain.v.low.tolist(), plain.v.high.tolist()) == ([-262.0] * 2, [122.0] * 2)
    # bounds apart of u, and of what that takes v to; the bias adds -3 / (1 - 0.5) below, nothing above
    apart = worst_case(group, arrives, LOIHI, apart=(wide(-100.0, 50.0), wide(-90.0, 40.0)))
    assert (apart.u.low.tolist(), apart.u.high.tolist()) == ([-100.0] * 2, [50.0] * 2)
    assert (apart.v.low.tolist(), apart.v.high.tolist()) == ([-96.0] * 2, [40.0] * 2)
    larger = worst_case(group, arrives, LOIHI, apart=(wide(-900.0, 900.0), wide(-900.0, 900.0)))
    assert (larger.v.low.tolist(), larger.v.high.tolist()) == ([-262.0] * 2, [122.0] * 2)
    up = group_of(kind="readout", dv=ints(2048), bias_mant=ints(3))
    apart = worst_case(up, arrives, LOIHI, apart=(wide(-100.0, 50.0), wide(-90.0, 40.0)))
    assert (apart.v.low.tolist(), apart.v.high.tolist()) == ([-90.0] * 2, [46.0] * 2)


@pytest.mark.parametrize(
    ("finest", "most", "fits"), [(-40, 12, True), (-40, 13, False), (0, 52, True)]
)
def test_sums_that_float64_holds(finest: int, most: int, fits: bool) -> None:
    """All values are multiples of the finest, and 52 bits lie between that and the largest sum."""
    trained = lif("n", (2,), leak=1.0, threshold=1.0).neuron
    assert trained is not None
    group = group_of(scale=frozen(4.0, np.float64))
    far = Interval(np.zeros(2), np.full(2, 4.0 * 2.0**most))
    none = np.zeros(2)
    worst = WorstCase(far, far, far, late=none, change=none, arriving=none)
    incoming: Any = SimpleNamespace(
        codes=SimpleNamespace(codes=np.array([[1, 0], [2, 0]])), step=np.array(2.0**finest)
    )
    assert _sums_are_exact(trained, [incoming], worst, 1, group) == fits
    assert not _sums_are_exact(trained, [incoming, incoming], worst, 0, group) or fits


def test_what_dropped_fractions_add_up_to() -> None:
    """v keeps 3/4 and drops less than a unit of each step; u keeps half of its own."""
    shape = {"dv": ints(1024), "vth": ints(100)}
    worst = worst_case(group_of(**shape), wide(-1.0, 1.0), LOIHI)
    # 7 bits below the unit of weights are whole: two bits of each step are dropped from the fifth on
    assert truncated(group_of(**shape), [TWO_BY_ONE], worst, 4, LOIHI) == 0.0
    assert truncated(group_of(**shape), [TWO_BY_ONE], worst, 5, LOIHI) > 0.0
    lost = 1 / (1 - 0.75)
    assert truncated(group_of(**shape), [TWO_BY_ONE], worst, 40, LOIHI) == pytest.approx(
        lost / 6400
    )
    both = group_of(**shape, du=ints(2047))
    assert truncated(both, [TWO_BY_ONE], worst, 40, LOIHI) == pytest.approx(lost * 3 / 6400)
    held = group_of(kind="readout", dv=ints(1024))
    small = worst_case(held, wide(0.0, 1 / 256), LOIHI)  # v is at most one unit
    assert truncated(held, [TWO_BY_ONE], small, 40, LOIHI) == pytest.approx(lost)


def test_a_held_register_is_reached_from_its_end() -> None:
    """v without an end is at most a register's, and half of it decays in a step besides what arrives."""
    chip = family_of(XYLO).arithmetic
    group = group_of(kind="readout", du=ints(1), dv=ints(1))
    found = worst_case(group, Interval(np.full(2, -40_000.0), np.full(2, 50_000.0)), chip)
    # u is twice that, half of it is left when v hears of it; v ends at 32,768 of either sign
    assert found.arriving.tolist() == [50_000.0] * 2
    assert found.change.tolist() == [50_000.0 + 32_768 / 2] * 2


def test_a_u_that_may_wrap_bounds_nothing_behind_it() -> None:
    """One neuron's is enough: what wrapped may be anything."""
    group = group_of(kind="custom", dv=ints(2048), reset="none")
    arrives = Interval(np.array([-2.0, -(2.0**20)]), np.array([1.0, 1.0]))
    far = Interval(np.full(2, -(2.0**30)), np.full(2, 2.0**30))
    found = worst_case(group, arrives, LOIHI, apart=(far, wide(-7.0, 7.0)))
    assert found.v.low.tolist() == [-2 * 64 * 2, -(2.0**20) * 64 * 2]


@pytest.mark.parametrize(
    ("floor", "steps"), [((-1, 0), [4, 4]), ((128, 0), [2, 4]), ((-1, 129), [4, 1])]
)
def test_a_floor_above_zero_shortens_a_pause(floor: tuple[int, int], steps: list[int]) -> None:
    """v starts each step from it: with 64 that arrive it takes 129 more to pass 192 at once."""
    group = group_of(v_floor=ints(*floor), kind="custom", vth=ints(3))
    worst = worst_case(group, wide(-1.0, 1.0), LOIHI)
    assert _pause(group, worst, LOIHI).tolist() == steps


@pytest.mark.parametrize(("steps", "fits"), [(13, True), (14, False)])
def test_a_leak_adds_bits_in_every_step_but_the_first(steps: int, fits: bool) -> None:
    """Half of a half of …: 40 bits below the unit, and as many above as u and v need."""
    trained = lif("n", (2,), leak=0.5, threshold=1.0).neuron
    assert trained is not None
    group = group_of(scale=frozen(1.0, np.float64))
    none, one = np.zeros(2), Interval(np.zeros(2), np.ones(2))
    worst = WorstCase(one, one, one, late=none, change=none, arriving=none)
    codes: Any = SimpleNamespace(codes=SimpleNamespace(codes=ints(1, 0)), step=np.array(2.0**-40))
    assert _sums_are_exact(trained, [codes], worst, steps, group) == fits


def test_a_threshold_of_zero_loses_what_v_does() -> None:
    group = group_of(dv=ints(1024), vth=ints(0))
    worst = worst_case(group, wide(-1.0, 1.0), LOIHI)
    assert truncated(group, [TWO_BY_ONE], worst, 40, LOIHI) == pytest.approx(4.0)


def far(u: float = 0.0, low: float = 0.0, high: float = 0.0) -> WorstCase:
    """How far the second of two neurons goes; the first goes nowhere."""

    def second(a: float, b: float) -> Interval:
        return Interval(np.array([0.0, a]), np.array([0.0, b]))

    none, much = np.zeros(2), wide(-1e12, 1e12)
    return WorstCase(second(0, u), much, second(low, high), late=none, change=none, arriving=none)


MOST, SUMS = LOIHI.state_max, LOIHI.sum_max
ONCE = {"kind": "custom"}
NEVER = {"kind": "custom", "reset": "none"}
MANY = {"kind": "custom", "spikes_per_step": "many"}


@pytest.mark.parametrize(
    ("fields", "worst", "adder", "held"),
    [
        (ONCE, far(u=MOST), SUMS, ""),
        (ONCE, far(u=MOST + 1), SUMS, "u may not fit its register"),
        (ONCE, far(), SUMS + 1, "sums of input may not fit the adder"),
        (ONCE, far(low=-MOST), 0, ""),
        (ONCE, far(low=-MOST - 1), 0, "v may not fit its register"),
        (ONCE, far(high=MOST + 1), 0, ""),  # it spikes, and is forgotten
        (NEVER, far(high=MOST), 0, ""),
        (NEVER, far(high=MOST + 1), 0, "v may not fit its register"),
        (MANY, far(high=MOST + 1), 0, "v may not fit its register"),
        ({"kind": "readout"}, far(high=MOST + 1), 0, "v may not fit its register"),
    ],
)
def test_what_registers_hold_to_their_last_unit(
    fields: dict[str, Any], worst: WorstCase, adder: float, held: str
) -> None:
    found = list(_registers(group_of(**fields), worst, 5, float(adder), LOIHI))
    assert found == ([held] if held else [])


def test_a_v_that_wraps_is_not_forgotten() -> None:
    wraps = dataclasses.replace(LOIHI, v_overflow="wrap")
    assert list(_registers(group_of(**ONCE), far(high=MOST + 1), 5, 0.0, wraps))


@pytest.mark.parametrize(
    ("fields", "worst", "told"),
    [
        ({"kind": "readout"}, far(high=MOST), ""),
        ({"kind": "readout"}, far(high=MOST + 1), "reaches 8,388,608 within 5 steps"),
        ({"kind": "readout"}, far(low=-MOST), ""),
        ({"kind": "readout"}, far(low=-MOST - 1), "reaches 8,388,608 within 5 steps"),
        ({**MANY, "vth": ints(100, 1 << 16)}, far(high=2.0 * (1 << 22)), "2 spikes are due"),
        ({**MANY, "vth": ints(100, 1 << 16)}, far(high=1.9 * (1 << 22)), "2 spikes are due"),
        ({**MANY, "vth": ints(100, 1 << 16)}, far(high=1.0 * (1 << 22)), ""),
        ({**MANY, "vth": ints(100, 1 << 16), "max_spikes": 1}, far(high=2.0 * (1 << 22)), ""),
        (ONCE, far(high=2.0 * MOST), ""),
    ],
)
def test_what_is_lost_at_the_end_of_v(fields: dict[str, Any], worst: WorstCase, told: str) -> None:
    """Of 2^16 units of threshold the register holds one, and of 100 some 1,310."""
    found = saturating(group_of(**fields), worst, 5, LOIHI)
    if not told:
        assert found == ()
        return
    (finding,) = found
    assert told in finding.message
    assert finding.used == max(worst.v.high.max(), -worst.v.low.min())


def test_a_threshold_of_one_unit_is_waited_for() -> None:
    """One unit arrives in each step, and v has to pass one: where weights enter v unshifted."""
    plain = dataclasses.replace(LOIHI, state_shift=0)
    worst = worst_case(group_of(vth=ints(1)), wide(-1.0, 1.0), plain)
    assert _pause(group_of(vth=ints(1)), worst, plain).tolist() == [2, 2]
    assert _pause(group_of(vth=ints(0)), worst, plain).tolist() == [1, 1]
