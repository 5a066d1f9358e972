"""Live modules: what is folded and refused, and every framework's own output against ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import snndeploy
from snndeploy.errors import BackendMissing, InputError
from snndeploy.live.common import agreed, exported, output_shapes, prepared, read_live

ROOT = Path(__file__).parents[2]
TORCH = "torch==2.13.0"
COMMON = ("numpy", "h5py", "networkx", "nir==1.0.8", "scipy", "tqdm")
FRAMEWORKS = {
    "snntorch": ("snntorch==1.0.0",),
    "norse": ("norse==1.1.0",),
    "sinabs": ("sinabs==3.1.3",),
    "spikingjelly": ("spikingjelly==2.0.0",),
}
EXTRAS = {"sinabs": ("pbr", "matplotlib"), "spikingjelly": ("loguru",)}
NETWORKS = {"snntorch": 47, "norse": 35, "sinabs": 34, "spikingjelly": 27}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_random_networks_match_the_framework(name: str, tmp_path: Path) -> None:
    """Options of every kind, read live, from a file with all of them said, and from a file alone."""
    python = tmp_path / "env" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    steps = (
        [sys.executable, "-m", "venv", str(tmp_path / "env")],
        [*pip, TORCH],  # first, so that nothing brings another
        [*pip, *COMMON, *EXTRAS.get(name, ())],
        [*pip, "--no-deps", "nirtorch==2.6", *FRAMEWORKS[name]],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{name} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    script = ROOT / "tests" / "live" / "networks" / "check.py"
    run = subprocess.run(
        [str(python), str(script), name, str(NETWORKS[name])],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    results = json.loads(run.stdout.strip().splitlines()[-1])
    live = [r for r in results if r["how"] == "live"]
    assert len(live) == NETWORKS[name]
    assert {r["what"]: r["differing"] for r in results if r["wrong"]} == {}
    assert any(r["how"] == "file, all said" for r in results)
    assert sum(r["spikes"] != 0 for r in live) >= NETWORKS[name] * 2 // 3


def normed(layer: nn.Module, norm: Any) -> nn.Sequential:
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    return nn.Sequential(layer, norm, nn.Dropout(0.9), nn.Identity(), nn.ReLU())


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), (4, 2, 6, 6)),
        (nn.Linear(5, 3), nn.BatchNorm1d(3), (4, 5)),
    ],
)
def test_batch_norm_and_dropout_go(
    layer: nn.Module, norm: nn.Module, shape: tuple[int, ...]
) -> None:
    model = normed(layer, norm)
    net = prepared(nn.Sequential(model), "here")
    assert [type(m).__name__ for m in net[0].children()][1:] == ["ReLU"]  # type: ignore[index]
    assert len(model) == 5
    x = torch.rand(shape)
    with torch.no_grad():
        torch.testing.assert_close(net(x), model.eval()(x))


@pytest.mark.parametrize(
    ("layer", "code", "text"),
    [
        (nn.MaxPool2d(2), "live-max-pool", "the largest of several spikes is no sum of synapses"),
        (nn.BatchNorm2d(3), "live-batch-norm", "does not directly follow a convolution"),
    ],
)
def test_layers_that_cannot_be_brought_along(layer: nn.Module, code: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        prepared(nn.Sequential(nn.Flatten(), layer), "from_x")
    assert caught.value.code == code
    assert text in caught.value.message
    assert "layer '1'" in caught.value.message
    assert caught.value.hint


def test_a_module_that_cannot_be_copied() -> None:
    net = nn.Linear(2, 2)
    net.state = net.weight * 2  # type: ignore[assignment]
    with pytest.raises(InputError, match="the module cannot be copied") as caught:
        prepared(net, "from_x")
    assert caught.value.code == "live-copy"


def test_a_sample_of_the_wrong_shape() -> None:
    with pytest.raises(InputError, match="the module does not run on the sample") as caught:
        output_shapes(nn.Linear(3, 2), torch.ones(1, 4), (nn.Linear,), "from_x")
    assert caught.value.code == "live-run"


def test_an_exporter_that_fails() -> None:
    def fails() -> None:
        raise AttributeError("no such layer\nmore")

    with pytest.raises(
        InputError, match="exporter failed: AttributeError: no such layer"
    ) as caught:
        exported(fails, "from_x")
    assert caught.value.code == "live-export"


def test_layers_agree_on_what_holds_for_a_network() -> None:
    with pytest.raises(InputError) as caught:
        agreed({"a": {"dt": 1e-3}, "b": {"dt": 1e-4}}, "from_x")
    assert caught.value.code == "live-mixed"
    assert "dt is 0.001 in layer 'a' and 0.0001 in 'b'" in caught.value.message
    with pytest.raises(InputError, match="no neurons that are known") as caught:
        agreed({}, "from_x")
    assert caught.value.code == "live-no-neurons"


@pytest.mark.parametrize(("reset", "fine"), [("zero", True), ("other", False)])
def test_norse_options(reset: str, fine: bool) -> None:
    from types import SimpleNamespace

    from snndeploy.live.norse import _answers

    method = SimpleNamespace(__name__="reset_value" if fine else reset)
    cell = SimpleNamespace(p=SimpleNamespace(reset_method=method), dt=1e-3)
    if fine:
        assert _answers("a", cell) == {"reset": "zero", "dt": 1e-3}
        return
    with pytest.raises(
        InputError, match="layer 'a': its reset method other is not known"
    ) as caught:
        _answers("a", cell)
    assert caught.value.code == "live-option"


def test_missing_frameworks_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FRAMEWORKS:
        monkeypatch.setitem(sys.modules, name, None)
        for module in [m for m in sys.modules if m.startswith(f"{name}.")]:
            monkeypatch.delitem(sys.modules, module)
        with pytest.raises(BackendMissing, match=f"{name} cannot be imported here") as caught:
            getattr(snndeploy, f"from_{name}")(nn.Linear(1, 1), torch.ones(1))
        assert caught.value.code == "framework-missing"
        assert caught.value.hint == f"pip install {name}"


def test_what_the_module_said_is_not_said_to_be_lost() -> None:
    import nir
    import numpy as np

    from tests.support.nir_graphs import chain, lif

    graph = chain(2, nir.Linear(np.eye(2)), lif(2, tau=5.0, r=1.0))
    network = read_live(graph, "sinabs", {"v_floor": None})
    assert [f.code for f in network.findings] == ["assumed"]  # the answers that were not given
    assert network.notes["why"] == "read from the live sinabs module"
