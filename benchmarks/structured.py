"""Removing kernels and neurons in one shot, and quantising without a zero level, on trained networks.

    python benchmarks/structured.py remove   [--tasks mnist-conv ...] [--seeds 0 1 2] [--epochs 2]
    python benchmarks/structured.py quantize [--tasks ...] [--seeds ...]
    python benchmarks/structured.py memory   [--samples 640] [--scores svs sca nuclear rate pca]

``remove`` takes the same fraction of every hidden layer (kernels of convolutions, neurons of dense
layers) by each score, without and with folding the removed ones into those that stay: in one shot and,
with ``--epochs``, after fine-tuning on some training samples. ``quantize`` rounds all weights at 8 to 2
bits. Both print accuracy on the test split, mean and standard deviation over the seeds. ``memory``
scores a VGG-16-size network and prints the peak.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import networks
import numpy as np
import numpy.typing as npt

from snndeploy.calibrate.statistics import observe
from snndeploy.ir.arrays import Shape, frozen
from snndeploy.ir.network import Network, Population, Projection, Source
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Conv, Dense, Op, Reshape, SumPool
from snndeploy.ir.weights import Weight
from snndeploy.passes.base import PassContext, Training
from snndeploy.passes.kernels.compensate import fold
from snndeploy.passes.kernels.coupling import coupling
from snndeploy.passes.kernels.scores import CRITERIA, SCORES, Criterion, Evidence, gather_evidence
from snndeploy.passes.kernels.slicing import shrink
from snndeploy.passes.prune import budget
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.quantization.rescaw import ReScaW
from snndeploy.passes.training.finetune import FineTune

Array = npt.NDArray[np.generic]
RATIOS = (0.125, 0.25, 0.375, 0.5)
BITS = (8, 6, 5, 4, 3, 2)
GAMMAS = ("mean", "percentile", "max", "mse")


@dataclass(frozen=True)
class Samples:
    """What a pass context calibrates on."""

    inputs: dict[str, Array]
    labels: Array | None = None
    window: int = 1


def context(x: Array, seed: int = 0) -> PassContext:
    """A context with these samples, which prints progress to standard error."""
    return PassContext(calibration=Samples({"input": x}), seed=seed, scope="benchmark")


def evidence_of(net: Network, criteria: Sequence[Criterion], ctx: PassContext) -> Evidence:
    """What all of ``criteria`` look at, from one run for activity and one for moments."""
    groups = [g for g in coupling(net) if not g.fixed]
    found = Evidence(network=net, ctx=ctx)
    if "second-order" in criteria:
        found = gather_evidence(net, groups, "second-order", ctx)
    if set(criteria) - {"second-order", "l1", "random"}:
        names = [name for g in groups for name in g.populations]
        activity = observe(net, ctx.samples("the scores"), names)
        found = dataclasses.replace(found, activity=activity)
    return found


def removed(
    net: Network, evidence: Evidence, criterion: Criterion, ratio: float, how: str
) -> Network:
    """``net`` without the lowest-scored fraction of every hidden layer."""
    small = []
    for group in coupling(net):
        if not group.fixed:
            order = np.argsort(SCORES[criterion](group, evidence), kind="stable")
            small.append(group.keep(order[budget(ratio, group.count) :]))
    if how != "none":
        net = fold(
            net,
            small,
            evidence.ctx.samples("folding"),
            kernel="long" if how == "long" else "membrane",
            bias=how == "bias",
            threshold=how == "threshold",
        )
    return shrink(net, small)


def tuned(net: Network, epochs: int, samples: Samples, seed: int) -> Network:
    """``net`` trained on for a few epochs."""
    ctx = PassContext(training=Training(samples=samples), seed=seed, scope="benchmark")
    return FineTune(epochs=epochs).apply(net, ctx).network


Table = dict[tuple[str, str, float], list[float]]


def remove(options: argparse.Namespace) -> dict[str, object]:
    """Accuracy by task, score, folding (and fine-tuning) and ratio."""
    results: dict[str, object] = {}
    for task in options.tasks:
        table: Table = {}
        dense = []
        x, y = networks.samples(
            task, "train", options.data, count=max(options.train, options.calibration)
        )
        calibration, training = x[:, : options.calibration], Samples({"input": x}, y)
        inputs, labels = networks.samples(task, "test", options.data, count=options.test)
        for seed in options.seeds:
            net = networks.load(task, seed, options.data, options.cache)
            dense.append(networks.accuracy(net, inputs, labels))
            print(f"{task} seed {seed}: dense {dense[-1]:.1f} %", flush=True)
            evidence = evidence_of(net, options.scores, context(calibration, seed))
            for criterion, how in itertools.product(options.scores, options.fold):
                seen = dataclasses.replace(evidence, folded=how != "none")
                for ratio in options.ratios:
                    small = removed(net, seen, criterion, ratio, how)
                    found = {how: networks.accuracy(small, inputs, labels)}
                    if options.epochs:
                        small = tuned(small, options.epochs, training, seed)
                        found[f"{how} +ft"] = networks.accuracy(small, inputs, labels)
                    for row, value in found.items():
                        table.setdefault((criterion, row, ratio), []).append(value)
                for row in (how, f"{how} +ft")[: 1 + bool(options.epochs)]:
                    line = (table[criterion, row, r][-1] for r in options.ratios)
                    shown = " ".join(f"{v:5.1f}" for v in line)
                    print(f"  seed {seed} {criterion:12} {row:14} {shown}", flush=True)
        told = f", +ft: {options.epochs} epochs on {len(y)}" if options.epochs else ""
        print(
            f"\n{task}: dense {spread(dense)}, {len(labels)} test samples, {options.calibration} for "
            f"calibration{told}, {len(options.seeds)} seed(s)"
        )
        show(table, options.ratios)
        results[task] = {
            "dense": dense,
            "accuracy": {" ".join(map(str, key)): values for key, values in table.items()},
        }
    return results


def show(table: Table, ratios: Sequence[float]) -> None:
    """Mean and deviation over seeds, one line per score and way to fold."""
    print(f"{'score':13}{'fold':14}" + "".join(f"{100 * r:>13.1f}%" for r in ratios))
    for criterion, row in dict.fromkeys((c, row) for c, row, _ in table):
        cells = "".join(f"{spread(table[criterion, row, r]):>14}" for r in ratios)
        print(f"{criterion:13}{row:14}{cells}")
    print(flush=True)


def quantize(options: argparse.Namespace) -> dict[str, object]:
    """Accuracy by task, quantiser and bits."""
    results: dict[str, object] = {}
    for task in options.tasks:
        inputs, labels = networks.samples(task, "test", options.data, count=options.test)
        rows: dict[str, dict[int, list[float]]] = {}
        dense = []
        for seed in options.seeds:
            net = networks.load(task, seed, options.data, options.cache)
            dense.append(networks.accuracy(net, inputs, labels))
            for bits in BITS:
                steps = {f"rescaw {g}": ReScaW(bits=bits, gamma=g) for g in GAMMAS}  # type: ignore[arg-type]
                if bits < 8:
                    steps["rescaw mse loihi"] = ReScaW(bits=bits, grid="loihi")
                all_steps = {**steps, "symmetric mse": Quantize(bits=bits, per="channel")}
                for name, step in all_steps.items():
                    small = step.apply(net, PassContext()).network
                    found = networks.accuracy(small, inputs, labels)
                    rows.setdefault(name, {}).setdefault(bits, []).append(found)
            print(f"{task} seed {seed} done", file=sys.stderr, flush=True)
        print(f"\n{task}: float {spread(dense)}, {len(labels)} test samples, all layers, one shot")
        print(f"{'quantiser':18}" + "".join(f"{b:>11} bit" for b in BITS))
        for name, found_by_bits in rows.items():
            cells = (spread(found_by_bits[b]) if b in found_by_bits else "-" for b in BITS)
            print(f"{name:18}" + "".join(f"{c:>15}" for c in cells))
        print(flush=True)
        results[task] = {"dense": dense, "accuracy": rows}
    return results


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation of percentages."""
    return f"{np.mean(values):.1f} ± {np.std(values):.1f}"


def vgg16(seed: int = 0) -> Network:
    """VGG-16 for 32 x 32 x 3 as spiking layers, random weights under which every layer fires."""
    rng = np.random.default_rng(seed)
    widths = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)
    shape: Shape = (3, 32, 32)
    populations = [Population("input", shape, None, "input")]
    projections: list[Projection] = []

    def add(ops: tuple[Op, ...], shape: Shape, gain: float) -> Shape:
        for op in ops:
            shape = op.out_shape(shape)
        weighted = ops[-1]
        assert isinstance(weighted, (Conv, Dense))
        bound = gain / np.sqrt(np.prod(weighted.weight_shape[1:]))
        values = rng.uniform(-bound, bound, weighted.weight_shape).astype(np.float32)
        last = isinstance(weighted, Dense)
        name = "output" if last else f"s{len(populations)}"
        source = Source(populations[-1].name, frozen(0, np.int64))
        projections.append(Projection(f"w{len(populations)}", (source,), name, ops, Weight(values)))
        neuron = Neuron.create(shape, leak=0.5, threshold=1.0)
        populations.append(Population(name, shape, neuron, "output" if last else "hidden"))
        return shape

    pool: tuple[Op, ...] = ()
    for width in widths:
        if not width:
            pool = (SumPool((2, 2), (2, 2)),)
            continue
        conv = Conv(width, shape[0], (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
        shape = add((*pool, conv), shape, 3.0 if pool else 5.0)
        pool = ()
    add((SumPool((2, 2), (2, 2)), Reshape((512,)), Dense(10, 512)), shape, 3.0)
    return Network(tuple(populations), tuple(projections)).verify()


def memory(options: argparse.Namespace) -> dict[str, object]:
    """Scores of a VGG-16-size network on random images, from one run: seconds, and peak memory."""
    net = vgg16()
    x = np.random.default_rng(1).random((1, options.samples, 3, 32, 32), dtype=np.float32)
    inputs = np.broadcast_to(x, (options.steps, *x.shape[1:]))
    groups = [g for g in coupling(net) if not g.fixed]
    began = time.perf_counter()

    def tell(done: int, of: int) -> None:
        seconds = time.perf_counter() - began
        print(f"\rsample {done} of {of}, {seconds:.0f} s", end="", file=sys.stderr, flush=True)

    names = [name for g in groups for name in g.populations]
    activity = observe(net, inputs, names, progress=tell)
    evidence = Evidence(network=net, ctx=PassContext(), activity=activity)
    for criterion in options.scores:
        found = [SCORES[criterion](g, evidence) for g in groups]
        distinct = sum(int(np.unique(s).size == s.size) for s in found)
        print(f"\n{criterion:8} no two kernels alike in {distinct} of {len(groups)} layers", end="")
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"\n{options.samples} samples, {options.steps} steps: {seconds:.0f} s, peak {peak:.2f} GiB"
    )
    return {"seconds": seconds, "peak_gib": peak, "samples": options.samples}


def main() -> None:
    """Run one part and, where asked, keep its numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("remove", "quantize", "memory"))
    parser.add_argument("--data", type=Path, default=networks.data_folder())
    parser.add_argument("--cache", type=Path, default=networks.cache_folder())
    parser.add_argument(
        "--tasks", nargs="+", choices=networks.TASKS, default=["mnist-conv", "nmnist-conv"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--scores", nargs="+", choices=CRITERIA)
    parser.add_argument(
        "--fold",
        nargs="+",
        default=["none", "weights"],
        choices=("none", "weights", "bias", "threshold", "long"),
        help="long: weights, by the kernel of that name",
    )
    parser.add_argument("--ratios", nargs="+", type=float, default=RATIOS)
    parser.add_argument("--calibration", type=int, default=256, help="training samples")
    parser.add_argument("--epochs", type=int, default=0, help="of fine-tuning (0: none)")
    parser.add_argument("--train", type=int, default=1000, help="training samples to fine-tune on")
    parser.add_argument("--test", type=int, default=1000, help="test samples")
    parser.add_argument("--samples", type=int, default=640, help="samples of the part memory")
    parser.add_argument("--steps", type=int, default=4, help="steps of the part memory")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    options = parser.parse_args()
    if options.scores is None:
        scores = CRITERIA if options.part == "remove" else ("svs", "sca", "nuclear", "rate", "pca")
        options.scores = list(scores)
    part = {"remove": remove, "quantize": quantize, "memory": memory}[options.part]
    found = part(options)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
