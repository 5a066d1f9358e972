"""What nodes cannot say of neurons, for readers without our record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from snndeploy.export.nir import nir_graph, write_nir
from snndeploy.export.nir_metadata import unsaid
from snndeploy.ingest import read_network
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.record import KEY
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import inputs, lif, project
from tests.support.commands import check, run

WEIGHT = np.array([[1.0, -0.5, 0.25], [-0.75, 0.5, 1.0]])


def network(first: dict[str, Any], last: dict[str, Any]) -> Network:
    return Network(
        (inputs((3,)), lif("a", (2,), **first), lif("b", (2,), "output", **last)),
        (
            project("in", "input", "a", Dense(2, 3), WEIGHT),
            project("ab", "a", "b", Dense(2, 2), WEIGHT[:, :2]),
        ),
    ).verify()


MIXED = network(
    {"v_floor": -0.25, "reset": "subtract"},
    {"v_floor": -0.5, "spikes_per_step": "many", "max_spikes": 2, "reset": "subtract"},
)


def test_the_graph_has_what_is_shared_and_nodes_what_is_their_own() -> None:
    graph = nir_graph(MIXED)
    told = {k: v for k, v in graph["metadata"].items() if k != KEY}
    assert told == {
        "frontend": "nir",
        "dt": 1e-3,
        "compare": ">",
        "reset": "subtract",
        "reset_timing": "immediate",
    }
    about = {n: node["metadata"] for n, node in graph["nodes"].items() if "metadata" in node}
    assert about == {
        "a": {"v_floor": -0.25, "spikes_per_step": "one"},
        "b": {"v_floor": -0.5, "spikes_per_step": "many", "max_spikes": 2},
    }
    plain = nir_graph(network({}, {}))
    assert not [n for n in plain["nodes"].values() if "metadata" in n]


def test_it_is_read_where_the_record_is_none(tmp_path: Path) -> None:
    """Through nir's own reader and writer, which keep the metadata of graph and nodes."""
    path = write_nir(tmp_path / "net.nir", MIXED)
    graph = nir.read(path)
    graph.nodes["a"].v_threshold = graph.nodes["a"].v_threshold * 1.25  # now the record is void
    edited = read_network(graph)
    for name, floor in (("a", -0.25), ("b", -0.5)):
        neuron, old = edited.population(name).neuron, MIXED.population(name).neuron
        assert neuron is not None
        assert old is not None
        assert neuron.v_floor is not None
        assert float(neuron.v_floor) == floor
        assert neuron.rule == old.rule
    graph.nodes["a"].v_threshold = graph.nodes["a"].v_threshold / 1.25
    graph.metadata.pop(KEY)
    x = (np.random.default_rng(0).random((40, 6, 3)) < 0.5).astype(np.float32)
    theirs = run_float(read_network(graph), x).spikes["b"]
    np.testing.assert_array_equal(theirs, run_float(MIXED, x).spikes["b"])
    assert theirs.any()


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"v_floor": np.array([-0.5, -0.25])}, "a floor of v for each neuron"),
        ({"v_init": 0.5}, "what its membrane starts with"),
        ({"v_floor": -1.0}, ""),
    ],
)
def test_what_nobody_can_say_is_told(fields: dict[str, Any], what: str, tmp_path: Path) -> None:
    net = network(fields, {})
    found = unsaid(net)
    assert [(f.code, f.where) for f in found] == ([("nir-unsaid", "a")] if what else [])
    assert all(what in f.message for f in found)
    if "v_init" in fields:
        return  # no chip has one
    path = write_nir(tmp_path / "net.nir", net)
    words = ("--to", "nir", "--recipe", "none", "-o", tmp_path / "again.nir")
    out = check(run("export", path, *words), 0)
    assert ("warning[nir-unsaid] a: NIR cannot say" in out) == bool(what)
