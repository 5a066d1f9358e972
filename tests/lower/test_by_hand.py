"""Bounds, codings and scales of one neuron, against numbers that follow on paper."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from snndeploy.chip import family_of, load_target
from snndeploy.chip.families.loihi.lists import index_bits
from snndeploy.errors import InputError
from snndeploy.ir.arrays import frozen
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import CompartmentGroup
from snndeploy.ir.step import LOIHI
from snndeploy.lower import InputCoding, lower
from snndeploy.lower.coding import encode_inputs, infer_coding, input_group
from snndeploy.lower.decays import representable
from snndeploy.lower.proofs.headroom import (
    Interval,
    WorstCase,
    geometric,
    headroom,
    held_spikes,
    input_interval,
    most_spikes,
    worst_case,
)
from snndeploy.lower.proofs.rounding import rounding_of
from tests.support.builders import inputs, lif, project

LIMIT = (1 << 23) - 1


def ints(*values: int) -> np.ndarray:
    return frozen(np.array(values), np.int64)


def neuron(**fields: Any) -> CompartmentGroup:
    """Two compartments whose u holds what arrives, and nothing from before."""
    given = {"du": ints(4095), "dv": ints(0), "vth": ints(100), **fields}
    return CompartmentGroup(
        name="n", shape=(2,), role="output", kind=given.pop("kind", "custom"), depth=1, **given
    )


def test_what_arrives_is_bounded_by_the_signs_of_weights_and_messages() -> None:
    weight = ints(3, -2, 0, 4, 1, 1).reshape(2, 3)
    peak = ints(5, 7, 1)
    plain = input_interval((Dense(2, 3),), weight, (3,), peak, signed=False)
    assert (plain.low.tolist(), plain.high.tolist()) == ([-14, 0], [15, 28])
    both = input_interval((Dense(2, 3),), weight, (3,), peak, signed=True)
    assert (both.low.tolist(), both.high.tolist()) == ([-29, -28], [29, 28])


@pytest.mark.parametrize(("exponent", "ends"), [(0, (-5, 7)), (2, (-20, 28)), (-2, (-2, 1))])
def test_a_shift_drops_downward(exponent: int, ends: tuple[int, int]) -> None:
    found = Interval(np.array([-5]), np.array([7])).shifted(exponent)
    assert (found.low[0], found.high[0]) == ends


def test_a_leaky_sum_is_a_geometric_series() -> None:
    found = geometric(Interval(np.array([-3.0, 0.0]), np.array([6.0, 0.0])), np.array([0.75, 1.0]))
    assert (found.low.tolist(), found.high.tolist()) == ([-12.0, 0.0], [24.0, 0.0])
    assert geometric(Interval(np.array(-1.0), np.array(1.0)), np.array(1.0)).peak == np.inf


ARRIVING = Interval(np.array([-2.0, -8.0]), np.array([4.0, 1.0]))


@pytest.mark.parametrize(
    ("fields", "low", "high"),
    [
        ({}, [-np.inf, -np.inf], [100 * 64 + 4 * 64, 100 * 64 + 64]),
        ({"v_floor": ints(-10)}, [-10 - 2 * 64, -10 - 8 * 64], [104 * 64, 101 * 64]),
        ({"v_floor": ints(10)}, [-2 * 64, -8 * 64], [104 * 64 + 10, 101 * 64 + 10]),
        ({"reset": "none"}, [-np.inf, -np.inf], [np.inf, np.inf]),
        ({"reset": "subtract"}, [-np.inf, -np.inf], [np.inf, np.inf]),
        ({"reset_timing": "next-step"}, [-np.inf, -np.inf], [np.inf, np.inf]),
        ({"kind": "readout", "dv": ints(2048)}, [-4 * 64, -16 * 64], [8 * 64, 2 * 64]),
        ({"kind": "readout", "dv": ints(4096), "bias_mant": ints(70)}, [-58, -442], [326, 134]),
        ({"du": ints(2047), "dv": ints(4096)}, [-4 * 64, -16 * 64], [8 * 64, 2 * 64]),
    ],
    ids=["reset", "floor", "floor above", "none", "subtract", "late", "leak", "bias", "u"],
)
def test_the_worst_case_of_a_neuron(
    fields: dict[str, Any], low: list[Any], high: list[Any]
) -> None:
    found = worst_case(neuron(**fields), ARRIVING, LOIHI)
    assert (found.v.low.tolist(), found.v.high.tolist()) == (low, high)


@pytest.mark.parametrize(
    ("bias", "low", "high", "change", "arriving"),
    [
        # u is twice what arrives, and half of it is left when v hears of it; v keeps three quarters
        (0, [-8, -32], [16, 4], [6, 9], [4, 8]),
        (3, [0, -20], [28, 16], [9, 12], [7, 8]),
        (-3, [-20, -44], [4, 0], [9, 12], [5, 11]),
    ],
)
def test_the_worst_case_where_a_register_holds_what_a_step_adds(
    bias: int, low: list[int], high: list[int], change: list[int], arriving: list[int]
) -> None:
    """From v at one end it takes what decays there, besides all that arrives for the other."""
    chip = family_of(load_target("xylo-a2")).arithmetic
    fields = {"du": ints(1), "dv": ints(2), "bias_mant": ints(bias), "kind": "readout"}
    found = worst_case(neuron(**fields), ARRIVING, chip)
    assert (found.u.low.tolist(), found.u.high.tolist()) == ([-4, -16], [8, 2])
    assert (found.v.low.tolist(), found.v.high.tolist()) == (low, high)
    assert (found.change.tolist(), found.arriving.tolist()) == (change, arriving)
    here = worst_case(neuron(**fields), ARRIVING, LOIHI)
    assert not here.change.any()


@pytest.mark.parametrize(("most", "peak", "steps"), [(200, 200, None), (40_000, 32_767, 40)])
def test_what_a_step_adds_counts_for_head_room(most: int, peak: int, steps: int | None) -> None:
    chip = family_of(load_target("xylo-a2")).arithmetic
    none, low = np.zeros(1), Interval(-np.ones(1), np.ones(1))
    worst = WorstCase(low, low, low, none, change=np.full(1, most), arriving=np.full(1, 800.0))
    room = headroom(worst, chip)
    assert (room.v_peak, room.clip_steps) == (peak, steps)


def test_a_reset_by_all_multiples_leaves_at_most_the_threshold() -> None:
    many = {"reset": "subtract", "spikes_per_step": "many"}
    assert worst_case(neuron(**many), ARRIVING, LOIHI).v.high.tolist() == [104 * 64, 101 * 64]
    few = worst_case(neuron(**many, max_spikes=3), ARRIVING, LOIHI)
    assert few.v.high.tolist() == [np.inf, np.inf]


def test_a_sample_of_few_steps_reaches_less() -> None:
    worst = worst_case(neuron(reset="none"), ARRIVING, LOIHI).within(3)
    assert (worst.low.tolist(), worst.high.tolist()) == ([-384, -1536], [768, 192])


def case(v: float, per_step: float, u: float = 1.0) -> WorstCase:
    def both(x: float) -> Interval:
        return Interval(np.array([-x / 2, 0.0]), np.array([x, 0.0]))

    none = np.zeros(2)
    return WorstCase(both(u), both(per_step), both(v), late=none, change=none, arriving=none)


@pytest.mark.parametrize(
    ("v", "per_step", "clips", "peak"),
    [
        (LIMIT, 1000.0, None, LIMIT),
        (LIMIT + 1, 1000.0, LIMIT // 1000, LIMIT),
        (np.inf, 0.25, LIMIT, LIMIT),
        (99.5, 50.0, None, 100),
    ],
)
def test_v_clips_beyond_its_register_and_not_at_it(
    v: float, per_step: float, clips: int | None, peak: int
) -> None:
    room = headroom(case(v, per_step, u=6.25), LOIHI)
    assert (room.u_peak, room.v_peak, room.limit, room.clip_steps) == (7, peak, LIMIT, clips)


def test_the_most_spikes_of_a_step_are_thresholds_in_v() -> None:
    worst = case(1000 * 64, 10.0)
    many = {"reset": "subtract", "spikes_per_step": "many"}
    assert most_spikes(neuron(**many, vth=ints(30)), worst, LOIHI).tolist() == [33, 0]
    assert most_spikes(neuron(**many, vth=ints(30), max_spikes=7), worst, LOIHI).tolist() == [7, 0]
    assert most_spikes(neuron(vth=ints(30)), worst, LOIHI).tolist() == 1
    assert held_spikes(neuron(**many, vth=ints(0)), LOIHI).tolist() == [LIMIT]
    assert held_spikes(neuron(**many, vth=ints(1000)), LOIHI).tolist() == [131]
    assert held_spikes(neuron(vth=ints(1000)), LOIHI).tolist() == 1


@pytest.mark.parametrize(
    ("data", "kind", "peak", "bits", "scale"),
    [
        ([0, 1], "binary", 1, 0, 1.0),
        ([0.0, 1.0], "binary", 1, 0, 1.0),
        ([-1, 1], "graded", 1, 2, 1.0),
        ([0, 2], "graded", 2, 3, 1.0),
        ([-9, 2], "graded", 9, 5, 1.0),
        ([3.0, -2.0], "graded", 3, 3, 1.0),
        ([0.5, 1.0], "analog", 1, 9, 128.0),
        ([-3.5, 1.0], "analog", 3.5, 9, 64.0),
    ],
)
def test_the_coding_that_data_need(
    data: list[float], kind: str, peak: float, bits: int, scale: float
) -> None:
    coding = infer_coding(np.array(data))
    assert (coding.kind, coding.peak) == (kind, peak)
    assert (coding.message_bits, coding.scale) == (bits, scale)
    assert coding.message_peak == max(abs(x) * scale for x in data)
    sent = encode_inputs(np.array(data), input_group("x", (1,), coding))
    assert sent.tolist() == [x * scale for x in data]


def test_codings_without_data() -> None:
    assert [InputCoding.named(k).peak for k in ("binary", "graded", "analog")] == [1.0, 15.0, 1.0]
    assert [InputCoding.named(k).message_peak for k in ("binary", "graded", "analog")] == [
        1,
        15,
        128,
    ]


@pytest.mark.parametrize(("neurons", "bits"), [(1, 1), (2, 1), (3, 2), (256, 8), (257, 9)])
def test_an_index_tells_the_neurons_of_a_slice_apart(neurons: int, bits: int) -> None:
    target = load_target("loihi1")
    assert index_bits(neurons, target) == target.synapse.index.holding(bits)
    assert index_bits(neurons, load_target("loihi2")) == 12


def lowered(observed: float | None) -> float:
    """The scale of a neuron with 400 weights of 1."""
    network = Network(
        (inputs((400,)), lif("output", (1,), "output", leak=1.0, threshold=2.0)),
        (project("w", "input", "output", Dense(1, 400), np.ones((1, 400))),),
    ).verify()
    seen = None if observed is None else {"output": observed}
    coding = InputCoding.named("binary")
    program = lower(network, load_target("loihi2"), inputs=coding, observed=seen)
    return float(program.group("output").scale.reshape(()))


def test_what_was_observed_gets_a_quarter_more_room() -> None:
    """u is at most 1.25 times what was seen; with the threshold below it, v must stay in 24 bits."""
    proved = lowered(None)
    assert proved * (400 + 2) <= LIMIT < 2 * proved * (400 + 2)
    for factor in (2, 4):
        fits = (LIMIT / (factor * proved) - 2) / 1.25
        assert lowered(fits * 0.9999) == factor * proved
        assert lowered(fits * 1.0001) == factor * proved / 2


@pytest.mark.parametrize(("weight", "exponent"), [(99.0, 7), (100.0, 7), (128.0, 7)])
def test_a_scale_stops_at_the_largest_exponent(weight: float, exponent: int) -> None:
    """One strong weight among little room: the scale is as large as the field of exponents allows."""
    network = Network(
        (inputs((1,)), lif("output", (1,), "output", leak=1.0, threshold=1.0)),
        (project("w", "input", "output", Dense(1, 1), np.full((1, 1), weight)),),
    ).verify()
    seen = {"output": 0.01}
    coding = InputCoding.named("binary")
    program = lower(network, load_target("loihi2"), inputs=coding, observed=seen)
    assert program.synapses[0].exponent == exponent


@pytest.mark.parametrize(
    ("leak", "kind", "lost"), [(1.0, "lif", 0), (0.5, "lif", 1), (1.0, "custom", 1)]
)
def test_a_threshold_between_two_units_loses_nothing_where_no_v_lies(
    leak: float, kind: str, lost: int
) -> None:
    """Its mantissa is 3 units of 64, and it is 4 per cent more; v holds whole units without a leak."""
    plain = lif("n", (2,), leak=leak, threshold=3.12 * 64).neuron
    assert plain is not None
    group = neuron(kind=kind, vth=ints(3), dv=ints(0 if leak == 1 else 2048))
    found = rounding_of(plain, group, 0.0, np.zeros(()), LOIHI)
    assert found.threshold == pytest.approx(lost * 0.12 / 3.12)


def entering(data: Any, kind: Any, peak: float, most: int | None = None) -> Any:
    """What an input sends, or the code of why it does not."""
    group = dataclasses.replace(
        input_group("in", (1,), InputCoding(kind=kind, peak=peak)), max_spikes=most
    )
    try:
        return encode_inputs(np.asarray(data).reshape(-1, 1, 1), group).reshape(-1).tolist()
    except InputError as error:
        return error.code


@pytest.mark.parametrize(
    ("data", "kind", "peak", "sent"),
    [
        ([0, 1], "binary", 1.0, [0, 1]),
        ([0.0, 1.0], "binary", 1.0, [0, 1]),
        ([True, False], "binary", 1.0, [1, 0]),
        ([False], "graded", 3.0, [0]),
        ([0.5, 1.0], "binary", 1.0, "input-not-integer"),
        ([0, 2], "binary", 1.0, "input-not-binary"),
        ([-1, 1], "binary", 1.0, "input-not-binary"),
        ([np.nan], "binary", 1.0, "input-not-finite"),
        ([-3, 3], "graded", 3.0, [-3, 3]),
        ([-3.0, 2.0], "graded", 3.0, [-3, 2]),
        ([1.5], "graded", 3.0, "input-not-integer"),
        ([4], "graded", 3.0, "input-beyond"),
        ([-4], "graded", 3.0, "input-beyond"),
        ([], "graded", 3.0, []),
        # 255 / 127.5 is a scale of 2, 255 / 1 one of 128
        ([-127.5, 0.5, 0.26, 0.24], "analog", 127.5, [-255, 1, 1, 0]),
        ([1.0, 0.25, -0.001], "analog", 1.0, [128, 32, 0]),
        ([128.0], "analog", 127.5, "input-beyond"),
        # 255 itself: a scale of 1, and fractions are refused like those of graded data
        ([255.0], "analog", 255.0, [255]),
        ([0.5], "analog", 255.0, "input-not-integer"),
    ],
)
def test_what_data_become(data: Any, kind: Any, peak: float, sent: Any) -> None:
    assert entering(data, kind, peak) == sent


def test_more_spikes_than_a_channel_takes_are_not_sent() -> None:
    assert entering([0, 3, 5, 4], "graded", 9.0, most=4) == [0, 3, 4, 4]
    assert entering([0, 3, 5, 4], "graded", 3.0, most=3) == [0, 3, 3, 3]


@pytest.mark.parametrize("data", [[0.0, np.inf], [-np.inf, 0.0], [np.nan]])
def test_data_that_are_not_numbers_have_no_coding(data: list[float]) -> None:
    with pytest.raises(InputError) as caught:
        infer_coding(np.array(data))
    assert caught.value.code == "input-not-finite"


@pytest.mark.parametrize(
    ("leaks", "held"), [([0.5, 0.75], True), ([0.5, 0.3], False), ([1.0], True), ([0.3], False)]
)
def test_shifts_stand_for_all_leaks_or_for_some(leaks: list[float], held: bool) -> None:
    chip = family_of(load_target("xylo-a2")).arithmetic
    assert representable(np.array(leaks), chip) == held
