"""Write a network as NIR: dequantised weights, and the exact network in the graph's metadata.

Any NIR reader gets nodes whose equations, stepped with forward Euler at the network's dt, are the
network's update, as far as NIR can say it; reset, comparison, spikes per step and floors of v stand
in the metadata under the names of a semantics profile. snndeploy itself restores codes, scales, masks
and every parameter from the record beside them, as long as nobody edited the nodes.
"""

from __future__ import annotations

import itertools
from importlib.metadata import version
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from ..errors import InputError
from ..ir.arrays import Array, Shape, size
from ..ir.network import Network, Population, Projection, Source
from ..ir.neurons import Neuron
from ..ir.ops import Conv, Dense, Op, Pointwise, Reshape, SumPool, chain_shapes, weighted_index
from ..ir.record import KEY, content_digest, to_record
from .hdf5 import write_tree
from .nir_metadata import own, shared

DT = 1e-3
"""Time step, where the network's notes have none."""

Nodes = dict[str, dict[str, Any]]


def write_nir(path: str | Path, network: Network, *, force: bool = False) -> Path:
    """Write ``network`` as a ``.nir`` file.

    Raises:
        InputError: the place is taken or not writable, or NIR has no node for a part of the network.
    """
    graph = nir_graph(network)
    tree = {"version": version("nir"), "node": graph}
    return write_tree(path, tree, force=force)


def nir_graph(network: Network) -> dict[str, Any]:
    """The network as the nested dicts that a ``.nir`` file holds."""
    dt = float(network.notes.get("dt", DT))
    writer = _Writer(network, dt)
    for population in network.populations:
        writer.population(population)
    for projection in network.projections:
        writer.projection(projection)
    writer.finish()
    edges = sorted(set(writer.edges))
    record = to_record(network, content_digest(writer.nodes, edges))
    told = shared(network, dt)
    for population in network.populations:
        about = {} if population.neuron is None else own(population.neuron, told)
        if about:
            writer.nodes[writer.ends[population.name]]["metadata"] = about
    return {
        "type": "NIRGraph",
        "nodes": writer.nodes,
        "edges": np.char.encode(np.array(edges), "utf-8"),
        "metadata": {**told, KEY: record},
    }


class _Writer:
    """Nodes and edges as far as they are written."""

    def __init__(self, network: Network, dt: float) -> None:
        self.network = network
        self.dt = dt
        self.nodes: Nodes = {}
        self.edges: list[tuple[str, str]] = []
        loops = [c for c in nx.strongly_connected_components(network.graph) if len(c) > 1]
        self.loops = [*loops, *({a} for a, b in network.graph.edges if a == b)]
        self.ends: dict[str, str] = {}
        self.biased: dict[str, Array] = {}

    def name(self, wanted: str) -> str:
        """A free node name; HDF5 reserves the slash."""
        base = wanted.replace("/", "_") or "node"
        names = itertools.chain([base], (f"{base}_{i}" for i in itertools.count(2)))
        return next(n for n in names if n not in self.nodes)

    def add(self, wanted: str, kind: str, **fields: Any) -> str:
        name = self.name(wanted)
        self.nodes[name] = {"type": kind, **fields}
        return name

    def population(self, population: Population) -> None:
        """The population's node, and its Output."""
        where = f"population {population.name}"
        if population.role != "output" and not self.network.outgoing(population.name):
            raise _no_node(where, "nothing hears it, and readers take that for a broken graph")
        if population.neuron is None:
            node = self.add(population.name, "Input", shape=np.array(population.shape))
            self.ends[population.name] = node
            return
        neuron = population.neuron
        plain = not neuron.spiking and not neuron.leak.any() and neuron.syn_leak is None
        read = any(
            s.population == population.name for p in self.network.projections for s in p.sources
        )
        if plain and population.role == "output" and not read:
            node = self.add(population.name, "Output", shape=np.array(population.shape))
        else:
            kind, fields = neuron_fields(neuron, population.shape, self.dt, where)
            node = self.add(population.name, kind, **fields)
            if population.role == "output":
                out = self.add("output", "Output", shape=np.array(population.shape))
                self.edges.append((node, out))
        self.ends[population.name] = node
        bias = neuron.bias
        if bias.any():
            self.biased[population.name] = np.broadcast_to(bias, population.shape)

    def projection(self, projection: Projection) -> None:
        """Nodes of the chain, in a row, and the edges into it."""
        where = f"projection {projection.name}"
        shapes = chain_shapes(
            projection.ops, self.network.population(projection.sources[0].population).shape
        )
        weight = projection.weight.values()
        bias = self._bias(projection)
        row = []
        for op, shape in zip(projection.ops, shapes[:-1], strict=True):
            alone = len(projection.ops) == 1 and projection.op.one_to_one
            if alone and (weight == 1).all():
                continue  # an edge says the same
            kind, fields = op_fields(
                op, shape, weight, bias if op is projection.op else None, where
            )
            row.append(
                self.add(
                    projection.name if op.weighted else f"{projection.name}_{kind}", kind, **fields
                )
            )
        row.append(self.ends[projection.target])
        self.edges += itertools.pairwise(row)
        for source in projection.sources:
            self.edges.append((self._delayed(source, projection), row[0]))

    def _bias(self, projection: Projection) -> Array | None:
        """What the projection's weighted node adds: its delayed bias, or the bias of its target.

        The first undelayed projection whose node can say a target's bias takes it.

        Raises:
            InputError: a delayed bias that its node cannot say.
        """
        if projection.bias is not None:
            late = self._in_front(projection, projection.bias)
            if late is None:
                raise _no_node(
                    f"projection {projection.name}",
                    "its bias arrives late and differs within a channel",
                )
            return late
        bias = self.biased.get(projection.target)
        if bias is None or any(s.max_delay for s in projection.sources):
            return None
        found = self._in_front(projection, bias)
        if found is not None:
            del self.biased[projection.target]
        return found

    def _in_front(self, projection: Projection, bias: Array) -> Array | None:
        """The bias behind all operators as one of the weighted operator; None where there is none."""
        shapes = chain_shapes(
            projection.ops, self.network.population(projection.sources[0].population).shape
        )
        at = weighted_index(projection.ops)
        values = np.broadcast_to(bias, shapes[-1])
        for op, shape in zip(projection.ops[:at:-1], shapes[-2:at:-1], strict=True):
            found = _bias_before(op, values, shape)
            if found is None:
                return None
            values = found
        match projection.op:
            case Conv():
                return None if _channels(values) is None else values
            case Dense():
                return values
            case Pointwise():
                return None

    def finish(self) -> None:
        """Say the biases that no weighted node could: by v_leak, or by a branch without weights.

        Raises:
            InputError: a bias that NIR cannot say.
        """
        for name, bias in self.biased.items():
            population = self.network.population(name)
            neuron, node = population.neuron, self.nodes[self.ends[name]]
            assert neuron is not None
            if node["type"] in ("LI", "LIF"):
                node["v_leak"] = node["v_leak"] + np.broadcast_to(
                    bias / (1.0 - neuron.leak), population.shape
                )
            elif len(population.shape) == 1:
                self._branch(name, bias)
            else:
                raise _no_node(
                    f"population {name}",
                    "its bias differs within a channel, or comes through no weights at all",
                )

    def _branch(self, name: str, bias: Array) -> None:
        """A constant: one value out of an input with weight 0, from which nothing but a bias comes."""
        entry = self.network.with_role("input")[0]
        flat, row = size(entry.shape), [self.ends[entry.name]]
        if len(entry.shape) > 1:
            kind, fields = op_fields(Reshape((flat,)), entry.shape, bias, None, "")
            row.append(self.add(f"{name}_bias_{kind}", kind, **fields))
        row.append(self.add(f"{name}_nothing", "Linear", weight=np.zeros((1, flat))))
        constant = {"weight": np.zeros((bias.size, 1)), "bias": np.array(bias)}
        row.append(self.add(f"{name}_bias", "Affine", **constant))
        self.edges += itertools.pairwise([*row, self.ends[name]])

    def _delayed(self, source: Source, projection: Projection) -> str:
        """The source's node, behind a Delay where it waits longer than a loop does by itself."""
        node = self.ends[source.population]
        looped = any({source.population, projection.target} <= loop for loop in self.loops)
        steps = source.delay - 1 if looped and source.min_delay > 0 else source.delay
        if not steps.any():
            return node
        shape = self.network.population(source.population).shape
        delay = np.broadcast_to(steps * self.dt, shape)
        name = self.add(f"{projection.name}_delay", "Delay", delay=np.array(delay, np.float64))
        self.edges.append((node, name))
        return name


def neuron_fields(
    neuron: Neuron, shape: Shape, dt: float, where: str
) -> tuple[str, dict[str, Array]]:
    """NIR's node type and parameters whose Euler step at ``dt`` is the neuron's update.

    Raises:
        InputError: a synapse that never decays, or another part that NIR cannot say.
    """

    def full(values: Array | float) -> Array:
        return np.array(np.broadcast_to(values, shape), np.float64)

    if unknown := neuron.beyond():
        raise _no_node(where, f"its {', '.join(unknown)}")
    fields: dict[str, Array] = {}
    leaky = bool((neuron.leak < 1).all())
    if not leaky and not (neuron.leak == 1).all():
        raise _no_node(where, "some of its neurons leak and some do not")
    if neuron.syn_leak is not None and (not leaky or (neuron.syn_leak >= 1).any()):
        raise _no_node(where, "its synapse or membrane does not decay")
    if leaky:
        tau = dt / (1.0 - neuron.leak)
        cuba = neuron.syn_leak is not None
        fields["tau_mem" if cuba else "tau"] = full(tau)
        fields["r"] = full(tau / dt)
        fields["v_leak"] = full(neuron.drive / (1.0 - neuron.leak))
        if neuron.syn_leak is not None:
            fields["tau_syn"] = full(dt / (1.0 - neuron.syn_leak))
            fields["w_in"] = full(1.0 / (1.0 - neuron.syn_leak))
        kind = "CubaLI" if cuba else "LI"
    else:
        fields["r"] = full(1.0 / dt)
        kind = "I"
    if neuron.threshold is not None:
        fields["v_threshold"] = full(neuron.threshold)
        fields["v_reset"] = full(0.0)
        kind += "F"
    return kind, fields


def op_fields(
    op: Op, shape: Shape, weight: Array, bias: Array | None, where: str
) -> tuple[str, dict[str, Any]]:
    """NIR's node for one operator on an input of ``shape``.

    Raises:
        InputError: NIR has no node for it.
    """
    match op:
        case Dense():
            if bias is None:
                return "Linear", {"weight": weight}
            return "Affine", {"weight": weight, "bias": np.array(bias.reshape(-1))}
        case Pointwise():
            return "Scale", {"scale": np.array(np.broadcast_to(weight, shape))}
        case Conv():
            return f"Conv{len(op.kernel)}d", _conv_fields(op, shape, weight, bias, where)
        case SumPool():
            return "SumPool2d", {
                "kernel_size": np.array(op.kernel),
                "stride": np.array(op.stride),
                "padding": np.array(op.padding),
            }
        case Reshape():
            if op.shape != (size(shape),):
                raise _no_node(where, f"it views {shape} as {op.shape}")
            return "Flatten", {
                "input_type": np.array(shape),
                "start_dim": np.array(0),
                "end_dim": np.array(-1),
            }


def _conv_fields(
    op: Conv, shape: Shape, weight: Array, bias: Array | None, where: str
) -> dict[str, Any]:
    padding: Any = np.array([before for before, _ in op.padding])
    if any(before != after for before, after in op.padding):
        same = [d * (k - 1) for k, d in zip(op.kernel, op.dilation, strict=True)]
        if [(t // 2, t - t // 2) for t in same] != list(op.padding):
            raise _no_node(where, f"its padding {op.padding} is not symmetric")
        padding = "same"
    values = np.zeros(op.out_channels) if bias is None else bias.reshape(op.out_channels, -1)[:, 0]
    return {
        "weight": weight,
        "bias": np.array(values),
        "input_shape": np.array(shape[1:]) if len(op.kernel) == 2 else np.array(shape[1]),
        "stride": np.array(op.stride),
        "padding": padding,
        "dilation": np.array(op.dilation),
        "groups": np.array(op.groups),
    }


def _bias_before(op: Op, values: Array, shape: Shape) -> Array | None:
    """What, added in front of ``op`` (on ``shape``), adds ``values`` behind it; None: nothing."""
    match op:
        case SumPool():
            rows = _channels(values)
            if rows is None or any(op.padding):
                return None
            return np.broadcast_to((rows / op.fan_in)[:, None, None], shape)
        case Reshape():
            return values.reshape(shape)
        case Dense() | Conv() | Pointwise():
            return None


def _channels(values: Array) -> Array | None:
    """The value of each channel; None where it differs within one."""
    rows = values.reshape(values.shape[0], -1)
    return rows[:, 0] if (rows == rows[:, :1]).all() else None


def _no_node(where: str, what: str) -> InputError:
    return InputError("export-nir", f"NIR has no node for it: {what}", where=where)
