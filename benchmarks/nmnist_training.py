"""The published dense network on N-MNIST, 2312-256-10 over 100 steps, trained on simulated saccades.

    python benchmarks/nmnist_training.py [--seed 0] [--epochs 60] [--minutes 7] [--digits 59000]

trains in pieces: after every epoch a checkpoint is written, after ``--minutes`` it stops, and the same
command goes on. Digits are MNIST's training digits from the 1,000th on, so that no digit of a real
sample is trained on. Every epoch sees each digit once, moved by up to ``--shift`` pixels. Frames are
those of SBC's released code: a sample's N events in order, N // 100 to a frame, the last one with the
rest, as counts. The first layer is a sum of rows over events, forwards and backwards, so a sample costs
less than a millisecond. Neurons are v = v/2 + x/2, a spike at v >= 1, reset to zero; the surrogate is
ATan, the loss the cross-entropy of spike counts.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from networks import cache_folder, data_folder
from saccades import PIXELS, SIDE, mnist, real, simulated

from snndeploy.ir.arrays import frozen
from snndeploy.ir.network import Network, Population, Projection, Source
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Dense
from snndeploy.ir.weights import Weight
from snndeploy.simulate.jit import compiled

Array = npt.NDArray[np.generic]
STEPS, HIDDEN, CLASSES = 100, 256, 10
FIRST = 1000
"""Training digits before this one are those of real samples."""
TESTS = slice(100, 2100)
"""Of MNIST's test digits; the first hundred are those of real samples."""
_ALPHA = 2.0
_SCALE = 0.25
"""Of spike counts in the cross-entropy."""


@compiled
def _run(events: Array, w1: Array, w2: Array, v1: Array, v2: Array, s1: Array, s2: Array) -> None:
    """One sample forwards: potentials before the reset, and spikes, of both layers."""
    per = len(events) // STEPS
    x1, state1 = np.zeros(HIDDEN, np.float32), np.zeros(HIDDEN, np.float32)
    x2, state2 = np.zeros(CLASSES, np.float32), np.zeros(CLASSES, np.float32)
    half, one = np.float32(0.5), np.float32(1.0)
    for t in range(STEPS):
        x1[:] = 0
        stop = len(events) if t == STEPS - 1 else (t + 1) * per
        for e in range(t * per, stop):
            if events[e] < 0:
                continue
            row = w1[events[e]]
            for j in range(HIDDEN):
                x1[j] += row[j]
        x2[:] = 0
        for j in range(HIDDEN):
            v = half * (state1[j] + x1[j])
            v1[t, j] = v
            fired = v >= one
            s1[t, j] = one if fired else np.float32(0)
            state1[j] = np.float32(0) if fired else v
            if fired:
                for k in range(CLASSES):
                    x2[k] += w2[j, k]
        for k in range(CLASSES):
            v = half * (state2[k] + x2[k])
            v2[t, k] = v
            fired = v >= one
            s2[t, k] = one if fired else np.float32(0)
            state2[k] = np.float32(0) if fired else v


@compiled
def _moved(events: Array, dy: int, dx: int) -> Array:
    """Pixels moved; -1 where they leave the field."""
    out = np.empty(len(events), np.int64)
    for e in range(len(events)):
        pixel = np.int64(events[e])
        y, x = (pixel // SIDE) % SIDE + dy, pixel % SIDE + dx
        inside = 0 <= y < SIDE and 0 <= x < SIDE
        out[e] = pixel + dy * SIDE + dx if inside else -1
    return out


@compiled
def _back(
    events: Array,
    w2: Array,
    v1: Array,
    v2: Array,
    s1: Array,
    s2: Array,
    slope: Array,
    g1: Array,
    g2: Array,
) -> None:
    """Add a sample's gradients to ``g1`` and ``g2``; ``slope`` is the loss by an output spike."""
    per = len(events) // STEPS
    half, zero = np.float32(0.5), np.float32(0)
    d1, d2 = np.zeros(HIDDEN, np.float32), np.zeros(CLASSES, np.float32)
    c = np.float32(np.pi / 2 * _ALPHA)
    a = np.float32(_ALPHA / 2)
    for back in range(STEPS):
        t = STEPS - 1 - back
        for k in range(CLASSES):
            x = c * (v2[t, k] - 1)
            surrogate = a / (1 + x * x)
            later = half * d2[k]  # the membrane of the next step
            d2[k] = (slope[k] - v2[t, k] * later) * surrogate + (later if s2[t, k] == 0 else zero)
        for j in range(HIDDEN):
            fired = s1[t, j] != 0
            total = zero
            for k in range(CLASSES):
                total += w2[j, k] * d2[k]
                if fired:
                    g2[j, k] += half * d2[k]
            x = c * (v1[t, j] - 1)
            surrogate = a / (1 + x * x)
            later = half * d1[j]
            d1[j] = (half * total - v1[t, j] * later) * surrogate + (zero if fired else later)
        stop = len(events) if t == STEPS - 1 else (t + 1) * per
        for e in range(t * per, stop):
            if events[e] < 0:
                continue
            row = g1[events[e]]
            for j in range(HIDDEN):
                row[j] += half * d1[j]


@compiled
def _batch(
    pixels: Array,
    offsets: Array,
    labels: Array,
    chosen: Array,
    shifts: Array,
    w1: Array,
    w2: Array,
    g1: Array,
    g2: Array,
    learn: bool,
) -> tuple[float, int]:
    """Loss and right answers of a batch; gradients where it learns."""
    v1, s1 = np.empty((STEPS, HIDDEN), np.float32), np.empty((STEPS, HIDDEN), np.float32)
    v2, s2 = np.empty((STEPS, CLASSES), np.float32), np.empty((STEPS, CLASSES), np.float32)
    loss, right = 0.0, 0
    for i in range(len(chosen)):
        n = chosen[i]
        events = _moved(pixels[offsets[n] : offsets[n + 1]], shifts[i, 0], shifts[i, 1])
        _run(events, w1, w2, v1, v2, s1, s2)
        counts = np.zeros(CLASSES, np.float32)
        for t in range(STEPS):
            counts += s2[t]
        right += int(counts.argmax() == labels[n])
        told = np.exp(_SCALE * (counts - counts.max()))
        told /= told.sum()
        loss -= np.log(told[labels[n]] + 1e-12)
        if learn:
            slope = told.astype(np.float32)
            slope[labels[n]] -= np.float32(1)
            slope *= np.float32(_SCALE / len(chosen))
            _back(events, w2, v1, v2, s1, s2, slope, g1, g2)
    return loss, right


@compiled
def _adam(w: Array, g: Array, m: Array, v: Array, step: int, rate: float, decay: float) -> None:
    """One step of AdamW, in place; the gradient is cleared."""
    a, b = np.float32(0.9), np.float32(0.999)
    one = np.float32(1)
    size = np.float32(rate / (1 - 0.9**step))
    root = np.float32(1 / (1 - 0.999**step))
    keep = np.float32(1 - rate * decay)
    eps = np.float32(1e-8)
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            m[i, j] = a * m[i, j] + (one - a) * g[i, j]
            v[i, j] = b * v[i, j] + (one - b) * g[i, j] * g[i, j]
            w[i, j] = keep * w[i, j] - size * m[i, j] / (np.sqrt(root * v[i, j]) + eps)
            g[i, j] = 0


class Events:
    """Samples as pixels in order of time."""

    def __init__(self, pixels: Array, offsets: Array, labels: Array) -> None:
        self.pixels, self.offsets, self.labels = pixels, offsets, labels

    def __len__(self) -> int:
        return len(self.labels)

    def frames(self, low: int = 0, high: int | None = None) -> Array:
        """Counts ``(100, samples, 2312)`` of some of them, split by number."""
        span = range(len(self))[low:high]
        out = np.zeros((STEPS, len(span), PIXELS), np.uint8)
        for i, n in enumerate(span):
            events = self.pixels[self.offsets[n] : self.offsets[n + 1]]
            per = max(1, len(events) // STEPS)
            step = np.minimum(np.arange(len(events)) // per, STEPS - 1)
            np.add.at(out, (step, i, events), 1)
        return out


def events(data: Path, cache: Path, split: str, digits: slice) -> Events:
    """Simulated samples of some MNIST digits, kept in the cache."""
    images, labels = mnist(data, split)
    span = range(len(labels))[digits]
    stem = cache / f"saccades-{split}-{span.start}-{span.stop}"
    path = Path(f"{stem}.npz")
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        offset = 0 if split == "train" else 1 << 20
        pixels, offsets, _ = simulated(images[digits], span.start + offset)
        part = Path(f"{stem}-{os.getpid()}.npz")
        np.savez(part, pixels=pixels, offsets=offsets)
        part.replace(path)
    with np.load(path, allow_pickle=False) as file:
        return Events(file["pixels"], file["offsets"], labels[digits])


def real_events(data: Path) -> Events:
    """The 1,100 real samples; none of their digits is trained on."""
    pixels, offsets, _, labels = real(data)
    return Events(pixels, offsets, labels)


def right(w1: Array, w2: Array, samples: Events) -> float:
    """Accuracy in %."""
    chosen = np.arange(len(samples))
    none = np.zeros((1, 1), np.float32)
    still = np.zeros((len(chosen), 2), np.int64)
    _, n = _batch(
        samples.pixels, samples.offsets, samples.labels, chosen, still, w1, w2, none, none, False
    )
    return 100 * n / len(samples)


def network(w1: Array, w2: Array) -> Network:
    """What was trained; the halves of inputs go into the weights."""
    populations = [Population("input", (PIXELS,), None, "input")]
    projections = []
    for i, (w, name) in enumerate(((w1, "hidden"), (w2, "output")), start=1):
        n = w.shape[1]
        weight = Weight(np.ascontiguousarray(w.T) / np.float32(2))
        source = Source(populations[-1].name, frozen(0, np.int64))
        op = Dense(n, w.shape[0])
        projections.append(Projection(f"w{i}", (source,), name, (op,), weight))
        neuron = Neuron.create((n,), leak=0.5, threshold=1.0)
        populations.append(Population(name, (n,), neuron, "output" if i == 2 else "hidden"))
    return Network(tuple(populations), tuple(projections)).verify()


def checkpoint(cache: Path, seed: int) -> Path:
    """Where a network's training is kept."""
    return cache / f"nmnist-dense-{seed}.npz"


def load(cache: Path, seed: int) -> Network:
    """The network as far as it is trained."""
    with np.load(checkpoint(cache, seed), allow_pickle=False) as file:
        return network(file["w1"], file["w2"])


def train(options: argparse.Namespace) -> None:
    """As many epochs as the minutes allow; goes on from the checkpoint."""
    began = time.perf_counter()
    cache: Path = options.cache
    samples = events(options.data, cache, "train", slice(FIRST, FIRST + options.digits))
    test = events(options.data, cache, "test", TESTS)
    shown = real_events(options.data)
    path = checkpoint(cache, options.seed)
    rng = np.random.default_rng(options.seed)
    state = {
        "w1": rng.uniform(-6, 6, (PIXELS, HIDDEN)).astype(np.float32) / np.float32(PIXELS**0.5),
        "w2": rng.uniform(-2, 2, (HIDDEN, CLASSES)).astype(np.float32) / np.float32(HIDDEN**0.5),
        "epoch": np.array(0),
    }
    for name in ("w1", "w2"):
        state |= {f"m_{name}": np.zeros_like(state[name]), f"v_{name}": np.zeros_like(state[name])}
    if path.exists():
        with np.load(path, allow_pickle=False) as file:
            state = {name: file[name] for name in file}
    w = {name: state[name] for name in ("w1", "w2")}
    g = {name: np.zeros_like(w[name]) for name in w}
    batches = len(samples) // options.batch
    for epoch in range(int(state["epoch"]), options.epochs):
        stream = np.random.default_rng([options.seed, epoch])
        order = stream.permutation(len(samples))
        shifts = stream.integers(-options.shift, options.shift + 1, (len(samples), 2))
        loss, good = 0.0, 0
        for b in range(batches):
            step = epoch * batches + b
            rate = options.rate * 0.5 * (1 + np.cos(np.pi * step / (options.epochs * batches)))
            part = order[b * options.batch : (b + 1) * options.batch]
            found = _batch(
                samples.pixels,
                samples.offsets,
                samples.labels,
                part,
                shifts[part],
                w["w1"],
                w["w2"],
                g["w1"],
                g["w2"],
                True,
            )
            loss, good = loss + found[0], good + found[1]
            for name in w:
                m, v = state[f"m_{name}"], state[f"v_{name}"]
                _adam(w[name], g[name], m, v, step + 1, rate, options.decay)
        state["epoch"] = np.array(epoch + 1)
        part_path = path.with_name(f"{path.stem}-{os.getpid()}.npz")
        np.savez(part_path, **state)
        part_path.replace(path)
        seen = batches * options.batch
        print(
            f"seed {options.seed}, epoch {epoch + 1}/{options.epochs}: loss {loss / seen:.4f}, "
            f"train {100 * good / seen:.2f}, simulated {right(*w.values(), test):.2f}, "
            f"real {right(*w.values(), shown):.2f}, {time.perf_counter() - began:.0f} s",
            flush=True,
        )
        if time.perf_counter() - began > 60 * options.minutes:
            break


def main() -> None:
    """Train a piece."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--digits", type=int, default=59_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=0.0)
    parser.add_argument("--shift", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=7.0)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
