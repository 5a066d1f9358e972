"""Bounds of one neuron against all that it can do: every input tried, every state followed."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from snndeploy.certify.bounds import bounds, lasting, settle
from snndeploy.certify.engine import decayed, run
from snndeploy.certify.files import Contradiction
from tests.support.one_neuron import arithmetic, one


@pytest.mark.parametrize("drive", [0, 1, 2, 3, 63, 64, 1000])
@pytest.mark.parametrize("d", [16, 100, 2048, 4000, 4095, 4096])
def test_a_leaky_sum_climbs_to_the_smallest_value_that_stays(drive: int, d: int) -> None:
    a, x = arithmetic(), 0
    while (after := int(decayed(np.array(x), d, a)) + drive) != x:
        assert after > x
        x = after
    assert int(settle(np.array(drive), d, a)) == x


@pytest.mark.parametrize("decay", ["shift", "floor-shift"])
@pytest.mark.parametrize("drive", [0, 1, 5, 64])
@pytest.mark.parametrize("d", [0, 1, 3])
def test_a_sum_that_decays_by_shifts_stays_below_its_bound(decay: str, drive: int, d: int) -> None:
    a, x = arithmetic(decay=decay), 0
    for _ in range(400):
        x = int(decayed(np.array(x), d, a)) + drive
        assert x <= int(settle(np.array(drive), d, a))


def test_a_sum_that_never_decays_has_no_bound() -> None:
    assert int(settle(np.array(1), 0, arithmetic())) > 1 << 60
    assert int(settle(np.array(0), 0, arithmetic())) == 0
    assert int(settle(np.array(1 << 40), 4096, arithmetic())) < 1 << 61


def reached(program: Any, steps: int = 6) -> tuple[int, int]:
    """The largest |u| and |v| under all trains of spikes of so many steps."""
    n = program.groups[0].shape[0]
    trains = np.array(list(product(*[(0, 1)] * (n * steps))), np.int64)
    x = trains.reshape(-1, steps, n).swapaxes(0, 1)
    peaks = run(program, {"in": x})[1]["n"]
    return int(peaks[0].max()), int(peaks[1].max())


@pytest.mark.parametrize(
    ("timing", "reset"),
    [
        ("immediate", "none"),
        *product(("immediate", "next-step"), ("zero", "subtract")),
        ("snntorch-immediate", "subtract"),
    ],
)
@pytest.mark.parametrize("threshold", [-2, 0, 1, 3, 7])
@pytest.mark.parametrize("floor", [None, -64, 0])
def test_no_train_of_spikes_leaves_the_bounds(
    timing: str, reset: str, threshold: int, floor: int | None
) -> None:
    for weights, dv, bias in (((4, -2), 2048, 0), ((3,), 1024, -64), ((-3,), 4096, 32)):
        program = one(
            weights,
            dv=np.array(dv),
            bias_mant=np.array(bias),
            vth=np.array(threshold),
            reset=reset,
            reset_timing=timing,
            v_floor=None if floor is None else np.array(floor),
        )
        found = bounds(program)["n"]
        u, v = reached(program)
        assert u <= int(found.u.max())
        assert v <= int(found.v.max())


@pytest.mark.parametrize(
    ("fields", "low", "high"),
    [
        # u brings 2 << 6 = 128 at the most, and 64 the other way
        ({"dv": np.array(4096)}, 64, 128),
        ({"dv": np.array(4096), "bias_mant": np.array(10)}, 54, 138),
        ({"dv": np.array(4096), "bias_mant": np.array(-10)}, 74, 118),
        ({"dv": np.array(2048)}, 127, 128 + 64 // 2),
        ({"dv": np.array(2048), "v_floor": np.array(-20)}, 64 + 10, 128 + 32),
        ({"dv": np.array(2048), "v_floor": np.array(0)}, 64, 128 + 32),
        ({"dv": np.array(2048), "reset": "none"}, 127, 255),
        ({"dv": np.array(2048), "kind": "readout"}, 127, 255),
        ({"dv": np.array(2048), "vth": np.array(3)}, 127, 128 + 96),
        ({"dv": np.array(2048), "vth": np.array(9)}, 127, 255),
        ({"dv": np.array(2048), "reset": "subtract"}, 127, 64 + 127),
        ({"dv": np.array(2048), "reset": "subtract", "vth": np.array(-1)}, 127, 192 + 191),
    ],
)
def test_bounds_of_v_in_numbers(fields: dict[str, Any], low: int, high: int) -> None:
    found = bounds(one((2, -1), **fields))["n"]
    assert (int(found.u_low.max()), int(found.u_high.max())) == (64, 128)
    assert (int(found.v_low.max()), int(found.v_high.max())) == (low, high)


def test_nothing_that_arrives_moves_nothing() -> None:
    found = bounds(one((0,), dv=np.array(100)))["n"]
    assert (int(found.u.max()), int(found.v.max()), int(found.drive.max())) == (0, 0, 0)


@pytest.mark.parametrize(("weight", "safe"), [((1 << 25) - 1, True), (1 << 25, False)])
def test_sums_that_the_adder_cannot_hold_prove_nothing(weight: int, safe: bool) -> None:
    """32 bits hold 2^31 - 1: what arrives, shifted by 6 bits, is compared with it."""
    for sign in (1, -1):
        found = bounds(one((sign * weight,), exponent=-20, dv=np.array(4096)))["n"]
        assert found.safe is safe
        assert int(found.u.max()) == weight >> 20 << 6 or sign < 0


@pytest.mark.parametrize(("weight", "safe"), [((1 << 17) - 1, True), (1 << 17, False)])
def test_a_register_of_u_holds_less_than_half_its_range(weight: int, safe: bool) -> None:
    """24 bits hold 2^23 - 1, which is 131071 units of 64."""
    found = bounds(one((weight,), dv=np.array(4096)))["n"]
    assert found.safe is safe
    assert int(found.u_high.max()) == (weight << 6 if safe else 1 << 23)


@pytest.mark.parametrize(
    ("bits", "most", "low", "high"),
    [
        (0, None, 64, 128),
        (4, None, 3 * 7 * 64, 3 * 7 * 64),
        (4, 5, 5 * 64, 10 * 64),
        (2, 5, 64, 128),
    ],
)
def test_what_inputs_send(bits: int, most: int | None, low: int, high: int) -> None:
    """Plain spikes, messages of either sign, or so many spikes at the most."""
    program = one((2, -1), bits=bits, dv=np.array(4096))
    program.groups[0].max_spikes = most
    found = bounds(program)["n"]
    assert (int(found.u_low.max()), int(found.u_high.max())) == (low, high)


def test_a_v_that_clips_takes_so_many_steps() -> None:
    """Without a leak v grows by its drive each step, upwards and downwards."""
    found = bounds(one((2, -1), reset="none"))["n"]
    assert int(found.drive.max()) == 128
    found = bounds(one((2, -3), reset="none", vth=np.array(1 << 16)))["n"]
    assert int(found.drive.max()) == 192
    found = bounds(one((2, -1)))["n"]  # a reset keeps v down, and inhibition has no end
    assert int(found.drive.max()) == 64


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("ku", [0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kv", [0.0, 0.5, 0.9 - 1e-9, 0.9, 0.999])
def test_spikes_that_pause_add_up_to_so_much(n: int, ku: float, kv: float) -> None:
    """As followed until nothing changes; the bound is never below, and hardly above."""
    u = v = most = 0.0
    for t in range(40_000 if max(ku, kv) > 0.99 else 2_000):
        u = ku * u + (t % n == 0)
        v = kv * v + u
        most = max(most, v)
    found = float(lasting(n, np.array(ku), np.array(kv)))
    assert most <= found <= most * (1 + 2e-3)


def test_spikes_that_never_fade_have_no_bound() -> None:
    assert lasting(3, np.array(1.0), np.array(0.5)) == np.inf
    assert lasting(3, np.array(0.5), np.array(1.0)) == np.inf


@pytest.mark.parametrize(
    ("depth", "latency", "right"),
    [(1, 1, True), (1, 0, False), (3, 3, True), (3, 2, False), (1, 4095, True), (1, 4096, False)],
)
def test_a_spike_takes_a_step_and_as_many_as_lie_between(
    depth: int, latency: int, right: bool
) -> None:
    program = one(depth=depth, latency=latency) if right else None
    if program is None:
        with pytest.raises(Contradiction) as caught:
            one(depth=depth, latency=latency)
        assert caught.value.record["what"] == "latency"
