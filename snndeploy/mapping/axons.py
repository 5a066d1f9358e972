"""What a slice takes of a core's memory to send its spikes to all slices that need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..ir.arrays import Array, size
from ..ir.placement import Bounds, Placement
from ..ir.program import CompartmentGroup
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


def fan_out(memory: Memory, synapses: str, tiles: Iterable[tuple[Bounds, int]]) -> FanOut:
    """Sum up the destinations of a synapse group over the slices of its target."""
    fan, axons = memory.fans[synapses], memory.target.axons
    slots, kernels, reached = (np.zeros(fan.source_shape, np.int64) for _ in range(3))
    on: dict[int, Array] = {}
    for bounds, chip in tiles:
        region, mask, stored = memory.reaching(synapses, bounds)
        box = tuple(slice(*b) for b in region)
        kernel = stored.encoding == "conv"
        cost = axons.out_population if kernel else axons.out_discrete
        slots[box] += mask * (0 if cost is None else cost.limit)
        kernels[box] += mask & kernel
        reached[box] += mask
        on.setdefault(chip, np.zeros(fan.source_shape, np.int64))[box] += mask
    return FanOut(slots, kernels, reached, on)


def outgoing(
    memory: Memory, group: CompartmentGroup, bounds: Bounds, chip: int, fans: Sequence[FanOut]
) -> Resources:
    """Resources that a slice's own spikes take: output axons (Loihi), axon map and memory."""
    box = tuple(slice(*b) for b in bounds)
    if memory.target.memory_model == "loihi1":
        off = memory.target.axons.out_off_chip
        slots = 0
        for fan in fans:
            here = fan.reached_on.get(chip)
            leaving = fan.reached[box].sum() - (0 if here is None else here[box].sum())
            slots += int(fan.slots[box].sum() + leaving * (0 if off is None else off.limit))
        return {"out_axons": slots}
    neurons = size(high - low for low, high in bounds)
    # Channels share the entry of their position on the way to kernels; dense targets and the host
    # need one per neuron. More than one destination needs one word each, but lists are not charged
    # for theirs: the printed tables show none, even for 12 destinations.
    lists = group.role == "output" or any((f.reached > f.kernels).any() for f in fans)
    kernels = np.zeros([high - low for low, high in bounds], np.int64)
    for f in fans:
        kernels += f.kernels[box]
    places = kernels.max(axis=0) if kernels.ndim > 1 else kernels
    return {
        "axon_map": neurons if lists else places.size if fans else 0,
        "axon_mem": int(places[places > 1].sum()),
    }


def total(memory: Memory, incoming: Resources, out: Resources) -> Resources:
    """A slice's resources in both directions."""
    used = {**incoming, **{name: incoming.get(name, 0) + n for name, n in out.items()}}
    return with_pool(used) if memory.target.memory_model == "loihi2" else used


def fan_outs(memory: Memory, group: str, tiles: Tiles) -> list[FanOut]:
    """One `FanOut` per synapse group that leaves ``group`` for slices that are known."""
    return [
        fan_out(memory, s.name, tiles[s.target])
        for s in memory.program.outgoing(group)
        if s.target in tiles
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
    out = outgoing(memory, g, bounds, chip, fan_outs(memory, group, tiles or {}))
    return total(memory, memory.incoming(g, bounds), out)


def recount(memory: Memory, placement: Placement) -> list[Resources]:
    """Count every slice of a placement anew, in the order of its slices."""
    tiles: dict[str, list[tuple[Bounds, int]]] = {}
    for s in placement.slices:
        tiles.setdefault(s.group, []).append((s.bounds, s.core // placement.cores_per_chip))
    outs = {name: fan_outs(memory, name, tiles) for name in tiles}
    result = []
    for s in placement.slices:
        g = memory.program.group(s.group)
        chip = s.core // placement.cores_per_chip
        out = outgoing(memory, g, s.bounds, chip, outs[s.group])
        result.append(total(memory, memory.incoming(g, s.bounds), out))
    return result
