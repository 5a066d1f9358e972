"""A network of 1,000 layers passes through the whole front of the pipeline in seconds."""

from __future__ import annotations

import time
from pathlib import Path

import nir
import pytest
from click.testing import CliRunner

from snndeploy.cli import main
from snndeploy.ingest import read_network
from tests.support.chains import nir_chain

_SECONDS = {"inspect": 10, "compile": 15}
"""Processor time; on a core that others share it is up to half as much again as on a quiet one."""

_TOLD = {"inspect": "n999", "compile": "and 990 more layers"}
"""What shows that all layers were there: tables on a terminal have 60 rows, or the 10 fullest layers."""


@pytest.mark.slow
def test_a_thousand_layers_are_read_and_known(tmp_path: Path) -> None:
    """In CPU time, so that a busy machine does not matter."""
    nir.write(tmp_path / "chain.nir", nir_chain(1000))
    started = time.process_time()
    network = read_network(tmp_path / "chain.nir", frontend="norse", dt=1e-3)
    assert len(network.digest) == 64
    assert network.depth[network.order[-1]] == 1000
    assert time.process_time() - started < _SECONDS["inspect"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["inspect", "compile"])
def test_a_thousand_layers_take_seconds(command: str, tmp_path: Path) -> None:
    """From a file to what is printed, and to a bundle; in CPU time of this process."""
    model = tmp_path / "chain.nir"
    nir.write(model, nir_chain(1000))
    small = tmp_path / "small.nir"  # kernels are compiled once per machine, modules loaded once
    nir.write(small, nir_chain(2))
    how = ["--frontend", "norse", "--dt", "1e-3"]
    spent = 0.0
    for name in (small, model):
        out = ["-o", str(name.with_suffix(".snnb"))] if command == "compile" else []
        started = time.process_time()
        result = CliRunner().invoke(main, [command, str(name), *out, *how])
        spent = time.process_time() - started
        assert result.exit_code == 0, result.output
    assert _TOLD[command] in result.output
    assert spent < _SECONDS[command]
