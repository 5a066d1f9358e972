"""One step of a neuron, and the arithmetic that a chip does it in.

The update stands here once for real numbers (`step_float`) and once for integers (`step_integer`), for
NumPy and for torch. The engines, the test reference and the Lava worker call it; compiled kernels
spell it again for speed and are tested against it. `NeuronRule` says which update it is.

This file imports nothing but the standard library and NumPy: the Lava worker loads it by its path.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

Compare = Literal[">", ">="]
Reset = Literal["zero", "subtract", "none"]
ResetTiming = Literal["immediate", "next-step", "snntorch-immediate"]
SpikesPerStep = Literal["one", "many"]
Overflow = Literal["wrap", "saturate", "saturate-full"]
Decay = Literal["multiply", "shift", "floor-shift"]
Arrival = Literal["summed", "in-turn"]
Membrane = Literal["free", "held"]


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """The registers of a chip, and how numbers move between them.

    Attributes:
        state_bits: width of u and v, the sign included.
        u_overflow: what the synaptic state does beyond its register: ``wrap`` once, as lava-nc 0.10.0
            does, or ``saturate`` at +-`state_max`, or ``saturate-full`` at `state_max` and the most
            negative number of two's complement.
        v_overflow: likewise for the membrane, before the reset.
        decay: ``multiply`` is ``sign(x) * (|x| * (decay_one - d) >> decay_bits)``, toward zero;
            ``shift`` is ``sign(x) * (|x| - (|x| >> d))``; ``floor-shift`` takes off ``x >> d``, rounded
            down, and at least one toward zero.
        decay_bits: bits of a decay constant (``multiply``), or the longest shift (``shift``).
        u_decay_offset: what the chip adds to the register du before it decays u (1 on Loihi).
        state_shift: weights and thresholds enter the state shifted left by this many bits.
        sum_bits: width of the adder, which wraps: of sums of synaptic input, of graded messages
            before their exponent acts, and of u and v until they are put into their registers.
        arrival: ``summed`` decays u, adds up all input of a step and puts both into u once; ``in-turn``
            adds every spike to u by itself, sources in their order, where each sum overflows like u,
            and decays u after that.
        v_step: ``free`` is ``v = decayed v + u + bias``; ``held`` puts the change of v into a register
            of `state_bits` first: what the leak takes wraps there, and the sum with u, and that with
            the bias, overflow like v.
    """

    state_bits: int
    u_overflow: Overflow
    v_overflow: Overflow
    decay: Decay
    decay_bits: int
    u_decay_offset: int
    state_shift: int
    sum_bits: int
    arrival: Arrival = "summed"
    v_step: Membrane = "free"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("u_overflow", Overflow),
            ("v_overflow", Overflow),
            ("decay", Decay),
            ("arrival", Arrival),
            ("v_step", Membrane),
        ):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name} is {getattr(self, name)!r}, not one of {allowed}")

    @property
    def state_max(self) -> int:
        """Largest magnitude of u and v."""
        return int(2 ** (self.state_bits - 1) - 1)

    @property
    def decay_one(self) -> int:
        """Denominator of the decay constants of ``multiply``."""
        return 1 << self.decay_bits


LOIHI = Arithmetic(
    state_bits=24,
    u_overflow="wrap",
    v_overflow="saturate",
    decay="multiply",
    decay_bits=12,
    u_decay_offset=1,
    state_shift=6,
    sum_bits=32,
)
"""That of lava-nc 0.10.0's fixed-point processes, and so of Loihi and Loihi 2."""


@dataclass(frozen=True, kw_only=True)
class NeuronRule:
    """When a neuron spikes, and what a spike does to it; see `snndeploy.ir.neurons.Neuron`.

    The defaults are those of a leaky integrate-and-fire compartment.
    """

    compare: Compare = ">"
    reset: Reset = "zero"
    reset_timing: ResetTiming = "immediate"
    spikes_per_step: SpikesPerStep = "one"
    max_spikes: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, not one of {allowed}")

    @classmethod
    def of(cls, model: object) -> NeuronRule:
        """The rule that the fields of ``model`` (a neuron, a group of compartments) spell."""
        return cls(**{f.name: getattr(model, f.name) for f in dataclasses.fields(cls)})

    @property
    def subtracts(self) -> bool:
        """Whether a reset takes the threshold off; snnTorch's immediate one always does."""
        return self.reset == "subtract" or self.reset_timing == "snntorch-immediate"

    @property
    def zeroes(self) -> bool:
        """Whether a reset sets v to zero."""
        return self.reset == "zero" and not self.subtracts


CHOICES: dict[str, tuple[str, ...]] = {
    "compare": get_args(Compare),
    "reset": get_args(Reset),
    "reset_timing": get_args(ResetTiming),
    "spikes_per_step": get_args(SpikesPerStep),
}
"""What the fields of `NeuronRule` that are words may be."""


# --- real numbers ---------------------------------------------------------------------------------


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
    most = 1.0
    if rule.spikes_per_step == "many":
        most = float("inf") if rule.max_spikes is None else float(rule.max_spikes)
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


def _at_most_one(rule: NeuronRule, fired: Any, xp: Any) -> Any:
    return fired if rule.spikes_per_step == "one" else xp.clip(fired, None, 1)


def above(rule: NeuronRule, v: Any, threshold: Any) -> Any:
    """Where ``v`` spikes."""
    return v > threshold if rule.compare == ">" else v >= threshold


def _as_type(truth: Any, like: Any) -> Any:
    """``truth`` as zeros and ones in the type of ``like``."""
    if isinstance(like, (np.ndarray, np.generic)):
        return np.asarray(truth).astype(like.dtype)
    return truth.to(like.dtype)


# --- integers -------------------------------------------------------------------------------------


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
        see: told that, and v likewise.
    """
    before = state.v
    match arithmetic.v_step:
        case "free":
            x = decayed(before, p.dv, arithmetic, xp) + current + p.bias
        case "held":
            lost = decayed(before, p.dv, arithmetic, xp) - before
            change = wrapped(lost, arithmetic.state_bits) + current
            change = held_in(change, arithmetic.v_overflow, arithmetic, xp) + p.bias
            x = before + held_in(change, arithmetic.v_overflow, arithmetic, xp)
    last = None
    if rule is not None and rule.reset_timing == "next-step":
        last = state.fired
    elif rule is not None and rule.reset_timing == "snntorch-immediate":
        last = xp.where(above(rule, before, p.threshold), 1, 0)
    if rule is not None and last is not None and rule.subtracts:
        x = x - last * p.threshold
    if see is not None:
        see(wide, x)
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


def decayed(x: Any, d: Any, arithmetic: Arithmetic, xp: Any = np) -> Any:
    """What a step leaves of a state ``x`` with the decay constant ``d``."""
    match arithmetic.decay:
        case "multiply":
            left = (xp.abs(x) * (arithmetic.decay_one - d)) >> arithmetic.decay_bits
            return xp.sign(x) * left
        case "shift":
            return xp.sign(x) * (xp.abs(x) - (xp.abs(x) >> d))
        case "floor-shift":
            lost = x >> d
            return x - xp.where(lost == 0, xp.sign(x), lost)


def wrapped(x: Any, bits: int) -> Any:
    """Two's complement overflow in ``bits``."""
    return ((x + (1 << (bits - 1))) & ((1 << bits) - 1)) - (1 << (bits - 1))


def held_in(x: Any, overflow: Overflow, arithmetic: Arithmetic, xp: Any = np) -> Any:
    """A sum from the adder, put into a state register.

    ``wrap`` is lava's: once, and asymmetric, so that +2**23 stays and values beyond 3 * 2**23 stay
    outside.
    """
    x = wrapped(x, arithmetic.sum_bits)
    most = arithmetic.state_max
    half = most + 1
    match overflow:
        case "saturate":
            return xp.clip(x, -most, most)
        case "saturate-full":
            return xp.clip(x, -half, most)
        case "wrap":
            return xp.where(x > half, x - 2 * half, xp.where(x <= -half, x + 2 * half, x))


def overflows(x: Any, overflow: Overflow, arithmetic: Arithmetic) -> Any:
    """Where the register does not hold what the adder would deliver if it were wide enough."""
    most = arithmetic.state_max
    match overflow:
        case "saturate":
            return abs(x) > most
        case "saturate-full":
            return (x > most) | (x < -most - 1)
        case "wrap":
            return (x > most + 1) | (x <= -most - 1)


def shifted(x: Any, exponent: int) -> Any:
    """``x * 2**exponent``, floored for negative exponents: what an exponent does to a sum."""
    return x << exponent if exponent >= 0 else x >> -exponent
