"""One step of delta, sigma-delta and sigma neurons, in integers: the plain form of the rule.

With ``e = spike_exp + state_exp``, the threshold ``V`` and the bias ``B`` in units of 2**-e, a step with
synaptic input ``a`` is::

    delta         x = a << e
    sigma-delta   sigma = sigma + a ;  x = sigma + B ;  x = max(x, 0)         ("relu")
    both          d = x - act + residue
                  m = d where |d| >= V, else 0
                  residue = d - m ;  act = x ;  send m >> state_exp           (rounded down)
    sigma         sigma = sigma + a ;  send sigma

States are of 32 bits and wrap, as in lava-nc 0.10.0 (``lava/proc/sdn/models.py``), whose fixed-point
models this equals bit for bit. What the last shift drops is lost for good: half a unit of a message on
average, see `drift_per_message`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..step import wrapped

DeltaForm = Literal["delta", "sigma-delta", "sigma"]
Activation = Literal["relu", "unit"]

BITS = 32
"""Of states, of what arrives and of messages."""


@dataclass(frozen=True, kw_only=True)
class DeltaRule:
    """What the neurons of a group do.

    Attributes:
        form: ``delta`` sends how a value changes, ``sigma-delta`` adds up changes, activates and sends
            how that changes, ``sigma`` adds up changes and sends the sum at every step.
        spike_exp: fractional bits of the messages that an activation has beyond those of the data.
        state_exp: fractional bits of states that messages do not have.
        activation: of ``sigma-delta``.
        cumulates: whether the changes that were not sent add up, and their sum meets the threshold;
            else each change meets it alone (with what the last one left).
    """

    form: DeltaForm
    spike_exp: int = 6
    state_exp: int = 6
    activation: Activation = "relu"
    cumulates: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("form", DeltaForm), ("activation", Activation)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name} is {getattr(self, name)!r}, not one of {allowed}")
        for name in ("spike_exp", "state_exp"):
            if not 0 <= getattr(self, name) < BITS // 2:
                raise ValueError(f"{name} is {getattr(self, name)}, outside 0…{BITS // 2 - 1}")

    @property
    def exponent(self) -> int:
        """Fractional bits of x, of thresholds and of biases, beyond those of the data."""
        return self.spike_exp + self.state_exp

    @property
    def drift_per_message(self) -> float:
        """What a message lacks on average, in its own units: half of what its last bit is worth.

        A ``delta`` takes whole numbers and has nothing below that bit; a ``sigma`` sends all of its sum.
        """
        return 0.5 * (1.0 - 2.0**-self.state_exp) if self.form == "sigma-delta" else 0.0


@dataclass
class DeltaState:
    """States of some neurons: int64 arrays whose values are of 32 bits.

    ``u`` and ``v`` are what engines record of neurons: what has arrived, and what it comes to.
    """

    sigma: Any
    act: Any
    residue: Any
    error: Any

    @property
    def u(self) -> Any:
        """Sum of all that arrived."""
        return self.sigma

    @property
    def v(self) -> Any:
        """The activation that receivers are told of."""
        return self.act


@dataclass(frozen=True, kw_only=True)
class DeltaParameters:
    """Threshold and bias in the units of x, int64 arrays of NumPy or torch."""

    threshold: Any
    bias: Any


def step_delta(
    rule: DeltaRule,
    p: DeltaParameters,
    state: DeltaState,
    a: Any,
    xp: Any = np,
    see: Callable[[Any, Any], None] | None = None,
) -> Any:
    """Advance neurons by one step with synaptic input ``a`` (int64); return their messages (int64).

    Args:
        rule: what they do.
        p: their parameters.
        state: its arrays are replaced, not written into.
        a: sum over the synapses.
        xp: the array library, NumPy or torch.
        see: told sigma and x before they are put into their registers.
    """
    sums = state.sigma if rule.form == "delta" else state.sigma + a
    state.sigma = wrapped(sums, BITS)
    wide = a << rule.exponent if rule.form == "delta" else state.sigma + p.bias
    if see is not None:
        see(sums, sums if rule.form == "sigma" else wide)
    if rule.form == "sigma":
        state.act = state.sigma
        return state.sigma
    x = wrapped(wide, BITS)
    if rule.form == "sigma-delta" and rule.activation == "relu":
        x = xp.clip(x, 0, None)
    d = wrapped(x - state.act + state.residue, BITS)
    if rule.cumulates:
        state.error = wrapped(state.error + d, BITS)
        sent = xp.where(_size(state.error, xp) >= p.threshold, d, 0)
        state.error = xp.where(sent != 0, 0, state.error)
    else:
        sent = xp.where(_size(d, xp) >= p.threshold, d, 0)
    state.residue = wrapped(d - sent, BITS)
    state.act = x
    return sent >> rule.state_exp


def _size(x: Any, xp: Any) -> Any:
    """|x| in its register, where that of the most negative number is itself."""
    return wrapped(xp.abs(x), BITS)
