"""One step of a neuron, and the arithmetic that a chip does it in.

This file imports nothing but the standard library and NumPy: the Lava worker loads it by its path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Overflow = Literal["wrap", "saturate"]
Decay = Literal["multiply", "shift"]


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """The registers of a chip, and how numbers move between them.

    Attributes:
        state_bits: width of u and v, the sign included.
        u_overflow: what the synaptic state does beyond its register: ``wrap`` once, as lava-nc 0.10.0
            does, or ``saturate`` at +-`state_max`.
        v_overflow: likewise for the membrane.
        decay: ``multiply`` is ``sign(x) * (|x| * (decay_one - d) >> decay_bits)``, toward zero;
            ``shift`` is ``sign(x) * (|x| - (|x| >> d))``.
        decay_bits: bits of a decay constant (``multiply``), or the longest shift (``shift``).
        u_decay_offset: what the chip adds to the register du before it decays u (1 on Loihi).
        state_shift: weights and thresholds enter the state shifted left by this many bits.
        sum_bits: width of the sum of synaptic input, which wraps.
    """

    state_bits: int
    u_overflow: Overflow
    v_overflow: Overflow
    decay: Decay
    decay_bits: int
    u_decay_offset: int
    state_shift: int
    sum_bits: int

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
