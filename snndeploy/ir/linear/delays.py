"""When spikes arrive: what a source delivers, some of its neurons later than others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..network import Source


def arriving(source: Source, late: Callable[[int], Any], xp: Any = np) -> Any:
    """What ``source`` delivers.

    Args:
        source: holds the delay of each neuron.
        late: what all of its neurons emitted so many steps ago: ``(…, *shape)`` of ``xp``.
        xp: array library, NumPy or torch.
    """
    found = late(source.max_delay)
    for delay in range(source.min_delay, source.max_delay):
        if (its := source.delay == delay).any():
            found = xp.where(xp.asarray(its), late(delay), found)
    return found
