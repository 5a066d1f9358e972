"""A ReLU network on MNIST as a sigma-delta network: answers, events and multiplications by threshold.

    python benchmarks/sdnn.py [--data folder] [--epochs 3] [--judged 10000] [--moving 200]

Trains 8C3s2-16C3s2-64-10 with ReLU in torch, converts it on 500 training images (scales and thresholds),
and judges it on test images: each held for one frame, and moving along a smooth path of parts of a
pixel, 30 frames each. Every frame of the float network is its own answer, so ``agrees`` needs no label.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
from networks import data_folder
from torch import nn

from snndeploy.data import Samples
from snndeploy.pipeline.torch_modules.thresholds import (
    THRESHOLDS,
    ThresholdPoint,
    against_thresholds,
    float_answers,
)

FRAMES, SPAN, SPEED = 30, 2.5, 0.35
"""Frames of a moving digit, how far it goes (pixels), and how far in a frame at the most."""
CALIBRATED = 500


def images(folder: Path, stem: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of 0 to 1, (n, 1, 28, 28), and labels."""
    with gzip.open(folder / f"{stem}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder / f"{stem}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return pixels.astype(np.float32) / 255, labels.astype(np.int64)


def network() -> nn.Sequential:
    """The network that the benchmark trains."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 6 * 6, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def trained(x: torch.Tensor, y: torch.Tensor, epochs: int) -> nn.Sequential:
    """Train on images (n, 1, 28, 28)."""
    torch.manual_seed(0)
    module = network()
    optimiser = torch.optim.Adam(module.parameters(), lr=2e-3)
    for epoch in range(epochs):
        for rows in torch.randperm(len(x)).split(128):
            optimiser.zero_grad()
            shift = tuple(torch.randint(-2, 3, (2,)).tolist()) if epoch else (0, 0)
            moved = torch.roll(x[rows], shift, (2, 3))
            nn.functional.cross_entropy(module(moved), y[rows]).backward()
            optimiser.step()
    return module.eval()


def moving(x: np.ndarray, seed: int) -> np.ndarray:
    """Frames (steps, samples, 1, 28, 28) of images that drift by parts of a pixel."""
    rng = np.random.default_rng(seed)
    place = np.zeros((len(x), 2))
    heading = rng.uniform(0, 2 * np.pi, len(x))
    frames = []
    for _ in range(FRAMES):
        theta = torch.zeros(len(x), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = 1.0
        theta[:, :, 2] = torch.tensor(place * 2 / 28)
        grid = nn.functional.affine_grid(theta, list(x.shape), align_corners=False)
        frames.append(nn.functional.grid_sample(torch.tensor(x), grid, align_corners=False).numpy())
        heading = heading + rng.normal(0, 0.3, len(x))
        step = SPEED * np.stack([np.cos(heading), np.sin(heading)], 1) * rng.random((len(x), 1))
        outside = np.abs(place + step) > SPAN
        heading = np.where(outside.any(1), heading + np.pi, heading)
        place = np.clip(place + np.where(outside, -step, step), -SPAN, SPAN)
    return np.stack(frames)


def table(title: str, points: tuple[ThresholdPoint, ...], float_accuracy: float) -> None:
    """Print one row per threshold."""
    print(f"\n{title}; float {float_accuracy:.2%}")
    print("threshold  accuracy  agrees  MACs    events per neuron and frame")
    for p in points:
        events = " ".join(f"{v:.3f}" for v in p.events.values())
        print(
            f"{p.threshold:9g}  {p.accuracy or 0.0:8.2%} {p.agrees:7.2%} {p.macs:6.1%}   {events}"
        )


def main() -> None:
    """Train, convert, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--judged", type=int, default=10_000)
    parser.add_argument("--moving", type=int, default=200)
    options = parser.parse_args()
    folder = (options.data or data_folder()) / "mnist"
    x, y = images(folder, "train")
    test, labels = (part[: options.judged] for part in images(folder, "t10k"))
    module = trained(torch.tensor(x), torch.tensor(y), options.epochs)
    calibration = Samples(x[None, :CALIBRATED], None)
    held = Samples(test[None], labels)
    right = float((float_answers(module, held) == labels).mean())
    for bits in (8, 6, 5, 4):
        points = against_thresholds(module, calibration, held, (0.0,), bits=bits)
        table(f"{len(held)} images held, weights of {bits} bits", points, right)
    path = Samples(moving(test[: options.moving], 0), labels[: options.moving])
    right = float((float_answers(module, path) == path.labels).mean())
    shown = Samples(moving(x[:CALIBRATED], 1), None)
    points = against_thresholds(module, shown, path, (*THRESHOLDS, 0.8))
    table(f"{len(path)} moving digits, {FRAMES} frames", points, right)


if __name__ == "__main__":
    main()
