"""Train the demo's network: a convolutional SNN on handwritten digits, exported by snnTorch to NIR.

Install, in this order (the first line keeps pip from choosing another build of torch)::

    pip install torch==2.13.0
    pip install scikit-learn nir==1.0.8 networkx
    pip install --no-deps snntorch==1.0.0 nirtorch==2.6

``python train.py --out out`` takes a few minutes on one core and writes ``digits.nir`` and
``digits_heldout.npz`` (images, labels, steps). The digits come with scikit-learn; a quarter of them,
stratified by class, is held out and looked at only once, at the end.

The network is trained to be deployed. Weights and kernels of small magnitude decay a little at every
step, until what pruning would remove hardly matters, and every batch is also answered with the weights
rounded to 4 bits. What is exported is the plain float network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nir
import numpy as np
import snntorch as snn
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from snntorch import surrogate
from snntorch.export_nir import export_to_nir
from torch import Tensor, nn
from torch.nn import functional

STEPS = 16
BRIGHTEST = 16
BETA = 0.875  # 1 - 512/4096, which the chip's 12-bit decays hold exactly
KERNELS_REMOVED, WEIGHTS_PRUNED, LEVELS = 0.25, 0.5, 7  # what the demo's recipe will do
CONTRAST = 0.7  # of spike counts before the softmax
TRACED = 8

Weights = tuple[Tensor, Tensor, Tensor]


class Net(nn.Module):
    """conv 16 - pool - conv 32 - pool - 10 classes, all leaky neurons that reset to zero."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.fc = nn.Linear(128, 10, bias=False)
        with torch.no_grad():  # torch's initial weights leave the deeper layers silent
            for layer, gain in ((self.conv1, 3), (self.conv2, 6), (self.fc, 4)):
                layer.weight *= gain
        gradient = surrogate.fast_sigmoid(slope=10)
        self.lif = nn.ModuleList(
            snn.Leaky(beta=BETA, threshold=1.0, reset_mechanism="zero", spike_grad=gradient)
            for _ in range(3)
        )

    def weights(self) -> Weights:
        return self.conv1.weight, self.conv2.weight, self.fc.weight

    def forward(self, spikes: Tensor, weights: Weights | None = None) -> list[Tensor]:
        """Answer spikes (steps, samples, 1, 8, 8) with each layer's, (steps, samples, ...)."""
        w1, w2, w3 = weights or self.weights()
        v1, v2, v3 = (layer.reset_mem() for layer in self.lif)
        layers: list[list[Tensor]] = [[], [], []]
        for x in spikes:
            a, v1 = self.lif[0](functional.conv2d(x, w1, padding=1), v1)
            pooled = functional.avg_pool2d(a, 2)
            b, v2 = self.lif[1](functional.conv2d(pooled, w2, padding=1), v2)
            flat = functional.avg_pool2d(b, 2).flatten(1)
            c, v3 = self.lif[2](functional.linear(flat, w3), v3)
            for trains, layer in zip(layers, (a, b, c), strict=True):
                trains.append(layer)
        return [torch.stack(trains) for trains in layers]


def rate_code(images: Tensor) -> Tensor:
    """Spikes (steps, n, 1, 8, 8) of integer images (n, 1, 8, 8) from 0 to 16.

    With p = intensity / 16 a pixel spikes at step t iff floor((t + 1) p) > floor(t p): an intensity of
    k gives exactly k evenly spaced spikes.
    """
    t = torch.arange(STEPS + 1).view(-1, 1, 1, 1, 1)
    return (t * images[None] // BRIGHTEST).diff(dim=0).float()


def keep_kernels(weight: Tensor) -> Tensor:
    """All but the quarter of kernels with the smallest L1 norm, as a mask over output channels."""
    norms = weight.abs().sum((1, 2, 3))
    mask = torch.ones(len(norms), dtype=torch.bool)
    mask[norms.argsort()[: round(len(norms) * KERNELS_REMOVED)]] = False
    return mask


def small(net: Net) -> list[Tensor]:
    """Per layer, where the weights are that kernel removal and pruning will take."""
    w1, w2, w3 = net.weights()
    k1, k2 = keep_kernels(w1), keep_kernels(w2)
    alive = (
        k1.view(-1, 1, 1, 1).expand_as(w1),
        k2.view(-1, 1, 1, 1) & k1.view(1, -1, 1, 1).expand_as(w2),
        k2.repeat_interleave(4).expand_as(w3),
    )
    result = []
    for w, mask in zip((w1, w2, w3), alive, strict=True):
        sizes = w.abs()[mask].sort().values
        result.append(~mask | (w.abs() <= sizes[int(len(sizes) * WEIGHTS_PRUNED) - 1]))
    return result


def rounded(weight: Tensor) -> Tensor:
    """``weight`` on the 4-bit grid of least squared error; gradients pass straight through."""
    with torch.no_grad():
        steps = weight.abs().max() * torch.linspace(0.35, 1, 27) / LEVELS
        grids = [(weight / s).round().clamp(-LEVELS, LEVELS) * s for s in steps]
        best = min(grids, key=lambda grid: float(((grid - weight) ** 2).sum()))
    return weight + (best - weight).detach()


def train(net: Net, images: Tensor, labels: Tensor, epochs: int) -> None:
    """AdamW with cosine schedule on spike counts; images are shifted by up to a pixel."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            shift = torch.randint(-1, 2, (2,)).tolist() if torch.rand(()) < 0.5 else [0, 0]
            spikes = rate_code(torch.roll(images[batch], shift, (2, 3)))
            variants = [net.weights()]
            if epoch > epochs * 0.35:
                variants.append(tuple(rounded(w) for w in net.weights()))
            loss = sum(
                functional.cross_entropy(net(spikes, w)[-1].sum(0) * CONTRAST, labels[batch])
                for w in variants
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            if epoch > epochs * 0.25:
                with torch.no_grad():
                    for w, where in zip(net.weights(), small(net), strict=True):
                        w.mul_(torch.where(where, 0.99, 1.0))
        schedule.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}/{epochs}  loss {loss.item():.3f}", flush=True)


def export(net: Net, path: Path) -> nir.NIRGraph:
    """Write the network as NIR with snnTorch's own exporter, which wants parameters per neuron."""
    shapes = [(16, 8, 8), (32, 4, 4), (10,)]
    lifs = [
        snn.Leaky(
            beta=torch.full(shape, BETA),
            threshold=torch.ones(shape),
            reset_mechanism="zero",
            init_hidden=True,
        )
        for shape in shapes
    ]
    layers = [
        net.conv1,
        lifs[0],
        nn.AvgPool2d(2),
        net.conv2,
        lifs[1],
        nn.AvgPool2d(2),
        nn.Flatten(),
    ]
    sequential = nn.Sequential(*layers, net.fc, lifs[2])
    graph = export_to_nir(sequential, torch.zeros(1, 1, 8, 8), ignore_dims=[0])
    nir.write(path, graph)
    return graph


def main() -> None:
    """Train, test once, export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="where to write")
    parser.add_argument("--epochs", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trace", type=Path, help="also write snnTorch's own spikes, for tests")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)

    digits = load_digits()
    images = torch.tensor(digits.images).long().unsqueeze(1)
    labels = torch.tensor(digits.target)
    learn, held_out = train_test_split(
        np.arange(len(labels)), test_size=0.25, stratify=labels, random_state=0
    )
    net = Net()
    train(net, images[learn], labels[learn], options.epochs)
    spikes = rate_code(images[held_out])
    with torch.no_grad():
        recorded = net(spikes)
    counts = recorded[-1].sum(0)
    accuracy = (counts.argmax(1) == labels[held_out]).float().mean()
    print(f"held-out accuracy {accuracy:.1%} of {len(held_out)}")

    options.out.mkdir(parents=True, exist_ok=True)
    graph = export(net, options.out / "digits.nir")
    np.savez_compressed(
        options.out / "digits_heldout.npz",
        images=images[held_out, 0].numpy().astype(np.uint8),
        labels=labels[held_out].numpy().astype(np.uint8),
        steps=STEPS,
    )
    if options.trace:
        names = [name for name, node in graph.nodes.items() if isinstance(node, nir.LIF)]
        trace = {
            f"layer_{name}": layer[:, :TRACED].numpy().astype(np.uint8)
            for name, layer in zip(sorted(names, key=int), recorded, strict=True)
        }
        np.savez_compressed(
            options.trace,
            input=spikes[:, :TRACED].numpy().astype(np.uint8),
            counts=counts.numpy().astype(np.uint8),
            predictions=counts.argmax(1).numpy(),
            **trace,
        )


if __name__ == "__main__":
    main()
