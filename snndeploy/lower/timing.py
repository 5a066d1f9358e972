"""When a sample reaches each population, and how long each synapse takes.

In the trained network a spike crosses any number of layers within one step; on the chip every
projection costs at least one. Each population gets a *depth*, the chip step at which it sees the
sample's first step, such that every projection arrives exactly when it did in the trained network.
"""

from __future__ import annotations

from ..errors import LoweringRefused
from ..ir.arrays import Array, frozen
from ..ir.network import Network, Source


def depths(network: Network) -> dict[str, int]:
    """Smallest depths with ``depth[target] - depth[source] + delay >= 1`` for every projection.

    Longest paths by Bellman-Ford; edges weigh ``1 - delay``.

    Raises:
        LoweringRefused: a loop takes more chip steps than its delays in the trained network allow.
    """
    depth = {p.name: 0 if p.role == "input" else 1 for p in network.populations}
    edges = [
        (source.population, projection.target, 1 - source.min_delay)
        for projection in network.projections
        for source in projection.sources
    ]
    cause: dict[str, str] = {}
    for _ in range(len(depth) + 1):
        changed = None
        for source, target, steps in edges:
            if depth[source] + steps > depth[target]:
                depth[target] = depth[source] + steps
                cause[target] = source
                changed = target
        if changed is None:
            return depth
    raise LoweringRefused(
        "loop-too-short",
        f"the loop {_loop(cause, changed)} crosses more projections than it has steps of delay; "
        "every projection takes one step on the chip",
        hint="retrain with a step of delay per projection of the loop, or merge linear layers",
    )


def _loop(cause: dict[str, str], start: str | None) -> str:
    """Name the loop that kept growing: walk back from a node that changed in the last round."""
    seen: list[str] = []
    node = str(start)
    while node not in seen:
        seen.append(node)
        node = cause[node]
    loop = [*seen[seen.index(node) :], node]
    return " -> ".join(reversed(loop))


def latency(depth: dict[str, int], source: Source, target: str) -> Array:
    """Chip steps from ``source`` to ``target``: what the depths leave, plus the trained delay."""
    return frozen(depth[target] - depth[source.population] + source.delay)
