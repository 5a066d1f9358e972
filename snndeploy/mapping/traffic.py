"""Spike messages: how many, from which core to which, and what they load on the mesh."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..ir.arrays import Array, Shape
from ..ir.placement import Bounds, Placement
from ..ir.program import Program
from ..target import Target
from .memory import Memory
from .mesh import hops, spot

HOST = -1
"""In place of a core: messages from input groups come from outside the chip."""

Rates = Mapping[str, Array | float]
"""Spikes of each group: one number per neuron (in the group's shape), or their total, which is then
spread evenly; groups that are not named are silent."""


@dataclass(frozen=True, eq=False)
class Flows:
    """Messages from core to core: ``amount`` of each pair of ``source`` (or `HOST`) and ``target``."""

    source: Array
    target: Array
    amount: Array


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
    f = flows(Memory(program, target), placement, spikes)
    sums = dict.fromkeys(("hops_x", "hops_y", "off_chip", "from_host"), 0.0)
    for a, b, n in zip(f.source.tolist(), f.target.tolist(), f.amount.tolist(), strict=True):
        if a == HOST:
            sums["from_host"] += n
            continue
        distance = hops(a, b, target)
        if distance is None:
            sums["off_chip"] += n
        else:
            sums["hops_x"] += n * distance[0]
            sums["hops_y"] += n * distance[1]
    received = np.bincount(f.target, weights=f.amount, minlength=1)
    return Traffic(messages=float(f.amount.sum()), busiest=float(received.max()), **sums)


def flows(memory: Memory, placement: Placement, spikes: Rates) -> Flows:
    """Messages between cores, one per spike and core that hears it."""
    program = memory.program
    amounts: dict[tuple[int, int], float] = {}
    for group in program.groups:
        rate = per_neuron(spikes, group.name, group.shape)
        senders, names = _senders(placement, group.name, group.shape)
        for core, parts in _hearing(memory, placement, group.name):
            box, mask = _joined(parts, group.shape)
            part = tuple(slice(*b) for b in box)
            sent = np.bincount(
                senders[part].reshape(-1), weights=(rate[part] * mask).reshape(-1),
                minlength=len(names),
            )  # fmt: skip
            for i in np.flatnonzero(sent):
                pair = (names[i], core)
                amounts[pair] = amounts.get(pair, 0.0) + float(sent[i])
    pairs = np.array(list(amounts), np.int64).reshape(-1, 2)
    return Flows(pairs[:, 0], pairs[:, 1], np.array(list(amounts.values()), np.float64))


def per_neuron(spikes: Rates, group: str, shape: Shape) -> Array:
    """Spikes of every neuron of a group."""
    count = spikes.get(group, 0.0)
    if isinstance(count, np.ndarray):
        return np.broadcast_to(count, shape)
    return np.full(shape, count / max(int(np.prod(shape)), 1))


def _senders(placement: Placement, group: str, shape: Shape) -> tuple[Array, list[int]]:
    """For every neuron a number, and for every number the core that sends its spikes."""
    slices = placement.of_group(group)
    label = np.zeros(shape, np.int64)
    for i, part in enumerate(slices):
        label[tuple(slice(*b) for b in part.bounds)] = i
    return label, [part.core for part in slices] or [HOST]


def _hearing(
    memory: Memory, placement: Placement, group: str
) -> Iterator[tuple[int, list[tuple[Bounds, Array]]]]:
    """Every core that hears a group, with the boxes and neurons that its slices hear."""
    heard: dict[int, list[tuple[str, Bounds]]] = {}
    for s in memory.program.outgoing(group):
        for part in placement.of_group(s.target):
            heard.setdefault(part.core, []).append((s.name, part.bounds))
    for core, slices in heard.items():
        yield core, [memory.reaching(name, bounds)[:2] for name, bounds in slices]


def _joined(parts: list[tuple[Bounds, Array]], shape: Shape) -> tuple[Bounds, Array]:
    """What any of several slices hears: a core gets each spike once."""
    if len(parts) == 1:
        return parts[0]
    mask = np.zeros(shape, bool)
    for region, part in parts:
        mask[tuple(slice(*b) for b in region)] |= part
    return tuple((0, n) for n in shape), mask


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
    width, height = target.chip.mesh
    inside = f.source != HOST
    ends = [[spot(int(c), target) for c in cores[inside]] for cores in (f.source, f.target)]
    within = [(a, b, n) for a, b, n in zip(*ends, f.amount[inside], strict=True)
              if a.chip == b.chip]  # fmt: skip
    if not within:
        return None
    chips = {chip: i for i, chip in enumerate(sorted({a.chip for a, _, _ in within}))}
    x = _loads(((chips[a.chip], a.y, a.x, b.x, n) for a, b, n in within), len(chips), height, width)
    y = _loads(((chips[a.chip], b.x, a.y, b.y, n) for a, b, n in within), len(chips), width, height)
    best: Link | None = None
    for loads, along_x, names in ((x, True, ("east", "west")), (y, False, ("south", "north"))):
        for load, name in zip(loads, names, strict=True):
            chip, line, place = np.unravel_index(int(load.argmax()), load.shape)
            most = float(load.max())
            if most > (best.messages if best else 0.0):
                start = int(place) + (name in ("west", "north"))
                px, py = (start, int(line)) if along_x else (int(line), start)
                best = Link(chip=list(chips)[chip], x=px, y=py, towards=name, messages=most)
    return best


def _loads(
    ways: Iterable[tuple[int, int, int, int, float]], chips: int, lines: int, length: int
) -> tuple[Array, Array]:
    """Messages over each step of each line of routers, upwards and downwards (chip, line, place)."""
    up, down = np.zeros((2, chips, lines, length + 1))
    for chip, line, start, end, amount in ways:
        load = up if end > start else down
        load[chip, line, min(start, end)] += amount
        load[chip, line, max(start, end)] -= amount
    return up.cumsum(-1)[..., :-1], down.cumsum(-1)[..., :-1]
