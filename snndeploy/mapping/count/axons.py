"""What a slice takes of a core's memory to send its spikes to all slices that need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...chip.counting import Cuts, Resources, Sent
from ...ir.arrays import Array
from ...ir.placement import Bounds, Placement
from ...ir.program import CompartmentGroup
from .memory import Memory

Tiles = Mapping[str, Sequence[tuple[Bounds, int]]]
"""The boxes of every group that was split, each with the chip it is on."""
NOWHERE = -1
"""A chip that no slice is on: every axon from here is charged as leaving its chip."""


@dataclass(frozen=True, eq=False)
class FanOut:
    """Per source neuron (in the source's shape), what its spikes need.

    ``slots`` counts output axon slots within the chip, ``kernels`` the destination slices that hold
    the synapses as a kernel, ``reached`` all of them, and ``reached_on`` those on each chip.
    """

    slots: Array
    kernels: Array
    reached: Array
    reached_on: Mapping[int, Array]


def fan_out(memory: Memory, synapses: str, tiles: Sequence[tuple[Bounds, int]]) -> FanOut:
    """Sum up the destinations of a synapse group over the slices of its target."""
    fan = memory.fans[synapses]
    slots, kernels, reached = (np.zeros(fan.source_shape, np.int64) for _ in range(3))
    on: dict[int, Array] = {}
    for bounds, chip in tiles:
        region, mask, stored = memory.reaching(synapses, bounds)
        box = tuple(slice(*b) for b in region)
        slots[box] += mask * stored.slots
        if stored.shared:
            kernels[box] += mask
        reached[box] += mask
        if memory.family.off_chip_slots:
            on.setdefault(chip, np.zeros(fan.source_shape, np.int64))[box] += mask
    return FanOut(slots, kernels, reached, on)


class Outgoing:
    """What spikes of one group take, ready to be counted box by box or for a whole grid of tiles."""

    def __init__(
        self, memory: Memory, group: CompartmentGroup, chip: int, fans: Sequence[FanOut]
    ) -> None:
        self._family = memory.family
        slots, kernels = (np.zeros(group.shape, np.int64) for _ in range(2))
        for f in fans:
            kernels += f.kernels
            slots += f.slots
            if off_chip := memory.family.off_chip_slots:
                here = f.reached_on.get(chip)
                slots += (f.reached if here is None else f.reached - here) * off_chip
        listed = group.role == "output" or any((f.reached > f.kernels).any() for f in fans)
        heard = any(f.reached.any() for f in fans)
        self._sent = Sent(slots=slots, kernels=kernels, listed=listed, heard=heard)

    def box(self, bounds: Bounds) -> Resources:
        """Resources of one slice."""
        return self._family.outgoing(self._sent.within(bounds))

    def grid(self, cuts: Cuts) -> dict[str, Array]:
        """The resources of all tiles that cuts along each axis make, as arrays over the tiles."""
        return self._family.outgoing_grid(self._sent, cuts)


def total(memory: Memory, incoming: Resources, out: Resources) -> Resources:
    """A slice's resources in both directions."""
    used = {**incoming, **{name: incoming.get(name, 0) + n for name, n in out.items()}}
    return memory.family.completed(used)


def fan_outs(memory: Memory, group: str, tiles: Tiles) -> list[FanOut]:
    """One `FanOut` per synapse group that leaves ``group`` for slices that are known."""
    return [
        fan_out(memory, s.name, tiles[s.target]) for s in memory.out_of[group] if s.target in tiles
    ]


def slice_resources(
    memory: Memory, group: str, bounds: Bounds, tiles: Tiles | None = None, chip: int = 0
) -> Resources:
    """Everything that one slice takes on its core.

    Args:
        memory: the program and the target to count for.
        group: name of the compartment group.
        bounds: the box of the group's shape.
        tiles: the slices that its spikes go to (none: axons out are not counted).
        chip: the chip that the slice is on.
    """
    g = memory.program.group(group)
    out = Outgoing(memory, g, chip, fan_outs(memory, group, tiles or {}))
    return total(memory, memory.incoming(g, bounds), out.box(bounds))


def recount(memory: Memory, placement: Placement) -> list[Resources]:
    """Count every slice of a placement anew, in the order of its slices."""
    tiles: dict[str, list[tuple[Bounds, int]]] = {}
    for s in placement.slices:
        tiles.setdefault(s.group, []).append((s.bounds, s.core // placement.cores_per_chip))
    fans = {name: fan_outs(memory, name, tiles) for name in tiles}
    outs: dict[tuple[str, int], Outgoing] = {}
    result = []
    for s in placement.slices:
        g = memory.program.group(s.group)
        chip = s.core // placement.cores_per_chip if memory.family.off_chip_slots else 0
        if (s.group, chip) not in outs:
            outs[s.group, chip] = Outgoing(memory, g, chip, fans[s.group])
        out = outs[s.group, chip].box(s.bounds)
        result.append(total(memory, memory.incoming(g, s.bounds), out))
    return result
