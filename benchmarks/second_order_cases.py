"""What the second-order benchmark compresses, and by which methods: imported by ``second_order.py``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from networks import TASKS, load, samples

from snndeploy.calibrate.moments import Response, filtered
from snndeploy.chip import load_target
from snndeploy.data import Samples
from snndeploy.demo import FOLDER, digits
from snndeploy.ingest import read_network
from snndeploy.ir.network import Network
from snndeploy.lower import infer_coding, lower
from snndeploy.measure.neurobench import NeuroBenchMeter
from snndeploy.passes.base import Pass, PassContext
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.prune_quantize import PruneQuantize
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.second_order.budgets import budget, lamp_counts
from snndeploy.passes.second_order.layers import (
    Problem,
    Settings,
    blocks_of,
    moments_of,
    problem,
    stacked,
)
from snndeploy.passes.second_order.pruning import (
    Pattern,
    eliminated,
    least_squares,
    masks_of,
    pruned_solution,
)
from snndeploy.pipeline.run import run_engine
from snndeploy.recipe import load_recipe
from snndeploy.simulate.float.engine import run_float
from snndeploy.workers import HERE

Array = npt.NDArray[np.generic]
Makers = dict[str, dict[str, Callable[[], Network]]]
BRAILLE = ("braille-zero", "braille-subtract")
ALL_TASKS = (*TASKS, "cnn-sinabs", "digits", *BRAILLE)
MEMORY = 1 << 28
JOINT = (0.9, 4)
_DISTANCE = 200
"""Test samples on which spike trains are compared and operations counted."""
_BATCH = 250


@dataclass(frozen=True, eq=False)
class Calibration:
    """What passes ask for."""

    inputs: dict[str, Array]
    labels: Array | None = None
    window: int = 1


@dataclass(frozen=True, kw_only=True)
class Score:
    """Of a compressed network: accuracy in %, and what its spikes are like.

    ``distance`` is the squared van Rossum distance of the outputs to those of the trained network,
    relative to the latter's own square; ``synops`` are operations per sample whose weight and input
    are not zero.
    """

    accuracy: float
    distance: float
    synops: float


@dataclass(frozen=True, eq=False)
class Case:
    """A network with calibration and test samples."""

    network: Network
    calibration: Array
    x: Array
    y: Array

    @property
    def context(self) -> PassContext:
        name = self.network.with_role("input")[0].name
        return PassContext(
            calibration=Calibration({name: self.calibration}),
            source=self.network,
            target=load_target("loihi2"),
        )

    def apply(self, *passes: Pass) -> Network:
        net = self.network
        for step in passes:
            net = step.apply(net, self.context).network
        return net

    def score(self, net: Network) -> Score:
        """Measured in one run over the test samples."""
        output = self.network.with_role("output")[0]
        meter = NeuroBenchMeter(net)
        correct, error = 0, 0.0
        for low in range(0, len(self.y), _BATCH):
            run = run_float(net, self.x[:, low : low + _BATCH])
            train = run.spikes[output.name]
            answers = train.sum(0, dtype=np.int64).reshape(train.shape[1], -1).argmax(1)
            correct += int((answers == self.y[low : low + _BATCH]).sum())
            if low < _DISTANCE:
                meter.add(run)
                wanted = self.trains[:, low : low + train.shape[1]]
                mine = self._seen(train[:, : wanted.shape[1]])
                error += float(np.square(mine - wanted).sum())
        found = meter.metrics()
        return Score(
            accuracy=100 * correct / len(self.y),
            distance=error / max(float(np.square(self.trains).sum()), 1e-300),
            synops=found.effective_acs + found.effective_macs,
        )

    @cached_property
    def trains(self) -> Array:
        """Filtered output spikes of the trained network on the first test samples."""
        output = self.network.with_role("output")[0].name
        return self._seen(run_float(self.network, self.x[:, :_DISTANCE]).spikes[output])

    def _seen(self, train: Array) -> Array:
        neuron = self.network.with_role("output")[0].neuron
        return filtered(train, float(np.mean(neuron.leak)) if neuron else 0.0, None)

    def integer(self, net: Network) -> float:
        """Accuracy in % of the integers that run on Loihi 2, on the first 500 test samples."""
        coding = infer_coding(self.x)
        program = lower(net, load_target("loihi2"), inputs=coding, steps=self.x.shape[0])
        part = Samples(self.x[:, :500], self.y[:500])
        run = run_engine("integer", part, program=program)
        return 100 * float((run.predictions(net.with_role("output")[0].name) == part.labels).mean())


def case(task: str, seed: int, options: argparse.Namespace) -> Case:
    """The trained network of a task, with its samples."""
    if task in BRAILLE:
        return braille(task, options)
    if task == "cnn-sinabs":
        return cnn_sinabs(options)
    if task == "digits":
        return demo()
    net = load(task, seed, options.data, options.cache)
    x, _ = samples(task, "train", options.data, count=options.calibration)
    test = samples(task, "test", options.data, count=options.test)
    return Case(net, x, *test)


def braille(task: str, options: argparse.Namespace) -> Case:
    """Recurrent, CubaLIF; every fourth sample tests, the first of the others calibrate."""
    folder = options.data / "nir_models"
    model = {"braille-zero": "bias_zero", "braille-subtract": "noBias_subtract"}[task]
    net = read_network(
        folder / "paper" / f"braille_noDelay_{model}.nir",
        "norse",
        dt=1e-4,
        reset_timing="immediate",
        reset=task.rpartition("-")[2],
    )
    with np.load(folder / "braille" / "braille_unique.npz", allow_pickle=False) as file:
        x, y = file["x"].swapaxes(0, 1), file["y"]
    test = np.arange(len(y)) % 4 == 3
    return Case(net, x[:, ~test][:, : options.calibration], x[:, test], y[test])


def demo() -> Case:
    """The demo's network: the last 150 held-out digits calibrate, the first 300 test."""
    net, held_out = read_network(FOLDER / "digits.nir", "snntorch", reset="zero"), digits()
    assert held_out.labels is not None
    return Case(net, held_out.inputs[:, 300:], held_out.inputs[:, :300], held_out.labels[:300])


def cnn_sinabs(options: argparse.Namespace) -> Case:
    """The network that the NIR paper trained on N-MNIST: 300 steps of 1 ms, events counted."""
    path = options.data / "nir_models" / "paper" / "cnn_sinabs.nir"
    net = read_network(path, "sinabs", reset="zero", spikes_per_step="one")
    parts = {}
    with np.load(options.data / "nmnist_small" / "nmnist_small.npz", allow_pickle=False) as file:
        first = int(file["n_train"])
        last = min(len(file["label"]), first + options.test)
        for name, low, high in (
            ("train", 0, min(first, options.calibration)),
            ("test", first, last),
        ):
            frames = np.zeros((300, high - low, 2, 34, 34), np.uint8)
            for i in range(low, high):
                span = slice(int(file["offset"][i]), int(file["offset"][i + 1]))
                x, y, p, t = (file[k][span].astype(np.int64) for k in ("x", "y", "p", "t_us"))
                np.add.at(frames, (np.minimum(t // 1000, 299), i - low, p, y, x), 1)
            parts[name] = frames, file["label"][low:high].astype(np.int64)
    return Case(net, parts["train"][0], *parts["test"])


class Published:
    """OBC and SBC as published: every sparsity from one elimination per layer and kernel."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self._found: dict[str, list[tuple[Problem, tuple[Array, Array]]]] = {}

    def pruned(self, kernel: Response, sparsity: float) -> Network:
        """Layer budgets by LAMP, row budgets by the recorded losses, exact weights for the mask."""
        if kernel not in self._found:
            self._found[kernel] = self._eliminated(kernel)
        found = self._found[kernel]
        magnitudes = [np.abs(stacked(p.block)) for p, _ in found]
        total = budget(sparsity, sum(m.size for m in magnitudes))
        changed = []
        for (p, order), count in zip(found, lamp_counts(magnitudes, total), strict=True):
            mask = masks_of([order], [p.columns], count, Pattern())[0]
            solution = pruned_solution(p, least_squares(p, mask, MEMORY), mask)
            changed += [
                replace(q, weight=w) for q, w in zip(p.block, solution.weights, strict=True)
            ]
        return self.case.network.replace(projections=changed)

    def _eliminated(self, kernel: Response) -> list[tuple[Problem, tuple[Array, Array]]]:
        net, inputs = self.case.network, self.case.context.samples("the benchmark")
        settings = Settings(
            kernels=(kernel,),
            asymmetry=(0.0,),
            sequential=False,
            damp=0.01,
            positions=32,
            max_memory=MEMORY,
        )
        found = []
        for block in blocks_of(net, Prune(sparsity=0.5).select(net)):
            p = problem(block, moments_of(net, block, inputs, kernel, settings, None, HERE), 0.01)
            found.append((p, self.order(p, kernel)))
        return found

    def order(self, p: Problem, kernel: Response) -> tuple[Array, Array]:
        """In which order the weights of each row go, and what each costs."""
        del kernel
        return eliminated(p, 0.0, search="greedy", rounds=1, pattern=Pattern(), max_memory=MEMORY)


def ours() -> dict[str, object]:
    """The options of sbc-plus that `prune` and `quantize` have, too."""
    joint = load_recipe("sbc-plus").passes[0]
    names = (
        "kernels",
        "asymmetry",
        "choose",
        "sequential",
        "thresholds",
        "damp",
        "positions",
        "max_memory",
    )
    return {name: getattr(joint, name) for name in names}


def pruning(case: Case, published: Published, sparsities: list[float]) -> Makers:
    """Every method at every sparsity, as functions yet to be called."""
    joint = load_recipe("sbc-plus").passes[0].options()
    own = {k: joint[k] for k in ("search", "rounds", "scope", "lamp_power")}
    return {
        f"{s:.0%} pruned": {
            "magnitude": lambda s=s: case.apply(Prune(sparsity=s, scope="lamp")),
            "sparsegpt": lambda s=s: case.apply(
                Prune(sparsity=s, scope="lamp", method="sparsegpt")
            ),
            "obc": lambda s=s: published.pruned("current", s),
            "sbc": lambda s=s: published.pruned("membrane", s),
            "obc, measured": lambda s=s: case.apply(
                Prune(sparsity=s, scope="measured", method="obc")
            ),
            "sbc, measured": lambda s=s: case.apply(
                Prune(sparsity=s, scope="measured", method="sbc")
            ),
            "ours, lamp": lambda s=s: case.apply(
                Prune(sparsity=s, method="sbc", **ours(), **{**own, "scope": "lamp"})
            ),
            "ours": lambda s=s: case.apply(Prune(sparsity=s, method="sbc", **ours(), **own)),
        }
        for s in sparsities
    }  # type: ignore[misc]


def quantising(case: Case, bits: list[int]) -> Makers:
    """Every method at every width."""
    joint = load_recipe("sbc-plus").passes[0].options()
    own = {k: joint[k] for k in ("clip", "grid", "order", "refine", "per")}
    grid = {"per": "channel", "clip": "minmax"}
    return {
        f"{b} bits": {
            "rtn": lambda b=b: case.apply(Quantize(bits=b, **grid)),
            "gptq": lambda b=b: case.apply(Quantize(bits=b, method="gptq", **grid)),
            "sbc": lambda b=b: case.apply(Quantize(bits=b, method="sbc", **grid)),
            "ours": lambda b=b: case.apply(Quantize(bits=b, method="sbc", **ours(), **own)),
        }
        for b in bits
    }  # type: ignore[misc]


def both(case: Case, published: Published) -> Makers:
    """Pruned, then quantised, or both in one go."""
    s, b = JOINT
    grid = {"per": "channel", "clip": "minmax"}
    joint = load_recipe("sbc-plus").passes[0].options()

    def steps(kernel: Response, method: str) -> Network:
        pruned = published.pruned(kernel, s)
        return Quantize(bits=b, method=method, **grid).apply(pruned, case.context).network  # type: ignore[arg-type]

    return {
        f"{s:.0%} pruned, {b} bits": {
            "magnitude, rtn": lambda: case.apply(
                Prune(sparsity=s, scope="lamp"),
                Quantize(bits=b, **grid),  # type: ignore[arg-type]
            ),
            "obc": lambda: steps("current", "gptq"),
            "sbc": lambda: steps("membrane", "sbc"),
            "ours": lambda: case.apply(PruneQuantize(**{**joint, "sparsity": s, "bits": b})),
        }
    }
