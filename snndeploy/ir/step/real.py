"""The update in real numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .rule import NeuronRule, above


@dataclass
class FloatState:
    """u and v of some neurons, what they fired (for ``next-step``), and v before spike and reset."""

    u: Any
    v: Any
    fired: Any
    charged: Any = None


@dataclass(frozen=True, kw_only=True)
class FloatParameters:
    """A neuron's parameters as arrays of NumPy or torch; None is a part that it does not have."""

    leak: Any
    syn_leak: Any = None
    threshold: Any = None
    v_floor: Any = None
    bias: Any = None
    drive: Any = None


def _unchanged(fired: Any) -> Any:
    return fired


def step_float(
    rule: NeuronRule | None,
    p: FloatParameters,
    state: Any,
    x: Any,
    xp: Any = np,
    *,
    emit: Callable[[Any, Any, Any, float], Any] | None = None,
    held: Callable[[Any], Any] = _unchanged,
) -> Any:
    """Advance neurons by one step with input ``x``.

    Args:
        rule: when they spike; None for neurons without a threshold.
        p: their parameters.
        state: a `FloatState`, or what has its attributes; they are replaced, not written into.
        x: sum over the projections.
        xp: the array library, NumPy or torch.
        emit: what training makes of ``(v, threshold, spikes, most spikes)``: the same spikes, with a
            derivative.
        held: the spikes as the reset sees them, with or without a derivative.

    Returns:
        The spikes, in the type of v; v itself without a rule.
    """
    before = state.v
    if p.bias is not None:
        x = x + p.bias
    state.u = x if p.syn_leak is None else p.syn_leak * state.u + x
    v = p.leak * before + state.u
    if p.drive is not None:
        v = v + p.drive
    state.charged = v
    if rule is None:
        state.v = v if p.v_floor is None else xp.maximum(v, p.v_floor)
        return state.v
    last = None
    if rule.reset_timing == "next-step":
        last = held(state.fired)
    elif rule.reset_timing == "snntorch-immediate":
        last = _as_type(above(rule, before, p.threshold), v)
    if last is not None and rule.subtracts:
        v = v - last * p.threshold
    elif last is not None and rule.zeroes:
        v = v * (1 - _at_most_one(rule, last, xp))
    fired = _as_type(above(rule, v, p.threshold), v)
    most = rule.most
    if rule.spikes_per_step == "many":
        fired = xp.clip(fired * xp.floor(v / p.threshold), None, most)
    if emit is not None:
        fired = emit(v, p.threshold, fired, most)
    if rule.reset_timing == "next-step":
        state.fired = fired
    elif rule.subtracts:
        v = v - (held(fired) if last is None else held(fired) - last) * p.threshold
    elif rule.zeroes:
        v = v * (1 - _at_most_one(rule, held(fired), xp))
    state.v = v if p.v_floor is None else xp.maximum(v, p.v_floor)
    return fired


def float_thresholds(rule: NeuronRule, p: FloatParameters) -> tuple[Any, Any]:
    """The least and the most that v is ever compared with, and that a spike takes off: scales ask it."""
    del rule
    return p.threshold, p.threshold


def _at_most_one(rule: NeuronRule, fired: Any, xp: Any) -> Any:
    return fired if rule.spikes_per_step == "one" else xp.clip(fired, None, 1)


def _as_type(truth: Any, like: Any) -> Any:
    """``truth`` as zeros and ones in the type of ``like``."""
    if isinstance(like, (np.ndarray, np.generic)):
        return np.asarray(truth).astype(like.dtype)
    return truth.to(like.dtype)
