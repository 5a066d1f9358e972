"""Pruning and quantisation by membrane error beside the methods they are measured against.

    python benchmarks/second_order.py [--data folder] [--cache folder] [--tasks nmnist-2fc] [--seeds 0 1]
    python benchmarks/second_order.py --speed [--sizes 784 4608]
    python benchmarks/second_order.py --ablation | --correlation

Networks come from ``networks.py`` (trained on first use), or from the data folder (Braille, two
recurrent networks of the NIR paper). All methods share LAMP layer budgets, calibration samples and test
samples. ``obc`` and ``sbc`` follow the papers: dense calibration, greedy elimination, exact weights;
for them all sparsities come from one elimination per layer. OSBC and SBC compute the same Hessian, so
they are one row. ``spikes`` is the squared van Rossum distance between the outputs of the compressed and
the trained network, relative to the latter's own square. Nothing here was tuned on the test samples.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from networks import TASKS, accuracy, cache_folder, data_folder, load, samples

from snndeploy.calibrate.moments import filtered
from snndeploy.ingest import read_network
from snndeploy.ir.network import Network
from snndeploy.lower import infer_coding, lower
from snndeploy.passes.base import Pass, PassContext
from snndeploy.passes.prune import Prune
from snndeploy.passes.prune_quantize import PruneQuantize
from snndeploy.passes.quantize import Quantize
from snndeploy.passes.second_order.budgets import budget, lamp_counts
from snndeploy.passes.second_order.layers import (
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
from snndeploy.simulate.data import Samples
from snndeploy.simulate.float_engine import run_float
from snndeploy.target import load_target

Array = npt.NDArray[np.generic]
BRAILLE = ("braille-zero", "braille-subtract")
MEMORY = 1 << 28
JOINT = (0.9, 4)


@dataclass(frozen=True, eq=False)
class Calibration:
    """What passes ask for."""

    inputs: dict[str, Array]
    labels: Array | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """A network with calibration and test samples, and what it answers uncompressed."""

    network: Network
    calibration: Array
    x: Array
    y: Array

    @property
    def context(self) -> PassContext:
        name = self.network.with_role("input")[0].name
        return PassContext(calibration=Calibration({name: self.calibration}))

    def apply(self, *passes: Pass) -> Network:
        net = self.network
        for step in passes:
            net = step.apply(net, self.context).network
        return net

    def score(self, net: Network) -> tuple[float, float]:
        """Accuracy in %, and relative squared distance of the output's filtered spike trains."""
        return accuracy(net, self.x, self.y), self.distance(net)

    def distance(self, net: Network) -> float:
        output = self.network.with_role("output")[0]
        leak = float(np.mean(output.neuron.leak)) if output.neuron else 0.0
        part = self.x[:, :200]
        a, b = (
            filtered(run_float(n, part).spikes[output.name], leak, None)
            for n in (self.network, net)
        )
        return float(np.square(a - b).sum() / max(np.square(a).sum(), 1e-300))

    def integer(self, net: Network) -> float:
        """Accuracy in % of the integers that run on Loihi 2."""
        coding = infer_coding(self.x)
        program = lower(net, load_target("loihi2"), inputs=coding, steps=self.x.shape[0])
        part = Samples(self.x[:, :500], self.y[:500])
        run = run_engine("integer", part, program=program)
        return 100 * float((run.predictions(net.with_role("output")[0].name) == part.labels).mean())


def case(task: str, seed: int, options: argparse.Namespace) -> Case:
    """The trained network of a task, with its samples."""
    if task in BRAILLE:
        return braille(task, options)
    net = load(task, seed, options.data, options.cache)
    x, _ = samples(task, "train", options.data, count=options.calibration)
    test = samples(task, "test", options.data, count=options.test)
    return Case(net, x, *test)


def braille(task: str, options: argparse.Namespace) -> Case:
    """Recurrent, CubaLIF; every fourth sample tests, the first of the others calibrate."""
    folder = options.data / "nir_models"
    model = {"braille-zero": "bias_zero", "braille-subtract": "noBias_subtract"}[task]
    net = read_network(
        folder / "paper" / f"braille_noDelay_{model}.nir", "norse", reset_timing="immediate",
        reset=task.rpartition("-")[2],
    )  # fmt: skip
    with np.load(folder / "braille" / "braille_unique.npz", allow_pickle=False) as file:
        x, y = file["x"].swapaxes(0, 1), file["y"]
    test = np.arange(len(y)) % 4 == 3
    return Case(net, x[:, ~test][:, : options.calibration], x[:, test], y[test])


def one_shot(case: Case, kernel: str, sparsities: Iterable[float]) -> dict[float, Network]:
    """OBC or SBC as published, for several sparsities from one elimination per layer."""
    net = case.network
    settings = Settings(
        kernels=(kernel,), asymmetry=(0.0,), sequential=False, damp=0.01, positions=32,
        max_memory=MEMORY,
    )  # type: ignore[arg-type]  # fmt: skip
    step = Prune(sparsity=0.5)
    blocks = blocks_of(net, step.select(net))
    magnitudes = [np.abs(stacked(b)) for b in blocks]
    found = dict.fromkeys(sparsities, net)
    for i, block in enumerate(blocks):
        moments = moments_of(net, block, case.context.calibration.inputs, kernel, settings, None)  # type: ignore[arg-type, union-attr]
        p = problem(block, moments, settings.damp)
        order = eliminated(p, 0.0, search="greedy", rounds=1, pattern=Pattern(), max_memory=MEMORY)
        for s in found:
            total = budget(s, sum(m.size for m in magnitudes))
            count = lamp_counts(magnitudes, total)[i]
            mask = masks_of([order], [p.columns], count, Pattern())[0]
            solution = pruned_solution(p, least_squares(p, mask, MEMORY), mask)
            changed = [
                type(q)(q.name, q.sources, q.target, q.ops, w, q.bias)
                for q, w in zip(block, solution.weights, strict=True)
            ]
            found[s] = found[s].replace(projections=changed)
    return found


def ours() -> dict[str, object]:
    """The options of sbc-plus that `prune` and `quantize` have, too."""
    joint = load_recipe("sbc-plus").passes[0]
    names = ("kernels", "asymmetry", "choose", "sequential", "damp", "positions", "max_memory")
    return {name: getattr(joint, name) for name in names}


def pruning(case: Case, sparsities: list[float]) -> dict[str, dict[str, Callable[[], Network]]]:
    """Every method at every sparsity, as functions yet to be called."""
    shared: dict[str, dict[float, Network]] = {}

    def published(kernel: str, s: float) -> Network:
        if kernel not in shared:
            shared[kernel] = one_shot(case, kernel, sparsities)
        return shared[kernel][s]

    joint = load_recipe("sbc-plus").passes[0].options()
    own = {k: joint[k] for k in ("search", "rounds", "scope", "lamp_power")}
    return {
        f"{s:.0%} pruned": {
            "magnitude": lambda s=s: case.apply(Prune(sparsity=s, scope="lamp")),
            "sparsegpt": lambda s=s: case.apply(
                Prune(sparsity=s, scope="lamp", method="sparsegpt")
            ),
            "obc": lambda s=s: published("current", s),
            "sbc": lambda s=s: published("membrane", s),
            "ours": lambda s=s: case.apply(Prune(sparsity=s, method="sbc", **ours(), **own)),
        }
        for s in sparsities
    }  # type: ignore[misc]


def quantising(case: Case, bits: list[int]) -> dict[str, dict[str, Callable[[], Network]]]:
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


def both(case: Case) -> dict[str, dict[str, Callable[[], Network]]]:
    """Pruned, then quantised, or both in one go."""
    s, b = JOINT
    grid = {"per": "channel", "clip": "minmax"}
    joint = load_recipe("sbc-plus").passes[0].options()

    def steps(method: str) -> Network:
        return case.apply(
            Prune(sparsity=s, scope="lamp", method={"gptq": "obc"}.get(method, method)),  # type: ignore[arg-type]
            Quantize(bits=b, method=method, **grid),  # type: ignore[arg-type]
        )

    return {
        f"{s:.0%} pruned, {b} bits": {
            "magnitude, rtn": lambda: case.apply(
                Prune(sparsity=s, scope="lamp"),
                Quantize(bits=b, **grid),  # type: ignore[arg-type]
            ),
            "obc": lambda: steps("gptq"),
            "sbc": lambda: steps("sbc"),
            "ours": lambda: case.apply(PruneQuantize(**{**joint, "sparsity": s, "bits": b})),
        }
    }


def table(task: str, options: argparse.Namespace) -> None:
    """One task, all methods, mean and standard deviation over seeds."""
    seeds = [0] if task in BRAILLE else options.seeds
    rows: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    seconds: dict[tuple[str, str], float] = {}
    for seed in seeds:
        c = case(task, seed, options)
        rows.setdefault(("trained", ""), []).append((*c.score(c.network), 0.0))
        parts = {**pruning(c, options.sparsity), **quantising(c, options.bits), **both(c)}
        for head, methods in parts.items():
            for name, make in methods.items():
                if options.methods and name not in options.methods:
                    continue
                began = time.process_time()
                net = make()
                seconds[head, name] = time.process_time() - began
                whole = c.integer(net) if "bits" in head and not options.no_integer else np.nan
                rows.setdefault((head, name), []).append((*c.score(net), whole))
                print(
                    f"  {task} {seed} {head} {name}: {rows[head, name][-1][0]:.2f}",
                    file=sys.stderr,
                    flush=True,
                )
    print(
        f"\n{task}, {len(seeds)} seed(s), {options.calibration} calibration samples, {len(c.y)} tests\n"
    )
    print("| | method | accuracy % | spikes | integer % | CPU s |\n|---|---|---|---|---|---|")
    for (head, name), values in rows.items():
        cells = [spread([v[k] for v in values], digits) for k, digits in ((0, 2), (1, 3), (2, 2))]
        spent = seconds.get((head, name))
        print(
            f"| {head} | {name} | {' | '.join(cells)} | {'' if spent is None else f'{spent:.1f}'} |"
        )
    sys.stdout.flush()


def spread(values: list[float], digits: int) -> str:
    """Mean ± standard deviation; empty where there is nothing."""
    if np.isnan(values).any():
        return ""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def correlation(task: str, options: argparse.Namespace) -> None:
    """Predicted membrane error against the measured change of spikes, one layer pruned at a time."""
    c = case(task, options.seeds[0], options)
    part = c.x[:, :100]
    trained = run_float(c.network, part).spikes
    print(
        f"\n{task}: membrane error predicted, and squared distance of the layer's own spike trains\n"
    )
    print("| layer | pruned | predicted | measured |\n|---|---|---|---|")
    pairs = []
    for p in c.network.projections:
        neuron = c.network.population(p.target).neuron
        leak = 0.0 if neuron is None else float(np.mean(neuron.leak))
        for s in options.sparsity:
            step = Prune(sparsity=s, method="sbc", layers=(p.name,), search="rounds", rounds=4)
            result = step.apply(c.network, c.context)
            found = run_float(result.network, part).spikes[p.target]
            a, b = (filtered(x, leak, None) for x in (trained[p.target], found))
            places = np.prod(c.network.population(p.target).shape) / p.weight.shape[0]
            predicted = result.metrics[p.name]["loss"] * places
            pairs.append((predicted, float(np.square(a - b).sum()) / part.shape[1]))
            print(f"| {p.name} | {s:.0%} | {pairs[-1][0]:.4g} | {pairs[-1][1]:.4g} |", flush=True)
    x, y = np.log(np.maximum(pairs, 1e-12)).T
    print(f"\ncorrelation of the logarithms: {np.corrcoef(x, y)[0, 1]:.3f}")


def ablation(options: argparse.Namespace) -> None:
    """Accuracy at 95 % against the number of calibration samples."""
    task, counts = options.tasks[0], (1, 3, 10, 30, 100, 300)
    print(f"\n{task}, 95 % pruned\n\n| samples | obc | sbc | ours |\n|---|---|---|---|")
    results: dict[str, list[float]] = {"obc": [], "sbc": [], "ours": []}
    for count in counts:
        c = case(
            task, options.seeds[0], argparse.Namespace(**{**vars(options), "calibration": count})
        )
        for name, make in pruning(c, [0.95])["95% pruned"].items():
            if name in results:
                results[name].append(c.score(make())[0])
        print(
            f"| {count} | " + " | ".join(f"{v[-1]:.2f}" for v in results.values()) + " |",
            flush=True,
        )
    if options.plot:
        import matplotlib.pyplot as plt

        for name, values in results.items():
            plt.semilogx(counts, values, marker="o", label=name)
        plt.xlabel("calibration samples")
        plt.ylabel("accuracy, %")
        plt.legend()
        plt.savefig(options.plot, bbox_inches="tight")


def speed(options: argparse.Namespace) -> None:
    """Row blocks of a layer against the published algorithms row by row: CPU seconds, equal loss."""
    import torch

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from snndeploy.passes.second_order.eliminate import eliminate
    from snndeploy.passes.second_order.least_squares import quadratic
    from snndeploy.passes.second_order.sweep import column_order, sweep
    from tests.second_order_references import gptq_rank_one, obs_row

    print(
        "| columns | prune, ms/row | reference | ratio | loss | quantise 512 rows, s | reference "
        "| ratio | loss | peak MiB |"
    )
    print("|---" * 10 + "|")
    timed = []
    for d in options.sizes:
        rng = np.random.default_rng(0)
        x = rng.random((2 * d, d)) * (rng.random((2 * d, d)) < 0.2)
        w = rng.normal(size=(512, d)) / np.sqrt(d)
        q = quadratic(2 * x.T @ x / len(x), w)
        n = max(1, min(32, (1 << 28) // (3 * 8 * d * d)))
        steps = int(0.9 * d)
        began = time.process_time()
        ours = eliminate(q.best[:n], q.inverse, steps=steps)
        ours_row = (time.process_time() - began) / n
        timed.append((d, ours_row))
        slow = loss = sweep_slow = sweep_loss = float("nan")
        few = min(steps, options.reference_steps)
        if d <= options.reference_limit:
            began = time.process_time()
            _, losses, _ = obs_row(w[0], q.hessian.numpy(), few)
            slow = (time.process_time() - began) * steps / few
            loss = float(ours.losses[0, :few].sum()) / sum(losses)
        grid = np.abs(w).max(axis=1) / 7
        s = torch.tensor(grid)[:, None]
        began = time.process_time()
        codes, _ = sweep(q, lambda v, at, s=s: (v / s).round().clamp(-7, 7) * s, order="inverse")
        fast_sweep = time.process_time() - began
        if d <= 1024:
            began = time.process_time()
            turn = column_order(q, "inverse").numpy()
            explicit = gptq_rank_one(w, q.hessian.numpy(), grid, 7, turn)
            sweep_slow = time.process_time() - began
            sweep_loss = float(q.loss(codes).sum() / q.loss(torch.tensor(explicit)).sum())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cells = (
            f"{1e3 * ours_row:.1f}", f"{1e3 * slow:.0f}", f"{slow / ours_row:.0f}", f"{loss:.4f}",
            f"{fast_sweep:.2f}", f"{sweep_slow:.1f}", f"{sweep_slow / fast_sweep:.0f}",
            f"{sweep_loss:.4f}", f"{peak:.0f}",
        )  # fmt: skip
        print(f"| {d} | {' | '.join(cells)} |", flush=True)
    if len(timed) > 1:
        sizes, times = (np.log([t[k] for t in timed]) for k in (0, 1))
        print(f"\npruning a row takes time d^{np.polyfit(sizes, times, 1)[0]:.2f}")


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument(
        "--tasks", nargs="+", choices=[*TASKS, *BRAILLE], default=[*TASKS, *BRAILLE]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--calibration", type=int, default=300, help="samples")
    parser.add_argument("--test", type=int, default=1000, help="test samples")
    parser.add_argument("--sparsity", nargs="*", type=float, default=[0.8, 0.9, 0.95, 0.97])
    parser.add_argument("--bits", nargs="*", type=int, default=[4, 3, 2])
    parser.add_argument("--methods", nargs="+", help="only these rows")
    parser.add_argument("--no-integer", action="store_true", help="skip accuracy after lowering")
    parser.add_argument("--ablation", action="store_true", help="calibration size, first task")
    parser.add_argument("--plot", type=Path, help="write the ablation as a picture")
    parser.add_argument("--correlation", action="store_true", help="predicted against measured")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 512, 784, 1152, 2304, 4608])
    parser.add_argument("--reference-steps", type=int, default=100, help="timed, then scaled up")
    parser.add_argument("--reference-limit", type=int, default=2304)
    options = parser.parse_args()
    if options.speed:
        speed(options)
    elif options.ablation:
        ablation(options)
    elif options.correlation:
        for task in options.tasks:
            correlation(task, options)
    else:
        for task in options.tasks:
            table(task, options)


if __name__ == "__main__":
    main()
