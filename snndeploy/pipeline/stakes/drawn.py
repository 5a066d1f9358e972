"""Random spikes to measure on where there are no data, no more of them than a moment's work."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...ir.arrays import Array, Shape

RANDOM = "random spikes (no data were given)"
"""What they are called wherever something was measured on them."""
_PROBABILITY = 0.2
_UPDATES = 1 << 24
"""Neuron updates of one run; a larger network is run on fewer samples, then on fewer steps."""


def affordable(neurons: int, steps: int, samples: int, updates: int = _UPDATES) -> tuple[int, int]:
    """Steps and samples that so many neurons may be run for."""
    steps = max(1, min(steps, updates // neurons))
    return steps, max(1, min(samples, updates // (neurons * steps)))


def drawn(shapes: Mapping[str, Shape], steps: int, samples: int) -> dict[str, Array]:
    """Spikes of every input, ``(steps, samples, *shape)`` of float32; always the same ones."""
    rng = np.random.default_rng(0)
    return {
        name: (rng.random((steps, samples, *shape)) < _PROBABILITY).astype(np.float32)
        for name, shape in shapes.items()
    }
