"""Random spikes to measure on where there are no data, and runs that take no more than a moment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...ir.arrays import Array, Shape
from ...ir.network import Network
from ...simulate.float.plain import multiplications, run_plain
from ...simulate.recording import Recording

RANDOM = "random spikes (no data were given)"
"""What they are called wherever something was measured on them."""
_ACTIVITY = (0.4, 0.05)
"""Mean probability of a spike, sample by sample: some data are dense, some sparse."""
_BURST = 8
"""Steps until activity changes, anywhere between none and twice the mean: data come and go."""
_UPDATES = 1 << 24
"""Neuron updates of one run; a larger network is run on fewer samples, then on fewer steps."""
_PLAIN, _UPDATED = 1 << 30, 1 << 16
"""Multiplications of a run, and updates of a population, up to which NumPy alone takes less time than
loading torch does."""


def affordable(neurons: int, steps: int, samples: int, updates: int = _UPDATES) -> tuple[int, int]:
    """Steps and samples that so many neurons may be run for."""
    steps = max(1, min(steps, updates // neurons))
    return steps, max(1, min(samples, updates // (neurons * steps)))


def drawn(shapes: Mapping[str, Shape], steps: int, samples: int) -> dict[str, Array]:
    """Spikes of every input, ``(steps, samples, *shape)`` of float32; always the same ones."""
    rng = np.random.default_rng(0)
    mean = np.resize(_ACTIVITY, samples)
    level = 2 * mean * rng.random((-(-steps // _BURST), samples))
    active = np.repeat(level, _BURST, axis=0)[:steps]
    found = {}
    for name, shape in shapes.items():
        probability = active.reshape(steps, samples, *(1,) * len(shape))
        found[name] = (rng.random((steps, samples, *shape)) < probability).astype(np.float32)
    return found


def run_moment(network: Network, inputs: Mapping[str, Array]) -> Recording:
    """What ``network`` emits; small ones take less time than loading the engine does."""
    steps, samples = next(iter(inputs.values())).shape[:2]
    with np.errstate(all="ignore"):  # a damaged file may hold what has no number of spikes
        small = multiplications(network) * steps * samples <= _PLAIN
        if small and steps * len(network.populations) <= _UPDATED:
            return run_plain(network, inputs)
        from ...simulate.float.engine import run_float

        return run_float(network, inputs)
