"""A label for every step: ECG spikes (QTDB) learnt, compiled and judged on Loihi 2 and on Loihi 1.

    python benchmarks/ecg.py [--epochs 40] [--out ecg]

1,301 steps of four channels of -1, 0 and 1 each, six classes of waves; steps without one do not count.
Of the 618 records to learn from, every sixth chooses the epoch and teaches nothing; the 141 others are
answered once, by what was chosen. The network is 4-64-6, recurrent, with a readout:
neurons that forget within 5 to 200 steps, drawn once. Random weights learn here, in floats; then
everything is compiled, and every step is answered by floats and by integers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nir
import numpy as np
from networks import data_folder

from snndeploy.data import Samples, input_shapes, load_samples, split_signs
from snndeploy.export import write_nir
from snndeploy.ingest import read_network
from snndeploy.ir.network import Network
from snndeploy.passes.training.finetune import FineTune
from snndeploy.pipeline import finetune, run_compiled
from snndeploy.pipeline.compilation import compile
from snndeploy.recipe import Recipe

HIDDEN, CLASSES, DT = 64, 6, 1e-3
CHOOSES = 6
"""One of so many records to learn from chooses the epoch."""
UNLABELLED = -1


def prepare(folder: Path, out: Path) -> None:
    """Write records to learn from, to choose by and to judge by as archives, as a user has them."""
    import scipy.io

    for split in ("train", "test"):
        held = scipy.io.loadmat(folder / f"QTDB_{split}.mat")
        x, y = held["x"].astype(np.int8), held["y"]
        y = np.where(y.sum(-1) > 0, y.argmax(-1), UNLABELLED)
        chooses = (np.arange(len(x)) % CHOOSES == CHOOSES - 1) & (split == "train")
        for name, part in ((split, ~chooses), ("choose", chooses)):
            if part.any():
                np.savez_compressed(out / f"{name}.npz", x=x[part], y=y[part])


def load(out: Path, split: str, net: Network, window: int) -> Samples:
    """A split, for the inputs of a network."""
    path, shapes = out / f"{split}.npz", input_shapes(net)
    return load_samples(path, shapes, unlabelled=UNLABELLED, window=window)


def network() -> Network:
    """The network that learns, with random weights."""
    rng = np.random.default_rng(0)

    def same(value: float, n: int) -> np.ndarray:
        return np.full(n, value)

    tau = DT * np.exp(rng.uniform(np.log(5), np.log(200), HIDDEN))
    hidden = nir.CubaLIF(
        tau_syn=same(8 * DT, HIDDEN),
        tau_mem=tau,
        r=tau / DT,
        v_leak=same(0.0, HIDDEN),
        v_threshold=same(1.0, HIDDEN),
        v_reset=same(0.0, HIDDEN),
        w_in=same(1.0, HIDDEN),
    )
    nodes = {
        "input": nir.Input({"input": np.array([4])}),
        "w1": nir.Affine(rng.normal(size=(HIDDEN, 4)) * 0.3, np.zeros(HIDDEN)),
        "lif": hidden,
        "rec": nir.Linear(rng.normal(size=(HIDDEN, HIDDEN)) * 0.05),
        "w2": nir.Affine(rng.normal(size=(CLASSES, HIDDEN)) * 0.1, np.zeros(CLASSES)),
        "li": nir.LI(tau=same(0.02, CLASSES), r=same(20.0, CLASSES), v_leak=same(0.0, CLASSES)),
        "output": nir.Output({"output": np.array([CLASSES])}),
    }
    edges = [
        ("input", "w1"),
        ("w1", "lif"),
        ("lif", "rec"),
        ("rec", "lif"),
        ("lif", "w2"),
        ("w2", "li"),
        ("li", "output"),
    ]
    return read_network(nir.NIRGraph(nodes, edges), "nir", dt=DT)


def learn(
    folder: Path, out: Path, *, epochs: int = 40, window: int = 5, lr: float = 2e-3
) -> Network:
    """The network after its epochs on the records in ``folder``, also as ``out/ecg.nir``."""
    out.mkdir(parents=True, exist_ok=True)
    prepare(folder, out)
    net = network()
    train, choose = (load(out, s, net, window) for s in ("train", "choose"))
    how = FineTune(
        epochs=epochs,
        batch=16,
        lr=lr,
        loss="mean",
        contrast=2.0,
        window=100,
        truncate=True,
        recompute=True,
    )
    learnt = finetune(
        net,
        train,
        recipe=Recipe(name="ecg", passes=(how,), guard="off"),
        validation=choose,
        observer=lambda e: print(e.what, e.done, e.status, flush=True) if e.status else None,
    )
    write_nir(out / "ecg.nir", learnt.network, force=True)
    return learnt.network


def main() -> None:
    """Learn, compile, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path("ecg"))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--window", type=int, default=5)
    parser.add_argument("--lr", type=float, default=2e-3)
    given = parser.parse_args()
    folder = (given.data or data_folder()) / "qtdb_ecg"
    learnt = learn(folder, given.out, epochs=given.epochs, window=given.window, lr=given.lr)
    for target in ("loihi2", "loihi1"):
        plain = learnt if target == "loihi2" else split_signs(learnt)
        few, test = (load(given.out, s, plain, given.window) for s in ("train", "test"))
        compiled = compile(plain, target=target, recipe=None, calibration=few.first(64))
        report = run_compiled(compiled, test, ("float", "integer"))
        told = ", ".join(f"{k} {v:.2%}" for k, v in report["accuracy"].items())
        cores = len(compiled.placement.cores)
        print(f"{target}: {told} of {report['labelled_steps']:,} steps; {cores} cores")


if __name__ == "__main__":
    main()
