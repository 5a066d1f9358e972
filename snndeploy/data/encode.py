"""From images and signals to spikes: deterministic encoders that need no random numbers."""

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


def delta(values: Array, threshold: float, *, channels: bool = False) -> Array:
    """Spikes where a value has changed by at least ``threshold`` since the step before.

    ``values[t] - values[t - 1] >= threshold`` gives an on spike and ``<= -threshold`` an off spike,
    with zero before the first step: snnTorch's ``spikegen.delta(..., off_spike=True)`` (snntorch 1.0.0).
    The reference is the last value, not the last one that spiked, so slow drifts stay silent.

    Args:
        values: ``(steps, samples, *shape)``.
        threshold: smallest change that counts, in the unit of the values.
        channels: whether off spikes go to channels of their own behind those of the on spikes, twice
            as many in all; else they are -1.

    Returns:
        int8 spikes ``(steps, samples, *shape)`` of -1, 0 and 1; with ``channels`` uint8 spikes, the
        first axis of ``shape`` doubled.
    """
    wide = values.astype(np.result_type(values.dtype, np.float32), copy=False)
    change = np.diff(wide, axis=0, prepend=np.zeros_like(wide[:1]))
    on, off = change >= threshold, change <= -threshold
    if channels:
        return np.concatenate([on, off], axis=2).astype(np.uint8)
    return on.astype(np.int8) - off.astype(np.int8)
