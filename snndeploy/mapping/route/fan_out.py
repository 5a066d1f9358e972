"""What one spike of each neuron sends across a placement, to be multiplied by whatever spikes."""

from __future__ import annotations

import numpy as np

from ...chip import Target
from ...ir.arrays import Array
from ...ir.placement import Placement
from ...ir.program import Program
from ..count.memory import Memory
from .flows import hearing, owners
from .mesh import hops


def fan_out(program: Program, placement: Placement, target: Target) -> dict[str, Array]:
    """Messages, hops in x and hops in y per spike: ``(3, neurons)`` for every group.

    One message goes to every core that hears the neuron. Those of the host (from input groups) and
    those that leave their chip cross no router that is counted, as in `traffic`.
    """
    memory = Memory(program, target)
    parts = {group.name: placement.of_group(group.name) for group in program.groups}
    fans = {}
    for group in program.groups:
        fan = np.zeros((3, *group.shape), np.int64)
        own = parts[group.name]
        owner = owners(group, own)
        for core, box, mask in hearing(memory, group, parts):
            far = [hops(part.core, core, target) or (0, 0) for part in own] or [(0, 0)]
            each = np.array([(1, x, y) for x, y in far]).T  # (3, slices)
            fan[(slice(None), *box)] += each[:, owner[box]] * mask
        fans[group.name] = fan.reshape(3, -1)
    return fans
