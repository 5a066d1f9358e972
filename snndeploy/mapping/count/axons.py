"""What a slice takes of a core's memory to send its spikes to all slices that need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...ir.arrays import Array
from ...ir.placement import Bounds, Placement
from ...ir.program import CompartmentGroup
from .memory import Memory, Resources, with_pool

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
        if stored.encoding == "conv":
            kernels[box] += mask
        reached[box] += mask
        if off_chip_slots(memory):
            on.setdefault(chip, np.zeros(fan.source_shape, np.int64))[box] += mask
    return FanOut(slots, kernels, reached, on)


def off_chip_slots(memory: Memory) -> int:
    """Output axon slots that an axon takes on top where it leaves its chip."""
    off = memory.target.axons.out_off_chip
    return 0 if off is None else off.limit


class Outgoing:
    """What spikes of one group take, ready to be counted box by box or for a whole grid of tiles."""

    def __init__(
        self, memory: Memory, group: CompartmentGroup, chip: int, fans: Sequence[FanOut]
    ) -> None:
        self._loihi1 = memory.target.memory_model == "loihi1"
        self._any = bool(fans)
        self._slots, self._kernels = (np.zeros(group.shape, np.int64) for _ in range(2))
        for f in fans:
            self._kernels += f.kernels
            self._slots += f.slots
            if off_chip_slots(memory):
                here = f.reached_on.get(chip)
                leaving = f.reached if here is None else f.reached - here
                self._slots += leaving * off_chip_slots(memory)
        # Channels share the entry of their position on the way to kernels; dense targets and the
        # host need one per neuron. More than one destination needs one word each, but lists are not
        # charged for theirs: the printed tables show none, even for 12 destinations.
        self._lists = group.role == "output" or any((f.reached > f.kernels).any() for f in fans)

    def box(self, bounds: Bounds) -> Resources:
        """Resources of one slice: output axons (Loihi), axon map and memory."""
        box = tuple(slice(*b) for b in bounds)
        if self._loihi1:
            return {"out_axons": int(self._slots[box].sum())}
        kernels = self._kernels[box]
        places = kernels.max(axis=0) if kernels.ndim > 1 else kernels
        return {
            "axon_map": kernels.size if self._lists else places.size if self._any else 0,
            "axon_mem": int(places[places > 1].sum()),
        }

    def grid(self, cuts: Sequence[Sequence[tuple[int, int]]]) -> dict[str, Array]:
        """The resources of all tiles that cuts along each axis make, as arrays over the tiles."""
        starts = [[low for low, _ in axis] for axis in cuts]
        if self._loihi1:
            return {"out_axons": _tile_sums(self._slots, starts)}
        extents = [np.array([high - low for low, high in axis]) for axis in cuts]
        if self._kernels.ndim == 1:
            places, spatial = self._kernels, extents
        else:
            places = np.maximum.reduceat(self._kernels, starts[0], axis=0)
            spatial = [np.ones_like(extents[0]), *extents[1:]]
        many = np.where(places > 1, places, 0)
        memory = many
        for axis in range(0 if places.ndim == 1 else 1, places.ndim):
            memory = np.add.reduceat(memory, starts[axis], axis=axis)
        per_tile = extents if self._lists else spatial
        entries = np.ones((), np.int64)
        for extent in per_tile:
            entries = entries[..., None] * extent
        return {"axon_map": entries * (self._lists or self._any), "axon_mem": memory}


def _tile_sums(values: Array, starts: Sequence[Sequence[int]]) -> Array:
    for axis, first in enumerate(starts):
        values = np.add.reduceat(values, first, axis=axis)
    return values


def total(memory: Memory, incoming: Resources, out: Resources) -> Resources:
    """A slice's resources in both directions."""
    used = {**incoming, **{name: incoming.get(name, 0) + n for name, n in out.items()}}
    return with_pool(used) if memory.target.memory_model == "loihi2" else used


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
        chip = s.core // placement.cores_per_chip if off_chip_slots(memory) else 0
        if (s.group, chip) not in outs:
            outs[s.group, chip] = Outgoing(memory, g, chip, fans[s.group])
        out = outs[s.group, chip].box(s.bounds)
        result.append(total(memory, memory.incoming(g, s.bounds), out))
    return result
