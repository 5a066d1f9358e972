"""One step of a group of compartments, in its plain form: int64 arrays of NumPy or of torch.

Registers follow lava-nc 0.10.0 (``lava/proc/lif/models.py``): synaptic input and both states are
int32 while they are computed, u then wraps once into 24 bits and v saturates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.arrays import Array
from ....ir.program import DECAY_ONE, STATE_MAX, STATE_SHIFT, CompartmentGroup
from .watch import Watch

HALF = STATE_MAX + 1


def decay(x: Any, d: Any, xp: Any = np) -> Any:
    """Multiply by ``(4096 - d) / 4096``, rounding toward zero."""
    return xp.sign(x) * ((xp.abs(x) * (DECAY_ONE - d)) >> 12)


def wrap32(x: Any) -> Any:
    """Two's complement int32 overflow."""
    return ((x + 2**31) & (2**32 - 1)) - 2**31


def wrap_u(x: Any, xp: Any = np) -> Any:
    """Lava's single, asymmetric 24-bit wrap: +2**23 stays, values beyond 3 * 2**23 stay outside."""
    return xp.where(x > HALF, x - 2 * HALF, xp.where(x <= -HALF, x + 2 * HALF, x))


def shift(x: Any, exponent: int) -> Any:
    """``x * 2**exponent``, floored for negative exponents."""
    return x << exponent if exponent >= 0 else x >> -exponent


@dataclass
class State:
    """Registers of one group for a batch of samples, int64."""

    u: Any
    v: Any
    fired: Any

    @classmethod
    def at_rest(cls, shape: tuple[int, ...], xp: Any = np, **where: Any) -> State:
        """All zero; ``where`` is passed on to ``xp.zeros`` (a torch device)."""
        return cls(*(xp.zeros(shape, dtype=xp.int64, **where) for _ in range(3)))


@dataclass(frozen=True)
class Constants:
    """The group's arrays as they enter the update, NumPy's or torch's."""

    du: Any
    dv: Any
    threshold: Any
    divisor: Any
    bias: Any
    floor: Any

    @classmethod
    def of(cls, group: CompartmentGroup, convert: Any = np.asarray) -> Constants:
        """Read them off ``group``; ``convert`` makes them what the engine computes with."""
        threshold = group.vth.astype(np.int64) << STATE_SHIFT
        return cls(
            du=convert(group.du + 1),
            dv=convert(group.dv),
            threshold=convert(threshold),
            divisor=convert(np.maximum(threshold, 1)),
            bias=convert(np.asarray(group.bias, np.int64)),
            floor=None if group.v_floor is None else convert(group.v_floor),
        )


def step_group(
    group: CompartmentGroup,
    state: State,
    a: Any,
    constants: Constants | None = None,
    xp: Any = np,
    watch: Watch | None = None,
) -> Any:
    """Advance one group by one step with synaptic input ``a``; return the spikes (or v) it emits.

    ``constants`` are those of ``group`` for the array library ``xp`` (default: NumPy); ``watch`` is told
    what the registers would hold if they were wide enough.
    """
    c = constants or Constants.of(group)
    wide = decay(state.u, c.du, xp) + (a << STATE_SHIFT)
    state.u = wrap_u(wrap32(wide), xp)
    x = decay(state.v, c.dv, xp) + state.u + c.bias
    late = group.kind == "custom" and group.reset_timing != "immediate"
    previous = _fired_before(group, state, c, xp) if late else None
    if late and group.reset == "subtract":
        x = x - previous * c.threshold
    if watch is not None:
        watch.see(group.name, wide, x)
    if group.kind == "readout":
        state.v = xp.clip(wrap32(x), -STATE_MAX, STATE_MAX)
        return state.v
    if group.kind == "lif":
        state.v = xp.clip(wrap32(x), -STATE_MAX, STATE_MAX)
        fired = xp.where(state.v > c.threshold, 1, 0)
        state.v = xp.where(fired > 0, 0, state.v)
        return fired
    return _step_custom(group, state, x, previous, c, xp)


def _step_custom(
    group: CompartmentGroup, state: State, x: Any, previous: Any, c: Constants, xp: Any
) -> Any:
    """A neuron program, in the order that `snndeploy.ir.neurons.Neuron` documents.

    ``x`` is v before it clips; ``previous`` are the spikes that a late reset acts on (else None).
    """
    subtract, zero = group.reset == "subtract", group.reset == "zero"
    late = previous is not None
    state.v = xp.clip(wrap32(x), -STATE_MAX, STATE_MAX)
    if late and zero:
        state.v = xp.where(previous > 0, 0, state.v)
    fired = _above(group, state.v, c, xp)
    if group.spikes_per_step == "many":
        fired = xp.where(fired > 0, state.v // c.divisor, 0)
        if group.max_spikes is not None:
            fired = xp.clip(fired, None, group.max_spikes)
    if group.reset_timing == "snntorch-immediate":
        state.v = state.v - (fired - previous) * c.threshold
    elif not late and subtract:
        state.v = state.v - fired * c.threshold
    elif not late and zero:
        state.v = xp.where(fired > 0, 0, state.v)
    if c.floor is not None:
        state.v = xp.maximum(state.v, c.floor)
    state.fired = fired
    return fired


def _fired_before(group: CompartmentGroup, state: State, c: Constants, xp: Any) -> Any:
    """The spikes that a late reset still has to act on."""
    if group.reset_timing == "snntorch-immediate":
        return _above(group, state.v, c, xp)
    return state.fired


def _above(group: CompartmentGroup, v: Any, c: Constants, xp: Any) -> Any:
    return xp.where(v > c.threshold if group.compare == ">" else v >= c.threshold, 1, 0)


def emitted_type(group: CompartmentGroup) -> type[np.integer[Any]]:
    """The smallest type that holds what ``group`` emits: uint8 for single spikes, else int32."""
    single = group.kind in ("lif", "constant") or (
        group.kind == "custom" and group.spikes_per_step == "one"
    )
    return np.uint8 if single else np.int32


def padded(values: Array, shape: tuple[int, ...]) -> Array:
    """``values`` for every neuron, flat and contiguous."""
    return np.ascontiguousarray(np.broadcast_to(values, shape)).reshape(-1)
