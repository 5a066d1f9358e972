"""The official code of SBC beside ours, on the same layers: CPU seconds at equal error and accuracy.

    git clone https://github.com/Lanceward/SBC official
    python benchmarks/official_sbc.py official [--layers dense conv] [--data folder] [--cache folder]

It needs SpikingJelly, and nothing is fetched: the folder is given. One layer is compressed, the rest of
the network stays as trained: 256 x 784, and a convolution of 32 x 16 x 5 x 5. Both get the same spikes
of the same samples, leak and budget, in one thread. Apart from that each side runs as it is: theirs in
single precision with groups of weights (4 of 784 columns) at a time, ours in double precision one by
one. ``measure`` is the Hessian from the spikes that arrive, ``solve`` all that follows. Errors are those
of the membrane by the same Hessian, relative to the weights' own. With ``--rows`` only so many rows of a
layer are pruned, by both; seconds are of these, and grow with their number.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import math
import sys
import time
import types
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from networks import accuracy, cache_folder, data_folder, load, samples

from snndeploy.calibrate.moments import moments_of_trains
from snndeploy.ir.network import Network, Projection
from snndeploy.ir.ops import Conv, SumPool
from snndeploy.ir.weights import Weight
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.second_order.budgets import budget
from snndeploy.passes.second_order.layers import Problem, stacked
from snndeploy.passes.second_order.pruning import Pattern, eliminated, least_squares, masks_of
from snndeploy.passes.second_order.solve.least_squares import quadratic
from snndeploy.simulate.float.engine import run_float

Array = npt.NDArray[Any]
SPARSITY, BITS, DAMP = 0.9, 4, 0.01
TASKS = ("prune", "quantize")
LAYERS = {"dense": ("mnist-256", "w1"), "conv": ("mnist-conv", "w2")}
_MEMORY = 1 << 28
_LARGEST, _GROUPS = 2**29, 2**8
"""How the official scripts choose rows at a time and weights at a time."""


class _Unused(types.ModuleType):
    """Stands for a module that the official files import and do not need here."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of a trained network, and what arrives at it: ``(steps, samples, *shape)``."""

    network: Network
    projection: Projection
    inputs: Array
    rows: int
    trains: dict[str, Array]
    test: tuple[Array, Array]

    @property
    def steps(self) -> int:
        return len(self.inputs)

    @property
    def trained(self) -> Array:
        """The weights ``(rows, d)`` that are compressed."""
        return stacked((self.projection,))[: self.rows]

    def accuracy(self, weights: Array) -> float:
        """Accuracy in % with other weights ``(rows, d)`` in this layer."""
        rest = stacked((self.projection,))[len(weights) :]
        shaped = (
            np.concatenate([weights, rest]).reshape(self.projection.weight.shape).astype(np.float32)
        )
        changed = replace(self.projection, weight=Weight(shaped))
        return accuracy(self.network.replace(projections=[changed]), *self.test)


def layer_of(kind: str, options: argparse.Namespace) -> Layer:
    """The trained layer with what its calibration samples bring to it."""
    task, name = LAYERS[kind]
    net = load(task, 0, options.data, options.cache)
    x, _ = samples(task, "train", options.data, count=options.samples)
    test = samples(task, "test", options.data, count=options.test)
    p = next(q for q in net.projections if q.name == name)
    source = p.sources[0].population
    arrives = run_float(net, x).spikes[source]
    rows = min(options.rows or p.op.weight_rows, p.op.weight_rows)
    return Layer(net, p, _pooled(arrives, p), rows, {source: arrives}, test)


def _pooled(spikes: Array, p: Projection) -> Array:
    """What the pools in front of the layer's weight make of spikes."""
    x = torch.tensor(np.asarray(spikes, np.float32))
    for op in p.ops[:-1]:
        assert isinstance(op, SumPool)
        flat = torch.nn.functional.avg_pool2d(
            x.flatten(0, 1), op.kernel, op.stride, divisor_override=1
        )
        x = flat.unflatten(0, x.shape[:2])
    return x.numpy()


# --- theirs ---------------------------------------------------------------------------------------


def official(folder: Path) -> tuple[types.ModuleType, types.ModuleType]:
    """Their modules for pruning and for quantising, on the CPU."""
    for name in ("torchvision", "spikingjelly.datasets", "matplotlib", "matplotlib.pyplot"):
        sys.modules[name] = _Unused(name)  # data sets and plots
    sys.path.insert(0, str(folder))
    modelutils: Any = importlib.import_module("modelutils")
    modelutils.DEV = "cpu"
    return importlib.import_module("osbc_prune"), importlib.import_module("osbc_quant")


def spiking_layer(of: Layer) -> torch.nn.Module:
    """The layer as their code takes it."""
    from spikingjelly.activation_based import layer

    p, (rows, d) = of.projection, of.trained.shape
    made: torch.nn.Module
    if isinstance(p.op, Conv):
        pads = p.op.padding
        made = layer.Conv2d(
            p.op.in_channels,
            rows,
            p.op.kernel,
            stride=p.op.stride,
            padding=(pads[0][0], pads[1][0]),
            bias=False,
        )
    else:
        made = layer.Linear(d, rows, bias=False)
    shape = (rows, *p.weight.shape[1:])
    made.weight.data = torch.tensor(of.trained.astype(np.float32).reshape(shape))  # type: ignore[assignment, union-attr]
    return made


def their_prune(module: Any, layer: Layer, count: int) -> tuple[Array, float, float]:
    """Weights ``(rows, d)``, and CPU seconds to measure and to solve."""
    sv = _their_state(module, layer)
    x = torch.tensor(layer.inputs, dtype=torch.float32)
    began = time.process_time()
    for low in range(0, x.shape[1], 16):
        sv.add_data_sample((x[:, low : low + 16],), None)
    measured = time.process_time()
    rows, d = layer.trained.shape
    at_once, group = min(rows, _LARGEST // d**2), math.ceil(d / min(d, _GROUPS))
    sv.calculate_Hessian(count, col_batch=at_once, row_batch=group)
    sv.fastprune(int(sv.M.sum()), count, col_batch=at_once, row_batch=group)
    done = time.process_time()
    return sv.getWeightCopy().flatten(1).double().numpy(), measured - began, done - measured


def their_quantize(module: Any, layer: Layer) -> tuple[Array, float, float]:
    """The same with codes instead of zeros."""
    sv = _their_state(module, layer, wbit=BITS)
    x = torch.tensor(layer.inputs, dtype=torch.float32)
    began = time.process_time()
    for i in range(x.shape[1]):
        one = x[:, i : i + 1]
        sv.add_data_sample((one,), one)
    measured = time.process_time()
    sv.quantize()
    weights = sv.getWeightCopy()
    done = time.process_time()
    return weights.flatten(1).double().numpy(), measured - began, done - measured


def _their_state(module: Any, layer: Layer, **more: int) -> Any:
    neuron = layer.network.population(layer.projection.target).neuron
    assert neuron is not None
    tau = 1 / (1 - float(np.mean(neuron.leak)))
    size = list(layer.inputs.shape[3:])
    made = spiking_layer(layer)
    count = layer.inputs.shape[1]
    return module.SurrogateVoltage(1, made, count, tau, layer.steps, spacial_size=size, **more)


# --- ours -----------------------------------------------------------------------------------------


def our_problem(layer: Layer) -> tuple[Problem, float, float]:
    """The layer's quadratic, and CPU seconds to measure it and to make it ready."""
    block = (layer.projection,)
    began = time.process_time()
    moments = moments_of_trains(layer.network, layer.trains, layer.projection.name)
    measured = time.process_time()
    q = quadratic(moments.hessian[0], layer.trained, damp=DAMP)
    spent = time.process_time() - measured
    energy = float(((layer.trained @ moments.hessian[0]) * layer.trained).sum()) / 2
    alive = np.ones(layer.trained.shape, bool)
    parts = ((np.arange(layer.rows), q),)
    return Problem(block=block, parts=parts, alive=alive, energy=energy), measured - began, spent


def our_prune(p: Problem, layer: Layer) -> tuple[Array, float]:
    """Weights, and CPU seconds to solve for them: what the pass ``prune`` does with a layer."""
    began = time.process_time()
    one = Pattern()
    order = eliminated(p, SPARSITY, search="greedy", rounds=1, pattern=one, max_memory=_MEMORY)
    count = budget(SPARSITY, layer.trained.size)
    mask = masks_of([order], [p.columns], count, one)[0]
    return least_squares(p, mask, _MEMORY), time.process_time() - began


def our_quantize(p: Problem, layer: Layer) -> tuple[Array, float]:
    """The same with codes instead of zeros."""
    began = time.process_time()
    how = Quantize(bits=BITS, method="sbc", per="channel", clip="minmax")
    found = how.codes(p, layer.network, how.max_memory << 20)
    return _values(found.weights), time.process_time() - began


def _values(weights: tuple[Weight, ...]) -> Array:
    return np.concatenate([w.values().reshape(len(w.data), -1) for w in weights], axis=1)


def main() -> None:
    """Print a row per layer and task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the official code")
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--rows", type=int, default=0, help="prune only so many rows of a layer")
    parser.add_argument("--samples", type=int, default=300, help="calibration samples")
    parser.add_argument("--test", type=int, default=1000, help="test samples")
    parser.add_argument("--repeat", type=int, default=3, help="of ours, which is short; the median")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pruning, quantising = official(options.folder)
    print(
        "| layer | task | solve, CPU s: official | ours | times as fast | measure: official | ours "
        "| both, times as fast | error: official | ours | accuracy: trained | official | ours |"
    )
    print("|---" * 13 + "|", flush=True)
    for kind in options.layers:
        layer = layer_of(kind, options)
        before = layer.trained
        count = budget(SPARSITY, before.size)
        for task in options.tasks if len(before) == layer.projection.op.weight_rows else ["prune"]:
            mine = []
            for _ in range(options.repeat + 1):  # the first one compiles
                p, measured, ready = our_problem(layer)
                weights, solved = (our_prune if task == "prune" else our_quantize)(p, layer)
                mine.append((ready + solved, measured))
            ours, our_measuring = np.median(mine[1:], axis=0)
            with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
                if task == "prune":
                    other, their_measuring, theirs = their_prune(pruning, layer, count)
                else:
                    other, their_measuring, theirs = their_quantize(quantising, layer)
            cells = (
                f"{len(before)} x {before.shape[1]}",
                f"{SPARSITY:.0%} pruned" if task == "prune" else f"{BITS} bits",
                *(f"{v:.2f}" for v in (theirs, ours)),
                f"{theirs / ours:.0f}",
                *(f"{v:.2f}" for v in (their_measuring, our_measuring)),
                f"{(theirs + their_measuring) / (ours + our_measuring):.1f}",
                *(f"{p.loss(w) / p.energy:.5f}" for w in (other, weights)),
                *(f"{layer.accuracy(w):.1f}" for w in (before, other, weights)),
            )
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
