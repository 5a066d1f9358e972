"""Networks of many small layers: what must not take time that grows faster than they do."""

from __future__ import annotations

import itertools

import nir
import numpy as np

from snndeploy.ir.network import Network, Population
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Dense
from tests.support.builders import inputs, lif, project
from tests.support.nir_graphs import graph
from tests.support.nir_graphs import lif as nir_lif


def chain(layers: int, *, delay: int = 0, back: bool = False, width: int = 2) -> Network:
    """``layers`` equal layers one after the other, perhaps with a way back from the last."""
    names = ["input", *(f"n{i}" for i in range(layers))]
    neuron = Neuron.create((width,), leak=0.5, threshold=1.0)
    populations = [inputs((width,))]
    populations += [Population(n, (width,), neuron) for n in names[1:-1]]
    populations.append(lif(names[-1], (width,), "output", leak=0.5))
    op, weight = Dense(width, width), np.eye(width)
    projections = [
        project(f"to-{b}", a, b, op, weight, delay=delay) for a, b in itertools.pairwise(names)
    ]
    if back:
        projections.append(project("back", names[-1], names[1], op, weight, delay=1))
    return Network(tuple(populations), tuple(projections)).verify()


def nir_chain(layers: int, width: int = 8) -> nir.NIRGraph:
    """Likewise as NIR, with weights of their own."""
    rng = np.random.default_rng(0)
    nodes: dict[str, nir.NIRNode] = {}
    edges, last = [], "input"
    for i in range(layers):
        nodes[f"l{i}"] = nir.Linear(weight=rng.normal(0, 1, (width, width)))
        nodes[f"n{i}"] = nir_lif(width)
        edges += [(last, f"l{i}"), (f"l{i}", f"n{i}")]
        last = f"n{i}"
    nodes["output"] = nir.Output({"output": np.array([width])})
    return graph(nodes, [*edges, (last, "output")], width)
