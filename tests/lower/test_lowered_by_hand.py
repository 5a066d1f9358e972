"""What lowering makes of small networks, against numbers that follow on paper."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from snndeploy.chip import family_of, load_target
from snndeploy.errors import LoweringRefused
from snndeploy.ir.arrays import frozen
from snndeploy.ir.network import Network, Source
from snndeploy.ir.ops import Dense, SumPool
from snndeploy.ir.program import CompartmentGroup, Program
from snndeploy.ir.step import LOIHI
from snndeploy.ir.weights import Weight
from snndeploy.lower import InputCoding, lower, reaching
from snndeploy.lower.integers import Mantissas, to_bias, to_mantissas
from snndeploy.lower.registers import held_neuron
from snndeploy.lower.rows import _held
from snndeploy.lower.scale import _slow_threshold
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import conv, inputs, lif, project

LOIHI2 = load_target("loihi2")
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


def group_of(**fields: Any) -> CompartmentGroup:
    given = {"du": ints(4095), "dv": ints(0), "vth": ints(100), **fields}
    kind = given.pop("kind", "lif")
    return CompartmentGroup(name="n", shape=(2,), role="output", kind=kind, depth=1, **given)


def scale(program: Program, name: str = "output") -> np.ndarray:
    return program.group(name).scale


def held(network: Network, **fields: Any) -> tuple[str, ...]:
    return lowered(network, **fields).rounding["output"].reasons


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


@pytest.mark.parametrize(("threshold", "tie"), [(0.2, True), (0.25, False), (0.4, True)])
def test_noise_decides_where_v_may_meet_the_threshold(threshold: float, tie: bool) -> None:
    """Weights are multiples of 0.2, which floating point does not hold; v adds them up."""
    codes = Weight(np.array([[2, -4, 6]], np.int8), scale=np.array(0.1), bits=4)
    reasons = held(one_layer(codes, leak=1.0, threshold=threshold), steps=20)
    told = "v may meet the threshold, and floating point does not hold its parameters exactly"
    assert (told in reasons) == tie


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


@pytest.mark.parametrize(("peak", "kind", "signs"), [(1, "graded", True), (2, "graded", False)])
def test_which_inputs_are_spikes_but_for_their_sign(peak: int, kind: Any, signs: bool) -> None:
    assert InputCoding(kind=kind, peak=float(peak)).only_signs == signs
    assert not InputCoding(kind="analog", peak=1.0).only_signs
    assert not BINARY.only_signs


@pytest.mark.parametrize(
    ("code", "bits", "fits"), [(128, 8, True), (-128, 8, True), (129, 9, False)]
)
def test_codes_that_a_mantissa_holds(code: int, bits: int, fits: bool) -> None:
    """Half of 2 to the bits is the last: a chip that stores less refuses it by itself."""
    held_ = Weight(np.array([[code, 1]], np.int16), scale=np.array(0.5), bits=bits)
    net = one_layer(held_, leak=0.5)
    if fits:
        assert lowered(net).synapses
    else:
        with pytest.raises(
            LoweringRefused, match="its codes need 9 bits, a mantissa holds 8"
        ) as bad:
            lowered(net)
        assert bad.value.code == "weight-bits"


def test_rounded_weights_are_told_and_codes_are_not() -> None:
    def noted(net: Network) -> list[str]:
        return [f.where for f in lowered(net).findings if "not quantised" in f.message]

    real = one_layer([[0.31, 0.77]], leak=0.5)
    codes = one_layer(Weight(np.array([[3, 7]], np.int8), scale=np.array(0.1), bits=4), leak=0.5)
    biased = Network(
        (inputs((2,)), lif("output", (1,), "output", leak=0.5, syn_leak=0.5, bias=0.3141)),
        codes.projections,
    ).verify()
    assert noted(real) == ["w"]
    assert noted(codes) == []
    assert noted(biased) == []  # a bias by synapses is rounded as biases are


def test_what_a_negative_exponent_drops() -> None:
    """Of mantissas that are multiples of four, two bits below the unit drop nothing."""
    plain = {"sign_mode": "mixed", "weight_bits": 8, "error": 0.0}
    whole = Mantissas(mantissa=ints(4, -8), exponent=-2, **plain)
    assert whole.floored == 0.0
    part = Mantissas(mantissa=ints(6, -8), exponent=-2, **plain)
    assert part.floored == 3 / 8
    above = Mantissas(mantissa=ints(3, 5), exponent=1, **plain)
    assert above.floored == 0.0
    assert Mantissas(mantissa=ints(3, 5), exponent=0, **plain).floored == 0.0


def test_an_empty_row_has_lost_all_of_it() -> None:
    """Codes that pruning has emptied a row of: 100 % of its input."""
    codes = Weight(np.array([[7, 7], [0, 0]], np.int8), scale=np.array(0.1), bits=4)
    (found,) = (f for f in lowered(one_layer(codes, leak=0.5)).findings if f.code == "drive-lost")
    assert found.used == 1.0
    assert found.message.startswith("1 of 2 neurons or channels of output (1) lose more")
    assert found.message.endswith(", 1 of them all of it")


def test_late_loops_of_any_length_are_found() -> None:
    """Three neurons in a ring whose last projection holds the three steps that the ring takes."""

    def ring(delay: int) -> Network:
        names = ("a", "b", "c")
        layers = [project("w", "input", "a", Dense(1, 1), np.ones((1, 1)))]
        for source, target in zip(names, (*names[1:], "a"), strict=True):
            late = delay if target == "a" else 0
            layers.append(
                project(
                    f"{source}{target}", source, target, Dense(1, 1), np.ones((1, 1)), delay=late
                )
            )
        return Network(
            (inputs((1,)), *(lif(n, (1,), "output" if n == "c" else "hidden") for n in names)),
            tuple(layers),
        ).verify()

    depths = {g.name: g.depth for g in lowered(ring(3)).groups}
    assert depths == {"input": 0, "a": 1, "b": 2, "c": 3}
    with pytest.raises(LoweringRefused) as caught:
        lowered(ring(2))
    assert caught.value.code == "loop-too-short"


def test_a_threshold_that_is_only_compared_with_is_half_a_unit_off() -> None:
    """One that is taken off stays what it is."""
    for fields, off in (
        ({"reset": "zero"}, 0.5),
        ({"reset": "subtract"}, 0.0),
        ({"reset": "none"}, 0.0),
    ):
        trained = lif("n", (2,), leak=0.5, syn_leak=0.5, threshold=640.0, **fields).neuron
        assert trained is not None
        group = group_of(kind="custom", vth=ints(10), dv=ints(2048), du=ints(2047), **fields)
        found = held_neuron(trained, group, LOIHI2)
        assert found.threshold is not None
        assert found.threshold.reshape(-1).tolist() == [640.0 + off]
        assert found.syn_leak is not None
        assert float(found.syn_leak.reshape(-1)[0]) == 0.5


@pytest.mark.parametrize(
    ("bias", "least", "mantissa", "exponent"),
    [(0, 0, 0, 0), (100, 0, 100, 0), (101, 0, 50, 1), (200, 0, 100, 1), (8, 2, 2, 2), (0, 2, 0, 0)],
)
def test_a_bias_is_put_into_its_field(bias: int, least: int, mantissa: int, exponent: int) -> None:
    held_, at = to_bias(np.array([float(bias)]), 100, 7, least)
    assert (held_.tolist(), at) == ([mantissa], exponent)


def test_a_filter_that_forgets_at_once_adds_no_noise() -> None:
    codes = Weight(np.array([[2, -4, 6]], np.int8), scale=np.array(0.1), bits=4)
    for syn_leak, sure in ((0.0, True), (1.0, True), (0.5, False)):
        net = one_layer(codes, leak=1.0, threshold=0.25, syn_leak=syn_leak)
        told = "v may meet the threshold, and floating point does not hold its parameters exactly"
        assert (told not in held(net, steps=20)) == sure


def test_steps_per_channel_behind_a_pool() -> None:
    """What lies in front of the weights has channels of its own."""
    op = conv(3, 2, 3)
    codes = (np.arange(op.weight_shape[0] * 27) % 15 - 7).reshape(op.weight_shape).astype(np.int8)
    kept = Weight(codes, scale=np.array([0.1, 0.3]).reshape(2, 1, 1, 1), bits=5)
    net = Network(
        (inputs((3, 8, 8)), lif("output", (2, 4, 4), "output", leak=0.5)),
        (project("w", "input", "output", [SumPool((2, 2), (2, 2)), op], kept),),
    ).verify()
    found = scale(lowered(net))
    assert found.shape == (2, 1, 1)
    assert float(found[0, 0, 0] / found[1, 0, 0]) == pytest.approx(3.0)


def test_depths_of_a_chain_that_is_listed_from_its_end() -> None:
    """Each round finds one more of them, and one more round finds nothing new."""
    names = ("input", "a", "b", "c", "output")
    layers = [project(f"{a}{b}", a, b, Dense(1, 1), np.ones((1, 1))) for a, b in pairwise(names)]
    populations = (inputs((1,)), *(lif(n, (1,)) for n in "abc"), lif("output", (1,), "output"))
    net = Network(populations, tuple(reversed(layers))).verify()
    assert [g.depth for g in lowered(net).groups] == [0, 1, 2, 3, 4]


def test_a_core_with_few_thresholds_gets_few() -> None:
    """Rows that are up to 16 times smaller than the largest: with three thresholds, up to four times."""
    loihi = load_target("loihi1")
    few = loihi.core["threshold_profiles"].model_copy(update={"limit": 3})
    chip = loihi.model_copy(update={"core": {**loihi.core, "threshold_profiles": few}})
    powers, threshold = np.arange(5), np.array(1.0)
    assert _held(powers, threshold, (5,), family_of(chip)).tolist() == [0, 1, 2, 2, 2]
    assert _held(powers, threshold, (5,), family_of(loihi)).tolist() == [0, 1, 2, 3, 4]
    assert _held(powers + 3, threshold, (5,), family_of(loihi)).tolist() == [3, 4, 4, 4, 4]


@pytest.mark.parametrize(
    ("floors", "rounded"),
    [((-0.5, -0.25), False), ((-0.5, -0.3001), True), ((-0.3001, -0.3), True)],
)
def test_one_floor_that_is_rounded_is_enough(floors: tuple[float, float], rounded: bool) -> None:
    codes = Weight(np.array([[1], [1]], np.int8), scale=np.array(0.5), bits=2)
    net = one_layer(codes, leak=1.0, threshold=1.0, v_floor=np.array(floors))
    assert ("its floor of v is rounded" in held(net, steps=20)) == rounded


@pytest.mark.parametrize(("leak", "sure"), [(0.0, True), (1.0, True), (0.5, False)])
def test_a_membrane_that_forgets_at_once_adds_no_noise(leak: float, sure: bool) -> None:
    codes = Weight(np.array([[2, -4, 6]], np.int8), scale=np.array(0.1), bits=4)
    told = "v may meet the threshold, and floating point does not hold its parameters exactly"
    assert (told not in held(one_layer(codes, leak=leak, threshold=0.25), steps=20)) == sure
