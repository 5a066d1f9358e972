"""Spike messages: how many, from which core to which, and what they load on the mesh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...chip import Target
from ...ir.arrays import Array
from ...ir.placement import Placement
from ...ir.program import Program
from ..count.memory import Memory
from .flows import HOST, Flows, flows
from .mesh import hops, link_loads

Rates = Mapping[str, Array | float]
"""Spikes of each group: one number per neuron (in the group's shape), or their total, which is then
spread evenly; groups that are not named are silent."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Spike messages of a sample: one per spike and core that it goes to.

    ``hops_x`` and ``hops_y`` are router to router within chips, ``off_chip`` messages leave theirs,
    ``from_host`` messages come from input groups; ``busiest`` is the most that one core receives.
    """

    messages: float
    hops_x: float
    hops_y: float
    off_chip: float
    from_host: float
    busiest: float


def traffic(program: Program, placement: Placement, target: Target, spikes: Rates) -> Traffic:
    """Estimate the messages of a sample, in which each group spikes as ``spikes`` says."""
    f = messages(Memory(program, target), placement, spikes)
    sums = dict.fromkeys(("hops_x", "hops_y", "off_chip", "from_host"), 0.0)
    for a, b, n in zip(f.source.tolist(), f.target.tolist(), f.weight.tolist(), strict=True):
        if a == HOST:
            sums["from_host"] += n
            continue
        distance = hops(a, b, target)
        if distance is None:
            sums["off_chip"] += n
        else:
            sums["hops_x"] += n * distance[0]
            sums["hops_y"] += n * distance[1]
    received = np.bincount(f.target, weights=f.weight, minlength=1)
    return Traffic(messages=float(f.weight.sum()), busiest=float(received.max()), **sums)


def messages(memory: Memory, placement: Placement, spikes: Rates) -> Flows:
    """Messages from core to core, one per spike and core that hears it."""
    return flows(
        memory, placement.slices, {g.name: spikes.get(g.name, 0.0) for g in memory.program.groups}
    )


@dataclass(frozen=True, kw_only=True)
class Link:
    """The link from a router towards its neighbour, and the messages that cross it."""

    chip: int
    x: int
    y: int
    towards: str
    messages: float

    def __str__(self) -> str:
        return f"chip {self.chip}, router ({self.x}, {self.y}) {self.towards}"


def busiest_link(f: Flows, target: Target) -> Link | None:
    """The link that most messages cross, routed along x first, then y (None: none crosses any)."""
    best: Link | None = None
    for name, load in link_loads(f, target):
        most = float(load.max(initial=0.0))
        if most > (best.messages if best else 0.0):
            chip, line, place = (int(i) for i in np.unravel_index(int(load.argmax()), load.shape))
            start = place + (name in ("west", "north"))
            x, y = (start, line) if name in ("east", "west") else (line, start)
            best = Link(chip=chip, x=x, y=y, towards=name, messages=most)
    return best
