"""Delays of networks and of programs, as `inspect` shows them."""

from __future__ import annotations

import json
from pathlib import Path

import nir
import numpy as np

from snndeploy import compile, read_network
from snndeploy.export import write_netx
from tests.support.commands import check, printed, run
from tests.support.nir_graphs import chain, lif, written


def test_a_networks_delays(tmp_path: Path) -> None:
    delay = nir.Delay(np.array([3e-3, 3e-3, 5e-3]))
    path = written(tmp_path, chain(3, delay, nir.Linear(np.ones((2, 3))), lif(2)))
    arguments = ("inspect", path, "--frontend", "nir", "--dt", "0.001")
    assert "input[t-3…5]" in check(run(*arguments), 0)
    projections = json.loads(printed(run(*arguments, "--json")))["projections"]
    assert [p["sources"][0]["delay"] for p in projections] == [[3, 5]]


def test_a_programs_delays(tmp_path: Path) -> None:
    """Every synapse of a program takes a step; only more is worth a word."""
    delay = nir.Delay(np.array([2e-3, 2e-3, 4e-3]))
    nodes = (delay, nir.Linear(np.ones((2, 3))), lif(2), nir.Linear(np.ones((2, 2))), lif(2))
    network = read_network(chain(3, *nodes), "nir", dt=1e-3, reset="zero")
    path = write_netx(tmp_path / "a.net", compile(network, recipe=None, layout="netx").program)
    told = check(run("inspect", path), 0)
    assert ", 3…5 steps" in told
    assert told.count(" steps") == 1
