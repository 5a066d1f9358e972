"""From what an output emits to answers: a class per sample or step, or a yes or no."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Array


def chosen(emitted: Any, axis: int = -1) -> Any:
    """The neuron that emitted most, the lowest index on a tie; arrays of NumPy or torch.

    A single neuron has nothing to be compared with: it says 1 where it emitted more than 0, else 0.
    """
    if emitted.shape[axis] == 1:
        yes = (emitted > 0).squeeze(axis)
        return yes.astype(np.int64) if isinstance(yes, (np.ndarray, np.generic)) else yes.long()
    return emitted.argmax(axis)


def classes(neurons: int) -> int:
    """How many classes an output of so many neurons tells apart."""
    return max(2, neurons)


def smoothed(emitted: Array, window: int) -> Array:
    """Sums over the last ``window`` steps (fewer at the beginning), float64; time is the first axis."""
    total = np.cumsum(emitted, axis=0, dtype=np.float64)
    if window < len(total):
        total[window:] = total[window:] - total[:-window]
    return total


def step_answers(emitted: Array, window: int = 1) -> Array:
    """A class for every step, ``(samples, steps)``, from what was emitted up to it.

    Args:
        emitted: ``(steps, samples, neurons)``.
        window: over how many steps it is summed first.
    """
    answers: Array = chosen(smoothed(emitted, window)).T
    return answers
