"""Recordings of two engines, held against each other."""

from __future__ import annotations

import numpy as np

from snndeploy.simulate.recording import Recording


def assert_equal(a: Recording, b: Recording, names: list[str]) -> int:
    """Compare messages and states; returns how many values were compared."""
    compared = 0
    for kind in ("spikes", "u", "v"):
        one, other = getattr(a, kind), getattr(b, kind)
        for name in names:
            np.testing.assert_array_equal(one[name], other[name], f"{kind} of {name}")
            compared += one[name].size
    return compared
