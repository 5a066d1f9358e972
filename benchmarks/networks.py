"""The networks that the compression benchmarks compress: trained here, on real data, and cached as NIR.

    python benchmarks/networks.py [--data folder] [--cache folder] [--tasks mnist-conv ...] [--seeds 0 1]

trains what is not in the cache yet and prints each network's accuracy on the test split. ``load`` and
``samples`` are what the other benchmarks import. Training is the project's own, on spike counts;
neurons leak by half a step, fire at ``v > 1`` and reset to zero. The last 5,000 training samples of
MNIST stay aside, for validation.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from images import cifar10, vgg9

from snndeploy.data.encode import constant, rate
from snndeploy.export.nir import write_nir
from snndeploy.ingest import read_network
from snndeploy.ir.arrays import Shape, frozen
from snndeploy.ir.network import Network, Population, Projection, Source
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Conv, Dense, Op, Reshape, SumPool
from snndeploy.ir.weights import Weight
from snndeploy.passes.base import PassContext, PassEvent, Training
from snndeploy.passes.runner import run_passes
from snndeploy.passes.training.finetune import FineTune
from snndeploy.simulate.float.engine import run_float

Array = npt.NDArray[np.generic]
CHUNK = 4096
LEAK = 0.5
SHAPES: dict[str, Shape] = {
    "nmnist": (2, 34, 34),
    "cifar10": (3, 32, 32),
    "ecg": (8, 1, 1),
    "digits": (1, 8, 8),
}
EVENTS = ("nmnist", "ecg")
"""Data that are spikes already; the others are images, and become some."""
POOL = SumPool((2, 2), (2, 2))


@dataclass(frozen=True, kw_only=True)
class Task:
    """A data set, how it becomes spikes, a network, and how long it is trained.

    ``layers`` are the operators into each population in turn, the last one into the answer.
    ``shortcuts`` maps a layer's number (from 1) to that of an earlier population whose spikes it also
    gets (0: the input). ``gain`` is the cross-entropy's factor for spikes in every step.
    """

    data: str
    steps: int
    layers: tuple[tuple[Op, ...], ...]
    encode: Callable[[Array, int], Array] = constant
    flat: bool = False
    train: int = 0
    epochs: int = 4
    batch: int = 32
    rate: float = 2e-3
    leak: float = LEAK
    gain: float = 6.0
    shortcuts: Mapping[int, int] = field(default_factory=dict)


def _conv(cin: int, cout: int, kernel: int, *, stride: int = 1, pad: int = 0) -> Conv:
    return Conv(cout, cin, (kernel, kernel), (stride, stride), ((pad, pad), (pad, pad)), (1, 1), 1)


_LENET = (
    (_conv(1, 16, 5),),
    (POOL, _conv(16, 32, 5)),
    (POOL, Reshape((512,)), Dense(128, 512)),
    (Dense(10, 128),),
)
TASKS = {
    "mnist-conv": Task(data="mnist", steps=8, layers=_LENET, train=55_000, epochs=5),
    "mnist-mlp": Task(
        data="mnist",
        steps=16,
        layers=((Dense(512, 784),), (Dense(10, 512),)),
        encode=rate,
        flat=True,
        train=55_000,
        epochs=8,
    ),
    "digits-conv": Task(
        data="digits",
        steps=16,
        layers=(
            (_conv(1, 12, 3, pad=1),),
            (POOL, _conv(12, 24, 3, pad=1)),
            (POOL, Reshape((96,)), Dense(10, 96)),
        ),
        encode=rate,
        epochs=12,
        rate=5e-3,
    ),
    "mnist-256": Task(
        data="mnist",
        steps=16,
        layers=((Dense(256, 784),), (Dense(10, 256),)),
        encode=rate,
        flat=True,
        train=10_000,
        epochs=4,
    ),
    "fashion-conv": Task(data="fashion_mnist", steps=8, layers=_LENET, train=30_000, epochs=3),
    "nmnist-2fc": Task(
        data="nmnist",
        steps=100,
        layers=((Dense(256, 2312),), (Dense(10, 256),)),
        flat=True,
        epochs=30,
        rate=3e-3,
    ),
    "nmnist-conv": Task(
        data="nmnist",
        steps=20,
        epochs=25,
        rate=2e-3,
        layers=(
            (_conv(2, 16, 5, stride=2, pad=2),),
            (_conv(16, 32, 3, stride=2, pad=1),),
            (POOL, Reshape((512,)), Dense(128, 512)),
            (Dense(10, 128),),
        ),
    ),
    "deep-conv": Task(
        data="fashion_mnist",
        steps=8,
        layers=(
            (_conv(1, 12, 3, stride=2, pad=1),),
            *((_conv(12, 12, 3, pad=1),) for _ in range(8)),
            (POOL, Reshape((588,)), Dense(10, 588)),
        ),
        train=10_000,
        epochs=4,
    ),
    "residual": Task(
        data="fashion_mnist",
        steps=8,
        layers=(
            (_conv(1, 12, 3, stride=2, pad=1),),
            *((_conv(12, 12, 3, pad=1),) for _ in range(6)),
            (POOL, Reshape((588,)), Dense(10, 588)),
        ),
        shortcuts={4: 1, 6: 3, 8: 5},
        train=10_000,
        epochs=4,
    ),
    "ecg": Task(
        data="ecg",
        steps=96,
        layers=((Dense(96, 8),), (Dense(6, 96),)),
        flat=True,
        train=6_000,
        epochs=12,
        batch=64,
        rate=1e-2,
        leak=0.9,
        gain=60.0,
    ),
    "cifar-vgg9": Task(data="cifar10", steps=4, layers=vgg9(8), train=4_000, epochs=5, rate=7e-4),
}


def data_folder() -> Path:
    """``$SNNDEPLOY_DATA``, or the folder ``shared/data`` beside the checkout."""
    named = os.environ.get("SNNDEPLOY_DATA")
    return Path(named) if named else Path(__file__).parents[2] / "shared" / "data"


def cache_folder() -> Path:
    """Where trained networks are kept, unless the caller says otherwise."""
    from platformdirs import user_cache_path

    return user_cache_path("snndeploy") / "benchmark-networks"


def samples(
    task: str, split: str, data: Path, *, count: int = 0, steps: int = 0
) -> tuple[Array, Array]:
    """Spikes ``(steps, samples, *shape)`` and labels ``(samples,)`` of the first ``count`` samples.

    ``split`` is ``"train"`` or ``"test"``; a count or number of steps of 0 means all, respectively the
    task's own.
    """
    chosen = TASKS[task]
    steps = steps or chosen.steps
    images, labels = raw(chosen, split, data, steps)
    images, labels = images[:count] if count else images, labels[:count] if count else labels
    if chosen.flat:
        images = images.reshape(*images.shape[:-3], -1)
    if chosen.data in EVENTS:
        return np.ascontiguousarray(images.swapaxes(0, 1)), labels
    return chosen.encode(images, steps), labels


def raw(task: Task, split: str, data: Path, steps: int) -> tuple[Array, Array]:
    """Images ``(samples, 1, 28, 28)`` in 0...1, or events: ``(samples, steps, 2, 34, 34)``, ``(samples,
    steps, 8, 1, 1)``.
    """
    if task.data == "digits":
        return _digits(split)
    if task.data == "ecg":
        return _ecg(data / "qtdb_ecg" / f"QTDB_{split}.mat", steps)
    if task.data == "cifar10":
        return cifar10(data / "cifar10_jpeg", split, task.train if split == "train" else 0)
    if task.data == "nmnist":
        return _nmnist(data / "nmnist_small" / "nmnist_small.npz", split, steps)
    stem = {"train": "train", "test": "t10k"}[split]
    folder = data / task.data
    with gzip.open(folder / f"{stem}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(folder / f"{stem}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return pixels.astype(np.float32) / 255, labels.astype(np.int64)


def _nmnist(path: Path, split: str, steps: int) -> tuple[Array, Array]:
    """Events of 300 ms in ``steps`` equal bins, 1 where a pixel had any event of that polarity."""
    with np.load(path, allow_pickle=False) as file:
        first = int(file["n_train"])
        total = len(file["label"])
        low, high = (0, first) if split == "train" else (first, total)
        frames = np.zeros((high - low, steps, 2, 34, 34), np.uint8)
        x, y, p, t, offset = (file[k] for k in ("x", "y", "p", "t_us", "offset"))
        for i in range(low, high):
            span = slice(int(offset[i]), int(offset[i + 1]))
            step = np.minimum(t[span].astype(np.int64) * steps // 300_000, steps - 1)
            frames[i - low, step, p[span].astype(int), y[span], x[span]] = 1
        return frames, file["label"][low:high].astype(np.int64)


def _digits(split: str) -> tuple[Array, Array]:
    """scikit-learn's digits of 8 x 8 pixels in one order at random: 1,347 to learn from, 450 to test."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    order = order[:1347] if split == "train" else order[1347:]
    x = found.images[order, np.newaxis].astype(np.float32) / 16
    return x, found.target[order].astype(np.int64)


def _ecg(path: Path, steps: int) -> tuple[Array, Array]:
    """Spikes of one wave of the heart from its beginning on, then silence, and which of six it was.

    The four channels hold -1, 0 and 1; here each is two channels of 0 and 1. The first and the last wave
    of a record are cut off, and left out; the rest come in one order at random.
    """
    from scipy.io import loadmat

    file = loadmat(path)
    waves, labels = [], []
    for record, classes in zip(file["x"], file["y"].argmax(axis=2), strict=True):
        both = np.concatenate([record > 0, record < 0], axis=1).astype(np.uint8)
        ends = np.flatnonzero(np.diff(classes)) + 1
        for low, high in itertools.pairwise(ends):
            wave = np.zeros((steps, 8), np.uint8)
            part = both[low : min(high, low + steps)]
            wave[: len(part)] = part
            waves.append(wave)
            labels.append(int(classes[low]))
    order = np.random.default_rng(0).permutation(len(labels))
    x = np.stack(waves)[order].reshape(len(order), steps, 8, 1, 1)
    return x, np.asarray(labels, np.int64)[order]


def untrained(task: str, seed: int) -> Network:
    """The network of ``task`` with random weights, large enough that every layer fires."""
    chosen = TASKS[task]
    rng = np.random.default_rng(seed)
    shape = SHAPES.get(chosen.data, (1, 28, 28))
    if chosen.flat:
        shape = (int(np.prod(shape)),)
    populations = [Population("input", shape, None, "input")]
    projections = []
    for i, ops in enumerate(chosen.layers, start=1):
        for op in ops:
            shape = op.out_shape(shape)
        last = i == len(chosen.layers)
        name = "output" if last else f"s{i}"
        neuron = Neuron.create(shape, leak=chosen.leak, threshold=1.0)
        weighted = ops[-1]
        assert isinstance(weighted, (Conv, Dense))
        fan_in = int(np.prod(weighted.weight_shape[1:]))
        bound = (3 if i == 1 else 2 if POOL in ops else 4) / np.sqrt(fan_in)
        values = rng.uniform(-bound, bound, weighted.weight_shape).astype(np.float32)
        read = [populations[k].name for k in (i - 1, *_also(chosen.shortcuts, i))]
        sources = tuple(Source(n, frozen(0, np.int64)) for n in read)
        projections.append(Projection(f"w{i}", sources, name, ops, Weight(values)))
        populations.append(Population(name, shape, neuron, "output" if last else "hidden"))
    return Network(tuple(populations), tuple(projections)).verify()


def _also(shortcuts: Mapping[int, int], layer: int) -> tuple[int, ...]:
    return (shortcuts[layer],) if layer in shortcuts else ()


@dataclass(frozen=True, eq=False)
class Labelled:
    """Samples as passes see them."""

    inputs: dict[str, Array]
    labels: Array
    window: int = 1


def labelled(task: str, split: str, data: Path, span: slice, steps: int = 0) -> Labelled:
    """Samples of a split; direct current stays one step that stands for all."""
    chosen = TASKS[task]
    length = steps or chosen.steps
    images, labels = raw(chosen, split, data, length)
    images, labels = images[span], labels[span]
    if chosen.flat:
        images = images.reshape(*images.shape[:-3], -1)
    if chosen.data in EVENTS:
        x = images.swapaxes(0, 1)
    elif chosen.encode is constant:
        x = np.broadcast_to(images, (length, *images.shape))
    else:
        starts = range(0, len(images), CHUNK)  # encoding needs many times the memory of its result
        x = np.concatenate([chosen.encode(images[i : i + CHUNK], length) for i in starts], axis=1)
    return Labelled({"input": x}, labels)


def train(network: Network, task: str, data: Path, seed: int, folder: Path) -> Network:
    """``network`` after the task's epochs, by the project's own trainer.

    Each epoch leaves a checkpoint in ``folder``, from which training goes on where it was interrupted.
    """
    chosen = TASKS[task]

    def tell(event: PassEvent) -> None:
        if event.kind == "progress" and event.status:
            print(f"  {task} {seed}: {event.done}/{event.of}  {event.status}", flush=True)

    context = PassContext(
        seed=seed,
        training=Training(
            samples=labelled(task, "train", data, slice(0, chosen.train or None)),
            folder=folder,
            resume=True,
        ),
        observer=tell,
    )
    how = FineTune(
        epochs=chosen.epochs,
        batch=chosen.batch,
        lr=chosen.rate,
        width=2.0,
        contrast=chosen.gain / chosen.steps,
    )
    return run_passes(network, [how], context).network


def load(task: str, seed: int, data: Path, cache: Path) -> Network:
    """The trained network of ``task``, from the cache or trained now (minutes)."""
    path = cache / f"{task}-{seed}.nir"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        steps = cache / f"{task}-{seed}-steps"
        trained = train(untrained(task, seed), task, data, seed, steps)
        part = write_nir(cache / f"{task}-{seed}-{os.getpid()}.nir", trained)
        shutil.rmtree(steps, ignore_errors=True)
        part.replace(path)  # others may be waiting for the file, or training it too
        print(f"trained {task}, seed {seed}, in {time.perf_counter() - began:.0f} s", flush=True)
    return read_network(path)


def accuracy(network: Network, inputs: Array, labels: Array, *, batch: int = 500) -> float:
    """Share of samples, in %, whose output neuron with the most spikes is the label's."""
    output = network.with_role("output")[0].name
    correct = 0
    for low in range(0, len(labels), batch):
        part = slice(low, low + batch)
        counts = run_float(network, inputs[:, part]).spikes[output].sum(0, dtype=np.int64)
        correct += int((counts.argmax(1) == labels[part]).sum())
    return 100 * correct / len(labels)


def main() -> None:
    """Train what is missing, and test everything asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--test", type=int, default=2000, help="test samples")
    parser.add_argument("--train", type=int, help="samples, instead of each task's own number")
    parser.add_argument("--epochs", type=int, help="instead of each task's own number")
    options = parser.parse_args()
    less = {k: getattr(options, k) for k in ("train", "epochs") if getattr(options, k)}
    for seed in options.seeds:
        for task in options.tasks:
            TASKS[task] = replace(TASKS[task], **less)
            network = load(task, seed, options.data, options.cache)
            inputs, labels = samples(task, "test", options.data, count=options.test)
            score = accuracy(network, inputs, labels)
            print(f"{task:14} seed {seed}: {score:.2f} % of {len(labels)}", flush=True)


if __name__ == "__main__":
    main()
