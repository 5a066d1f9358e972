"""The one neuron rule against a scalar judge, and every compiled copy of it against the rule.

All combinations of the literals, and exact equality.
"""

from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from snndeploy.ir import step
from snndeploy.ir.arrays import frozen
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.program import CompartmentGroup
from snndeploy.ir.step import (
    LOIHI,
    Arithmetic,
    FloatParameters,
    FloatState,
    IntegerState,
    NeuronRule,
    step_float,
    step_integer,
)
from snndeploy.passes.training.torch_network.fused import fusible
from snndeploy.simulate.float.kernel import holds
from snndeploy.simulate.float.neuron import NeuronState
from snndeploy.simulate.integer.neurons.packed import fits_int32, pack_neurons
from snndeploy.simulate.integer.neurons.step import State, registers, step_group
from tests.support.rules import RULES, fields_of, rule_name
from tests.support.scalar_step import float_step, integer_step

NEURONS, STEPS = 6, 8
TINY = Arithmetic(
    state_bits=16,
    u_overflow="saturate",
    v_overflow="saturate",
    decay="shift",
    decay_bits=4,
    u_decay_offset=0,
    state_shift=2,
    sum_bits=20,
)
"""A fictional chip's: narrow, saturating, decaying by shifts."""
ARITHMETICS = {
    "loihi": LOIHI,
    "tiny": TINY,
    "tiny-wraps": dataclasses.replace(TINY, u_overflow="wrap", v_overflow="wrap"),
    "mixed": dataclasses.replace(LOIHI, v_overflow="wrap", state_bits=18, sum_bits=24),
    "wide": dataclasses.replace(
        LOIHI, decay="shift", decay_bits=15, u_decay_offset=2, state_shift=0, sum_bits=40
    ),
}
ARITHMETICS["in-turn"] = dataclasses.replace(
    TINY,
    u_overflow="saturate-full",
    v_overflow="saturate-full",
    decay="floor-shift",
    state_shift=0,
    sum_bits=32,
    arrival="in-turn",
    v_step="held",
)
ARITHMETICS["in-turn-free"] = dataclasses.replace(ARITHMETICS["in-turn"], v_step="free")
PARTS = list(itertools.product((False, True), repeat=4))
"""Which of syn_leak, v_floor, bias and drive a neuron has."""


def neuron(rule: NeuronRule | None, parts: tuple[bool, ...], rng: np.random.Generator) -> Neuron:
    """Multiples of 1/8, so that v meets the threshold exactly now and then."""
    syn, floor, bias, drive = parts
    return Neuron.create(
        (NEURONS,),
        leak=rng.choice([0.5, 0.75, 1.0], NEURONS),
        syn_leak=rng.choice([0.25, 0.5], NEURONS) if syn else None,
        v_floor=rng.integers(-8, 1, NEURONS) / 8 if floor else None,
        bias=rng.integers(-2, 3, NEURONS) / 8 if bias else 0.0,
        drive=rng.integers(-2, 3, NEURONS) / 8 if drive else 0.0,
        threshold=None if rule is None else rng.integers(2, 9, NEURONS) / 8,
        v_init=rng.integers(-4, 5, NEURONS) / 8,
        **({} if rule is None else fields_of(rule)),
    )


def par(n: Neuron, name: str, i: int) -> float | None:
    value = getattr(n, name)
    return None if value is None else float(np.broadcast_to(value, (NEURONS,))[i])


@pytest.mark.parametrize("rule", [None, *RULES], ids=rule_name)
def test_real_numbers(rule: NeuronRule | None) -> None:
    """Scalars, NumPy, torch and the compiled loop, with and without every part."""
    rng = np.random.default_rng(RULES.index(rule) if rule else 99)
    met = 0
    for parts in PARTS:
        n = neuron(rule, parts, rng)
        n.verify("n", (NEURONS,))
        x = rng.integers(-8, 17, (STEPS, 1, NEURONS)) / 8
        scalars = [{"u": 0.0, "v": par(n, "v_init", i) or 0.0, "n": 0.0} for i in range(NEURONS)]
        arrays = {k: v for k, v in n.parameters().items() if k != "v_init"}
        plain = FloatState(np.zeros(NEURONS), np.broadcast_to(n.v_init, (NEURONS,)), 0.0 * x[0, 0])
        torched = NeuronState(n, (NEURONS,), 1, torch.float64, kernel=False)
        loop = NeuronState(n, (NEURONS,), 1, torch.float64, kernel=True)
        out = torch.empty((STEPS, 1, NEURONS), dtype=torch.float64)
        loop.run(torch.tensor(x), out)
        for t in range(STEPS):
            told = step_float(n.rule, FloatParameters(**arrays), plain, x[t, 0])
            for i, s in enumerate(scalars):
                values = {name: par(n, name, i) for name in arrays} | {
                    name: None for name in ("syn_leak", "v_floor") if name not in arrays
                }
                assert float_step(rule, values, s, float(x[t, 0, i])) == told[i], (parts, t, i)
                assert (s["u"], s["v"]) == (plain.u[i], plain.v[i]), (parts, t, i)
            np.testing.assert_array_equal(torched.step(torch.tensor(x[t])).numpy()[0], told)
            np.testing.assert_array_equal(out[t, 0].numpy(), told)
            np.testing.assert_array_equal(torched.v.numpy()[0], plain.v)
            if rule is not None:
                met += int((plain.charged == np.broadcast_to(n.threshold, (NEURONS,))).sum())  # type: ignore[arg-type]
        np.testing.assert_array_equal(loop.v.numpy()[0], plain.v)
        np.testing.assert_array_equal(loop.u.numpy()[0], plain.u)
    assert rule is None or met > 0, "the comparison was never put to the test"


def group(
    kind: str, rule: NeuronRule, floor: bool, chip: Arithmetic, rng: np.random.Generator
) -> CompartmentGroup:
    """Registers with few bits each, so that thresholds are met and registers overflow.

    Whether there is a filter, a leak or a bias differs from neuron to neuron.
    """
    unit = max(1, chip.state_max >> (chip.state_shift + 2))
    every = chip.decay_one - chip.u_decay_offset  # no filter: u forgets all
    decays = [0, every // 2, every] if chip.decay == "multiply" else [0, 1, 3]
    return CompartmentGroup(
        name="g",
        shape=(NEURONS,),
        role="output",
        kind=kind,  # type: ignore[arg-type]
        depth=1,
        du=frozen(rng.choice(decays, NEURONS)),
        dv=frozen(rng.choice(decays, NEURONS)),
        vth=frozen(rng.integers(1, 5, NEURONS) * unit // 2),
        bias_mant=frozen(rng.integers(-3, 4, NEURONS) * unit * rng.integers(0, 2, NEURONS)),
        bias_exp=int(rng.integers(-1, chip.state_shift + 1)),
        v_floor=frozen(rng.integers(-chip.state_max, 1, NEURONS)) if floor else None,
        **fields_of(rule),
    )


def whole_numbers(g: CompartmentGroup, chip: Arithmetic, rng: np.random.Generator) -> None:
    """Scalars, NumPy, torch, and the compiled kernel where it takes the group."""
    p = registers(g, chip)
    unit = max(1, chip.state_max >> (chip.state_shift + 2))
    a = rng.integers(-4, 9, (STEPS, NEURONS)) * unit // 2 * rng.choice([1, 1, 7], (STEPS, NEURONS))
    names = ("du", "dv", "vth", "bias", *(["v_floor"] if p.v_floor is not None else []))
    each = {n: np.broadcast_to(getattr(g, n), (NEURONS,)) for n in names}
    scalars = [{"u": 0, "v": 0, "n": 0} for _ in range(NEURONS)]
    plain, torched = State.at_rest((NEURONS,)), State.at_rest((1, NEURONS), torch)
    q = registers(g, chip, torch.tensor)
    packed = pack_neurons(g, chip)
    out = np.zeros((STEPS, 1, NEURONS), np.int32)
    if packed is not None:
        u, v = np.zeros((2, 1, NEURONS), np.int32)
        fired = np.zeros((1, NEURONS if packed.remembers else 0), np.int32)
        drive = a.astype(np.int32)[:, None]
        packed.kernel(drive, u, v, fired, out, 0, 0, packed.parameters, packed.most)
    for t in range(STEPS):
        told = step_group(g, chip, plain, a[t], p)
        other = step_group(g, chip, torched, torch.tensor(a[t][None]), q, torch)
        np.testing.assert_array_equal(other.numpy()[0], told)
        for i, s in enumerate(scalars):
            values = {"v_floor": None} | {n: int(x[i]) for n, x in each.items()}
            assert integer_step(g.rule, chip, values, s, int(a[t, i])) == told[i], (t, i)
            assert (s["u"], s["v"]) == (plain.u[i], plain.v[i]), (t, i)
        if packed is not None:
            np.testing.assert_array_equal(out[t, 0], told)
    if packed is not None:
        np.testing.assert_array_equal(u[0], plain.u)
        np.testing.assert_array_equal(v[0], plain.v)


@pytest.mark.parametrize("chip", ARITHMETICS)
@pytest.mark.parametrize("rule", RULES, ids=rule_name)
def test_whole_numbers(rule: NeuronRule, chip: str) -> None:
    rng = np.random.default_rng([RULES.index(rule), *chip.encode()])
    for floor in (False, True):
        g = group("custom", rule, floor, ARITHMETICS[chip], rng)
        assert (pack_neurons(g, ARITHMETICS[chip]) is not None) == (chip == "loihi")
        whole_numbers(g, ARITHMETICS[chip], rng)


@pytest.mark.parametrize("chip", ARITHMETICS)
@pytest.mark.parametrize("kind", ["lif", "readout"])
def test_native_compartments_have_no_rule_of_their_own(kind: str, chip: str) -> None:
    """Whatever their fields say: they are LIF, or they never spike."""
    rng = np.random.default_rng(0)
    for rule, floor in itertools.product(RULES[:: len(RULES) // 7], (False, True)):
        whole_numbers(group(kind, rule, floor, ARITHMETICS[chip], rng), ARITHMETICS[chip], rng)


# --- by hand --------------------------------------------------------------------------------------


def advance(chip: Arithmetic, u: int, v: int, a: int = 0, **p: int) -> tuple[int, int]:
    """u and v of a readout after one step."""
    state = IntegerState(np.array([u]), np.array([v]), np.zeros(1, int))
    values = {"du": 0, "dv": 0, "threshold": 0, "bias": 0, **p}
    arrays = {name: np.array([x]) for name, x in values.items()}
    step_integer(None, chip, step.IntegerParameters(**arrays), state, np.array([a]))
    return int(state.u[0]), int(state.v[0])


@pytest.mark.parametrize(
    ("chip", "before", "a", "registers_", "after"),
    [
        # toward zero: 4095/4096 of 3 is 2.99…, and of -3 likewise
        (LOIHI, (0, -3), 0, {"dv": 1}, (0, -2)),
        (LOIHI, (0, 3), 0, {"dv": 1}, (0, 2)),
        # u wraps once, and +2**23 stays; v stops at 2**23 - 1
        (LOIHI, (0, 0), 2**17, {}, (2**23, 2**23 - 1)),
        (LOIHI, (0, 0), 2**17 + 1, {}, (-(2**23) + 64, -(2**23) + 64)),
        # 3 - (3 >> 1), and its mirror
        (TINY, (3, -3), 0, {"du": 1, "dv": 1}, (2, 0)),
        # 16 bit that saturate, at both ends
        (TINY, (0, 0), 9000, {}, (32767, 32767)),
        (TINY, (0, 0), -9000, {}, (-32767, -32767)),
        # the adder of 20 bits wraps before the register saturates
        (TINY, (0, 0), 2**17 + 1, {}, (-32767, -32767)),
        # floored shifts take at least one: 1 - 1, -1 + 1, and -3 - (-3 >> 1) = -1
        (ARITHMETICS["in-turn"], (1, 1), 0, {"du": 4, "dv": 4}, (0, 0)),
        (ARITHMETICS["in-turn"], (-1, -3), 0, {"du": 4, "dv": 1}, (0, -1)),
        # input arrives before u decays, and both ends of two's complement are held
        (ARITHMETICS["in-turn"], (0, 0), -40000, {"du": 1}, (-16384, -16384)),
        # what takes -32768 off whole wraps, so it sticks; without a register of its own it goes
        (ARITHMETICS["in-turn"], (0, -32768), 0, {"dv": 0}, (0, -32768)),
        (ARITHMETICS["in-turn-free"], (0, -32768), 0, {"dv": 0}, (0, 0)),
    ],
)
def test_registers_by_hand(
    chip: Arithmetic,
    before: tuple[int, int],
    a: int,
    registers_: dict[str, int],
    after: tuple[int, int],
) -> None:
    # without decay: a whole 4096ths on Loihi, a shift beyond the register elsewhere
    still = {"du": 0, "dv": 0} if chip.decay == "multiply" else {"du": 40, "dv": 40}
    assert advance(chip, *before, a, **{**still, **registers_}) == after


def test_words_that_mean_nothing_are_refused() -> None:
    """None of them falls through to some other word's meaning."""
    for fields in (
        {"compare": "<"},
        {"reset": "half"},
        {"reset_timing": ""},
        {"spikes_per_step": ""},
    ):
        with pytest.raises(ValueError, match="not one of"):
            NeuronRule(**fields)  # type: ignore[arg-type]
    for fields in (
        {"u_overflow": "stop"},
        {"v_overflow": ""},
        {"decay": "linear"},
        {"arrival": "at once"},
        {"v_step": ""},
    ):
        with pytest.raises(ValueError, match="not one of"):
            dataclasses.replace(LOIHI, **fields)  # type: ignore[arg-type]


# --- fast paths admit by whitelist ----------------------------------------------------------------


def extended(value: Any, adapts: int = 1) -> Any:
    """``value`` with a field that no kernel was written for, and which does nothing at 0."""
    cls = dataclasses.make_dataclass(
        "Extended", [("adapts", int, 0)], bases=(type(value),), frozen=True, kw_only=True
    )
    return cls(**{f.name: getattr(value, f.name) for f in dataclasses.fields(value)}, adapts=adapts)


def test_a_new_field_takes_the_plain_integer_step(monkeypatch: pytest.MonkeyPatch) -> None:
    g = group("custom", NeuronRule(), False, LOIHI, np.random.default_rng(0))
    assert fits_int32(g, LOIHI)
    assert not fits_int32(extended(g), LOIHI)
    assert fits_int32(extended(g, 0), LOIHI)
    assert not fits_int32(g, extended(LOIHI))
    wider = extended(NeuronRule())
    monkeypatch.setattr(CompartmentGroup, "rule", property(lambda _: wider))
    assert not fits_int32(g, LOIHI)


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Arithmetic)])
def test_another_arithmetic_takes_the_plain_integer_step(field: str) -> None:
    g = group("lif", NeuronRule(), False, LOIHI, np.random.default_rng(0))
    # TINY differs in every field but three
    others = {"v_overflow": "wrap", "arrival": "in-turn", "v_step": "held"}
    other = others.get(field, getattr(TINY, field))
    assert other != getattr(LOIHI, field)
    assert not fits_int32(g, dataclasses.replace(LOIHI, **{field: other}))


def test_a_new_field_takes_the_plain_float_step() -> None:
    n = Neuron.create((2,), leak=0.5, threshold=1.0)
    new = extended(n)
    like = {"leak": torch.tensor(0.5)}
    gradient: Any = SimpleNamespace(smooth=False, through_reset=False)
    assert holds(n)
    assert not holds(new)
    assert holds(extended(n, 0))
    assert not fusible(new, like, gradient)
    x, out = torch.ones(3, 1, 2), torch.empty(3, 1, 2)
    NeuronState(new, (2,), 1, torch.float32, kernel=True).run(x, out)
    # 1, 1.5 -> 0, 1
    assert out[:, 0, 0].tolist() == [0, 1, 0]


def test_overflow_is_counted_where_it_happens() -> None:
    for chip in (LOIHI, TINY):
        for how in ("wrap", "saturate"):
            values = np.arange(-chip.state_max - 3, chip.state_max + 4)
            values = values[np.abs(values) > chip.state_max - 3]
            kept = step.held_in(values, how, chip) == values  # type: ignore[arg-type]
            np.testing.assert_array_equal(step.overflows(values, how, chip), ~kept)  # type: ignore[arg-type]
