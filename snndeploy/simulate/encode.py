"""From images to spikes: deterministic encoders that need no random numbers."""

from __future__ import annotations

import numpy as np

from ..ir.arrays import Array


def rate(intensity: Array, steps: int) -> Array:
    """Evenly spaced spikes whose count is proportional to the intensity.

    A neuron of intensity p spikes at step t exactly when ``floor((t + 1) * p) > floor(t * p)``, so that
    ``steps * p`` spikes (rounded down) are spread over the sample.

    Args:
        intensity: ``(samples, *shape)`` in 0...1.
        steps: length of the spike train.

    Returns:
        uint8 spikes ``(steps, samples, *shape)``.
    """
    edges = np.floor(np.arange(steps + 1).reshape(-1, *(1,) * intensity.ndim) * intensity)
    return (np.diff(edges, axis=0) > 0).astype(np.uint8)


def latency(intensity: Array, steps: int) -> Array:
    """One spike per neuron, the earlier the stronger: at step ``(1 - p) * (steps - 1)``, rounded down.

    Args:
        intensity: ``(samples, *shape)`` in 0...1; where it is 0 there is no spike.
        steps: length of the spike train.

    Returns:
        uint8 spikes ``(steps, samples, *shape)``.
    """
    when = np.where(intensity > 0, np.floor((1 - intensity) * (steps - 1)), steps)
    spikes: Array = np.arange(steps).reshape(-1, *(1,) * intensity.ndim) == when
    return spikes.astype(np.uint8)


def constant(values: Array, steps: int) -> Array:
    """The same values at every step (direct current): ``(steps, samples, *shape)``."""
    return np.repeat(values[np.newaxis], steps, axis=0)
