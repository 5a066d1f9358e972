"""Where a loop waits one step: on the edge leaving the spiking neuron that closes it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import networkx as nx

Joint = tuple[str, str]


def closing_links(
    names: Sequence[str], links: Iterable[Joint], spiking: Collection[str]
) -> tuple[Joint, ...]:
    """Links between populations that must wait one step so that no same-step loop is left.

    A search from the inputs, in the order of ``names``, finds the link that leads back to where it
    came from. If the population it leaves does not spike (a filter in a feedback path), the wait
    moves back along the loop to the link leaving the last one that does.

    Args:
        names: populations, inputs first; their order decides between equal choices.
        links: (source, target) pairs that take no time.
        spiking: the populations that spike.
    """
    rank = {name: i for i, name in enumerate(names)}
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(sorted(set(links), key=lambda e: (rank[e[0]], rank[e[1]])))
    closing = []
    while loop := _first_loop(graph, names):
        # loop = [v, ..., u]: the search went from v to u, and u -> v closes it
        around = [(loop[i], loop[(i + 1) % len(loop)]) for i in range(len(loop))]
        chosen = next((link for link in reversed(around) if link[0] in spiking), around[-1])
        closing.append(chosen)
        graph.remove_edge(*chosen)
    return tuple(closing)


def looped(links: Iterable[Joint]) -> frozenset[str]:
    """Names that some way along ``links`` leads back to."""
    graph = nx.DiGraph(list(links))
    loops = [c for c in nx.strongly_connected_components(graph) if len(c) > 1]
    return frozenset().union(*loops, (a for a, b in graph.edges if a == b))


def _first_loop(graph: nx.DiGraph[str], names: Sequence[str]) -> list[str]:
    """The first loop that a depth-first search meets, in the order in which it went round."""
    done: set[str] = set()
    for root in names:
        if root in done:
            continue
        path, on_path = [root], {root}
        open_links = [iter(graph.successors(root))]
        while path:
            for target in open_links[-1]:
                if target in on_path:
                    return path[path.index(target) :]
                if target not in done:
                    path.append(target)
                    on_path.add(target)
                    open_links.append(iter(graph.successors(target)))
                    break
            else:
                open_links.pop()
                on_path.discard(path[-1])
                done.add(path.pop())
    return []
