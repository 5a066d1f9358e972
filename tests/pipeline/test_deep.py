"""A network of 1,000 layers passes through the whole front of the pipeline in seconds."""

from __future__ import annotations

import time
from pathlib import Path

import nir
import pytest

from snndeploy.ingest import read_network
from tests.support.chains import nir_chain


@pytest.mark.slow
def test_a_thousand_layers_are_read_and_known(tmp_path: Path) -> None:
    """In CPU time, so that a busy machine does not matter."""
    nir.write(tmp_path / "chain.nir", nir_chain(1000))
    started = time.process_time()
    network = read_network(tmp_path / "chain.nir", frontend="norse", dt=1e-3)
    assert len(network.digest) == 64
    assert network.depth[network.order[-1]] == 1000
    assert time.process_time() - started < 10
