"""What one spike of each neuron sends across a placement, to be multiplied by whatever spikes."""

from __future__ import annotations

import numpy as np

from ..ir.arrays import Array
from ..ir.placement import Placement
from ..ir.program import Program
from ..target import Target
from .memory import Memory
from .mesh import hops


def fan_out(program: Program, placement: Placement, target: Target) -> dict[str, Array]:
    """Messages, hops in x and hops in y per spike: ``(3, neurons)`` for every group.

    One message goes to every core that hears the neuron. Those of the host (from input groups) and
    those that leave their chip cross no router that is counted, as in `traffic`.
    """
    memory = Memory(program, target)
    fans = {}
    for group in program.groups:
        heard: dict[int, Array] = {}
        for s in program.outgoing(group.name):
            for part in placement.of_group(s.target):
                region, mask, _ = memory.reaching(s.name, part.bounds)
                by = heard.setdefault(part.core, np.zeros(group.shape, bool))
                by[tuple(slice(*b) for b in region)] |= mask
        fan = np.zeros((3, *group.shape), np.int64)
        for core, mask in heard.items():
            fan[0] += mask
            for part in placement.of_group(group.name):
                box = tuple(slice(*b) for b in part.bounds)
                for axis, distance in enumerate(hops(part.core, core, target) or (0, 0), start=1):
                    fan[axis][box] += mask[box] * distance
        fans[group.name] = fan.reshape(3, -1)
    return fans
