"""Semantics that differ from population to population."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from click.testing import CliRunner

from snndeploy.cli import main
from snndeploy.errors import UsageError
from snndeploy.ingest import read_network
from tests.support.nir_graphs import chain, lif, written

NET = chain(3, nir.Linear(np.eye(3)), lif(3), nir.Linear(np.eye(3)), lif(3))
HOW: dict[str, Any] = {"frontend": "nir", "dt": 1e-3}


def test_one_population_steps_by_its_own_rules() -> None:
    own = {"n3": {"reset": "subtract", "compare": ">="}}
    network = read_network(NET, **HOW, populations=own)
    first, second = (network.population(n).neuron for n in ("n1", "n3"))
    assert first
    assert second
    assert (first.reset, first.compare) == ("zero", ">")
    assert (second.reset, second.compare) == ("subtract", ">=")
    assert "n3: reset subtract" in network.notes["normalised"]
    everywhere = read_network(
        NET, **HOW, populations={"n*": {"reset": "subtract", "compare": ">="}}
    )
    assert everywhere.digest == read_network(NET, **HOW, reset="subtract", compare=">=").digest


def refusal(own: dict[str, dict[str, object]]) -> str:
    with pytest.raises(UsageError) as caught:
        read_network(NET, **HOW, populations=own)
    return f"{caught.value.code}: {caught.value}"


def test_refusals() -> None:
    assert refusal({"n4": {"reset": "none"}}) == (
        "semantics-population: semantics: no population is named 'n4'\n  next: known: n1, n3"
    )
    assert refusal({"n3": {"dt": 1e-3}}) == (
        "semantics-whole-network: semantics of n3: dt holds for the whole network\n"
        "  next: give it without a population"
    )
    assert refusal({"n3": {"resset": "none"}}).startswith("unknown-semantics-option")


def test_on_the_command_line(tmp_path: Path) -> None:
    model = written(tmp_path, NET)
    arguments = ["inspect", str(model), "--frontend", "nir", "--dt", "0.001"]
    result = CliRunner().invoke(main, [*arguments, "--semantics", "n3:compare=>="])
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line for line in result.output.splitlines() if "fires" in line}
    assert "fires >=" in lines["n3"]
    assert "fires >=" not in lines["n1"]
