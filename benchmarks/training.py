"""What training adds to one-shot compression: ADMM, QP-SNN, fewer steps, activity, awareness of a chip.

    python benchmarks/training.py [--data folder] [--networks folder] [--cache folder]
        [--experiments dense admm-95 ...] [--seeds 0 1 2] [--train 60000] [--test 10000]

Real networks on real data: the LeNet-sized and the 784-512-10 network of ``networks.py`` on MNIST,
trained on to a dense baseline first. Every experiment starts from it, with the same samples and epochs;
validation samples, which choose the best epoch, are the end of the training set, and the test set is
looked at once. Results are kept in the cache as they come, one JSON file each, and printed as a table.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import networks
import numpy as np
import numpy.typing as npt

from snndeploy.export.nir import write_nir
from snndeploy.ingest import read_network
from snndeploy.ir.network import Network
from snndeploy.ir.program import Program
from snndeploy.lower import encode_inputs, infer_coding, lower
from snndeploy.passes.base import Pass, PassContext, PassEvent, Training
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantize import Quantize
from snndeploy.passes.remove_kernels import RemoveKernels
from snndeploy.passes.runner import run_passes
from snndeploy.passes.training.admm import Admm
from snndeploy.passes.training.data import Batches
from snndeploy.passes.training.figures import figures
from snndeploy.passes.training.finetune import FineTune
from snndeploy.passes.training.module import TrainableNetwork
from snndeploy.passes.training.train_steps import TrainSteps
from snndeploy.passes.training.trainer import accuracy
from snndeploy.pipeline.run import run_program
from snndeploy.target import load_target

Array = npt.NDArray[Any]
VALIDATION = 5000
TARGET = "loihi2"
ITERATIONS = 5
"""Epochs of ADMM before retraining: as many as a growing rho needs to settle."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Samples as passes see them."""

    inputs: dict[str, Array]
    labels: Array


def part(task: str, split: str, data: Path, span: slice, steps: int = 0) -> Labelled:
    """Samples of a split; direct current stays one step that stands for all."""
    chosen = networks.TASKS[task]
    constant = chosen.encode is networks.constant and chosen.data != "nmnist"
    length = steps or chosen.steps
    x, y = networks.samples(
        task, split, data, count=span.stop or 0, steps=1 if constant else length
    )
    low = span.start or 0
    x, y = x[:, low:], y[low:]
    if constant:
        x = np.broadcast_to(x, (length, *x.shape[1:]))
    return Labelled({"input": x}, y)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all experiments of one run share."""

    task: str
    seed: int
    data: Path
    networks: Path
    cache: Path
    train: int
    test: int
    epochs: int
    dense_epochs: int
    integer: int
    lava: int
    steps: int


def dense(setting: Setting) -> Network:
    """The baseline: the benchmarks' network, trained on over the whole training set."""
    path = setting.cache / f"{setting.task}-{setting.seed}-dense.nir"
    if not path.exists():
        start = networks.load(setting.task, setting.seed, setting.data, setting.networks)
        how = FineTune(epochs=setting.dense_epochs)
        log = run_passes(start, [how], context(setting, full=True))
        setting.cache.mkdir(parents=True, exist_ok=True)
        write_nir(path, log.network)
    return read_network(path)


def context(setting: Setting, *, full: bool = False) -> PassContext:
    """Training and validation samples, and progress on standard output."""
    whole = len(part(setting.task, "train", setting.data, slice(0, 0)).labels)
    held = min(VALIDATION, whole // 10)
    count = whole - held if full else min(setting.train, whole - held)
    args = setting.task, "train", setting.data
    return PassContext(
        seed=setting.seed,
        target=load_target(TARGET),
        calibration=part(*args, slice(0, 640), setting.steps),
        training=Training(
            samples=part(*args, slice(0, count), setting.steps),
            validation=part(*args, slice(whole - held, whole), setting.steps),
        ),
        observer=_told,
    )


def _told(event: PassEvent) -> None:
    if event.kind == "progress" and event.status:
        print(f"    {event.name} {event.what} {event.done}/{event.of}  {event.status}", flush=True)


def experiments(epochs: int) -> dict[str, tuple[Pass, ...]]:
    """Passes by name; ``epochs`` of fine-tuning, and as many in all wherever two are compared."""
    admm: dict[str, Any] = {"iterations": ITERATIONS, "epochs": epochs}
    both: dict[str, Any] = {"epochs": ITERATIONS + epochs}
    hidden: dict[str, Any] = {"kinds": ("conv",), "ratio": 0.5, "score": "svs"}
    rescaw: dict[str, Any] = {"grid": "rescaw", "per": "channel", "exempt": ("first", "last")}
    found: dict[str, tuple[Pass, ...]] = {"dense": ()}
    for percent in (90, 95, 98):
        sparsity = percent / 100
        pruned = Prune(sparsity=sparsity, scope="global")
        found[f"magnitude-{percent}"] = (pruned,)
        found[f"magnitude-{percent}+ft"] = (pruned, FineTune(**both))
        found[f"admm-{percent}"] = (Admm(sparsity=sparsity, scope="global", **admm),)
    for bits in (4, 3, 2, 1):
        found[f"rtn-{bits}bit"] = (Quantize(bits=bits, share="target"),)
        found[f"admm-{bits}bit"] = (Admm(bits=bits, **admm),)
        found[f"aware-{bits}bit"] = (
            FineTune(bits=bits, grid="loihi", aware=TARGET, epochs=epochs),
        )  # fmt: skip
    found["admm-95+4bit"] = (Admm(sparsity=0.95, scope="global", bits=4, **admm),)
    for bits in (8, 4, 2):
        fit = "mean" if bits == 2 else "percentile"
        found[f"qp-snn-{bits}bit-50"] = (
            FineTune(bits=bits, fit=fit, keep="real", epochs=epochs, **rescaw),
            RemoveKernels(**hidden),
            FineTune(bits=bits, fit=fit, epochs=epochs, **rescaw),
        )
    found["steps-8-4-2-1"] = (TrainSteps(steps=(4, 2, 1), epochs=epochs),)
    found["steps-8-4-2"] = (TrainSteps(steps=(4, 2), epochs=epochs),)
    for price in (1.0, 3.0, 10.0):
        found[f"activity-{price:g}"] = (FineTune(activity=price, epochs=epochs),)
    return found


def judge(setting: Setting, network: Network, steps: int) -> dict[str, Any]:
    """Figures on the test set, and the accuracy of the integers (and of Lava) on some of it."""
    test = part(setting.task, "test", setting.data, slice(0, setting.test), setting.steps)
    x = test.inputs["input"][: steps or None]
    result = asdict(figures(network, test, steps=steps))
    coding = infer_coding(x[:1] if not x.strides[0] else x)
    target = load_target(TARGET)
    program = lower(network, target, inputs=coding, steps=len(x))
    module = TrainableNetwork(network)
    module.set_chip(program, target)
    for engine, count in (("integer", setting.integer), ("lava", setting.lava)):
        if count:
            few = Labelled({"input": x[:, :count]}, test.labels[:count])
            rounded = Batches(few, scales={"input": coding.scale})
            result[f"{engine}_aware"] = accuracy(module, rounded)
            result[engine] = _accuracy(program, few, engine)
    return result


def _accuracy(program: Program, samples: Labelled, engine: str) -> float:
    group = next(g for g in program.groups if g.kind == "input")
    output = next(g.name for g in program.groups if g.role == "output")
    x, labels = samples.inputs["input"], samples.labels
    right = 0
    for low in range(0, len(labels), 250):
        messages = encode_inputs(
            x[:, low : low + 250], group.message_bits, float(group.scale), "input"
        )
        answers = run_program(engine, program, {group.name: messages}).predictions(output)
        right += int((answers == labels[low : low + 250]).sum())
    return right / len(labels)


def run(setting: Setting, name: str, passes: tuple[Pass, ...]) -> dict[str, Any]:
    """One experiment, from the cache or run now."""
    start = dense(setting)
    stem = f"{setting.task}-{setting.seed}-{name}-{setting.train}-{setting.epochs}-{setting.steps}"
    model, told = setting.cache / f"{stem}.nir", setting.cache / f"{stem}.json"
    if not told.exists():
        print(f"  {name} (seed {setting.seed})", flush=True)
        began = time.perf_counter()
        log = run_passes(start, passes, context(setting))
        training = [step.metrics.get("training", {}) for step in log.steps]
        record = {
            "name": name,
            "seed": setting.seed,
            "seconds": time.perf_counter() - began,
            "steps": int(log.network.notes.get("steps", 0)),
            **{k: v for t in training for k, v in t.items() if "residual" in k},
        }
        write_nir(model, log.network, force=True)
        told.write_text(json.dumps(record, indent=1))
    trained: dict[str, Any] = json.loads(told.read_text())
    counts = f"{setting.test}-{setting.integer}-{setting.lava}"
    judged = setting.cache / f"{stem}-{counts}.json"
    if not judged.exists():
        found = judge(setting, read_network(model), trained["steps"])
        judged.write_text(json.dumps(found, indent=1))
    return trained | json.loads(judged.read_text())


COLUMNS: tuple[tuple[str, str, Callable[[dict[str, Any], dict[str, Any]], float]], ...] = (
    ("accuracy", "{:8.2%}", lambda r, d: r["accuracy"]),
    ("against dense", "{:+8.2%}", lambda r, d: r["accuracy"] - d["accuracy"]),
    ("integer", "{:8.2%}", lambda r, d: r.get("integer", np.nan)),
    ("aware, same samples", "{:8.2%}", lambda r, d: r.get("integer_aware", np.nan)),
    ("lava", "{:8.2%}", lambda r, d: r.get("lava", np.nan)),
    ("aware, same samples", "{:8.2%}", lambda r, d: r.get("lava_aware", np.nan)),
    ("density", "{:8.2%}", lambda r, d: r["density"]),
    ("bits", "{:6.2f}", lambda r, d: r["bits"]),
    ("R_mem", "{:8.2%}", lambda r, d: r["size_bits"] / d["size_bits"]),
    ("kB", "{:8.2f}", lambda r, d: r["size_bits"] / 8e3),
    ("with index", "{:8.2f}", lambda r, d: (r["size_bits"] + r["index_bits"]) / 8e3),
    ("rate", "{:7.4f}", lambda r, d: r["rate"]),
    ("kSynOps", "{:8.1f}", lambda r, d: r["synops"] / 1e3),
    ("R_ops", "{:8.2%}", lambda r, d: r["synops"] / d["synops"]),
    ("steps", "{:5.0f}", lambda r, d: r["steps"]),
    ("s", "{:7.0f}", lambda r, d: r["seconds"]),
)


def table(results: list[dict[str, Any]]) -> None:
    """Mean over seeds of every column, one experiment a line."""
    base = {r["seed"]: r for r in results if r["name"] == "dense"}
    print("experiment | " + " | ".join(title for title, _, _ in COLUMNS) + " | seeds")
    for name in dict.fromkeys(r["name"] for r in results):
        rows = [r for r in results if r["name"] == name]
        cells = []
        for _, form, value in COLUMNS:
            values = [value(r, base.get(r["seed"], r)) for r in rows]
            spread = (
                f" ± {100 * np.std(values, ddof=1):.2f}" if len(rows) > 1 and "%" in form else ""
            )
            cells.append(form.format(np.mean(values)).strip() + spread)
        print(f"{name} | " + " | ".join(cells) + f" | {len(rows)}")


def main() -> None:
    """Run what is not in the cache yet, and print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=networks.data_folder())
    parser.add_argument("--networks", type=Path, default=networks.cache_folder())
    parser.add_argument("--cache", type=Path, default=networks.cache_folder() / "training")
    parser.add_argument("--task", choices=networks.TASKS, default="mnist-conv")
    parser.add_argument("--experiments", nargs="+", choices=experiments(1), default=["dense"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--train", type=int, default=60_000, help="training samples per epoch")
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--dense-epochs", type=int, default=4, help="on the whole training set")
    parser.add_argument("--integer", type=int, default=1000, help="test samples on integers")
    parser.add_argument("--lava", type=int, default=0, help="test samples on Lava")
    parser.add_argument("--steps", type=int, default=0, help="length of samples (0: the task's)")
    options = vars(parser.parse_args())
    seeds, names = options.pop("seeds"), options.pop("experiments")
    results = []
    for seed in seeds:
        setting = Setting(seed=seed, **options)
        for name in ["dense", *(n for n in names if n != "dense")]:
            results.append(run(setting, name, experiments(setting.epochs)[name]))
    table(results)


if __name__ == "__main__":
    main()
