"""What an engine fills: the trains of all groups, and the states that are recorded."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...ir.arrays import Array
from .neurons.watch import Watch

_MOST_SAMPLED = 1 << 22
"""Places of a train that are looked at to estimate its activity."""


@dataclass(eq=False)
class Train:
    """What a group emits, ``(steps, samples, neurons)``; sample ``base`` of it is the chunk's first."""

    values: Array
    base: int = 0

    def activity(self, samples: slice) -> float:
        """Estimated fraction of places that are not zero, over these samples of the chunk."""
        steps, _, neurons = self.values.shape
        some = max(1, min(samples.stop - samples.start, _MOST_SAMPLED // max(1, steps * neurons)))
        first = self.base + samples.start
        part = self.values[:, first : first + some]
        return float(np.count_nonzero(part)) / max(1, part.size)


@dataclass(eq=False)
class States:
    """u and v of the groups whose states are recorded, int64 ``(steps, samples, neurons)``, and who
    watches the registers of all groups."""

    u: dict[str, Array] = field(default_factory=dict)
    v: dict[str, Array] = field(default_factory=dict)
    watch: Watch | None = None
