"""Numbers of lowering that follow on paper, each of which a single fault once left as it was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from snndeploy.chip import family_of, load_target
from snndeploy.ir.arrays import frozen
from snndeploy.ir.network import Network, Source
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.ir.weights import Weight
from snndeploy.lower import InputCoding, fitted_in_turn, lower, reaching
from snndeploy.lower.exact import _sums_are_exact, truncated
from snndeploy.lower.integers import to_mantissas
from snndeploy.lower.proofs.headroom import Interval, WorstCase, headroom, worst_case
from snndeploy.lower.proofs.rounding import rounding_of
from snndeploy.lower.registers import held_neuron
from snndeploy.lower.scale import _slow_threshold
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import conv, inputs, lif, project

LOIHI2, XYLO = load_target("loihi2"), load_target("xylo-a2")
BINARY = InputCoding.named("binary")


def ints(*values: int) -> np.ndarray:
    return frozen(np.array(values), np.int64)


def one_layer(weight: Any, *, bias: Any = None, **fields: Any) -> Network:
    """input -> output, dense."""
    held = weight if isinstance(weight, Weight) else Weight(np.asarray(weight, np.float64))
    n, m = held.shape
    layer = project("w", "input", "output", Dense(n, m), held, bias=bias)
    return Network((inputs((m,)), lif("output", (n,), "output", **fields)), (layer,)).verify()


def lowered(network: Network, **options: Any) -> Program:
    return lower(network, LOIHI2, inputs=BINARY, **options)


@pytest.mark.parametrize(
    ("wanted", "mode", "mantissa", "exponent"),
    [
        ((-255.0, -1.0), "inhibitory", (-255, -1), 0),
        ((255.0, 1.0), "excitatory", (255, 1), 0),
        ((-255.0, 0.0), "inhibitory", (-255, 0), 0),
        ((0.0, 0.0), "excitatory", (0, 0), -8),
        ((254.0, -1.0), "mixed", (254, 0), 0),
    ],
)
def test_a_sign_takes_a_bit_where_both_are_there(
    wanted: tuple[float, ...], mode: str, mantissa: tuple[int, ...], exponent: int
) -> None:
    found = to_mantissas(np.array([wanted]), -8, family_of(LOIHI2).weights)
    values = found.mantissa * 2.0 ** (found.exponent - exponent)
    assert found.sign_mode == mode
    if mode != "mixed":
        assert values.reshape(-1).tolist() == list(mantissa)
        assert found.exponent == exponent or not any(wanted)
    else:
        assert not (found.mantissa % 2).any()


def test_the_coding_for_a_largest_value() -> None:
    assert [reaching(None, peak).kind for peak in (0.5, 1.0, 2.0)] == ["binary", "binary", "graded"]
    assert [reaching(BINARY, peak).kind for peak in (1.0, 2.0)] == ["binary", "graded"]
    assert [reaching(None, peak).peak for peak in (0.5, 1.0, 2.0)] == [1.0, 1.0, 2.0]


def group_of(**fields: Any) -> CompartmentGroup:
    given = {"du": ints(4095), "dv": ints(0), "vth": ints(100), **fields}
    kind = given.pop("kind", "lif")
    return CompartmentGroup(name="n", shape=(2,), role="output", kind=kind, depth=1, **given)


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


def wide(low: float, high: float, n: int = 2) -> Interval:
    return Interval(np.full(n, low), np.full(n, high))


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


def test_a_bias_behind_the_synaptic_filter_adds_to_one_side() -> None:
    """-1 from the input, +1 always: u is between -2 and 2, as half of it stays."""
    program = lowered(one_layer([[-1.0]], syn_leak=0.5, bias=None, leak=0.0))
    alone = program.headroom["output"].u_peak / float(program.group("output").scale.reshape(()))
    biased = Network(
        (inputs((1,)), lif("output", (1,), "output", syn_leak=0.5, leak=0.0, bias=1.0)),
        (project("w", "input", "output", Dense(1, 1), np.array([[-1.0]])),),
    ).verify()
    program = lowered(biased)
    both = program.headroom["output"].u_peak / float(program.group("output").scale.reshape(()))
    assert alone == pytest.approx(2.0, rel=0.01)
    assert both == pytest.approx(2.0, rel=0.01)


def test_a_bias_waits_for_the_latest_of_its_sources() -> None:
    """Two sources, of which one is three steps late: so is what the projection adds in every step."""
    layer = project("w", "input", "output", Dense(1, 1), np.array([[1.0]]), bias=np.array([0.5]))
    sources = tuple(Source("input", frozen(delay, np.int64)) for delay in (0, 3))
    net = Network(
        (inputs((1,)), lif("output", (1,), "output", syn_leak=0.5)),
        (type(layer)(**{**vars(layer), "sources": sources}),),
    ).verify()
    program = lowered(net)
    (constant,) = (s for s in program.synapses if s.name.startswith("output.bias"))
    assert constant.name == "output.bias-3"
    assert constant.sources[0].latency.tolist() == 4


def scale(program: Program, name: str = "output") -> np.ndarray:
    return program.group(name).scale


def test_a_bias_does_not_set_the_grid() -> None:
    """Weights are off every grid, the bias is on one: their scales differ by a power of two."""
    weight = np.array([[0.3, 0.7, 0.41]])
    plain = one_layer(weight, syn_leak=0.5)
    biased = Network(
        (inputs((3,)), lif("output", (1,), "output", syn_leak=0.5, bias=0.375)), plain.projections
    ).verify()
    ratio = np.log2(float(scale(lowered(plain)).max()) / float(scale(lowered(biased)).max()))
    assert ratio == np.rint(ratio)


def test_steps_per_channel_of_a_convolution_are_scales_per_channel() -> None:
    op = conv(1, 2, 3)
    codes = np.arange(-9, 9).reshape(op.weight_shape).astype(np.int8)
    held = Weight(codes, scale=np.array([0.1, 0.3]).reshape(2, 1, 1, 1), bits=5)
    net = Network(
        (inputs((1, 4, 4)), lif("output", (2, 4, 4), "output", leak=0.5)),
        (project("w", "input", "output", op, held),),
    ).verify()
    program = lowered(net)
    found = scale(program)
    assert found.shape == (2, 1, 1)
    assert float(found[0, 0, 0] / found[1, 0, 0]) == pytest.approx(3.0)
    assert program.rounding["output"].weight == 0.0
    # one neuron for each row and column has a scale of its own, which no kernel can follow
    wide_ = Weight(codes, scale=np.array(0.1), bits=5)
    assert (
        scale(lowered(Network(net.populations, (project("w", "input", "output", op, wide_),)))).size
        == 1
    )


@pytest.mark.parametrize(
    ("observed", "said"),
    [
        (None, "snndeploy verify counts whether data do"),
        ({"output": 0.001}, "calibration data stayed within it"),
    ],
)
def test_what_a_bound_that_is_not_proved_rests_on(
    observed: dict[str, float] | None, said: str
) -> None:
    """One threshold is a fraction of what arrives in a step: a proof would round it away."""
    held = Weight(np.full((2, 16), 7, np.int32), np.array([[1.0], [0.05]]), 4)
    net = one_layer(held, leak=0.9, syn_leak=0.99, threshold=np.array([1.0, 1 / 512]))
    found = lowered(net, observed=observed).findings
    told = [f.message for f in found if f.code == "headroom-unproved"]
    assert told
    assert all(said in message for message in told)


def test_the_threshold_that_a_chip_compares_with() -> None:
    """Half a unit of v beside it, on the side where noise decides nothing."""
    for compare, side in ((">", 0.5), (">=", -0.5)):
        trained = lif("n", (2,), leak=0.5, threshold=640.0, compare=compare).neuron
        assert trained is not None
        kind = "lif" if compare == ">" else "custom"
        group = group_of(kind=kind, vth=ints(10), dv=ints(2048), compare=compare)
        held = held_neuron(trained, group, LOIHI2)
        assert held.threshold is not None
        assert held.threshold.reshape(-1).tolist() == [640.0 + side]


def test_codes_of_one_step_stay_codes_on_xylo() -> None:
    """Weights of one step of their grid are whole multiples of it: as many as the register holds."""
    held = Weight(np.array([[1, -1, 1], [1, 1, 0]], np.int8), scale=np.array(0.3), bits=2)
    net = Network(
        (inputs((3,), "in"), lif("h", (2,)), lif("out", (2,), "output")),
        (
            project("w1", "in", "h", Dense(2, 3), held),
            project("w2", "h", "out", Dense(2, 2), np.eye(2)),
        ),
    ).verify()
    own, _ = fitted_in_turn(net, family_of(XYLO))
    program = lower(own, XYLO, inputs=InputCoding.named("graded"))
    assert program.rounding["h"].weight == 0.0
    assert {g.name: g.route for g in program.on_chip}["h"] == "the chip's own neuron"


def test_a_readout_of_xylo_is_read() -> None:
    readout = lif("out", (2,), "output", threshold=None, reset="none")
    net = Network(
        (inputs((3,), "in"), lif("h", (2,)), readout),
        (
            project("w1", "in", "h", Dense(2, 3), np.ones((2, 3)) / 2),
            project("w2", "h", "out", Dense(2, 2), np.eye(2)),
        ),
    ).verify()
    own, _ = fitted_in_turn(net, family_of(XYLO))
    program = lower(own, XYLO, inputs=InputCoding.named("graded"))
    assert program.group("out").route == "the chip's own neuron; v is read"
    assert program.group("out").kind == "readout"


def test_gains_that_differ_are_each_neurons_own() -> None:
    """Two neurons of one leak and one of another: what lasts shorter is made as much stronger."""
    leak = np.array([0.875, 0.875, 0.9])
    net = Network(
        (inputs((3,), "in"), lif("h", (3,), leak=leak, syn_leak=0.5), lif("out", (2,), "output")),
        (
            project("w1", "in", "h", Dense(3, 3), np.ones((3, 3))),
            project("w2", "h", "out", Dense(2, 3), np.ones((2, 3))),
        ),
    ).verify()
    own, _ = fitted_in_turn(net, family_of(XYLO))
    (first,) = (p for p in own.projections if p.name == "w1")
    found = first.weight.values()
    assert found[:, 0].tolist() == pytest.approx([1.0, 1.0, 0.125 / 0.1])


def test_pauses_take_back_what_they_disprove() -> None:
    """u of the last would wrap if each neuron before it spiked in every step; none can."""
    n = 64
    net = Network(
        (
            inputs((1,)),
            lif("a", (n,), leak=0.0, threshold=1.0, reset="zero", reset_timing="next-step"),
            lif("out", (1,), "output", syn_leak=0.999, leak=0.5, threshold=1.0),
        ),
        (
            project("w0", "input", "a", Dense(n, 1), np.full((n, 1), 2.0)),
            project("w1", "a", "out", Dense(1, n), np.full((1, n), 1.0)),
        ),
    ).verify()
    program = lowered(net)
    wraps = {name for name, room in program.headroom.items() if room.wraps}
    told = {
        f.where for f in program.findings if f.code == "headroom-unproved" and f.resource == "u"
    }
    assert told == wraps


def held(network: Network, **fields: Any) -> tuple[str, ...]:
    return lowered(network, **fields).rounding["output"].reasons


@pytest.mark.parametrize(("threshold", "tie"), [(0.2, True), (0.25, False), (0.4, True)])
def test_noise_decides_where_v_may_meet_the_threshold(threshold: float, tie: bool) -> None:
    """Weights are multiples of 0.2, which floating point does not hold; v adds them up."""
    codes = Weight(np.array([[2, -4, 6]], np.int8), scale=np.array(0.1), bits=4)
    reasons = held(one_layer(codes, leak=1.0, threshold=threshold), steps=20)
    told = "v may meet the threshold, and floating point does not hold its parameters exactly"
    assert (told in reasons) == tie


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
    s = SynapseGroup(
        name="s",
        target="n",
        ops=(Dense(2, 1),),
        mantissa=ints(2, 2).reshape(2, 1),
        sources=(SynapseSource("in", frozen(1, np.int64)),),
        exponent=0,
        sign_mode="excitatory",
        weight_bits=8,
    )
    # 7 bits below the unit of weights are whole: two bits of each step are dropped from the fifth on
    assert truncated(group_of(**shape), [s], worst, 4, LOIHI) == 0.0
    lost = 1 / (1 - 0.75)
    assert truncated(group_of(**shape), [s], worst, 40, LOIHI) == pytest.approx(lost / 6400)
    both = group_of(**shape, du=ints(2047))
    assert truncated(both, [s], worst, 40, LOIHI) == pytest.approx(lost * 3 / 6400)
    held = group_of(kind="readout", dv=ints(1024))
    small = worst_case(held, wide(0.0, 1 / 256), LOIHI)  # v is at most one unit
    assert truncated(held, [s], small, 40, LOIHI) == pytest.approx(lost)


@pytest.mark.parametrize(
    ("leak", "units"),
    [
        (1.0, 256),
        (1 - 1 / 4096, 256),
        (0.3, 256),
        (1 - 0.99 / 4096, 15_000),
        (1 - 48.5 / 4096, 675.629),
    ],
)
def test_slow_leaks_that_no_constant_holds_need_a_larger_threshold(
    leak: float, units: float
) -> None:
    """As long as a fraction lasts, so much of 512 units of v is dropped; at most 15,000 of 64."""
    neuron = lif("n", (2,), leak=leak).neuron
    assert neuron is not None
    assert _slow_threshold(neuron, LOIHI) == pytest.approx(units, rel=1e-4)


def test_outputs_spike_as_often_as_the_chip_lets_them() -> None:
    family = family_of(XYLO)
    for most in (1, 2, 3):
        limit = family.target.neurons.most_of_outputs.model_copy(update={"limit": most})  # type: ignore[attr-defined]
        neurons = family.target.neurons.model_copy(update={"most_of_outputs": limit})
        chip = family_of(family.target.model_copy(update={"neurons": neurons}))
        net = Network(
            (inputs((3,), "in"), lif("h", (2,)), lif("out", (2,), "output")),
            (
                project("w1", "in", "h", Dense(2, 3), np.ones((2, 3))),
                project("w2", "h", "out", Dense(2, 2), np.eye(2)),
            ),
        ).verify()
        neuron = fitted_in_turn(net, chip)[0].population("out").neuron
        assert neuron is not None
        assert neuron.max_spikes == (most if most > 1 else None)
        assert neuron.spikes_per_step == ("many" if most > 1 else "one")


def test_weights_of_nothing_have_the_scale_of_their_step() -> None:
    """A code of zero is a multiple of every power of two: none is taken out."""
    codes = Weight(np.zeros((1, 3), np.int8), scale=np.array(0.75), bits=4)
    found = float(scale(lowered(one_layer(codes, leak=0.5, threshold=None, reset="none"))).max())
    assert np.log2(found * 0.75) == np.rint(np.log2(found * 0.75))


def test_a_chain_counts_on_pauses_until_none_gets_longer() -> None:
    """The first pauses; so the second does for longer than it would, and the last is bounded by that."""
    net = Network(
        (
            inputs((1,)),
            lif("a", (1,), leak=1.0, threshold=1.0),
            lif("b", (1,), leak=0.5, syn_leak=0.5, threshold=1.0),
            lif("out", (1,), "output", leak=0.5, threshold=1.0),
        ),
        (
            project("w0", "input", "a", Dense(1, 1), np.array([[0.4]])),
            project("w1", "a", "b", Dense(1, 1), np.array([[0.45]])),
            project("w2", "b", "out", Dense(1, 1), np.array([[-1.0]])),
        ),
    ).verify()
    program = lowered(net)
    weight = float(scale(program, "out").max())
    stated = program.headroom["out"].v_peak / weight
    run = run_integer(program, np.ones((200, 1, 1), np.int64), watch=True)
    assert run.registers["out"].v_peak / weight <= stated
    assert stated < 1.2  # twice in a row it would be 1.5, and in every step 2
