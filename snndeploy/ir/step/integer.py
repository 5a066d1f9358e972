"""The update in integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .arithmetic import Arithmetic, decayed, held_in, wrapped
from .rule import NeuronRule, above


@dataclass
class IntegerState:
    """u and v of some neurons, and what they fired (for ``next-step``): int64."""

    u: Any
    v: Any
    fired: Any


@dataclass(frozen=True, kw_only=True)
class IntegerParameters:
    """A neuron's registers as they enter the update: int64 arrays of NumPy or torch.

    ``du`` has the chip's offset in it, ``threshold`` is shifted into the state.
    """

    du: Any
    dv: Any
    threshold: Any
    bias: Any
    v_floor: Any = None


def step_integer(
    rule: NeuronRule | None,
    arithmetic: Arithmetic,
    p: IntegerParameters,
    state: Any,
    a: Any,
    xp: Any = np,
    see: Callable[[Any, Any], None] | None = None,
) -> Any:
    """Advance compartments by one step with synaptic input ``a``.

    Args:
        rule: when they spike; None for those that never do and answer with v.
        arithmetic: of the chip.
        p: their parameters.
        state: an `IntegerState`, or what has its attributes; they are replaced, not written into.
        a: sum over the synapses, int64.
        xp: the array library, NumPy or torch.
        see: told u before it is put into its register, and v likewise.

    Returns:
        The spikes, or v without a rule: int64.
    """
    match arithmetic.arrival:
        case "summed":
            wide = decayed(state.u, p.du, arithmetic, xp) + (a << arithmetic.state_shift)
            state.u = held_in(wide, arithmetic.u_overflow, arithmetic, xp)
        case "in-turn":
            wide = state.u + (a << arithmetic.state_shift)
            held = held_in(wide, arithmetic.u_overflow, arithmetic, xp)
            state.u = decayed(held, p.du, arithmetic, xp)
    return step_membrane(
        rule, arithmetic, p, state, state.u, xp, None if see is None else wide, see
    )


def integer_thresholds(
    rule: NeuronRule, arithmetic: Arithmetic, p: IntegerParameters
) -> tuple[Any, Any]:
    """The least and the most that v is ever compared with, and that a spike takes off.

    Head-room asks it: between two spikes v is at most the one, and a spike takes no more than the other.
    """
    del rule, arithmetic
    return p.threshold, p.threshold


def arrived(u: Any, spikes: Any, weight: Any, arithmetic: Arithmetic, xp: Any = np) -> Any:
    """u after ``spikes`` of one source over one synapse, where they arrive in turn.

    Adding the same weight again and again, saturating, comes to adding it once as often.
    """
    added = u + ((spikes * weight) << arithmetic.state_shift)
    return held_in(added, arithmetic.u_overflow, arithmetic, xp)


def step_membrane(
    rule: NeuronRule | None,
    arithmetic: Arithmetic,
    p: IntegerParameters,
    state: Any,
    current: Any,
    xp: Any = np,
    wide: Any = None,
    see: Callable[[Any, Any], None] | None = None,
) -> Any:
    """The part of `step_integer` behind u: advance v by ``current``, spike and reset.

    Args:
        rule: as of `step_integer`.
        arithmetic: likewise.
        p: likewise; its ``du`` is not looked at.
        state: likewise; its u is not looked at.
        xp: likewise.
        current: what the synaptic states add to v.
        wide: u before it was put into its register, for ``see``.
        see: told that, and v likewise; where a register holds what a step adds, the largest of these.
    """
    before, seen = state.v, []
    match arithmetic.v_step:
        case "free":
            x = decayed(before, p.dv, arithmetic, xp) + current + p.bias
        case "held":
            lost = decayed(before, p.dv, arithmetic, xp) - before
            change = wrapped(lost, arithmetic.state_bits) + current
            biased = held_in(change, arithmetic.v_overflow, arithmetic, xp) + p.bias
            x = before + held_in(biased, arithmetic.v_overflow, arithmetic, xp)
            seen = [change, biased]
    last = None
    if rule is not None and rule.reset_timing == "next-step":
        last = state.fired
    elif rule is not None and rule.reset_timing == "snntorch-immediate":
        last = xp.where(above(rule, before, p.threshold), 1, 0)
    if rule is not None and last is not None and rule.subtracts:
        x = x - last * p.threshold
    if see is not None:
        largest = x
        for y in seen:
            largest = xp.where(abs(y) > abs(largest), y, largest)
        see(wide, largest)
    v = held_in(x, arithmetic.v_overflow, arithmetic, xp)
    if rule is None:
        state.v = v
        return v
    if last is not None and rule.zeroes:
        v = xp.where(last > 0, 0, v)
    if arithmetic.arrival == "in-turn" and last is None and rule.subtracts:
        fired, v = _one_by_one(rule, v, p.threshold, arithmetic, xp)
        state.v = v if p.v_floor is None else xp.maximum(v, p.v_floor)
        return fired
    fired = xp.where(above(rule, v, p.threshold), 1, 0)
    if rule.spikes_per_step == "many":
        fired = xp.where(fired > 0, v // xp.clip(p.threshold, 1, None), 0)
        if rule.max_spikes is not None:
            fired = xp.clip(fired, None, rule.max_spikes)
    if rule.reset_timing == "next-step":
        state.fired = fired
    elif rule.subtracts:
        v = v - (fired if last is None else fired - last) * p.threshold
    elif rule.zeroes:
        v = xp.where(fired > 0, 0, v)
    state.v = v if p.v_floor is None else xp.maximum(v, p.v_floor)
    return fired


def _one_by_one(
    rule: NeuronRule, v: Any, threshold: Any, arithmetic: Arithmetic, xp: Any
) -> tuple[Any, Any]:
    """Spike after spike, each of which takes the threshold off v, which wraps; and what is left."""
    fired = xp.where(above(rule, v, threshold), 0, 0)
    most = 1 if rule.spikes_per_step == "one" else rule.max_spikes
    if most is None:
        most = arithmetic.state_max + 1
    for _ in range(most):
        more = xp.where(above(rule, v, threshold), 1, 0)
        if not more.any():
            break
        fired, v = fired + more, wrapped(v - more * threshold, arithmetic.state_bits)
    return fired, v
