"""Every Python block of the docs runs as it is printed, on files and objects that it names.

A page's blocks run in its order and in one namespace, in which there is what the page says that its
reader has, and nothing else: imports stand on the page. Those of docs/start have their own test.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import snndeploy
from snndeploy.export import write_nir
from snndeploy.simulate.float.engine import run_float
from snndeploy.verify.trace import read_trace
from tests.support.builders import conv_net

pytestmark = pytest.mark.filterwarnings("ignore")  # the frameworks' own

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = {"SLURMCluster": "needs the queue of a cluster", "tonic:": "fetches a public data set"}
"""Blocks that are only parsed, by what they hold, and why."""
SLOW = ("README.md", "docs/how-to/finetune.md", "docs/how-to/verify.md")
TRACES = "docs/how-to/probe.md"
"""The page whose blocks are for a framework each."""
BLOCKS = {
    str(path.relative_to(ROOT)): BLOCK.findall(path.read_text(encoding="utf-8"))
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if path.parent.name not in ("start", "adr")
}
Names = dict[str, Any]


def test_every_block_is_known() -> None:
    texts = [text for page in BLOCKS.values() for text in page]
    assert len(texts) > 15
    assert all(any(part in text for text in texts) for part in NOT_RUN)
    assert {*SLOW, TRACES, *READER} <= {page for page, blocks in BLOCKS.items() if blocks}


def run(text: str, page: str, names: Names) -> None:
    code = compile(text, page, "exec", dont_inherit=True)
    if not any(part in text for part in NOT_RUN):
        exec(code, names)  # the page's own code, as a reader runs it


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network, its bundle, and samples of it."""
    folder = tmp_path_factory.mktemp("desk")
    network = conv_net()
    write_nir(folder / "model.nir", network)
    rng = np.random.default_rng(0)
    x, y = (rng.random((6, 20, 2, 8, 8)) < 0.5).astype(np.uint8), rng.integers(0, 5, 6)
    for name in ("test", "train"):
        np.savez(folder / f"{name}.npz", x=x, y=y)
    samples = snndeploy.Samples(x.swapaxes(0, 1), y)
    compiled = snndeploy.compile(network, recipe=None, calibration=samples)
    snndeploy.save_bundle(folder / "net.snnb", snndeploy.bundle_of(compiled, samples.first(2)))
    return folder


def program() -> Names:
    compiled = snndeploy.compile(conv_net(), recipe=None)
    samples = snndeploy.Samples(np.ones((10, 3, 2, 8, 8), np.uint8))
    return {"program": compiled.program, "target": compiled.target, "samples": samples}


def relu() -> Names:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    frames = np.random.default_rng(0).random((4, 5, 12)).astype(np.float32)
    return {"module": module, "samples": snndeploy.Samples(frames)}


class LIFNode(nn.Module):
    """A leaky neuron with the interface of SpikingJelly's."""

    step_mode, tau = "m", 2.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v, out = torch.zeros_like(x[0]), []
        for current in x:
            v = v + (current - v) / self.tau
            out.append((v >= 0.3).to(v.dtype))
            v = v * (1 - out[-1])
        return torch.stack(out)


class Block(nn.Module):
    """A product of spikes, which no file format holds."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k = nn.Linear(12, 8), nn.Linear(12, 8)
        self.q_lif, self.k_lif = LIFNode(), LIFNode()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.q_lif(self.q(x)) * self.k_lif(self.k(x))


def attention() -> Names:
    torch.manual_seed(0)
    net = nn.Sequential()
    net.add_module("block1", Block())
    return {"net": net.eval(), "x": (torch.rand(6, 4, 12) < 0.5).float()}


def snntorch_net() -> Names:
    snn = pytest.importorskip("snntorch")
    torch.manual_seed(0)
    leaky = {"beta": 0.875, "init_hidden": True}
    net = nn.Sequential(
        nn.Linear(32, 24), snn.Leaky(**leaky), nn.Linear(24, 6), snn.Leaky(**leaky, output=True)
    )
    return {"net": net, "sample": torch.rand(1, 32)}


READER: dict[str, Callable[[], Names]] = {
    "docs/explanation/mapping.md": program,
    "docs/explanation/sdnn.md": relu,
    "docs/explanation/second-order.md": attention,
    "docs/how-to/semantics.md": snntorch_net,
}
"""What a page takes for granted that its reader has in Python; all others begin with files."""


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] * (page in SLOW))
        for page, blocks in BLOCKS.items()
        if blocks and page != TRACES
    ],
)
def test_the_blocks_run(
    page: str, desk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for file in desk.iterdir():
        if not any(f'save_bundle("{file.name}"' in text for text in BLOCKS[page]):
            (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    names = READER[page]() if page in READER else {}
    for text in BLOCKS[page]:
        run(text, page, names)


def loud(*layers: nn.Linear) -> None:
    """Weights as they are drawn are too small for these neurons to spike."""
    with torch.no_grad():
        for layer in layers:
            layer.weight.mul_(50)


def norse_net() -> Names:
    norse = pytest.importorskip("norse.torch")
    torch.manual_seed(0)
    loud(first := nn.Linear(32, 24), last := nn.Linear(24, 6))
    return {"net": norse.SequentialState(first, norse.LIFBoxCell(), last, norse.LIFBoxCell())}


def sinabs_net() -> Names:
    layers = pytest.importorskip("sinabs.layers")
    torch.manual_seed(0)
    return {"net": nn.Sequential(nn.Linear(32, 24), layers.IAF(), nn.Linear(24, 6), layers.IAF())}


def spikingjelly_net() -> Names:
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    torch.manual_seed(0)
    loud(first := nn.Linear(32, 24), last := nn.Linear(24, 6))
    return {"net": nn.Sequential(first, neuron.LIFNode(), last, neuron.LIFNode())}


def rockpool_net() -> Names:
    modules = pytest.importorskip("rockpool.nn.modules")
    from rockpool.nn.combinators import Sequential  # type: ignore[import-not-found,unused-ignore]

    torch.manual_seed(0)
    linear, lif = modules.LinearTorch, modules.LIFTorch
    layers = linear((32, 24)), lif(24, dt=1e-3), linear((24, 6)), lif(6, dt=1e-3)
    return {"net": Sequential(*layers)}


def read_rockpool(net: Any, _sample: Any) -> snndeploy.Network:
    import nir
    from rockpool.nn.modules.torch.nir import to_nir  # type: ignore[import-not-found]

    nir.write("net.nir", to_nir(net))
    return snndeploy.read_network("net.nir")


FRAMEWORKS: dict[str, tuple[Callable[[], Names], Callable[..., snndeploy.Network], Any]] = {
    "snnTorch": (snntorch_net, snndeploy.from_snntorch, torch.zeros(1, 32)),
    "Norse": (norse_net, snndeploy.from_norse, torch.zeros(1, 32)),
    "Sinabs": (sinabs_net, snndeploy.from_sinabs, torch.zeros(1, 100, 32)),
    "SpikingJelly": (spikingjelly_net, snndeploy.from_spikingjelly, torch.zeros(1, 32)),
    "Rockpool": (rockpool_net, read_rockpool, None),
}
"""A network of each framework, and how we read it."""


def test_every_way_to_a_trace_is_known() -> None:
    parts = (ROOT / TRACES).read_text(encoding="utf-8").split("\n### ")
    assert [part.split("\n")[0] for part in parts[1:] if "```python" in part] == [*FRAMEWORKS]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_trace_is_what_the_network_does(
    framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's sample, and the block of one framework: the float engine gives what it recorded."""
    make, read, sample = FRAMEWORKS[framework]
    monkeypatch.chdir(tmp_path)
    names = make()
    net = names["net"]
    network = read(net, sample)
    parts = (ROOT / TRACES).read_text(encoding="utf-8").split("\n### ")
    own = next(part for part in parts if part.startswith(f"{framework}\n"))
    for _ in range(2):  # what a run leaves in the network is no part of the next trace
        for text in (*BLOCK.findall(parts[0]), *BLOCK.findall(own)):
            run(text, TRACES, names)
    trace = read_trace(Path("trace.npz"))
    found = run_float(network, trace["input"]).spikes[network.with_role("output")[0].name]
    assert found.sum() > 10
    assert np.array_equal(found, trace["output"])
