"""One step of resonate-and-fire neurons, in integers: the plain form of the rule.

A neuron turns a complex state by an angle, shrinks it and adds what arrives over its two ports. With
``S(x) = sign(x) * (|x| >> decay_bits)`` and ``hold`` the clip to +-(2**23 - 1)::

    re' = hold(S(cos * re) - S(sin * im) + (a_re << state_exp))
    im' = hold(S(sin * re) + S(cos * im) + (a_im << state_exp))
    phase        spikes where re' >= V and im' >= 0 and im < 0: each turn, at angle zero; no reset
    izhikevich   spikes where im' >= V;  then re = 0 and im = V - 1

as the fixed-point models of lava-nc 0.10.0 do (``lava/proc/{rf,rf_iz}/models.py``), bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..step import LOIHI

ResonatorForm = Literal["phase", "izhikevich"]

MOST = LOIHI.state_max
"""Largest magnitude of both parts of the state."""
DECAY_BITS = 12
"""Of the factors of netx's neurons."""


@dataclass(frozen=True, kw_only=True)
class ResonatorRule:
    """What the neurons of a group do.

    Attributes:
        form: when they spike, and what a spike does.
        sin: sine of the angle of a step, times what a step leaves, times ``2**decay_bits``.
        cos: likewise its cosine.
        state_exp: bits by which what arrives is shifted into the state.
        decay_bits: fractional bits of ``sin`` and ``cos``.
    """

    form: ResonatorForm
    sin: int
    cos: int
    state_exp: int = 6
    decay_bits: int = DECAY_BITS

    def __post_init__(self) -> None:
        if self.form not in get_args(ResonatorForm):
            raise ValueError(f"form is {self.form!r}, not one of {ResonatorForm}")
        if not (0 <= self.state_exp < 16 and 0 <= self.decay_bits < 16):
            raise ValueError(f"exponents are {self.state_exp}, {self.decay_bits}, outside 0…15")
        for name in ("sin", "cos"):
            if abs(getattr(self, name)) > 1 << self.decay_bits:
                raise ValueError(f"{name} is {getattr(self, name)}: a state would grow")


@dataclass
class ResonatorState:
    """Both parts of the state of some neurons, int64.

    ``u`` and ``v`` are what engines record of neurons: the real and the imaginary part.
    """

    re: Any
    im: Any

    @property
    def u(self) -> Any:
        """The real part."""
        return self.re

    @property
    def v(self) -> Any:
        """The imaginary part."""
        return self.im


def step_resonator(
    rule: ResonatorRule,
    threshold: Any,
    state: ResonatorState,
    real: Any,
    imag: Any,
    xp: Any = np,
    see: Callable[[Any, Any], None] | None = None,
) -> Any:
    """Advance neurons by one step; return their spikes (int64).

    Args:
        rule: what they do.
        threshold: in units of the state, int64 of NumPy or torch.
        state: its arrays are replaced, not written into.
        real: what arrives for the real part, int64.
        imag: likewise for the imaginary part.
        xp: the array library, NumPy or torch.
        see: told both parts before they are put into their registers.
    """
    wide_re = (
        _shrunk(rule, rule.cos * state.re, xp)
        - _shrunk(rule, rule.sin * state.im, xp)
        + (real << rule.state_exp)
    )
    wide_im = (
        _shrunk(rule, rule.sin * state.re, xp)
        + _shrunk(rule, rule.cos * state.im, xp)
        + (imag << rule.state_exp)
    )
    if see is not None:
        see(wide_re, wide_im)
    re, im = xp.clip(wide_re, -MOST, MOST), xp.clip(wide_im, -MOST, MOST)
    match rule.form:
        case "phase":
            fired = (re >= threshold) & (im >= 0) & (state.im < 0)
            state.re, state.im = re, im
        case "izhikevich":
            fired = im >= threshold
            state.re, state.im = xp.where(fired, 0, re), xp.where(fired, threshold - 1, im)
    return xp.where(fired, 1, 0)


def _shrunk(rule: ResonatorRule, x: Any, xp: Any) -> Any:
    """The product without its fractional bits, rounded toward zero."""
    return xp.sign(x) * (xp.abs(x) >> rule.decay_bits)
