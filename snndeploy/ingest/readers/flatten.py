"""Resolve nested graphs and check the wiring, so that everything after sees one flat graph."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import networkx as nx

from ...errors import InputError, did_you_mean
from ...ir.finding import Finding
from .raw import Edge, RawGraph, RawNode, checked_edges, checked_node, natural_key


@dataclass
class _Flat:
    """Nodes and edges found so far, and which nodes only mark the border of a subgraph."""

    source: str
    nodes: dict[str, RawNode] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    borders: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def flattened(root: Mapping[str, object], source: str) -> RawGraph:
    """Flatten ``root`` (nested dicts of fields) into a `RawGraph`; inner nodes are ``outer.inner``.

    Raises:
        InputError: a malformed node, edge or subgraph, an empty graph, or an unconnected node.
    """
    flat = _Flat(source)
    _collect(root, "", flat)
    _bypass_borders(flat)
    order = sorted(flat.nodes, key=natural_key)
    edges = tuple(sorted(flat.edges, key=lambda e: (natural_key(e[0]), natural_key(e[1]))))
    metadata = root.get("metadata")
    graph = RawGraph(
        nodes={name: flat.nodes[name] for name in order},
        edges=edges,
        source=source,
        metadata=dict(metadata) if isinstance(metadata, Mapping) else {},
        findings=tuple(flat.findings),
    )
    return _checked_wiring(graph)


def _collect(graph: Mapping[str, object], prefix: str, flat: _Flat) -> None:
    nodes = graph.get("nodes")
    where = f"{flat.source}:{prefix[:-1]}" if prefix else flat.source
    if not isinstance(nodes, Mapping) or not nodes:
        raise InputError("empty-graph", "the graph has no nodes", where=where)
    ends: dict[str, Edge] = {}  # node name -> (name that edges into it reach, name they leave)
    for name, content in nodes.items():
        full = prefix + str(name)
        if not isinstance(content, Mapping):
            raise InputError("unknown-node-type", "it is not a node", where=f"{flat.source}:{full}")
        if full in flat.nodes:
            raise InputError(
                "duplicate-name",
                "two nodes have this name once subgraphs are resolved",
                where=f"{flat.source}:{full}",
                hint="rename one of them",
            )
        if _kind(content) == "NIRGraph":
            _collect(content, f"{full}.", flat)
            ends[str(name)] = _subgraph_ends(content, full, flat)
            continue
        flat.nodes[full], findings = checked_node(full, content, flat.source)
        flat.findings.extend(findings)
        ends[str(name)] = (full, full)
    pairs = graph.get("edges")
    for a, b in checked_edges(_listed(pairs), where):
        for end in (a, b):
            if end not in ends:
                raise InputError(
                    "unknown-node",
                    f"the edge {a!r} -> {b!r} names no node",
                    where=where,
                    hint=did_you_mean(end, ends),
                )
        flat.edges.append((ends[a][1], ends[b][0]))


def _kind(content: Mapping[str, object]) -> str:
    kind = content.get("type")
    return kind if isinstance(kind, str) else ""


def _listed(pairs: object) -> list[object]:
    """Edges as a list, whatever the file or the graph holds them in."""
    return list(pairs) if hasattr(pairs, "__iter__") and not isinstance(pairs, (str, bytes)) else []


def _subgraph_ends(graph: Mapping[str, object], full: str, flat: _Flat) -> Edge:
    """Names of the one Input and the one Output through which edges enter and leave a subgraph."""
    nodes = graph["nodes"]
    found = []
    for kind in ("Input", "Output"):
        names = [
            f"{full}.{name}"
            for name, content in nodes.items()  # type: ignore[attr-defined]
            if isinstance(content, Mapping) and _kind(content) == kind
        ]
        if len(names) != 1:
            raise InputError(
                "subgraph-ends",
                f"the subgraph has {len(names)} {kind} nodes, edges need 1",
                where=f"{flat.source}:{full}",
            )
        found += names
    flat.borders += found
    return found[0], found[1]


def _bypass_borders(flat: _Flat) -> None:
    """Connect what meets at the border of a subgraph, then drop the border."""
    for border in flat.borders:
        before = [a for a, b in flat.edges if b == border]
        after = [b for a, b in flat.edges if a == border]
        flat.edges = [e for e in flat.edges if border not in e]
        flat.edges += [(a, b) for a in before for b in after]
        del flat.nodes[border]


def _checked_wiring(graph: RawGraph) -> RawGraph:
    twice = [edge for edge, count in Counter(graph.edges).items() if count > 1]
    if twice:
        raise InputError(
            "duplicate-edge",
            f"the edge to {twice[0][1]!r} is listed twice",
            where=graph.where(twice[0][0]),
            hint="express a doubled input with a Scale node",
        )
    kinds = {node.kind for node in graph.nodes.values()}
    for kind, what in (("Input", "reads data"), ("Output", "answers")):
        if kind not in kinds:
            raise InputError(
                f"no-{kind.lower()}",
                f"the graph has no {kind} node: nothing {what}",
                where=graph.source,
                hint=f"add a nir.{kind} node and its edge, and export again",
            )
    for node in graph.nodes.values():
        _check_connected(graph, node)
    dead = _without_effect(graph)
    findings = tuple(
        Finding(
            code="dead-node",
            severity="warning",
            where=graph.where(name),
            message="nothing it computes reaches an output; if it should, add the edge and export again",
        )
        for name in dead
    )
    return dataclasses.replace(graph, findings=graph.findings + findings)


def _check_connected(graph: RawGraph, node: RawNode) -> None:
    before, after = graph.before(node.name), graph.after(node.name)
    if node.kind == "Input" and before:
        raise InputError(
            "input-driven", f"{before[0]!r} leads into this Input", where=graph.where(node.name)
        )
    if node.kind == "Output" and after:
        raise InputError(
            "output-read", f"this Output leads to {after[0]!r}", where=graph.where(node.name)
        )
    missing = (not before and node.kind != "Input") or (node.kind == "Input" and not after)
    if missing:
        what = "leads out of it" if node.kind == "Input" else "leads into it"
        raise InputError(
            "unconnected",
            f"no edge {what}",
            where=graph.where(node.name),
            hint="connect the node or remove it; exporters drop edges that they cannot trace",
        )


def _without_effect(graph: RawGraph) -> list[str]:
    wiring = nx.DiGraph(graph.edges)
    outputs = [n.name for n in graph.nodes.values() if n.kind == "Output"]
    alive = set(outputs).union(*(nx.ancestors(wiring, name) for name in outputs))
    return [name for name in graph.nodes if name not in alive]
