"""When a sample reaches each population, and how long each synapse takes.

In the trained network a spike crosses any number of layers within one step; on the chip every
projection costs at least one. Each population gets a *depth*, the chip step at which it sees the
sample's first step, such that every projection arrives exactly when it did in the trained network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import LoweringRefused
from ..ir.arrays import Array, frozen
from ..ir.network import Network, Source


@dataclass(frozen=True)
class Hop:
    """From one population to another: a source of a projection, and the least steps that it is late."""

    projection: str
    source: str
    target: str
    delay: int


@dataclass(frozen=True)
class Late:
    """A hop that got the steps which its loop lacks."""

    loop: str
    hop: Hop
    steps: int


def depths(network: Network) -> dict[str, int]:
    """Smallest depths with ``depth[target] - depth[source] + delay >= 1`` for every projection.

    Raises:
        LoweringRefused: a loop takes more chip steps than its delays in the trained network allow.
    """
    depth, loop = _longest(network)
    if loop:
        raise LoweringRefused(
            "loop-too-short",
            f"the loop {_named(loop)} crosses more projections than it has steps of delay; "
            "every projection takes one step on the chip",
            hint="--adapt gives it the steps that it lacks; or retrain with a step of delay per "
            "projection of the loop, or merge linear layers",
        )
    return depth


def lengthened(network: Network) -> tuple[Network, tuple[Late, ...]]:
    """The network whose loops have a step per projection, and what arrives later for it.

    Of a loop that is too short, the hop which is late already gets later.
    """
    told: list[Late] = []
    while loop := _longest(network)[1]:
        late = Late(_named(loop), max(loop, key=lambda hop: hop.delay), _lacking(loop))
        network = _delayed(network, late)
        told.append(late)
    return network, tuple(told)


def _longest(network: Network) -> tuple[dict[str, int], list[Hop]]:
    """Depths by Bellman-Ford, where a hop weighs ``1 - delay``; or else a loop that grows for ever."""
    depth = {p.name: 0 if p.role == "input" else 1 for p in network.populations}
    hops = [
        Hop(projection.name, source.population, projection.target, source.min_delay)
        for projection in network.projections
        for source in projection.sources
    ]
    cause: dict[str, Hop] = {}
    for _ in range(len(depth) + 1):
        changed = None
        for hop in hops:
            if depth[hop.source] + 1 - hop.delay > depth[hop.target]:
                depth[hop.target] = depth[hop.source] + 1 - hop.delay
                cause[hop.target] = hop
                changed = hop.target
        if changed is None:
            return depth, []
    seen: list[str] = []
    node = str(changed)
    while node not in seen:  # back from what changed in the last round
        seen.append(node)
        node = cause[node].source
    return depth, [cause[name] for name in reversed(seen[seen.index(node) :])]


def _lacking(loop: Sequence[Hop]) -> int:
    return sum(1 - hop.delay for hop in loop)


def _named(loop: Sequence[Hop]) -> str:
    return " -> ".join([loop[0].source, *(hop.target for hop in loop)])


def _delayed(network: Network, late: Late) -> Network:
    """``network`` with that hop as much later."""

    def source(old: Source) -> Source:
        if (old.population, old.min_delay) != (late.hop.source, late.hop.delay):
            return old
        return dataclasses.replace(old, delay=frozen(old.delay + late.steps))

    (found,) = (p for p in network.projections if p.name == late.hop.projection)
    sources = tuple(source(s) for s in found.sources)
    return network.replace(projections=[dataclasses.replace(found, sources=sources)])


def latency(depth: dict[str, int], source: Source, target: str) -> Array:
    """Chip steps from ``source`` to ``target``: what the depths leave, plus the trained delay."""
    return frozen(depth[target] - depth[source.population] + source.delay)
