"""A module beside the network made of it: equal, lost, used twice, or different; and every framework."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import nn

import snndeploy
from snndeploy.errors import InputError
from snndeploy.ingest import read_network
from snndeploy.ir.network import Network
from snndeploy.live.beside import Module, populations_of, refuse_other
from snndeploy.live.common import known_only, prepared
from tests.support.nir_graphs import chain

sys.path.insert(0, str(Path(__file__).parent / "networks"))


class Integrator(nn.Module):
    """v += x; fires above 1 and starts again from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.v: Any = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.v = self.v + x
        spikes = (self.v > 1).to(x.dtype)
        self.v = self.v * (1 - spikes)
        return spikes


WEIGHT = np.array([[0.6, -0.2, 0.3], [0.1, 0.5, -0.4]], np.float32)


class Two(nn.Module):
    """Two layers of neurons with weights in between."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Integrator(), Integrator()
        self.fc = nn.Linear(3, 2, bias=False)
        self.fc.weight.data = torch.tensor(WEIGHT)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.fc(self.a(x)))  # type: ignore[no-any-return]


class Scaled(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.fc(self.a(x)) * 0.5)  # type: ignore[no-any-return]


class Twice(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.fc(self.a(self.a(x))))  # type: ignore[no-any-return]


class Idle(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(x[:, :2])  # type: ignore[no-any-return]


class First(Two):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.a(x)
        self.b(self.fc(first))
        return first  # type: ignore[no-any-return]


def network(names: tuple[str, str] = ("a", "b"), weight: Any = WEIGHT) -> Network:
    neuron = [nir.IF(np.ones(n), np.ones(n)) for n in (3, 2)]
    model = chain(3, neuron[0], nir.Linear(weight), neuron[1], names=(names[0], "fc", names[1]))
    return read_network(model, "nir", dt=1.0)


def beside(net: Two, made: Network) -> Network:
    def calls(inputs: torch.Tensor) -> Any:
        net.a.v = net.b.v = 0.0
        return (partial(net, frame) for frame in inputs)

    live = Module(
        layers={"a": net.a, "b": net.b},
        calls=calls,
        unpack=lambda outputs: torch.stack(list(outputs)),
    )
    return refuse_other(live, made, torch.ones(1, 3), "here")


def test_the_same_network_passes() -> None:
    made = network()
    assert beside(Two(), made).findings == made.findings


@pytest.mark.parametrize(
    ("net", "made", "code", "text"),
    [
        (Scaled(), network(), "live-differs", "layer 'b' first differs in step"),
        (Two(), network(weight=WEIGHT * 0), "live-differs", "layer 'b' first differs in step"),
        (Twice(), network(), "live-reused", "layer 'a' ran 2 times in one call"),
        (Idle(), network(), "live-unused", "layer 'a' did not run"),
        (First(), network(), "live-differs", "returns what layer 'a' gives"),
        (Two(), network(("a", "c")), "live-layer-lost", "layer 'b' became no population"),
    ],
)
def test_another_network_is_refused(net: Two, made: Network, code: str, text: str) -> None:
    with pytest.raises(InputError, match=text) as caught:
        beside(net, made)
    assert caught.value.code == code
    assert caught.value.where == "here"
    assert caught.value.hint


def test_a_layer_that_never_spikes_is_told() -> None:
    net = Two()
    net.fc.weight.data *= -1
    weight = -np.abs(WEIGHT)
    net.fc.weight.data = torch.tensor(weight)
    found = beside(net, network(weight=weight)).findings
    assert [f.code for f in found if f.code.startswith("live")] == ["live-silent"]
    assert "layer 'b' never spiked" in found[-1].message


def test_rounding_at_the_threshold_is_no_difference() -> None:
    """A threshold 1e-6 higher decides otherwise only where a membrane lies in between."""
    net = Two()
    net.fc.weight.data = torch.tensor([[0.5, 0.0, 0.0], [0.0, 1.0000005, 0.0]])
    made = network(weight=net.fc.weight.detach().numpy())
    moved = [
        dataclasses.replace(
            p, neuron=p.neuron.changed(p.shape, threshold=p.neuron.threshold * (1 + 1e-6))
        )
        for p in made.populations
        if p.neuron is not None and p.neuron.threshold is not None
    ]
    assert beside(net, made.replace(moved))
    far = [
        dataclasses.replace(p, neuron=p.neuron.changed(p.shape, threshold=p.neuron.threshold * 1.1))
        for p in made.populations
        if p.neuron is not None and p.neuron.threshold is not None
    ]
    with pytest.raises(InputError, match="first differs"):
        beside(net, made.replace(far))


def test_layers_find_their_populations_by_name() -> None:
    made = network(("block_0", "2.lif"))
    assert populations_of(["block.0", "2"], made, "") == {"block.0": "block_0", "2": "2.lif"}


def test_unknown_neurons_are_named() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Tanh())
    with pytest.raises(InputError, match="layer '1' is a Tanh, which is not known") as caught:
        known_only(net, (nn.ReLU, nn.Tanh), (nn.ReLU,), "here")
    assert caught.value.code == "live-neuron"
    assert caught.value.hint == "known are ReLU"


def test_dropout_outside_a_sequential_goes() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.drop = nn.Linear(3, 2), nn.Dropout(0.9)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.drop(self.fc(x))  # type: ignore[no-any-return]

    net = Net()
    made = prepared(net, "here")
    assert [n for n, _ in made.named_children()] == ["fc"]
    x = torch.rand(4, 3)
    assert torch.equal(made(x), net.eval()(x))
    assert isinstance(net.drop, nn.Dropout)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["snntorch", "norse", "sinabs", "spikingjelly"])
def test_a_few_random_networks_of_every_framework(name: str) -> None:
    """The slow tests run many more, each framework in an environment of its own."""
    pytest.importorskip(name)
    check = importlib.import_module("check")
    results = check.results(name, 4)
    assert {r["what"]: r for r in results if r["wrong"]} == {}


@pytest.mark.filterwarnings("ignore")
class TestSnnTorch:
    """What its exporter loses of a module is refused."""

    @pytest.fixture
    def snn(self) -> Any:
        return pytest.importorskip("snntorch")

    def parts(self, snn: Any) -> dict[str, nn.Module]:
        torch.manual_seed(1)
        options = {"beta": 0.8, "threshold": 0.3, "init_hidden": True}
        return {
            "fc1": nn.Linear(8, 6),
            "l1": snn.Leaky(**options),
            "fc2": nn.Linear(6, 6),
            "l2": snn.Leaky(**options),
            "fc3": nn.Linear(6, 4),
            "o": snn.Leaky(**options, output=True),
        }

    @pytest.mark.parametrize("form", ["plain", "dropout"])
    def test_layers_in_a_row_are_read(self, snn: Any, form: str) -> None:
        class Net(nn.Module):
            def __init__(self, parts: dict[str, nn.Module]) -> None:
                super().__init__()
                self.parts = nn.ModuleDict(parts)
                self.drop = nn.Dropout(0.5)

            def forward(self, x: torch.Tensor) -> Any:
                p = self.parts
                x = p["l1"](p["fc1"](x))
                x = self.drop(x) if form == "dropout" else x
                return p["o"](p["fc3"](p["l2"](p["fc2"](x))))[0]

        made = snndeploy.from_snntorch(Net(self.parts(snn)), torch.ones(1, 8))
        assert [p.shape for p in made.populations] == [(8,), (6,), (6,), (4,)]

    @pytest.mark.parametrize("form", ["residual", "last", "shared", "scaled", "relu", "concat"])
    def test_anything_else_is_refused(self, snn: Any, form: str) -> None:
        class Net(nn.Module):
            def __init__(self, parts: dict[str, nn.Module]) -> None:
                super().__init__()
                for name, part in parts.items():
                    setattr(self, name, part)
                self.wide = nn.Linear(12, 4)

            def forward(self, x: torch.Tensor) -> Any:
                z = self.l1(self.fc1(x))
                if form == "residual":
                    return self.o(self.fc3(self.l2(self.fc2(z) + z)))[0]
                if form == "last":
                    return self.l2(self.fc2(z) + z)
                if form == "shared":
                    return self.o(self.fc3(self.l2(self.fc2(self.fc2(z)))))[0]
                if form == "scaled":
                    return self.o(self.fc3(self.l2(self.fc2(z) * 0.5)))[0]
                if form == "relu":
                    return self.o(self.fc3(self.l2(torch.relu(self.fc2(z)))))[0]
                return self.o(self.wide(torch.cat([z, self.l2(self.fc2(z))], 1)))[0]

        with pytest.raises(InputError):
            snndeploy.from_snntorch(Net(self.parts(snn)), torch.ones(1, 8))
