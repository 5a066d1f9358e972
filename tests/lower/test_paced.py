"""Spikes of a neuron lie apart, and head-room counts on it: compiler and checker, each by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snndeploy.certify import bounds as checker
from snndeploy.chip import load_target
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import Program
from snndeploy.lower import InputCoding, lower
from snndeploy.lower.proofs import paced as compiler
from snndeploy.lower.proofs.paced import _lasting
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import inputs, lif, project
from tests.support.checked import checked

LOIHI2 = load_target("loihi2")
BINARY = InputCoding.named("binary")
LATE: dict[str, Any] = {"reset": "zero", "reset_timing": "next-step"}


def inhibited(drive: float, **fields: Any) -> Network:
    """A neuron driven at ``drive`` of its threshold per step inhibits one that keeps half of its v."""
    return Network(
        (
            inputs((1,)),
            lif("a", (1,), leak=1.0, threshold=1.0, **fields),
            lif("out", (1,), "output", leak=0.5, threshold=1.0),
        ),
        (
            project("w0", "input", "a", Dense(1, 1), np.array([[drive]])),
            project("w1", "a", "out", Dense(1, 1), np.array([[-1.0]])),
        ),
    ).verify()


def lowest(program: Program, steps: int = 60) -> int:
    """How far v of the inhibited neuron goes, where all inputs spike all the time."""
    run = run_integer(program, np.ones((steps, 1, 1), np.int64), watch=True)
    return run.registers["out"].v_peak


@pytest.mark.parametrize(
    ("drive", "fields", "pause"),
    [
        (2.0, {}, 1),
        (2.0, LATE, 2),  # in the step after a spike v is 0
        (0.6, {}, 2),
        (0.4, {}, 3),
        (0.4, LATE, 4),
        (0.4, {"reset": "subtract"}, 2),  # up to 0.4 are left of the last spike
    ],
)
def test_the_bound_is_reached_and_a_longer_pause_would_break_it(
    drive: float, fields: dict[str, Any], pause: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = lower(inhibited(drive, **fields), LOIHI2, inputs=BINARY)
    stated, seen = program.headroom["out"].v_peak, lowest(program)
    weight = float(program.group("out").scale)
    kept = 1 - int(program.group("out").dv) / 4096
    found = checker.bounds(checked(program))
    assert stated == pytest.approx(weight / (1 - kept**pause), rel=1e-4)
    assert seen <= int(found["out"].v.max()) <= stated
    if fields.get("reset") != "subtract":  # which makes every other pause longer
        assert stated - seen <= 4  # v drops fractions
    own = checker.pause

    def longer(*of: Any) -> Any:
        return own(*of) + 1

    monkeypatch.setattr(checker, "pause", longer)
    assert int(checker.bounds(checked(program))["out"].v.max()) < seen


@pytest.mark.parametrize(
    ("drive", "fields", "pause"), [(0.4, {}, 2), (0.4, LATE, 3), (0.4, {"reset": "subtract"}, 1)]
)
def test_a_threshold_that_moves_counts_at_its_least(
    drive: float, fields: dict[str, Any], pause: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that may sink to a half is passed sooner, and a spike takes less off."""

    def sinks(group: Any, _: Any) -> tuple[Any, Any]:
        most = group.vth << 6
        return most // 2, most

    monkeypatch.setattr(checker, "thresholds", sinks)
    monkeypatch.setattr(compiler, "thresholds_of", sinks)
    program = lower(inhibited(drive, **fields), LOIHI2, inputs=BINARY)
    weight = float(program.group("out").scale)
    kept = 1 - int(program.group("out").dv) / 4096
    found = int(checker.bounds(checked(program))["out"].v.max())
    assert program.headroom["out"].v_peak == pytest.approx(weight / (1 - kept**pause), rel=1e-4)
    assert found == pytest.approx(weight / (1 - kept**pause), rel=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1_000_000))
def test_no_drive_passes_the_bounds_of_recurrent_networks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fields: dict[str, Any] = {
        "leak": float(rng.choice([1.0, 0.5, 0.9])),
        "syn_leak": [None, 0.5, 0.9][int(rng.integers(3))],
        "reset": str(rng.choice(["zero", "subtract"])),
        "reset_timing": str(rng.choice(["immediate", "next-step"])),
        "threshold": float(rng.choice([0.5, 2.0, 8.0])),
    }
    size = float(rng.choice([0.3, 1.0]))
    net = Network(
        (inputs((3,)), lif("a", (5,), **fields), lif("out", (2,), "output", **fields)),
        (
            project("w0", "input", "a", Dense(5, 3), size * rng.normal(size=(5, 3))),
            project("rec", "a", "a", Dense(5, 5), size * rng.normal(size=(5, 5)), delay=1),
            project("w1", "a", "out", Dense(2, 5), rng.normal(size=(2, 5))),
        ),
    ).verify()
    program = lower(net, LOIHI2, inputs=BINARY, steps=40)
    on = np.ones((40, 1, 3))
    x = np.concatenate([on, rng.random((40, 6, 3)) < 0.5, np.resize([1, 0], (40, 1, 3))], 1)
    run, found = (
        run_integer(program, x.astype(np.int64), watch=True),
        checker.bounds(checked(program)),
    )
    for name, room in program.headroom.items():
        use, b = run.registers[name], found[name]
        assert use.u_peak <= int(b.u.max()) <= room.u_peak
        assert use.v_peak <= int(b.v.max())
        assert min(int(b.v.max()), room.limit) <= room.v_peak


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("ku", [0.0, 0.25, 0.5, 0.9375])
@pytest.mark.parametrize("kv", [0.0, 0.5, 0.875])
def test_what_a_train_adds_up_to_is_what_it_comes_to(n: int, ku: float, kv: float) -> None:
    """A spike every ``n`` steps, for a thousand steps: the largest v there is, and hardly more."""
    u = v = most = 0.0
    for t in range(1000):
        u = ku * u + (t % n == 0)
        v = kv * v + u
        most = max(most, v)
    (found,) = _lasting(n, np.array([ku]), np.array([kv]))
    assert most <= found * (1 + 1e-12)
    assert found == pytest.approx(most, rel=1e-4)


@pytest.mark.parametrize(("ku", "kv"), [(1.0, 0.5), (0.5, 1.0), (1.0, 1.0)])
def test_what_never_leaks_has_no_end(ku: float, kv: float) -> None:
    assert _lasting(3, np.array([ku]), np.array([kv])) == np.inf
