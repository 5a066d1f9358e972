"""Decay constants: which one stands for a factor per step, and what it keeps.

Rounding never lifts a state above what its factor bounds. A product is rounded toward zero. A shift
keeps ``y - (y >> d)``, which does not fall as y grows and is ``y * (1 - 2**-d)`` at every multiple of
``2**d``; so from ``y <= 2**d * a`` an input of at most ``a`` (a whole number) leads no further.
"""

from __future__ import annotations

import numpy as np

from ..ir.arrays import Array, frozen
from ..ir.step import Arithmetic


def to_decay(
    leak: Array, offset: int, largest: int, arithmetic: Arithmetic, *, at: float | None = None
) -> Array:
    """The constant whose factor is nearest to ``leak``.

    A product drops half a unit of the state on average, as if the decay were larger by 0.5 / |state|;
    where no constant is ``leak`` itself, the nearest is the one that decays like it with that.

    Args:
        leak: factors per step, 0 to 1.
        offset: what the chip adds to the constant before it decays (its ``u_decay_offset`` for u).
        largest: constant of the register.
        arithmetic: of the chip.
        at: magnitude that the state usually has (None: unknown, or too large to matter).
    """
    nearest = _nearest(np.asarray(leak), largest + offset, arithmetic, at)
    return frozen(np.clip(nearest - offset, 0, largest))


def representable(leak: Array, arithmetic: Arithmetic) -> bool:
    """Whether constants stand for ``leak`` exactly."""
    match arithmetic.decay:
        case "multiply":
            wanted = (1.0 - leak) * arithmetic.decay_one
            return bool((np.abs(wanted - np.rint(wanted)) < 1e-9).all())
        case "shift":
            known = kept(np.arange(arithmetic.state_bits), arithmetic)
            return bool(np.isin(leak, known).all())


def _nearest(leak: Array, most: int, arithmetic: Arithmetic, at: float | None) -> Array:
    match arithmetic.decay:
        case "multiply":
            wanted = (1.0 - leak) * arithmetic.decay_one
            exact = np.abs(wanted - np.rint(wanted)) < 1e-9
            dropped = 0.5 * arithmetic.decay_one / at if at else 0.0
            best = np.where(exact, wanted, np.maximum(wanted - dropped, 0.0))
            return np.rint(best).astype(np.int64)
        case "shift":
            known = kept(np.arange(most + 1), arithmetic)
            return np.asarray(np.abs(known - np.asarray(leak)[..., None]).argmin(axis=-1))


def kept(decay: Array, arithmetic: Arithmetic) -> Array:
    """What a step leaves of a state, as a factor, but for rounding; ``decay`` has its offset in it."""
    match arithmetic.decay:
        case "multiply":
            return np.asarray(1.0 - decay / arithmetic.decay_one)
        case "shift":
            # No state has bits left to subtract once it is shifted by its whole width.
            whole = decay >= arithmetic.state_bits - 1
            return np.asarray(np.where(whole, 1.0, 1.0 - 0.5**decay))
