"""The registers of a chip, and how numbers move between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

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
    def sum_max(self) -> int:
        """Largest sum of synaptic input that the adder holds."""
        return int(2 ** (self.sum_bits - 1) - 1)

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
