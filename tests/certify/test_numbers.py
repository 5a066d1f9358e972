"""How far a number may be from the network's, and which is which: the last taken, the first not."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from snndeploy.certify import bounds as checker
from snndeploy.certify import rounding
from snndeploy.certify.checks import structure
from snndeploy.certify.engine import apply, run, step
from snndeploy.certify.files import At, Contradiction
from snndeploy.certify.rounding import _factors, _neuron, _projection
from tests.support.one_neuron import arithmetic, one


def pair(
    group: dict[str, Any] | None = None,
    neuron: dict[str, Any] | None = None,
    stated: dict[str, Any] | None = None,
) -> tuple[Any, Any, Any]:
    """A program of one group and the population that it stands for, both of threshold 100 x 64."""
    program = one(**{"kind": "lif", "vth": np.array(100), "dv": np.array(2048), **(group or {})})
    here = program.group["n"]
    fields = {
        "leak": np.array(0.5),
        "syn_leak": None,
        "threshold": np.array(6400.0),
        "compare": ">",
        "reset": "zero",
        "reset_timing": "immediate",
        "spikes_per_step": "one",
        "max_spikes": None,
        "v_floor": None,
        "v_init": np.array(0.0),
        "bias": np.array(0.0),
        "drive": np.array(0.0),
        **(neuron or {}),
    }
    error = {"leak": 0.0, "syn_leak": 0.0, "threshold": 0.0, "bias": 0.0, "weight": 0.0}
    program.rounding = {"n": SimpleNamespace(**{**error, **(stated or {})})}
    p = SimpleNamespace(
        name="n", shape=(1,), role="output", neuron=SimpleNamespace(type="Neuron", **fields)
    )
    return program, p, here


def refused(*of: Any) -> str:
    """What is contradicted; empty where it is taken."""
    program, p, group = pair(*of)
    try:
        _neuron(program, p, group, p.neuron.bias, {"not_proved": []})
    except Contradiction as found:
        return str(found.record["what"]).partition(" at ")[0]
    return ""


def test_the_same_is_the_same() -> None:
    assert refused() == ""
    assert refused({"scale": np.array(0.0)}) == "scale"
    assert refused({"scale": np.array(-1.0)}) == "scale"
    assert refused(None, {"leak": np.array(0.5001)}) == "leak of v"
    assert refused(None, {"syn_leak": np.array(0.1)}) == "leak of u"
    assert refused(None, {"threshold": np.array(6401.0)}) == "threshold"
    assert refused(None, {"bias": np.array(1.0)}) == "bias"
    assert refused(None, {"v_init": np.array(1.0)}) == "initial v"
    assert refused(None, {"reset": "subtract"}) == "kind of neuron"
    assert refused(None, {"threshold": None}) == "kind of neuron"


@pytest.mark.parametrize(
    ("dv", "steps", "right"),
    [
        *((dv, 0.49, True) for dv in (1, 2, 2048, 4094, 4095)),
        *((dv, 0.51, dv in (1, 4095)) for dv in (1, 2, 2048, 4094, 4095)),
        *((dv, 1.01, False) for dv in (1, 4095)),
    ],
)
def test_a_leak_is_the_nearest_or_the_last_that_a_register_holds(
    dv: int, steps: float, right: bool
) -> None:
    """Off by so many steps of the register, whatever is stated; the threshold is 10^12 units of v."""
    leak = 1 - (dv + (steps if dv < 4095 else -steps)) / 4096
    big = {"scale": np.array(1e12), "vth": np.array(10**12 >> 6), "dv": np.array(dv)}
    wanted = {"leak": np.array(leak), "threshold": np.array(1.0)}
    assert (refused(big, wanted, {"leak": 1.0}) == "") == right


@pytest.mark.parametrize(
    ("exponent", "off", "right"),
    [(0, 0.5, True), (0, 0.51, False), (3, 4.0, True), (3, 4.1, False), (-2, 0.5, True)],
)
def test_a_bias_is_the_nearest(exponent: int, off: float, right: bool) -> None:
    """Half a unit of its field, or of v."""
    held = {"bias_mant": np.array(12), "bias_exp": exponent}
    wanted = {"bias": np.array(int(12 * 2.0**exponent) + off)}
    assert (refused(held, wanted, {"bias": 1.0}) == "") == right


@pytest.mark.parametrize(
    ("off", "stated", "right"),
    [(64.0, 1.0, True), (65.0, 1.0, False), (64.0, 0.005, False), (-64.0, 1.0, True)],
)
def test_a_threshold_is_within_a_unit_and_what_is_stated(
    off: float, stated: float, right: bool
) -> None:
    wanted = {"threshold": np.array(6400.0 + off)}
    assert (refused(None, wanted, {"threshold": stated}) == "") == right


def test_a_strict_chip_compares_one_unit_lower() -> None:
    """v > 99 x 64 in units of 64 is v >= 100 x 64."""
    wanted = {"compare": ">="}
    assert refused({"vth": np.array(99)}, wanted) == ""
    assert refused({"vth": np.array(100)}, wanted) == "threshold"


def test_where_no_v_lies_between_a_threshold_may_be_further_off() -> None:
    wanted = {"leak": np.array(1.0), "threshold": np.array(6400.0 + 40)}
    assert refused({"dv": np.array(0)}, wanted) == ""
    assert refused({"dv": np.array(0)}, {**wanted, "threshold": np.array(6400.0 + 65)})
    leaky = {"threshold": np.array(6400.0 + 40)}
    assert refused(None, leaky) == "threshold"


def test_what_each_weight_feeds() -> None:
    """A kernel of two output channels, whose neurons have scales 1 and 3; and one that reaches both."""
    op = SimpleNamespace(
        type="Conv",
        in_channels=1,
        out_channels=2,
        kernel=[3],
        stride=[1],
        padding=[(1, 1)],
        dilation=[1],
        groups=1,
    )
    s = SimpleNamespace(ops=[op], mantissa=np.ones((2, 1, 3), np.int64))
    target = SimpleNamespace(shape=(2, 4))
    at = At("program.npz", "s")
    scale = np.array([[1.0], [3.0]])
    found = _factors(s, (1, 4), target, at, scale)
    assert (found.shape, found.reshape(-1).tolist()) == ((2, 1, 1), [1.0, 3.0])
    with pytest.raises(Contradiction, match="scale of what one weight feeds"):
        _factors(s, (1, 4), target, at, np.array([[1.0, 1.0, 1.0, 2.0], [3.0, 3.0, 3.0, 3.0]]))
    dense = SimpleNamespace(type="Dense", out_features=3, in_features=2)
    s = SimpleNamespace(ops=[dense], mantissa=np.ones((3, 2), np.int64))
    found = _factors(s, (2,), SimpleNamespace(shape=(3,)), at, np.array([1.0, 2.0, 4.0]))
    assert found.reshape(-1).tolist() == [1.0, 2.0, 4.0]
    assert found.shape == (3, 1)
    pointwise = SimpleNamespace(type="Pointwise", shape=(3,), weight_shape=[3])
    s = SimpleNamespace(ops=[pointwise], mantissa=np.ones(3, np.int64))
    found = _factors(s, (3,), SimpleNamespace(shape=(3,)), at, np.array([1.0, 2.0, 4.0]))
    assert found.tolist() == [1.0, 2.0, 4.0]


def test_a_membrane_is_added_up_in_32_bits() -> None:
    """Registers of 31 bits: v and u together pass the adder's end, and come out at the other."""
    a = arithmetic(state_bits=31, u_overflow="saturate", v_overflow="saturate")
    program = one(kind="readout", vth=np.array(0))
    g = program.group["n"]
    most = (1 << 30) - 1
    state = SimpleNamespace(u=np.array([[0]]), v=np.array([[most]]), fired=0)
    peaks = np.zeros((2, 1), np.int64)
    g.bias = np.array(1 << 30)
    sent = step(g, a, state, np.array([[(1 << 24) - 1]]), peaks)
    assert peaks[1].tolist() == [most + (((1 << 24) - 1) << 6) + (1 << 30)]
    assert int(sent[0, 0]) == -most
    g.bias = np.array(0)
    state = SimpleNamespace(u=np.array([[0]]), v=np.array([[most]]), fired=0)
    assert int(step(g, a, state, np.array([[1]]), peaks)[0, 0]) == most


@pytest.mark.parametrize(("floor", "steps"), [(None, 2), (-5, 2), (0, 2), (64, 2), (65, 1)])
def test_a_floor_above_zero_shortens_a_pause(floor: int | None, steps: int) -> None:
    """v starts each step from it: with 128 that arrive it takes 65 more to pass 192 at once."""
    program = one(
        vth=np.array(3), dv=np.array(0), v_floor=None if floor is None else np.array(floor)
    )
    found = checker.bounds(program)["n"]
    assert checker.pause(program.group["n"], program.arithmetic, found).tolist() == [steps]
    assert found.v_high.tolist() == [192 + 128 + max(floor or 0, 0)]


@pytest.mark.parametrize(("kind", "right"), [("one", False), ("many", True)])
def test_what_spikes_once_has_no_most_spikes(kind: str, right: bool) -> None:
    """Bounds would count on them, and no engine does."""
    found = contextlib.nullcontext() if right else pytest.raises(Contradiction, match="most spikes")
    with found:
        one(spikes_per_step=kind, max_spikes=3, message_bits=8)
    assert one(spikes_per_step=kind, message_bits=8).group["n"].max_spikes is None


def behind_a_pause(**fields: Any) -> Any:
    """A neuron that hears 3 of another, whose spikes are four steps apart, and forgets half in each."""
    program = one((2,), vth=np.array(7), dv=np.array(0))
    plain = {"name": "m", "depth": 2, "dv": np.array(2048)}
    behind = SimpleNamespace(**{**vars(program.groups[1]), **plain, **fields})
    link = SimpleNamespace(
        **{
            **vars(program.synapses[0]),
            "name": "t",
            "sources": [SimpleNamespace(group="n", latency=np.array(1))],
            "target": "m",
            "ops": [SimpleNamespace(type="Dense", out_features=1, in_features=1)],
            "mantissa": np.array([[3]], np.int64),
        }
    )
    program.groups[1].role = "hidden"
    program.groups.append(behind)
    program.synapses.append(link)
    structure(program)
    return program


def test_a_negative_threshold_that_is_taken_off_adds() -> None:
    """Behind a neuron that pauses, v gains half its threshold's size with every spike of its own."""
    program = behind_a_pause(vth=np.array(-5), reset="subtract", reset_timing="immediate")
    found = checker.bounds(program)
    assert int(checker.pause(program.group["n"], program.arithmetic, found["n"]).max()) == 4
    peak = int(run(program, {"in": np.ones((400, 1, 1), np.int64)})[1]["m"][1].max())
    assert 5 * 64 < peak <= int(found["m"].v.max())


@pytest.mark.parametrize(("bias", "low", "high"), [(0, 0, 205), (5, 0, 214), (-5, 9, 205)])
def test_spikes_that_pause_take_v_so_far(bias: int, low: int, high: int) -> None:
    """3 * 64 * (1 + 1/16 + ...) is 204.8, and a bias of 5 adds up to 9, where half is rounded down."""
    program = behind_a_pause(kind="readout", vth=np.array(0), bias_mant=np.array(bias))
    found = checker.bounds(program)["m"]
    assert (found.v_low.tolist(), found.v_high.tolist()) == ([low], [high])


@pytest.mark.parametrize(
    ("decay", "held", "off", "right"),
    [
        ("multiply", 1024, 1 / 4096, True),
        ("multiply", 1024, 1.1 / 4096, False),
        ("shift", 2, 0.49, True),
        ("shift", 2, 0.51, False),
    ],
)
def test_a_decay_that_only_some_neurons_have(
    decay: str, held: int, off: float, right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of the constant; half, where it is a shift. Both keep three quarters."""
    monkeypatch.setattr(rounding, "HELD", {"trace": "decay"})
    program, p, group = pair({"kind": "custom"})
    group.trace, p.neuron.trace = np.array(held), np.array(0.75 - off)
    program.arithmetic.decay = decay
    group.dv, group.decay_u, group.du = (np.array(x) for x in (1, 15, 14))
    if decay == "multiply":
        group.dv, group.decay_u, group.du = (np.array(x) for x in (2048, 4096, 4095))
    else:
        p.neuron.syn_leak, program.rounding["n"].syn_leak = np.array(0.0), 1.0
    found = contextlib.nullcontext() if right else pytest.raises(Contradiction, match="trace at")
    with found:
        _neuron(program, p, group, p.neuron.bias, {"not_proved": []})


@pytest.mark.parametrize(("held", "right"), [(-(2**23) + 1, True), (-(2**23), False), (-5, False)])
def test_a_floor_beyond_the_register_is_its_end(held: int, right: bool) -> None:
    group = {"kind": "custom", "v_floor": np.array(held)}
    assert (refused(group, {"v_floor": np.array(-1e9)}) == "") == right


@pytest.mark.parametrize(("steps", "right"), [(0.49, True), (0.51, False)])
def test_a_leak_of_u_is_the_nearest(steps: float, right: bool) -> None:
    """No half unit is made up for by it, however small the threshold."""
    wanted = {"syn_leak": np.array(0.5 + steps / 4096), "threshold": np.array(64.0)}
    group = {"du": np.array(2047), "vth": np.array(1)}
    assert (refused(group, wanted, {"syn_leak": 1.0}) == "") == right


@pytest.mark.parametrize(
    ("group", "whole"),
    [
        ({}, True),
        ({"du": np.array(2047)}, False),
        ({"bias_mant": np.array(3)}, False),
        ({"bias_mant": np.array(1), "bias_exp": 6}, True),
    ],
)
def test_a_threshold_between_units_is_proved_where_v_holds_whole_ones(
    group: dict[str, Any], whole: bool
) -> None:
    """40 units beside it, of which 64 make one of weights: nothing is stated of that."""
    bias = np.array(group.get("bias_mant", 0) * 2.0 ** group.get("bias_exp", 0))
    wanted = {"leak": np.array(1.0), "threshold": np.array(6440.0), "drive": bias}
    wanted |= {"syn_leak": np.array(0.5)} if "du" in group else {}
    program, p, here = pair({"dv": np.array(0), **group}, wanted)
    told: dict[str, Any] = {"not_proved": []}
    _neuron(program, p, here, p.neuron.bias, told)
    assert (told["not_proved"] == []) == whole


def test_what_each_weight_feeds_behind_a_view() -> None:
    """Rows of four neurons that are two channels of two."""
    dense = SimpleNamespace(type="Dense", out_features=4, in_features=1)
    view = SimpleNamespace(type="Reshape", shape=(2, 2))
    s = SimpleNamespace(ops=[dense, view], mantissa=np.ones((4, 1), np.int64))
    at, target = At("program.npz", "s"), SimpleNamespace(shape=(2, 2))
    found = _factors(s, (1,), target, at, np.array([[1.0], [3.0]]))
    assert (found.shape, found.reshape(-1).tolist()) == ((4, 1), [1.0, 1.0, 3.0, 3.0])


def test_sums_over_windows_are_exact_beyond_floats() -> None:
    """Four values that float64 holds add up to one that it does not."""
    pool = SimpleNamespace(type="SumPool", kernel=[4], stride=[4], padding=[0])
    one_each = SimpleNamespace(type="Pointwise", shape=(1, 1), weight_shape=[1, 1])
    x = np.array([[[2**53 - 1, 2**53 - 1, 2**53 - 1, 2**53 - 2]]])
    assert apply([pool, one_each], np.ones((1, 1), np.int64), x).tolist() == [[[2**55 - 5]]]


def test_sources_of_one_projection_have_one_scale() -> None:
    program = one((2,))
    other = SimpleNamespace(**{**vars(program.groups[0]), "name": "other", "scale": np.array(2.0)})
    program.group["other"] = other
    (s,) = program.synapses
    s.sources.append(SimpleNamespace(group="other", latency=np.array(1)))
    program.rounding = {"n": SimpleNamespace(weight=0.0)}
    sources = [SimpleNamespace(population=name, delay=np.array(0)) for name in ("in", "other")]
    weight = SimpleNamespace(data=np.array([[128.0]]), scale=None, mask=None)
    q = SimpleNamespace(name="s", type="Projection", sources=sources, ops=s.ops, weight=weight)
    with pytest.raises(Contradiction, match="scale of its sources: stated one"):
        _projection(program, q, s)
    other.scale = np.array(1.0)
    _projection(program, q, s)


def test_only_a_leak_that_no_constant_holds_makes_up_for_what_is_dropped() -> None:
    small, stated = {"vth": np.array(0)}, {"leak": 1.0, "threshold": 1.0}
    wanted = {"leak": np.array((2048 + 20.5) / 4096), "threshold": np.array(64.0)}
    assert refused(small, wanted, stated) == ""
    assert refused(small, {**wanted, "leak": np.array((2048 + 20) / 4096)}, stated) == "leak of v"


def looped(mantissa: int) -> Any:
    """A neuron that spikes as often as v holds 64, and hears of it a step later, that times 2**-8."""
    many = {"spikes_per_step": "many", "message_bits": 18, "vth": np.array(1), "dv": np.array(4096)}
    program = one((2,), **many)
    (s,) = program.synapses
    back = {"name": "t", "sources": [SimpleNamespace(group="n", latency=np.array(1))]}
    back |= {"mantissa": np.array([[mantissa]], np.int64), "exponent": -8}
    program.synapses.append(SimpleNamespace(**{**vars(s), **back}))
    structure(program)
    return program


@pytest.mark.parametrize(
    ("mantissa", "spikes"), [(128, 3), (230, 10), (254, 134), (256, None), (300, None)]
)
def test_what_a_loop_sends_follows_from_itself(mantissa: int, spikes: int | None) -> None:
    """Two spikes from the input, and so much of those before; slowly rising ones are doubled at last."""
    program = looped(mantissa)
    found = checker.bounds(program)["n"]
    if spikes is None:  # nothing less than what the register holds
        assert int(found.v.max()) >= 1 << 23
        return
    assert found.v_high.tolist() == [64 * spikes]
    peak = run(program, {"in": np.ones((400, 1, 1), np.int64)})[1]["n"][1].max()
    assert 64 * spikes / 2 < peak <= 64 * spikes


@pytest.mark.parametrize(("off", "right"), [(96, True), (97, False), (-96, True), (-97, False)])
def test_a_strict_threshold_is_within_one_and_a_half_units(off: int, right: bool) -> None:
    """It is rounded, and then compared one unit lower."""
    wanted = {"compare": ">=", "threshold": np.array(6400.0 + off)}
    assert (refused({"vth": np.array(99)}, wanted, {"threshold": 1.0}) == "") == right


@pytest.mark.parametrize("leak", [0.9, 0.2])
def test_what_a_leak_may_make_up_for(leak: float) -> None:
    """One part in as many as the threshold has units of v, of which one of weights is the least."""
    one = 1 / 4096
    stated = {"leak": 1.0, "threshold": 1e9}
    for threshold, most in ((1e-6, 1 / 64), (64.0, 1 / 64), (128.0, 1 / 128)):
        held = {"vth": np.array(int(threshold) // 64)}
        wanted = {"threshold": np.array(threshold)}
        for off, taken in ((most, True), (most + one, False)):
            dv = int((1 - leak) * 4096 - off * 4096)
            wanted["leak"] = np.array(1 - dv * one - off - 0.4 * one)
            assert (refused({**held, "dv": np.array(dv)}, wanted, stated) == "") == taken


@pytest.mark.parametrize("threshold", [6400.0, 0.5, None])
@pytest.mark.parametrize(("part", "right"), [(1.0, True), (0.9, False)])
def test_a_bias_is_within_what_is_stated_of_the_threshold(
    threshold: float | None, part: float, right: bool
) -> None:
    """Three units off, of four that its field would leave; a readout's is stated in units of its v."""
    scale = 1.0 if threshold is None else 6400 / threshold
    group = {"bias_mant": np.array(12), "bias_exp": 3, "scale": np.array(scale)}
    whole = 1.0 if threshold is None else threshold * scale
    wanted: dict[str, Any] = {"drive": np.array(99.0 / scale)}
    if threshold is None:
        group |= {"kind": "readout", "vth": np.array(0)}
        wanted["threshold"] = None
    else:
        wanted["threshold"] = np.array(threshold)
    assert (refused(group, wanted, {"bias": part * 3 / whole}) == "") == right


def test_the_largest_initial_v_is_told() -> None:
    program, p, group = pair(None, {"v_init": np.array([0.0, 3.0])})
    with pytest.raises(Contradiction, match=r"initial v: stated 0, found 3\.0"):
        _neuron(program, p, group, p.neuron.bias, {"not_proved": []})


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"kind": "readout"}, (-8, 7)),
        ({"kind": "input"}, (-3, 3)),
        ({"kind": "input", "message_peak": 2}, (-2, 2)),
        ({"kind": "input", "max_spikes": 2}, (0, 2)),
        ({"kind": "input", "max_spikes": 9}, (0, 3)),
        ({"kind": "custom", "spikes_per_step": "many"}, (0, 7)),
        ({"kind": "custom", "spikes_per_step": "many", "max_spikes": 2}, (0, 2)),
        ({"kind": "lif"}, (0, 1)),
        ({"kind": "constant", "message_bits": 0}, (0, 1)),
        ({"kind": "readout", "message_bits": 0}, (0, 1)),
    ],
)
def test_what_neurons_send_at_the_least_and_the_most(
    fields: dict[str, Any], sent: tuple[int, int]
) -> None:
    """In registers that hold -8 to 7, with messages of three bits."""
    usual = {"message_bits": 3, "message_peak": None, "max_spikes": None, "spikes_per_step": "one"}
    assert checker._sends(SimpleNamespace(**{**usual, **fields}), 7) == sent
