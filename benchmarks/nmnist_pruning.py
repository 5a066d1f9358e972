"""The published N-MNIST network pruned and rounded as published: 2312-256-10 over 100 steps.

    python benchmarks/nmnist_pruning.py [--seed 0] [--calibration 300] [--minutes 7] [--json rows.json]
        [--sparsity 0.9 0.97] [--bits 4 2] [--methods obc sbc ours]

Trains nothing: ``nmnist_training.py`` does, on simulated saccades. Calibration takes simulated
training samples without their labels; tests are 2,000 simulated ones of other digits, and the 1,100
real samples, of whose digits none was trained on. ``obc`` and ``sbc`` follow the papers: dense
calibration, 1 % damping, greedy elimination, exact weights on the mask, budgets by LAMP; ``uniform``
prunes both layers alike. OSBC computes SBC's Hessian, and is not another row. ``ours`` is the pass of
``sbc-plus`` with its own choice of budgets. Rows are kept in ``--json`` as they come; after
``--minutes`` it stops, and the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from networks import cache_folder, data_folder
from nmnist_training import FIRST, PIXELS, TESTS, Events, events, load, real_events, right
from second_order_cases import MEMORY, Calibration, Case, Published, ours

from snndeploy.ir.network import Network
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.passes.second_order.budgets import budget
from snndeploy.passes.second_order.layers import stacked
from snndeploy.passes.second_order.pruning import Pattern, least_squares, masks_of, pruned_solution
from snndeploy.recipe import load_recipe

Array = npt.NDArray[np.generic]
KERNELS = {"obc": "current", "sbc": "membrane"}
METHODS = ("magnitude", "obc", "sbc", "obc, uniform", "sbc, uniform", "ours")


class Uniform(Published):
    """Both layers lose the same share."""

    def pruned(self, kernel: str, sparsity: float) -> Network:  # type: ignore[override]
        if kernel not in self._found:
            self._found[kernel] = self._eliminated(kernel)  # type: ignore[arg-type]
        changed = []
        for p, order in self._found[kernel]:
            count = budget(sparsity, stacked(p.block).size)
            mask = masks_of([order], [p.columns], count, Pattern())[0]
            solution = pruned_solution(p, least_squares(p, mask, MEMORY), mask)
            changed += [
                replace(q, weight=w) for q, w in zip(p.block, solution.weights, strict=True)
            ]
        return self.case.network.replace(projections=changed)


def makers(
    case: Case, options: argparse.Namespace
) -> Iterator[tuple[str, str, Callable[[], Network]]]:
    """Rows that were asked for: what is done, by which method, and how."""
    lamp, uniform = Published(case), Uniform(case)
    uniform._found = lamp._found  # one elimination serves both
    own = load_recipe("sbc-plus").passes[0].options()
    search = {k: own[k] for k in ("search", "rounds", "scope", "lamp_power")}
    codes = {k: own[k] for k in ("clip", "grid", "order", "refine", "per")}
    for s in options.sparsity:
        pruned: dict[str, Callable[[], Network]] = {
            "magnitude": lambda s=s: case.apply(Prune(sparsity=s, scope="lamp")),
            "ours": lambda s=s: case.apply(Prune(sparsity=s, method="sbc", **ours(), **search)),
        }
        for name, kernel in KERNELS.items():
            pruned[name] = lambda k=kernel, s=s: lamp.pruned(k, s)
            pruned[f"{name}, uniform"] = lambda k=kernel, s=s: uniform.pruned(k, s)
        for name in options.methods:
            yield f"{s:.0%} pruned", name, pruned[name]
    plain = {"per": "channel", "clip": "minmax"}
    rounding = {"magnitude": "rtn", "obc": "gptq", "sbc": "sbc"}
    for b in options.bits:
        for name in options.methods:
            if name in rounding:
                how = Quantize(bits=b, method=rounding[name], **plain)  # type: ignore[arg-type]
                yield f"{b} bits", name, lambda how=how: case.apply(how)
            elif name == "ours":
                how = Quantize(bits=b, method="sbc", **ours(), **codes)
                yield f"{b} bits", name, lambda how=how: case.apply(how)


def accuracy(net: Network, samples: Events) -> float:
    """In %, by the compiled loop that trained; the neurons are those of the network."""
    w1, w2 = (np.float32(2) * p.weight.values().T.astype(np.float32) for p in net.projections)
    theta = {
        p.name: np.broadcast_to(p.neuron.threshold, p.shape).astype(np.float32)
        for p in net.populations
        if p.neuron is not None and p.neuron.threshold is not None
    }
    # a neuron with another threshold is one with other weights
    w1 = w1 / theta["hidden"]
    w2 = w2 / theta["output"]
    return right(np.ascontiguousarray(w1), np.ascontiguousarray(w2), samples)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--calibration", type=int, default=300)
    parser.add_argument(
        "--sparsity", nargs="*", type=float, default=[0.8, 0.9, 0.95, 0.97, 0.98, 0.99]
    )
    parser.add_argument("--bits", nargs="*", type=int, default=[4, 3, 2])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument("--json", type=Path, help="keep the rows here, and take those that it has")
    options = parser.parse_args()
    began = time.perf_counter()
    net = load(options.cache, options.seed)
    seen = events(
        options.data, options.cache, "train", slice(FIRST, FIRST + options.calibration)
    ).frames()
    assert seen.shape[2] == PIXELS
    tests = {
        "simulated": events(options.data, options.cache, "test", TESTS),
        "real": real_events(options.data),
    }
    case = Case(net, seen, seen[:, :1], np.zeros(1, np.int64))
    assert isinstance(case.context.calibration, Calibration)
    rows: dict[str, dict[str, float]] = {}
    if options.json and options.json.exists():
        rows = json.loads(options.json.read_text())
    print("| | method | simulated, % | real, % | CPU s |\n|---|---|---|---|---|")
    everything = [("as trained", "", lambda: net), *makers(case, options)]
    for what, method, make in everything:
        key = f"{what}|{method}"
        if key not in rows:
            if time.perf_counter() - began > 60 * options.minutes:
                break
            start = time.process_time()
            found = make()
            spent = time.process_time() - start
            rows[key] = {n: accuracy(found, t) for n, t in tests.items()} | {"seconds": spent}
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1))
        r = rows[key]
        cells = (f"{r['simulated']:.1f}", f"{r['real']:.1f}", f"{r['seconds']:.0f}")
        print(f"| {what} | {method} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
