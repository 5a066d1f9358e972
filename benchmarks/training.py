"""What training adds to one-shot compression: ADMM, QP-SNN, fewer steps, activity, awareness of a chip.

    python benchmarks/training.py [--task mnist-conv] [--experiments all] [--seeds 0 1 2] [--epochs 8]
        [--train 55000] [--test 10000] [--noise 0.1 0.2] [--data folder] [--networks folder]
        [--cache folder]

Real networks on real data: those of ``networks.py``, trained there. Every experiment starts from the
same network, with the same samples and epochs in all; validation samples, which choose the best epoch,
are the end of the training set, and the test set is looked at once. Results are kept in the cache as
they come, one JSON file each, and printed as a table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import networks
import numpy as np
from networks import Labelled, labelled
from training_experiments import TARGET, Experiment, experiments

from snndeploy.chip import arithmetic_models, load_target
from snndeploy.errors import LoweringRefused
from snndeploy.export.nir import write_nir
from snndeploy.ingest import read_network
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Conv
from snndeploy.ir.program import Program
from snndeploy.lower import encode_inputs, infer_coding, lower
from snndeploy.passes.base import PassContext, PassEvent, Training
from snndeploy.passes.kept import kept_in
from snndeploy.passes.runner import run_passes
from snndeploy.passes.training.figures import figures, noise_curve
from snndeploy.passes.training.loop.data import Batches
from snndeploy.passes.training.loop.trainer import accuracy
from snndeploy.passes.training.torch_network.module import TrainableNetwork
from snndeploy.pipeline.run import run_program

VALIDATION = 5000


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
    noise: tuple[float, ...]
    integer: int
    lava: int
    steps: int


def context(setting: Setting) -> PassContext:
    """Training and validation samples, and progress on standard output."""
    whole = len(networks.raw(networks.TASKS[setting.task], "train", setting.data, 1)[1])
    held = min(VALIDATION, whole // 10)
    count = min(setting.train or whole, whole - held)
    args = setting.task, "train", setting.data
    return PassContext(
        seed=setting.seed,
        target=load_target(TARGET),
        calibration=labelled(*args, slice(0, 640), setting.steps),
        training=Training(
            samples=labelled(*args, slice(0, count), setting.steps),
            validation=labelled(*args, slice(whole - held, whole), setting.steps),
        ),
        observer=_told,
        kept=kept_in(setting.cache / "passes", resume=True),  # experiments begin alike
    )


def _told(event: PassEvent) -> None:
    if event.kind == "progress" and event.status:
        print(f"    {event.name} {event.what} {event.done}/{event.of}  {event.status}", flush=True)


def judge(setting: Setting, network: Network, steps: int) -> dict[str, Any]:
    """Figures on the test set, and the accuracy of the integers (and of Lava) on some of it."""
    test = labelled(setting.task, "test", setting.data, slice(0, setting.test), setting.steps)
    x = test.inputs["input"][: steps or None]
    result = asdict(figures(network, test, steps=steps))
    if setting.integer or setting.lava:
        result |= _on_chip(setting, network, x, test.labels)
    if setting.noise:
        result["noise"] = _noise(setting, network, len(x))
    return result


def _on_chip(setting: Setting, network: Network, x: Array, labels: Array) -> dict[str, float]:
    """Accuracy of the integers, of Lava, and of what training aware of the chip sees of the same."""
    coding = infer_coding(x[:1] if not x.strides[0] else x)
    target = load_target(TARGET)
    try:
        program = lower(network, target, inputs=coding, steps=len(x))
    except LoweringRefused as error:  # 8 bits without a zero are 9 on a chip
        print(f"    has no integers: {error}", flush=True)
        return {}
    module = TrainableNetwork(network)
    module.set_chip(program, target)
    result = {}
    for engine, count in (("integer", setting.integer), ("lava", setting.lava)):
        if count:
            few = Labelled({"input": x[:, :count]}, labels[:count])
            rounded = Batches(few, scales={"input": coding.scale})
            result[f"{engine}_aware"] = accuracy(module, rounded)
            result[engine] = _accuracy(program, few, engine)
    return result


def _noise(setting: Setting, network: Network, steps: int) -> dict[str, float]:
    """Accuracy on noisy images, by the noise's standard deviation, where pixels are in 0…1."""
    task = networks.TASKS[setting.task]
    if task.data not in ("mnist", "fashion_mnist"):
        return {}
    images, labels = networks.raw(task, "test", setting.data, steps)
    images, labels = images[: setting.test], labels[: setting.test]
    found = noise_curve(
        network,
        images.reshape(len(images), *network.with_role("input")[0].shape),
        labels,
        lambda x: task.encode(x.astype(np.float32), steps),
        setting.noise,
        np.random.default_rng(0),
    )
    return {f"{sigma:g}": score for sigma, score in found.items()}


def _accuracy(program: Program, samples: Labelled, engine: str) -> float:
    group = next(g for g in program.groups if g.kind == "input")
    output = next(g.name for g in program.groups if g.role == "output")
    x, labels = samples.inputs["input"], samples.labels
    right = 0
    for low in range(0, len(labels), 250):
        messages = encode_inputs(x[:, low : low + 250], group)
        answers = run_program(engine, program, {group.name: messages}).predictions(output)
        right += int((answers == labels[low : low + 250]).sum())
    return right / len(labels)


def run(setting: Setting, name: str, experiment: Experiment) -> dict[str, Any]:
    """One experiment, from the cache or run now."""
    start = networks.load(setting.task, setting.seed, setting.data, setting.networks)
    what = f"{start.digest} {experiment.passes} {setting.train} {setting.steps}"
    key = hashlib.sha256(what.encode()).hexdigest()[:12]
    stem = f"{setting.task}-{setting.seed}-{name}-{key}"
    model, told = setting.cache / f"{stem}.nir", setting.cache / f"{stem}.json"
    if not told.exists():
        print(f"  {name} (seed {setting.seed})", flush=True)
        setting.cache.mkdir(parents=True, exist_ok=True)
        ctx = context(setting)
        log = run_passes(start, experiment.passes, ctx)
        training = [step.metrics.get("training", {}) for step in log.steps]
        record = {
            "name": name,
            "seed": setting.seed,
            "seconds": sum(step.seconds for step in log.steps),
            "steps": int(log.network.notes.get("steps", 0)),
            "validation": max([t.get("best_validation", 0.0) for t in training[-1:]], default=0.0),
            **{k: v for t in training for k, v in t.items() if "residual" in k},
        }
        write_nir(model, log.network, force=True)
        told.write_text(json.dumps(record, indent=1))
    trained: dict[str, Any] = json.loads(told.read_text())
    asked = (setting.test, setting.integer, setting.lava, *setting.noise)
    judged = setting.cache / f"{stem}-{'-'.join(f'{n:g}' for n in asked)}.json"
    if not judged.exists():
        found = judge(setting, read_network(model), trained["steps"])
        judged.write_text(json.dumps(found, indent=1))
    return trained | json.loads(judged.read_text())


def energy(r: dict[str, Any], dense: dict[str, Any]) -> float:
    """Energy of the arithmetic, of that of a conventional network of the dense one's shape.

    A spike costs additions, a value (pixels as currents, in every step) multiplications too; the
    conventional network multiplies once.
    """
    (model,) = (m for m in arithmetic_models() if m.name == "45nm-cmos")
    add, multiply = model.addition.pj, model.multiply_add.pj
    conventional = dense.get("macs", np.nan)  # results kept from before it was counted lack it
    return float((add * r["synops"] + multiply * r["input_macs"]) / (multiply * conventional))


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
    ("energy of the ANN's", "{:8.2%}", energy),
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
            known = not np.isnan(values).any()
            cells.append(form.format(np.mean(values)).strip() + spread if known else "")
        print(f"{name} | " + " | ".join(cells) + f" | {len(rows)}")
    sigmas = list(dict.fromkeys(s for r in results for s in r.get("noise", {})))
    if sigmas:
        print("\naccuracy under Gaussian noise | " + " | ".join(sigmas))
    for name in dict.fromkeys(r["name"] for r in results if r.get("noise")):
        rows = [r["noise"] for r in results if r["name"] == name]
        means = [np.mean([row[sigma] for row in rows]) for sigma in sigmas]
        print(f"{name} | " + " | ".join(f"{mean:.2%}" for mean in means))


def main() -> None:
    """Run what is not in the cache yet, and print everything."""
    names = list(experiments(8, {}))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=networks.data_folder())
    parser.add_argument("--networks", type=Path, default=networks.cache_folder())
    parser.add_argument("--cache", type=Path, default=networks.cache_folder() / "training")
    parser.add_argument("--task", choices=networks.TASKS, default="mnist-conv")
    parser.add_argument("--experiments", nargs="+", choices=[*names, "all"], default=["dense"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--train", type=int, default=0, help="samples to train on (0: all)")
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=8, help="of every experiment, in all")
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--distill", type=float, default=0.5)
    parser.add_argument("--integer", type=int, default=1000, help="test samples on integers")
    parser.add_argument("--lava", type=int, default=0, help="test samples on Lava")
    parser.add_argument("--steps", type=int, default=0, help="length of samples (0: the task's)")
    parser.add_argument("--noise", nargs="*", type=float, default=[], help="standard deviations")
    options = vars(parser.parse_args())
    asked = options.pop("experiments")
    # on means over time, so that a loss is the same at any length
    learning = {
        "lr": options.pop("lr"),
        "distill": options.pop("distill"),
        "loss": "mean",
        "contrast": 6.0,
    }
    known = experiments(options.pop("epochs"), learning)
    seeds, noise = options.pop("seeds"), tuple(options.pop("noise"))
    kernels = any(
        isinstance(op, Conv) for ops in networks.TASKS[options["task"]].layers for op in ops
    )
    wanted = []
    for name in known if "all" in asked else dict.fromkeys(["dense", *asked]):
        if known[name].conv and not kernels:
            print(f"{name}: left out, as {options['task']} has no kernels")
        else:
            wanted.append(name)
    results = []
    for seed in seeds:
        setting = Setting(seed=seed, noise=noise, **options)
        results += [run(setting, name, known[name]) for name in wanted]
    table(results)


if __name__ == "__main__":
    main()
