"""What is written is read by the frameworks' own importers, spike for spike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

from snndeploy.export import write_nir
from snndeploy.ingest import read_network
from snndeploy.ir.network import Network
from snndeploy.simulate.float.engine import run_float
from tests.support.nir_graphs import chain, conv2d, lif

pytestmark = pytest.mark.filterwarnings("ignore")
DT = 1e-4
"""The only time step that snnTorch knows."""


@pytest.fixture
def network() -> Network:
    """A convolution with a bias in front of a pool, then a dense layer."""
    rng = np.random.default_rng(0)
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    model = chain(
        (1, 8, 8),
        conv2d(rng.normal(size=(4, 1, 3, 3)), rng.normal(size=4)),
        pool,
        lif((4, 3, 3), tau=1e-3),
        nir.Flatten({"input": np.array([4, 3, 3])}, 0, -1),
        nir.Affine(rng.normal(size=(3, 36)), rng.normal(size=3)),
        lif(3, tau=1e-3),
    )
    return read_network(model, "nir", dt=DT)


def stepped(module: Any, x: Any) -> Any:
    """Output of a module that hands its state on, step by step."""
    state, outputs = None, []
    with torch.no_grad():
        for frame in torch.tensor(x):
            out, state = module(frame, state)
            outputs.append(out.numpy())
    return np.stack(outputs)


@pytest.mark.parametrize("name", ["snntorch", "spikingjelly"])
def test_importers_run_what_was_written(name: str, network: Network, tmp_path: Path) -> None:
    pytest.importorskip(name)
    path = write_nir(tmp_path / "out.nir", network)
    if name == "snntorch":
        from snntorch.import_nir import import_from_nir  # type: ignore[import-not-found]

        module = import_from_nir(nir.read(path, type_check=False))
    else:
        from spikingjelly.activation_based.nir_exchange import from_nir  # type: ignore[import-not-found]

        module = from_nir.import_from_nir(str(path), dt=DT)
    x = (np.random.default_rng(1).random((30, 1, 1, 8, 8)) < 0.4).astype(np.float32)
    ours = run_float(network, x).spikes["n5"]
    assert ours.sum() > 10
    np.testing.assert_array_equal(stepped(module, x).reshape(ours.shape), ours)
