"""The arithmetic of registers in numbers that were worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snndeploy.ir.step import (
    LOIHI,
    Arithmetic,
    IntegerParameters,
    IntegerState,
    NeuronRule,
    arrived,
    overflows,
    shifted,
    step_integer,
    step_membrane,
)

IN_TURN = Arithmetic(
    state_bits=8,
    u_overflow="saturate-full",
    v_overflow="saturate-full",
    decay="floor-shift",
    decay_bits=4,
    u_decay_offset=0,
    state_shift=2,
    sum_bits=20,
    arrival="in-turn",
    v_step="held",
)
"""Registers hold -128 … 127, and weights enter four times as large."""


@pytest.mark.parametrize(
    ("x", "exponent", "after"),
    [(5, 2, 20), (-5, 0, -5), (5, 0, 5), (5, -1, 2), (-5, -1, -3), (3, 1, 6), (-1, -4, -1)],
)
def test_an_exponent_rounds_down(x: int, exponent: int, after: int) -> None:
    assert shifted(x, exponent) == after


@pytest.mark.parametrize(("bits", "most"), [(32, 2147483647), (8, 127), (2, 1)])
def test_the_largest_sum(bits: int, most: int) -> None:
    assert replace(LOIHI, sum_bits=bits).sum_max == most
    assert replace(LOIHI, state_bits=bits).state_max == most


@pytest.mark.parametrize(
    ("overflow", "held", "lost"),
    [
        ("saturate", [-127, -1, 0, 127], [-128, 128]),
        ("saturate-full", [-128, -127, 0, 127], [-129, 128]),
        ("wrap", [-127, 0, 127, 128], [-128, 129]),
    ],
)
def test_what_a_register_does_not_hold(overflow: str, held: list[int], lost: list[int]) -> None:
    a = replace(IN_TURN, u_overflow=overflow)
    assert not overflows(np.array(held), overflow, a).any()  # type: ignore[arg-type]
    assert overflows(np.array(lost), overflow, a).all()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("u", "spikes", "weight", "after"),
    [(3, 2, 5, 43), (3, 0, 5, 3), (100, 3, 5, 127), (-100, 1, -8, -128), (-100, 2, 3, -76)],
)
def test_spikes_that_arrive_in_turn(u: int, spikes: int, weight: int, after: int) -> None:
    assert int(arrived(np.array(u), spikes, weight, IN_TURN)) == after


def test_what_arrives_at_once_where_spikes_arrive_in_turn() -> None:
    """u is 3 + 4 x 5, and half of it is rounded off downwards; v takes what is left."""
    state = IntegerState(np.array(3), np.array(0), np.array(0))
    p = IntegerParameters(du=np.array(1), dv=np.array(3), threshold=np.array(50), bias=np.array(2))
    step_integer(None, IN_TURN, p, state, np.array(5))
    assert (int(state.u), int(state.v)) == (12, 14)


@pytest.mark.parametrize("v", [0, 1])
def test_a_threshold_of_zero_ends_with_the_registers_range(v: int) -> None:
    """A spike takes nothing off, so as many are sent as there are numbers from zero up."""
    rule = NeuronRule(compare=">=", reset="subtract", spikes_per_step="many")
    a = replace(IN_TURN, state_bits=4)
    state = IntegerState(np.array(0), np.array(v), np.array(0))
    p = IntegerParameters(du=None, dv=np.array(9), threshold=np.array(0), bias=np.array(1))
    fired = step_membrane(rule, a, p, state, np.array(0))
    assert int(fired) == 8


@pytest.mark.parametrize(
    ("v", "current", "bias", "seen", "after"),
    [
        (10, 5, 2, 15, 15),  # 10 - 2 + 5 + 2
        (-100, 120, -30, 145, 27 - 30),  # it loses -25, so 145 are added, of which 127 are held
        (20, -10, 0, -15, 5),  # 15 are taken off, more than there is then
        (0, 120, 20, 140, 127),  # with the bias it is more than the register holds
        (100, 50, 40, 165, 127),  # 100 + min(50 - 25 + 40)
    ],
)
def test_the_largest_on_the_way_to_v_is_seen(
    v: int, current: int, bias: int, seen: int, after: int
) -> None:
    told: list[tuple[object, int]] = []
    state = IntegerState(np.array(0), np.array(v), np.array(0))
    p = IntegerParameters(du=None, dv=np.array(2), threshold=np.array(0), bias=np.array(bias))

    def see(u: object, x: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> None:
        told.append((u, int(x)))

    step_membrane(None, IN_TURN, p, state, np.array(current), see=see)
    assert told == [(None, seen)]
    assert int(state.v) == after


def test_both_registers_are_seen_before_they_are_filled() -> None:
    told: list[tuple[int, int]] = []
    state = IntegerState(np.array(1 << 22), np.array(1 << 22), np.array(0))
    p = IntegerParameters(du=np.array(0), dv=np.array(0), threshold=np.array(0), bias=np.array(7))
    step_integer(
        None, LOIHI, p, state, np.array(1 << 16), see=lambda u, v: told.append((int(u), int(v)))
    )
    # u: 2^22 + 2^22, which wraps to itself; v: 2^22 + 2^23 + 7, which stops at the end
    assert told == [(1 << 23, (1 << 22) + (1 << 23) + 7)]
    assert (int(state.u), int(state.v)) == (1 << 23, (1 << 23) - 1)
