"""The front that `tune` finds beside a grid over bits and sparsity, on real networks and real data.

    python benchmarks/tune.py [--data folder] [--only digits,nmnist,braille] [--trials 96] [--folder out]

The grid is what one tries by hand: 5 widths x 5 sparsities, alike for all layers, by magnitude
(``prune`` and ``quantize``) and, with ``--second-order``, by membrane error. Its recipes are compiled
and judged as those of the front are: ``snndeploy compile``, all judging samples, the integer engine. A
recipe dominates another if it is better in memory or in right answers, and not worse in the other.

With ``--folder`` studies and grids are kept there: what was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from networks import data_folder

from snndeploy.chip import load_target
from snndeploy.data import Samples, load_samples
from snndeploy.demo import FOLDER, digits
from snndeploy.errors import SnnDeployError
from snndeploy.ingest import read_network
from snndeploy.ir.network import Network
from snndeploy.pipeline.tuning.bench import bench_of
from snndeploy.pipeline.tuning.front import FrontMember, member_of
from snndeploy.pipeline.tuning.search import Tuned, tune
from snndeploy.pipeline.tuning.told import counts
from snndeploy.pipeline.tuning.trial import TrialBench

BITS = (2, 3, 4, 6, 8)
SPARSITIES = (0.0, 0.5, 0.75, 0.9, 0.95)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network with its data, and the chip that it is for."""

    load: Callable[[Path], tuple[Network, Samples]]
    target: str
    cores: int


def of_digits(_data: Path) -> tuple[Network, Samples]:
    """The demo's convolutional network on the 450 digits that it was not trained on."""
    return read_network(FOLDER / "digits.nir", "snntorch", reset="zero"), digits()


def of_nmnist(data: Path) -> tuple[Network, Samples]:
    """``cnn_sinabs`` on N-MNIST: 50 training digits and 100 test digits, 100 steps of a millisecond."""
    net = read_network(data / "nir_models/paper/cnn_sinabs.nir", "sinabs")
    shape = net.with_role("input")[0].shape
    path = str(data / "nmnist_small/nmnist_small.npz")
    return net, load_samples(path, shape, bin_ms=1.0, steps=100, skip=950, samples=150)


def of_braille(data: Path) -> tuple[Network, Samples]:
    """The recurrent Braille network; its authors trained on these samples, so only differences count."""
    path = data / "nir_models/paper/braille_noDelay_bias_zero.nir"
    net = read_network(path, "norse", reset="zero", reset_timing="immediate", dt=1e-4)
    with np.load(data / "nir_models/braille/braille_unique.npz", allow_pickle=False) as file:
        x, y = file["x"][:450], file["y"][:450]
    return net, Samples(np.moveaxis(x, 1, 0).astype(np.float32), y.astype(np.int64))


CASES = {
    "digits": Case(load=of_digits, target="loihi1", cores=8),
    "nmnist": Case(load=of_nmnist, target="loihi2", cores=24),
    "braille": Case(load=of_braille, target="loihi2", cores=8),
}


def grid(bench: TrialBench, method: str, kept: Path | None) -> dict[str, FrontMember | None]:
    """Every recipe of the grid, compiled and judged (None: it does not fit, or is refused)."""
    found: dict[str, FrontMember | None] = {}
    known: dict[str, Any] = {}
    if kept is not None and kept.exists():
        known = json.loads(kept.read_text())
    for bits in BITS:
        for sparsity in SPARSITIES:
            what = f"{method}, {bits} bits, {sparsity:.0%} pruned"
            choice = bench.space.choice(
                method=method, bits=bits, sparsity=sparsity, share="layer", scale="layer"
            )
            recipe = bench.space.recipe(choice)
            began = time.perf_counter()
            if what in known:
                fields = known[what]
                found[what] = (
                    None if fields is None else FrontMember(**{**fields, "recipe": recipe})
                )
                continue
            try:
                found[what] = member_of(bench, recipe, len(found), what)
            except SnnDeployError as error:
                print(f"  {what}: {error.code}", flush=True)
                found[what] = None
            told = found[what]
            known[what] = None if told is None else told.record()
            if kept is not None:
                kept.write_text(json.dumps(known, indent=1))
            print(
                f"  {what}: "
                + ("does not fit" if told is None else f"{told.words:,} words, {told.accuracy:.2%}")
                + f"  ({time.perf_counter() - began:.1f} s)",
                flush=True,
            )
    return found


def dominates(a: FrontMember, b: FrontMember) -> bool:
    """Whether ``a`` is better in one respect and not worse in the other."""
    return a.cost <= b.cost and a.right >= b.right and (a.cost, a.right) != (b.cost, b.right)


def compare(found: Tuned, others: Mapping[str, FrontMember | None]) -> dict[str, Any]:
    """How front and grid stand to each other."""
    members = {name: m for name, m in others.items() if m is not None}
    return {
        "grid": len(others),
        "fits": len(members),
        "dominate_the_front": [
            name for name, g in members.items() if any(dominates(g, f) for f in found.front)
        ],
        "dominated_by_the_front": sum(
            any(dominates(f, g) for f in found.front) for g in members.values()
        ),
        "on_the_front_too": sum(
            any((f.cost, f.right) == (g.cost, g.right) for f in found.front)
            for g in members.values()
        ),
    }


def run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One network: its front, the grid, and how they compare."""
    case = CASES[name]
    net, samples = case.load(options.data)
    study = None if options.folder is None else options.folder / f"{name}.journal"
    found = tune(
        net,
        samples,
        target=case.target,
        cores=case.cores,
        trials=options.trials,
        study=study,
        progress=lambda done, of: print(f"{name} {done}/{of}", flush=True),
    )
    print(f"{name}: {found.seconds:.0f} s, trained {found.trained:.2%}, {counts(found)}")
    for m in found.front:
        print(f"  {m.words:>8,} words  {m.cores:>3} cores  {m.accuracy:.2%}  {m.what}", flush=True)
    bench = bench_of(net, samples, load_target(case.target), cores=case.cores)
    methods = ("magnitude", "second-order") if options.second_order else ("magnitude",)
    result: dict[str, Any] = {
        "seconds": found.seconds,
        "counts": counts(found),
        "front": [(m.words, m.cores, m.accuracy, m.what) for m in found.front],
    }
    for method in methods:
        kept = None if options.folder is None else options.folder / f"{name}-{method}.json"
        result[method] = compare(found, grid(bench, method, kept))
        print(f"{name}: {method} grid: {result[method]}", flush=True)
    return result


def main() -> None:
    """Parse options and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--trials", type=int, default=96)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--second-order", action="store_true")
    options = parser.parse_args()
    if unknown := [name for name in options.only.split(",") if name not in CASES]:
        parser.error(f"--only: {', '.join(unknown)}: there are {', '.join(CASES)}")
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    results = {name: run(name, options) for name in options.only.split(",")}
    if options.folder is not None:
        (options.folder / "tune.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
