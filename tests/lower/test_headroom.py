"""What head-room promises: bounds that are reached and never passed, and what saturates is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import snndeploy
from snndeploy.certify import certify
from snndeploy.certify.bounds import bounds
from snndeploy.chip import load_target
from snndeploy.errors import LoweringRefused
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import Program
from snndeploy.ir.step import LOIHI
from snndeploy.lower import InputCoding, lower
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import inputs, project
from tests.support.checked import checked
from tests.support.exact_networks import integrator

LOIHI2 = load_target("loihi2")
BINARY = InputCoding.named("binary")
MANY: dict[str, Any] = {"reset": "subtract", "spikes_per_step": "many", "compare": ">="}


def bursts(drive: float, *, most: int | None = None, **fields: Any) -> Network:
    """One neuron that spikes ``drive`` times per step (eight inputs in sum), heard by another."""
    first = {**MANY, "max_spikes": most, **fields}
    return Network(
        (
            inputs((8,)),
            integrator("a", (1,), **first),
            integrator("out", (1,), "output", leak=0.5, **MANY),
        ),
        (
            project("w0", "input", "a", Dense(1, 8), np.full((1, 8), drive / 8)),
            project("w1", "a", "out", Dense(1, 1), np.array([[1.0]])),
        ),
    ).verify()


def told(program: Program, code: str) -> list[str]:
    return [f.where for f in program.findings if f.code == code]


@pytest.mark.parametrize(
    ("drive", "most"), [(2.0, None), (40.0, None), (400.0, None), (400.0, 100)]
)
def test_spikes_are_bounded_by_what_arrives(drive: float, most: int | None) -> None:
    """The bound is reached, v and u of the neuron behind stay within theirs, and nothing is lost."""
    net = bursts(drive, most=most)
    program = lower(net, LOIHI2, inputs=BINARY, steps=6)
    x = np.ones((6, 1, 8), np.int64)
    run = run_integer(program, x, record_states=("a", "out"), watch=True)
    bound = int(drive) + 1 if most is None else most  # one threshold may be left from the last step
    assert program.group("a").message_bits == bound.bit_length()
    room = program.headroom["out"]
    assert int(run.spikes["a"].max()) == (most or drive)
    assert not told(program, "headroom-saturates")
    assert not room.wraps
    unit = int(program.group("out").scale)
    assert run.registers["out"].u_peak == (most or drive) * unit
    assert run.registers["out"].u_peak <= room.u_peak <= bound * unit
    trained = run_float(net, x.astype(float), dtype="float64")
    np.testing.assert_array_equal(run.spikes["a"], trained.spikes["a"])


def test_what_does_not_fit_a_register_is_said() -> None:
    """Without a reset v goes on growing, and its register ends."""
    net = bursts(400.0, leak=0.99, reset="none")
    program = lower(net, LOIHI2, inputs=BINARY, steps=40)
    run = run_integer(program, np.ones((40, 1, 8), np.int64), watch=True)
    assert "a" in told(program, "headroom-saturates")
    assert run.registers["a"].clips > 0
    held = LOIHI.state_max // (int(program.group("a").vth) << 6)
    assert run.spikes["a"].max() == held
    assert program.group("a").message_bits == held.bit_length()
    (finding,) = [f for f in program.findings if (f.code, f.where) == ("headroom-saturates", "a")]
    assert f"v ends at {held} thresholds" in finding.message
    assert not program.rounding["a"].exact


def loop(gain: float, drive: float = 2.0) -> Network:
    return Network(
        (inputs((1,)), integrator("out", (1,), "output", leak=0.5, **MANY)),
        (
            project("in", "input", "out", Dense(1, 1), np.array([[drive]])),
            project("rec", "out", "out", Dense(1, 1), np.array([[gain]]), delay=1),
        ),
    ).verify()


def test_a_loop_that_settles_is_bounded_and_one_that_grows_is_not_called_proved() -> None:
    x = np.ones((40, 1, 1), np.int64)
    settles = lower(loop(0.5), LOIHI2, inputs=BINARY, steps=40)
    run = run_integer(settles, x, watch=True)
    assert not settles.headroom["out"].wraps
    assert run.registers["out"].u_peak <= settles.headroom["out"].u_peak
    assert not told(settles, "headroom-saturates")
    grows = lower(loop(2.0), LOIHI2, inputs=BINARY, steps=40)
    run = run_integer(grows, x, watch=True)
    room = grows.headroom["out"]
    assert run.registers["out"].u_peak > LOIHI.state_max  # it happens
    assert room.wraps
    assert run.registers["out"].u_peak <= room.u_peak
    assert told(grows, "headroom-unproved")


def many_spikes(seed: int) -> tuple[Network, np.random.Generator]:
    """A chain or a loop of random gains, and what random drive is drawn from."""
    rng = np.random.default_rng(seed)
    fields = {
        **MANY,
        "leak": float(rng.choice([1.0, 0.5, 0.9])),
        "syn_leak": [None, 0.5][int(rng.integers(2))],
        "reset": str(rng.choice(["zero", "subtract", "none"])),
        "max_spikes": [None, 3, 40][int(rng.integers(3))],
    }
    parts = [
        project("w0", "input", "a", Dense(3, 2), rng.normal(size=(3, 2)) * 10.0 ** rng.integers(3)),
        project("w1", "a", "out", Dense(2, 3), rng.normal(size=(2, 3))),
    ]
    if rng.random() < 0.5:
        parts.append(project("rec", "out", "a", Dense(3, 2), rng.normal(size=(3, 2)), delay=2))
    net = Network(
        (
            inputs((2,)),
            integrator("a", (3,), **fields),
            integrator("out", (2,), "output", **fields),
        ),
        tuple(parts),
    ).verify()
    return net, rng


@settings(max_examples=40)
@example(265)  # a u that wraps from below zero drives a neuron that nothing excites
@given(st.integers(0, 100_000))
def test_no_drive_passes_the_bounds_of_many_spikes(seed: int) -> None:
    """Chains and loops of random gains under random and full drive: peaks stay within head-room."""
    net, rng = many_spikes(seed)
    program = lower(net, LOIHI2, inputs=BINARY, steps=20)
    x = np.concatenate([np.ones((20, 1, 2)), rng.random((20, 3, 2)) < 0.5], 1).astype(np.int64)
    run, found = run_integer(program, x, watch=True), bounds(checked(program))
    for name, room in program.headroom.items():
        use, b = run.registers[name], found[name]
        assert use.u_peak <= int(b.u.max()) or not b.safe
        assert int(b.u.max()) <= room.u_peak
        assert use.v_peak <= int(b.v.max()) or room.v_peak == room.limit
        assert min(int(b.v.max()), room.limit) <= room.v_peak
        if not room.wraps:
            assert use.wraps == 0
        assert int(run.spikes[name].max()).bit_length() <= program.group(name).message_bits


@pytest.mark.parametrize("seed", [3, 265])
def test_the_checker_bounds_what_a_wrapped_state_drives_alike(seed: int, tmp_path: Path) -> None:
    """One neuron's u may wrap: then all of its population may send what registers hold."""
    net, _ = many_spikes(seed)
    compiled = snndeploy.compile(net, recipe=None, target=LOIHI2)
    assert any(room.wraps for room in compiled.program.headroom.values())
    snndeploy.save_bundle(tmp_path / "a.snnb", snndeploy.bundle_of(compiled))
    assert certify(tmp_path / "a.snnb")["contradiction"] is None


@pytest.mark.parametrize("seed", [27, 43, 46])
def test_the_checker_finds_by_itself_what_a_loop_holds_up(seed: int, tmp_path: Path) -> None:
    """Bounds that follow from themselves alone: taken from the registers, spikes would never sink."""
    net, _ = many_spikes(seed)
    compiled = snndeploy.compile(net, recipe=None, target=LOIHI2)
    snndeploy.save_bundle(tmp_path / "a.snnb", snndeploy.bundle_of(compiled))
    told = certify(tmp_path / "a.snnb")
    assert told["contradiction"] is None
    assert told["bounds"]["a"]["u"]["proved"]


@pytest.mark.parametrize("threshold", [0.0, -1.0])
def test_many_spikes_need_a_threshold_to_count(threshold: float) -> None:
    with pytest.raises(LoweringRefused) as caught:
        lower(bursts(2.0, threshold=threshold), LOIHI2)
    assert (caught.value.code, caught.value.where) == ("threshold-not-positive", "a")
