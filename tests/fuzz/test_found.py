"""What random networks brought to light, each shrunk to the least that shows it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy import compile
from snndeploy.certify import certify
from snndeploy.chip import load_target
from snndeploy.errors import InputError, LoweringRefused
from snndeploy.export import write_nir
from snndeploy.ir.network import Network, Projection
from snndeploy.ir.ops import Conv, Dense, Pointwise
from snndeploy.ir.text import full_text
from snndeploy.ir.text import read_network as read_text
from snndeploy.ir.weights import Weight
from snndeploy.lower import InputCoding, infer_coding, lower
from snndeploy.pipeline import bundle_of, save_bundle
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import inputs, project
from tests.support.exact_networks import integrator

LOIHI2 = load_target("loihi2")
BINARY = InputCoding.named("binary")


def one_layer(*projections: Projection, size: int = 3, **fields: Any) -> Network:
    return Network(
        (inputs((size,)), integrator("a", (size,), "output", **fields)), projections
    ).verify()


def test_one_weight_for_all_neurons_that_is_rounded() -> None:
    """Rows of a weight that has none: lowering stopped with an IndexError."""
    net = one_layer(
        project("one", "input", "a", Pointwise((3,)), np.asarray(0.3)),
        project("all", "input", "a", Dense(3, 3), np.full((3, 3), 0.7)),
    )
    program = lower(net, LOIHI2, inputs=BINARY)
    assert run_integer(program, np.ones((2, 1, 3), np.int64)).spikes["a"].all()


@pytest.mark.parametrize("route", ["auto", "dense"])
def test_a_convolution_of_zeros_that_hears_numbers(route: Any) -> None:
    """A convolution without a weight left took no room, which was divided by."""
    op = Conv(2, 1, (3,), (1,), ((1, 1),), (1,))
    net = Network(
        (inputs((1, 4)), integrator("a", (2, 4), "output", bias=0.75)),
        (project("none", "input", "a", op, np.zeros((2, 1, 3))),),
    ).verify()
    program = lower(net, LOIHI2, inputs=InputCoding.named("graded"))
    spikes = run_integer(program, np.full((3, 1, 1, 4), 5), route=route).spikes["a"]
    assert spikes[:, 0, 0, 0].tolist() == [0, 1, 0]


def test_neurons_that_cannot_spike_are_no_contradiction(tmp_path: Path) -> None:
    """Lowering knew that half of them never reach their threshold, and the certificate did not."""
    many = {"spikes_per_step": "many", "reset": "subtract", "leak": 0.5}
    net = Network(
        (inputs((2,)), integrator("a", (2,), **many), integrator("b", (1,), "output", **many)),
        (
            project("in", "input", "a", Pointwise((2,), (2,)), np.array([0.25, 2.0])),
            project("out", "a", "b", Dense(1, 2), np.array([[3.0, 1.0]])),
        ),
    ).verify()
    compiled = compile(net, recipe=None, inputs=BINARY)
    told = certify(save_bundle(tmp_path / "net.snnb", bundle_of(compiled)))
    assert told["certified"]
    ran = run_integer(compiled.program, np.ones((40, 1, 2), np.int64), watch=True)
    assert ran.registers["b"].u_peak <= told["bounds"]["b"]["u"]["bound"]
    assert told["bounds"]["b"]["u"]["bound"] <= compiled.program.headroom["b"].u_peak


def test_the_order_of_projections_rounds_nothing() -> None:
    """Two layers of one size: the first of them set the grid, so order changed spikes."""
    rng = np.random.default_rng(0)
    parts = [
        project(name, "input", "a", Dense(3, 3), rng.normal(size=(3, 3)) * scale)
        for name, scale in (("one", 1.0), ("other", 0.3))
    ]
    programs = [lower(one_layer(*p), LOIHI2, inputs=BINARY) for p in (parts, parts[::-1])]
    scales = [p.group("a").scale.tolist() for p in programs]
    assert scales[0] == scales[1]
    for name in ("one", "other"):
        mantissas = [next(s for s in p.synapses if s.name == name).mantissa for p in programs]
        np.testing.assert_array_equal(*mantissas)


def test_a_layer_without_weights_sets_no_grid() -> None:
    """It is the largest and exact, and cost its neighbour, which is on a grid, its last bit."""
    codes = Weight(np.array([[127, -126, 5]] * 3), np.asarray(0.01), 8)
    quantised = project("codes", "input", "a", Dense(3, 3), codes)
    wide = inputs((30,), "other")
    nothing = project("nothing", "other", "a", Dense(3, 30), np.zeros((3, 30)))
    net = one_layer(quantised)
    both = dataclasses.replace(
        net, populations=(wide, *net.populations), projections=(nothing, quantised)
    ).verify()
    alone, beside = (lower(n, LOIHI2, inputs=BINARY).rounding["a"].weight for n in (net, both))
    assert alone == beside == 0.0


@pytest.mark.parametrize("levels", ["symmetric", "complement", "odd", "powers"])
def test_text_tells_the_levels_of_codes(levels: Any) -> None:
    """They were lost, and with them the digest."""
    for scale in (np.asarray(0.5), np.array([[0.5], [0.25], [0.1]])):
        weight = Weight(np.array([[1, -1, 1]] * 3, np.int32), scale, 3, None, levels)
        net = one_layer(project("in", "input", "a", Dense(3, 3), weight))
        back = read_text(full_text(net))
        assert back.projections[0].weight.levels == levels
        assert back.digest == net.digest


def certified(net: Network, folder: Path, data: np.ndarray | None = None) -> None:
    """Compile, certify, and run at full drive within what is stated and what is proved."""
    compiled = compile(net, recipe=None, inputs=BINARY)
    told = certify(save_bundle(folder / "net.snnb", bundle_of(compiled), force=True))
    assert told["certified"]
    shape = net.with_role("input")[0].shape
    x = np.ones((40, 1, *shape), np.int64) if data is None else data
    for name, use in run_integer(compiled.program, x, watch=True).registers.items():
        room, bound = compiled.program.headroom[name], told["bounds"][name]
        assert use.u_peak <= min(room.u_peak, bound["u"]["bound"])
        assert use.v_peak <= min(room.v_peak, bound["v"]["bound"]) or room.v_peak == room.limit


def driven(threshold: float, weight: float = 1.0, **fields: Any) -> Network:
    part = project("in", "input", "a", Dense(1, 1), np.array([[weight]]))
    return one_layer(part, size=1, threshold=threshold, **fields)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("timing", ["immediate", "next-step"])
@pytest.mark.parametrize("leak", [0.5, 0.875])
def test_negative_thresholds_take_v_up(
    reset: str, timing: str, leak: float, tmp_path: Path
) -> None:
    """A reset to zero lifts v above them, and one that subtracts adds: head-room forgot both."""
    net = driven(-0.75, 0.125, reset=reset, reset_timing=timing, leak=leak)
    certified(net, tmp_path)


@pytest.mark.parametrize("floor", [None, -0.0625])
@pytest.mark.parametrize("timing", ["next-step", "snntorch-immediate"])
def test_a_late_reset_takes_v_below_zero(timing: str, floor: float | None, tmp_path: Path) -> None:
    """It takes off a whole threshold when part of v has leaked; nothing inhibits."""
    net = driven(1.0, 1.5, reset="subtract", reset_timing=timing, leak=0.25, v_floor=floor)
    x = np.ones((40, 1, 1), np.int64)
    x[1::2] = 0
    certified(net, tmp_path, x)
    program = compile(net, recipe=None, inputs=BINARY).program
    v = run_integer(program, x, record_states=["a"]).v["a"]
    assert (v < 0).any() == (timing == "next-step")


def test_a_late_reset_to_zero_takes_v_nowhere_else(tmp_path: Path) -> None:
    """The certificate let it subtract, and contradicted a bound that was right."""
    certified(driven(1.0, 3.0, reset="zero", reset_timing="next-step", leak=0.0), tmp_path)


def test_a_bias_of_neurons_whose_threshold_is_zero(tmp_path: Path) -> None:
    """Its rounding was stated in units of the threshold, and allowed was none."""
    certified(driven(0.0, 0.7, bias=-0.3456, leak=0.9), tmp_path)


def test_a_floor_beyond_the_register_is_the_registers_end(tmp_path: Path) -> None:
    """It was held as it is, in more bits than anything has; nothing could certify that."""
    net = driven(0.0, 1e-12, v_floor=-0.5, leak=0.5)
    program = lower(net, LOIHI2, inputs=BINARY)
    floor = program.group("a").v_floor
    assert floor is not None
    assert floor == -program.arithmetic.state_max
    certified(net, tmp_path)


def test_what_nothing_hears_is_not_exported(tmp_path: Path) -> None:
    """It was, and could not be read again."""
    net = driven(1.0)
    silent = dataclasses.replace(net, populations=(inputs((2,), "idle"), *net.populations)).verify()
    with pytest.raises(InputError) as caught:
        write_nir(tmp_path / "net.nir", silent)
    assert (caught.value.code, caught.value.where) == ("export-nir", "population idle")


def test_a_late_constant_is_not_there_yet(tmp_path: Path) -> None:
    """A late bias against inhibition was counted from the first step on: no bound of u at all."""
    parts = (
        project("in", "input", "a", Dense(1, 1), np.array([[-1.0]])),
        project("late", "input", "a", Dense(1, 1), np.zeros((1, 1)), delay=1, bias=np.array([0.5])),
    )
    certified(one_layer(*parts, size=1, leak=0.5), tmp_path)


def test_one_weight_per_neuron_beside_rows() -> None:
    """Rows of weights that have none were counted with those of others."""
    each = project("each", "input", "a", Pointwise((3,), (3,)), np.array([0.3, 1e-3, 0.7]))
    rows = project("rows", "input", "a", Dense(3, 3), np.full((3, 3), 0.7))
    program = lower(one_layer(each, rows), LOIHI2, inputs=BINARY)
    assert run_integer(program, np.ones((2, 1, 3), np.int64)).spikes["a"].all()


def test_a_tiny_threshold_is_not_met_by_nothing() -> None:
    """Rounded to 0, it was met by a v that nothing had ever moved."""
    net = driven(1e-9, compare=">=", reset="subtract")
    program = lower(net, LOIHI2, inputs=BINARY)
    quiet, busy = np.zeros((3, 1, 1), np.int64), np.ones((3, 1, 1), np.int64)
    assert not run_integer(program, quiet).spikes["a"].any()
    assert run_integer(program, busy).spikes["a"].all()


def test_a_threshold_that_is_nothing_beside_its_weights(tmp_path: Path) -> None:
    """It is held as one unit, off by all of that: the checker took the last bit of this for a fault."""
    net = one_layer(
        project("w", "input", "a", Dense(3, 3), np.eye(3)), threshold=1.3e-24, compare=">"
    )
    bundle = bundle_of(compile(net, target="loihi2", recipe=None))
    assert certify(save_bundle(tmp_path / "net.snnb", bundle))["certified"]


def test_a_bias_beyond_its_field_is_refused() -> None:
    """It was cut off in silence, and the certificate contradicted it."""
    for bias in (1e9, -1e9):
        net = one_layer(
            project("w", "input", "a", Dense(3, 3), np.eye(3)), bias=bias, threshold=1.0
        )
        with pytest.raises(LoweringRefused, match="its bias takes") as caught:
            lower(net, LOIHI2, inputs=BINARY)
        assert (caught.value.code, caught.value.where) == ("states-too-narrow", "a")
    held = one_layer(project("w", "input", "a", Dense(3, 3), np.eye(3)), bias=1.0)
    assert lower(held, LOIHI2, inputs=BINARY).group("a").bias.any()


def test_values_that_never_reach_one_foretell_with_their_largest() -> None:
    """Without data, random spikes tell what rounding changes: 1 was more than the program lets in."""
    x = np.random.default_rng(0).random((8, 30, 3)) * 0.0034
    net = one_layer(project("w", "input", "a", Dense(3, 3), np.eye(3) * 0.7), threshold=0.001)
    made = compile(net, target="loihi2", recipe=None, inputs=infer_coding(x))
    assert made.program.digest


@pytest.mark.parametrize("seed", range(3))
def test_weights_that_make_room_for_a_threshold_are_rounded_once(seed: int, tmp_path: Path) -> None:
    """To fewer bits and then to the states: further off than half a step of those, so contradicted."""
    weight = np.random.default_rng(seed).normal(size=(3, 3))
    net = one_layer(project("w", "input", "a", Dense(3, 3), weight), threshold=1e6)
    made = compile(net, target="loihi2", recipe=None)
    assert "weights-coarse" in [f.code for f in made.program.findings]
    (s,) = made.program.synapses
    unit = 2.0 ** (s.exponent + 6) / made.program.group("a").scale
    assert np.abs(s.mantissa * unit - weight).max() <= unit.max() * (1 + 1e-9)
    assert certify(save_bundle(tmp_path / "net.snnb", bundle_of(made)))["certified"]


@pytest.mark.parametrize(("reset", "leak"), [("zero", 0.5), ("subtract", 1.0), ("none", 0.5)])
def test_a_floor_above_zero_lifts_v(reset: str, leak: float, tmp_path: Path) -> None:
    """v starts every step from it, which neither bound counted: 7 times what was called proved."""
    net = driven(1.0, -0.25, v_floor=2.0, reset=reset, leak=leak)
    certified(net, tmp_path)


def test_weights_of_fewer_bits_behind_an_analog_input() -> None:
    """Their grid is that of messages, of which 2^17 are one unit of the data: they were too large."""
    weight = np.array([[0.3, -0.7, 0.11]])
    part = project("w", "input", "a", Dense(1, 3), weight)
    net = Network((inputs((3,)), integrator("a", (1,), "output", threshold=20.0)), (part,)).verify()
    made = lower(net, LOIHI2, inputs=InputCoding(kind="analog", peak=1 / 1024))
    assert "weights-coarse" in [f.code for f in made.findings]
    (s,) = made.synapses
    unit = 2.0 ** (s.exponent + 6) * float(made.group("input").scale) / made.group("a").scale
    assert np.abs(s.mantissa * unit - weight).max() <= unit.max() * (1 + 1e-9)


def test_a_channel_whose_weights_are_lost_is_stated() -> None:
    """Beside a threshold of 1e30: in units of v it is nothing, in the network's a third of all."""
    codes = Weight(np.array([[1, -1, 1], [2, 2, -2]], np.int32), np.array([[0.6], [0.9]]), 3)
    output = integrator("a", (2,), "output", threshold=np.array([1e30, 0.5]))
    part = project("w", "input", "a", Dense(2, 3), codes)
    made = lower(Network((inputs((3,)), output), (part,)).verify(), LOIHI2, inputs=BINARY)
    assert not made.synapses[0].mantissa[0].any()
    assert made.rounding["a"].weight == pytest.approx(0.6 / 1.8)


@pytest.mark.parametrize("leak", [1e-12, 0.3])
def test_a_threshold_that_is_nothing_leaves_its_leak(leak: float) -> None:
    """What rounding drops of so small a v was made up for by a leak of 1: v then never forgot."""
    made = lower(driven(1e-30, leak=leak), LOIHI2, inputs=BINARY)
    assert abs(1 - int(made.group("a").dv) / 4096 - leak) <= 1 / 64 + 1 / 4096


def test_late_layers_are_lowered_in_any_order() -> None:
    """One that hears another a step late came first, and took it to spike 15 times: it never does."""
    many = {"spikes_per_step": "many", "reset": "subtract"}
    populations = (
        inputs((1,)),
        integrator("quiet", (1,), threshold=100.0, leak=0.5, **many),
        integrator("a", (1,), "output", threshold=None, reset="none", leak=0.5),
    )
    projections = (
        project("in", "input", "quiet", Dense(1, 1), np.ones((1, 1))),
        project("on", "quiet", "a", Dense(1, 1), np.ones((1, 1)), delay=1),
        project("beside", "input", "a", Dense(1, 1), np.full((1, 1), 0.25)),
    )
    scales = [
        lower(Network(order, projections).verify(), LOIHI2, inputs=BINARY).group("a").scale
        for order in (populations, populations[::-1])
    ]
    assert float(scales[0]) == float(scales[1])
