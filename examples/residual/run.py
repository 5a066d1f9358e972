"""A residual network as a live snnTorch module: trained, read from what it does, compiled, held against.

``python run.py`` needs snnTorch. It trains for some seconds on part of the digits that come with
snndeploy, and prints what came of it on the others as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import snntorch as snn
import torch
from torch import nn

import snndeploy
from snndeploy.demo import digits

HERE = Path(__file__).parent
TRAIN, SEEN, TEST = 250, 50, 100


class Net(nn.Module):
    """Two convolutions, with a shortcut around the second; membranes are kept by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.fc = nn.Linear(8 * 4 * 4, 10, bias=False)
        self.pool = nn.AvgPool2d(2)
        self.lif1, self.lif2, self.out = (
            snn.Leaky(beta=0.875, reset_mechanism="zero") for _ in range(3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Spikes of all steps in, spikes of the classes out, steps first."""
        m1, m2, m3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.out.init_leaky()
        answers = []
        for step in x:
            s1, m1 = self.lif1(self.conv1(step), m1)
            s2, m2 = self.lif2(self.conv2(s1) + s1, m2)  # the shortcut
            s3, m3 = self.out(self.fc(self.pool(s2).flatten(1)), m3)
            answers.append(s3)
        return torch.stack(answers)


def trained(x: torch.Tensor, y: torch.Tensor, epochs: int = 12) -> Net:
    """A network that has learnt to count spikes of the right class."""
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(y)).split(50):
            loss = nn.functional.cross_entropy(net(x[:, part]).sum(dim=0), y[part])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return net.eval()


def main() -> dict[str, Any]:
    """Train, read, compile, and hold the integers against the trained network."""
    samples = digits()
    x = torch.tensor(np.asarray(samples.inputs, np.float32))
    y = torch.tensor(np.asarray(samples.labels), dtype=torch.int64)
    net = trained(x[:, :TRAIN], y[:TRAIN])
    network = snndeploy.from_snntorch(net, x[:, :1])
    seen, test = samples.part(TRAIN, SEEN), samples.part(TRAIN + SEEN, TEST)
    compiled = snndeploy.compile(
        network, target="loihi2", recipe=HERE / "recipe.toml", calibration=seen
    )
    bundle = snndeploy.bundle_of(compiled, test.first(2))
    run = snndeploy.verify_bundle(bundle, ["float", "compressed", "integer"], lambda _: test)
    return {
        "fits": compiled.fits,
        "layers": [p.name for p in network.populations],
        "into lif2": sorted(p.name for p in network.projections if p.target == "lif2"),
        "accuracy": {engine: 100 * share for engine, share in run["accuracy"].items()},
    }


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
