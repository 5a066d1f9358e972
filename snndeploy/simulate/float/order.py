"""In which order populations run, and how far back their spikes are heard."""

from __future__ import annotations

import networkx as nx

from ...ir.network import Network


def run_groups(network: Network) -> tuple[tuple[str, ...], ...]:
    """Populations in an order of running; those of one group form a loop and run step by step."""
    rank = {name: i for i, name in enumerate(network.order)}
    condensed = nx.condensation(network.graph)
    return tuple(
        tuple(sorted(condensed.nodes[c]["members"], key=rank.__getitem__))
        for c in nx.topological_sort(condensed)
    )


def longest_delays(network: Network) -> dict[str, int]:
    """For each population the most steps that a spike of it is on the way; 0 where nobody hears it."""
    longest = {p.name: 0 for p in network.populations}
    for projection in network.projections:
        for source in projection.sources:
            longest[source.population] = max(longest[source.population], source.max_delay)
    return longest
