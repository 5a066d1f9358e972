"""Lowering: formats, scales, head-room, timing, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snndeploy.chip import family_of, load_target
from snndeploy.errors import InputError, LoweringRefused
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense, Pointwise
from snndeploy.ir.program import Program
from snndeploy.ir.step import LOIHI
from snndeploy.ir.weights import Weight
from snndeploy.lower import InputCoding, encode_inputs, infer_coding, lower, reaching
from snndeploy.lower.decays import to_decay
from snndeploy.lower.integers import integer_codes, to_bias, to_mantissas
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import conv_net, inputs, lif, project

LOIHI1, LOIHI2 = load_target("loihi1"), load_target("loihi2")
WEIGHTS = family_of(LOIHI2).weights


def two_layers(weight: Any, *, first: Any = None, **neuron: Any) -> Network:
    """input(3) -> a(2) -> out(2)."""
    return Network(
        (inputs((3,)), lif("a", (2,), **neuron), lif("out", (2,), "output")),
        (
            project(
                "w0", "input", "a", Dense(2, 3), np.full((2, 3), 0.5) if first is None else first
            ),
            project("w1", "a", "out", Dense(2, 2), weight),
        ),
    ).verify()


@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(-300, 300)))
def test_mantissas_are_legal_and_near(wanted: np.ndarray) -> None:
    m = to_mantissas(wanted, -8, WEIGHTS)
    low, high = {"mixed": (-256, 254), "excitatory": (0, 255), "inhibitory": (-255, 0)}[m.sign_mode]
    assert m.mantissa.min() >= low
    assert m.mantissa.max() <= high
    if m.sign_mode == "mixed":
        assert not (m.mantissa % 2).any()
    grid = (2 if m.sign_mode == "mixed" else 1) * 2.0**m.exponent
    # Half a step of the grid, or a whole one where the largest value had to be clipped into range.
    assert np.abs(m.mantissa * 2.0**m.exponent - wanted).max() <= grid


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("k", range(6))
def test_codes_of_up_to_8_bits_are_exact_mantissas(bits: int, k: int) -> None:
    top = 2 ** (bits - 1) - 1
    codes = np.arange(-top, top + 1)
    m = to_mantissas(codes * 2.0**k, -8, WEIGHTS)
    np.testing.assert_array_equal(m.mantissa * 2.0**m.exponent, codes * 2.0**k)
    assert m.weight_bits == bits
    assert m.error == 0


def test_weights_on_a_dyadic_grid_keep_their_values() -> None:
    c = integer_codes(Weight(np.array([0.75, -1.5, 0.0, 2.0])))
    np.testing.assert_array_equal(c.codes * c.step, [0.75, -1.5, 0.0, 2.0])
    assert c.exact


def test_weights_off_every_grid_round_to_8_bits() -> None:
    values = np.array([0.3, -1.0, 0.7])
    c = integer_codes(Weight(values))
    assert not c.exact
    np.testing.assert_array_equal(c.codes, [38, -127, 89])
    assert c.error == pytest.approx(np.abs(c.codes / 127 - values).max())


def test_all_zero_weights_lower() -> None:
    program = lower(two_layers(np.zeros((2, 2))), LOIHI2)
    assert not program.synapses[1].mantissa.any()


@pytest.mark.parametrize(
    ("leak", "dv"), [(1.0, 0), (0.875, 512), (0.5, 2048), (0.0, 4095), (0.9, 410)]
)
def test_decays(leak: float, dv: int) -> None:
    assert to_decay(np.asarray(leak), 0, 4095, LOIHI) == dv
    assert to_decay(np.asarray(leak), 1, 4095, LOIHI) == max(
        min(dv, round((1 - leak) * 4096)) - (leak > 0), 0
    )


def test_biases_share_the_finest_exponent_that_holds_them() -> None:
    mantissa, exponent = to_bias(np.array([5000.0, -3.0]), 4095, 7)
    assert exponent == 1
    np.testing.assert_array_equal(mantissa, [2500, -2])


def test_a_quantised_network_lowers_without_weight_error() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-7, 8, (2, 2))
    program = lower(two_layers(Weight(codes, np.array(0.0371), 4)), LOIHI2)
    s, group = program.synapses[1], program.group("out")
    assert program.rounding["out"].weight == 0
    real = s.mantissa * 2.0**s.exponent * 64 / group.scale
    np.testing.assert_allclose(real, codes * 0.0371, rtol=1e-12)


def test_steps_per_channel_become_thresholds_per_channel() -> None:
    codes = np.array([[7, -3], [2, 5]])
    step = np.array([[0.1], [0.025]])
    program = lower(two_layers(Weight(codes, step, 4)), LOIHI2)
    group, s = program.group("out"), program.synapses[1]
    assert group.vth.shape == (2,)
    assert group.scale[1] / group.scale[0] == pytest.approx(4.0)
    real = s.mantissa * 2.0**s.exponent * 64 / group.scale[:, None]
    np.testing.assert_allclose(real, codes * step, rtol=1e-12)


def test_an_identity_follows_a_scale_per_channel() -> None:
    """A one-to-one skip beside a per-channel projection grows weights per channel."""
    codes = np.array([[7, -3], [2, 5]])
    net = Network(
        (inputs((2,)), lif("out", (2,), "output")),
        (
            project("w", "input", "out", Dense(2, 2), Weight(codes, np.array([[0.1], [0.025]]), 4)),
            project("skip", "input", "out", Pointwise((2,)), np.asarray(0.2)),
        ),
    ).verify()
    program = lower(net, LOIHI2)
    skip = program.synapses[1]
    assert skip.op.weight_shape == (2,)
    real = skip.mantissa * 2.0**skip.exponent * 64 / program.group("out").scale
    np.testing.assert_allclose(real, 0.2, rtol=0.01)


@given(st.integers(0, 10_000))
def test_u_never_wraps_where_head_room_is_proved(seed: int) -> None:
    """Full input at every step, excitatory or inhibitory first, stays inside what was promised."""
    rng = np.random.default_rng(seed)
    net = two_layers(
        rng.normal(size=(2, 2)) * 10.0 ** rng.integers(-2, 3), first=rng.normal(size=(2, 3))
    )
    program = lower(net, LOIHI2)
    run = run_integer(program, np.ones((12, 1, 3), np.int64), record_states=("a", "out"))
    for name, room in program.headroom.items():
        assert not room.wraps
        assert np.abs(run.u[name]).max() <= room.u_peak <= LOIHI.state_max


def test_head_room_says_after_how_many_steps_inhibition_clips() -> None:
    net = two_layers(np.eye(2), first=np.array([[-1.0] * 3, [1.0] * 3]), leak=1.0, threshold=0.001)
    program = lower(net, LOIHI2)
    steps = program.headroom["a"].clip_steps
    assert steps is not None
    run = run_integer(program, np.ones((steps + 1, 1, 3), np.int64), record_states=("a",))
    assert np.abs(run.v["a"][steps - 1]).max() <= LOIHI.state_max
    assert run.v["a"].min() == -LOIHI.state_max


@pytest.mark.parametrize("compare", [">", ">="])
@pytest.mark.parametrize("leak", [1.0, 0.5])
def test_comparisons_are_exact_on_the_grid(compare: str, leak: float) -> None:
    """Equality with the threshold is common with integers, and must fall on the right side."""
    first = np.array([[0.25, 0.5, 1.0], [0.5, 0.5, 0.5]])
    net = two_layers(np.eye(2), first=first, leak=leak, compare=compare)
    x = (np.random.default_rng(1).random((6, 64, 3)) < 0.5).astype(np.int64)
    program = lower(net, LOIHI2, steps=6)
    np.testing.assert_array_equal(
        run_float(net, x, dtype="float64").spikes["a"], run_integer(program, x).spikes["a"]
    )


def test_unequal_branches_meet_by_latency() -> None:
    rng = np.random.default_rng(0)
    net = Network(
        (inputs((3,)), lif("a", (3,)), lif("b", (3,)), lif("out", (2,), "output")),
        (
            project("in-a", "input", "a", Dense(3, 3), rng.normal(size=(3, 3))),
            project("a-b", "a", "b", Dense(3, 3), rng.normal(size=(3, 3))),
            project("b-out", "b", "out", Dense(2, 3), rng.normal(size=(2, 3))),
            project("skip", "input", "out", Dense(2, 3), rng.normal(size=(2, 3))),
            project("late", "a", "out", Dense(2, 3), rng.normal(size=(2, 3)), delay=4),
        ),
    ).verify()
    program = lower(net, LOIHI2)
    assert {g.name: g.depth for g in program.groups} == {"input": 0, "a": 1, "b": 2, "out": 3}
    latency = {s.name: int(s.sources[0].latency) for s in program.synapses}
    assert latency == {"in-a": 1, "a-b": 1, "b-out": 1, "skip": 3, "late": 6}


@pytest.mark.parametrize("syn_leak", [None, 0.5])
def test_the_bias_of_a_delayed_projection_arrives_with_its_delay(syn_leak: float | None) -> None:
    """Silent inputs: only biases make anything spike, step by step as in real numbers."""
    net = Network(
        (inputs((2,)), lif("output", (2,), "output", syn_leak=syn_leak, leak=1.0)),
        tuple(
            project(
                name, "input", "output", Dense(2, 2), np.eye(2), delay=d, bias=np.asarray(b) / 4
            )
            for name, d, b in (("now", 0, [1, 0]), ("fc", 3, [3, 0]), ("late", 5, [1, 2]))
        ),
    ).verify()
    program = lower(net, LOIHI2, steps=8)
    assert not [f.where for f in program.findings if f.code == "delayed-bias"]
    silence = np.zeros((8, 1, 2), np.int64)
    found = run_integer(program, {"input": silence}).spikes["output"]
    trained = run_float(net, silence.astype(float), dtype="float64").spikes["output"]
    assert trained[:, 0, 1].any()
    np.testing.assert_array_equal(found, trained)


def test_what_a_bias_loses_to_one_exponent_has_synapses_of_its_own() -> None:
    """Filtered biases add up: behind a leak of 15/16 and a filter of 1/2, to 32 times what was lost.

    Eight bits hold the larger one to a hundredth, which makes a quarter of the threshold. With the
    rest the membranes are those of real numbers but for half a unit of weights, 32 times.
    """
    bias = np.array([-0.0513, -5.32])
    fc = Weight(np.array([[3, 0], [0, 3]]), scale=np.array([[1 / 64], [1.0]]), bits=4)
    net = Network(
        (inputs((2,)), lif("output", (2,), "output", syn_leak=0.5, leak=0.9375, bias=bias)),
        (project("fc", "input", "output", Dense(2, 2), fc),),
    ).verify()
    program = lower(net, LOIHI2, steps=60)
    assert [s.name for s in program.synapses] == ["fc", "output.bias", "output.bias-rest"]
    scale = program.group("output").scale
    first, rest = (s.mantissa[:, 0] * 2.0**s.exponent * 64 / scale for s in program.synapses[1:])
    assert (np.abs(first - bias) * scale).max() > 200
    unit = 1 << 6  # of weights, in v
    assert (np.abs(first + rest - bias) * scale).max() <= unit / 2
    assert program.rounding["output"].bias == pytest.approx(np.abs(first + rest - bias).max())
    silence = np.zeros((60, 1, 2), np.int64)
    found = run_integer(program, {"input": silence}, record_states=["output"]).v["output"]
    trained = run_float(net, silence.astype(float), dtype="float64", record=["output"])
    assert np.abs(found - trained.v["output"] * scale).max() <= 32 * (unit / 2 + 1)


def test_a_bias_that_one_exponent_holds_well_has_no_other_synapses() -> None:
    """Eight bits of 1.0 and -0.33 are near enough for a membrane that forgets at once."""
    neuron = lif(
        "output", (2,), "output", syn_leak=0.25, leak=0.0, bias=np.array([1, -0.33]), threshold=4.0
    )
    fc = project("fc", "input", "output", Dense(2, 2), np.eye(2))
    program = lower(Network((inputs((2,)), neuron), (fc,)).verify(), LOIHI2)
    assert [s.name for s in program.synapses] == ["fc", "output.bias"]
    lost = program.rounding["output"].bias
    assert 0 < lost < (2 / 254) / 4


def test_routes_and_comparisons_are_told() -> None:
    """Nothing is told of what the chip does as trained; each deviation names its population once."""
    told = {f.code for f in lower(two_layers(np.eye(2)), LOIHI2).findings}
    assert told & {"neuron-route", "compare-approximated", "headroom-unproved"} == set()
    program = lower(two_layers(np.eye(2), v_floor=-1.0, reset="subtract"), LOIHI2)
    routes = [(f.where, f.message) for f in program.findings if f.code == "neuron-route"]
    assert routes == [("a", program.group("a").route)]
    leaky = lower(two_layers(np.eye(2), compare=">=", leak=0.5), LOIHI2)
    near = [f.where for f in leaky.findings if f.code == "compare-approximated"]
    assert near == ["a"]
    still = lower(two_layers(np.eye(2), compare=">=", leak=1.0), LOIHI2)
    assert [f for f in still.findings if f.code == "compare-approximated"] == []


def test_a_loop_shorter_than_its_projections_is_refused() -> None:
    net = Network(
        (inputs((2,)), lif("a", (2,)), lif("b", (2,), "output")),
        (
            project("in-a", "input", "a", Dense(2, 2), np.eye(2)),
            project("a-b", "a", "b", Dense(2, 2), np.eye(2)),
            project("b-a", "b", "a", Dense(2, 2), np.eye(2), delay=1),
        ),
    ).verify()
    with pytest.raises(LoweringRefused) as caught:
        lower(net, LOIHI2)
    assert caught.value.code == "loop-too-short"
    assert "a -> b -> a" in caught.value.message or "b -> a -> b" in caught.value.message


def refusal(net: Network, target: Any = LOIHI2, **options: Any) -> str:
    with pytest.raises(LoweringRefused) as caught:
        lower(net, target, **options)
    return f"{caught.value.code}: {caught.value}"


def test_refusals_say_what_where_and_what_next() -> None:
    eye = np.eye(2)
    assert refusal(two_layers(eye, v_init=0.5)) == (
        "initial-state: a: its membrane does not start at the reset value; a chip's reset state is 0"
    )
    assert refusal(two_layers(eye, v_floor=-1.0, reset="subtract"), LOIHI1) == (
        "neuron-unsupported: a: loihi1 has no form for: v floor\n"
        "  next: compile for loihi2, or retrain with a reset to zero and one spike per step"
    )
    assert refusal(two_layers(Weight(np.array([[300, 1], [1, 1]]), np.array(0.1), 10))) == (
        "weight-bits: w1: its codes need 10 bits, a mantissa holds 8\n"
        "  next: quantize with bits <= 8 (rescaw, which has no zero: one less)"
    )
    assert refusal(two_layers(eye), LOIHI1, inputs=InputCoding.named("graded")) == (
        "graded-input: loihi1 has binary spikes only, the data of 'input' are graded\n"
        "  next: encode the data as spikes (rate, latency), or compile for loihi2"
    )
    assert refusal(two_layers(eye), inputs={}) == (
        "input-coding: no coding is given for input 'input'"
    )
    assert refusal(two_layers(eye, threshold=None)) == (
        "analog-source: a: it emits its membrane potential to other populations; chips send spikes\n"
        "  next: --adapt makes synapses of it where they do the same; or use spiking neurons"
    )


def test_analog_input_beside_spikes_is_refused() -> None:
    net = Network(
        (inputs((2,)), lif("a", (2,)), lif("out", (2,), "output")),
        (
            project("in-a", "input", "a", Dense(2, 2), np.eye(2)),
            project("sum", ("input", "a"), "out", Dense(2, 2), np.eye(2)),
        ),
    ).verify()
    text = refusal(net, inputs=InputCoding(kind="analog", peak=0.7))
    assert text.startswith("mixed-sources: sum: analog input and spikes are added")


def test_codings_are_inferred_from_data() -> None:
    assert infer_coding(np.array([0, 1, 1])).kind == "binary"
    assert infer_coding(np.array([0.0, 1.0])).message_bits == 0
    graded = infer_coding(np.array([0, 8, 3]))
    # head-room is for what the data hold, and no more than that is let in
    assert (graded.kind, graded.message_peak, graded.message_bits) == ("graded", 8, 5)
    analog = infer_coding(np.array([0.0, -0.4, 0.25]))
    parts = np.array([0, 0]), np.array([-0.4]), np.array([0.25])
    assert infer_coding(iter(parts)) == analog
    with pytest.raises(InputError, match="NaN"):
        infer_coding(iter((parts[0], np.array([np.nan]))))
    assert (analog.kind, analog.scale, analog.message_bits) == ("analog", 512.0, 9)


@pytest.mark.parametrize(
    ("coding", "peak", "kind", "reaches"),
    [
        (None, 9.0, "graded", 9.0),
        (None, 0.5, "binary", 1.0),
        (InputCoding.named("binary"), 1.0, "binary", 1.0),
        (InputCoding.named("binary"), 3.0, "graded", 3.0),
        (InputCoding(kind="graded", peak=5), 3.0, "graded", 5.0),
        (InputCoding(kind="analog", peak=0.5), 2.0, "analog", 2.0),
    ],
)
def test_codings_for_values_that_no_sample_holds(
    coding: InputCoding | None, peak: float, kind: str, reaches: float
) -> None:
    found = reaching(coding, peak)
    assert (found.kind, found.peak) == (kind, reaches)


@pytest.mark.parametrize("peak", [15, 9])
def test_what_is_beyond_the_peak_of_an_input_is_refused(peak: int) -> None:
    """Head-room is proved for messages of 15 (or 9), so these enter and larger ones do not."""
    net = two_layers(np.eye(2))
    coding = InputCoding(kind="graded", peak=peak)
    program = lower(net, LOIHI2, inputs=coding)
    group = program.group("input")
    assert (group.message_bits, group.message_peak, group.largest) == (5, peak, peak)
    assert program.headroom["a"].u_peak == 1.5 * peak * program.group("a").scale  # three of 0.5
    for held in (peak, -peak):
        assert encode_inputs(np.array([held, 0]), group).tolist() == [held, 0]
    for beyond in (peak + 1, -peak - 1):
        message = (
            f"input input: the program takes inputs up to {peak} in size, the data hold a value of "
            f"{beyond}: registers might overflow\n  next: compile with --input-peak {peak + 1} "
            "(or more), or with --data that reaches as far"
        )
        with pytest.raises(InputError) as caught:
            encode_inputs(np.array([beyond, 0]), group)
        assert caught.value.code == "input-beyond"
        assert str(caught.value) == message
        with pytest.raises(InputError) as caught:
            run_integer(program, np.full((3, 1, 3), beyond))
        assert caught.value.code == "input-beyond"


def test_head_room_of_graded_input_is_for_all_that_is_let_in() -> None:
    """Weights 1 on messages of 15 (or 9): |u| reaches what is called its peak."""
    net = two_layers(np.ones((2, 2)), leak=0.0)
    for coding in (InputCoding.named("graded"), InputCoding(kind="graded", peak=9)):
        program = lower(net, LOIHI2, inputs=coding)
        most = np.full((4, 1, *net.populations[0].shape), int(coding.peak))
        run = run_integer(program, {"input": most}, record_states=("a",))
        assert program.headroom["a"].u_peak == np.abs(run.u["a"]).max()


def test_analog_input_keeps_the_first_layer_close() -> None:
    net = conv_net()
    x = np.random.default_rng(0).random((8, 4, *net.with_role("input")[0].shape))
    coding = infer_coding(x)
    program = lower(net, LOIHI2, inputs=coding, steps=8)
    first = net.populations[1].name
    a = run_float(net, x).spikes[first]
    b = run_integer(program, np.rint(x * coding.scale).astype(np.int64)).spikes[first]
    assert a.sum() > 0
    assert (a != b).mean() < 0.005  # inputs rounded to 1/128 move few spikes


def test_a_calibrated_scale_resolves_more_finely() -> None:
    net = two_layers(np.random.default_rng(0).normal(size=(2, 2)), leak=1.0)
    proved = lower(net, LOIHI2)
    trusted = lower(net, LOIHI2, observed={"a": 0.01, "out": 0.01})
    assert trusted.group("a").vth.min() >= proved.group("a").vth.min()


def test_thresholds_far_apart_stay_fine_where_head_room_cannot_be_proved() -> None:
    """One row's threshold is a fraction of what arrives in a step: a proof would round it away."""
    codes = np.full((2, 16), 7, np.int32)
    net = Network(
        (
            inputs((16,)),
            lif("output", (2,), "output", leak=0.9, threshold=np.array([1.0, 1 / 512])),
        ),
        (
            project(
                "fc", "input", "output", Dense(2, 16), Weight(codes, np.array([[1.0], [0.05]]), 4)
            ),
        ),
    ).verify()
    program = lower(net, LOIHI2)
    assert int(np.min(program.group("output").vth)) >= 32


def test_digest_follows_content() -> None:
    def digest(w: float) -> str:
        return lower(two_layers(np.full((2, 2), w)), LOIHI2).digest

    assert digest(0.5) == digest(0.5)
    assert digest(0.5) != digest(0.25)
    assert isinstance(lower(two_layers(np.eye(2)), LOIHI2), Program)


@pytest.mark.parametrize("unit", [1.0, 2.0**-4, 2.0**5])
def test_a_readout_is_rounded_alike_in_any_unit(unit: float) -> None:
    """Whether a bias needs other synapses was a question of the unit of the answer."""
    bias = unit * np.array([-0.0513, -5.32])
    fc = Weight(np.array([[3, 0], [0, 3]]), scale=np.asarray(unit / 16), bits=4)
    readout = lif("output", (2,), "output", threshold=None, syn_leak=0.5, leak=0.9375, bias=bias)
    net = Network((inputs((2,)), readout), (project("fc", "input", "output", Dense(2, 2), fc),))
    program = lower(net.verify(), LOIHI2, steps=60)
    assert [s.name for s in program.synapses] == ["fc", "output.bias", "output.bias-rest"]
    assert [np.abs(s.mantissa).max() for s in program.synapses] == [192, 170, 6]
