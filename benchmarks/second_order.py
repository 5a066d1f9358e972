"""Pruning and quantisation by membrane error beside the methods they are measured against.

    python benchmarks/second_order.py [--data folder] [--cache folder] [--tasks nmnist-2fc] [--seeds 0 1]
    python benchmarks/second_order.py --ablation [--plot file] | --correlation
    python benchmarks/second_order.py --speed [--sizes 784 4608] | --vgg16

Networks come from ``networks.py`` (trained on first use), or from the data folder (``cnn-sinabs`` and
Braille, networks of the NIR paper), or are the demo's (``digits``). All methods share calibration and
test samples. ``obc`` and ``sbc`` follow the papers: dense calibration, greedy elimination, exact
weights, LAMP layer budgets; all sparsities come from one elimination per layer. OSBC and SBC compute
the same Hessian, so they are one row. ``ours`` is the shipped ``sbc-plus``, which chooses its budgets
by what the network answers; with ``measured`` in their names the others do so, too, and ``ours, lamp``
does not. ``spikes`` is the squared van Rossum distance between the outputs of the compressed and the
trained network, relative to the latter's own square; ``SynOps`` are operations per sample whose weight
and input are not zero. The last column is the mean difference on the same networks, with an exact
paired test over all signs. Nothing here was tuned on the test samples.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from networks import cache_folder, data_folder
from results import Results
from second_order_cases import ALL_TASKS, BRAILLE, Case, Published, both, case, pruning, quantising
from second_order_cost import speed, vgg16_size

from snndeploy.calibrate.moments import filtered
from snndeploy.ir.network import Network
from snndeploy.passes.prune import Prune
from snndeploy.report.chart import Panel, line_chart
from snndeploy.simulate.float.engine import run_float

Array = npt.NDArray[np.generic]
SINGLE = (*BRAILLE, "cnn-sinabs", "digits")
"""Tasks with one network, whatever the seed."""


def table(task: str, options: argparse.Namespace) -> None:
    """One task, all methods, mean and standard deviation over seeds."""
    seeds = [0] if task in SINGLE else options.seeds
    rows: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    kept = Results(options.json)
    for seed in seeds:
        began = time.process_time()
        c = case(task, seed, options)
        published = Published(c)
        parts = {
            **pruning(c, published, options.sparsity),
            **quantising(c, options.bits),
            **both(c, published),
        }
        makers = {("trained", ""): lambda c=c: c.network} | {
            (head, name): make
            for head, methods in parts.items()
            for name, make in methods.items()
            if not options.methods or name in options.methods
        }
        for key, make in makers.items():
            wanted = "bits" in key[0] or (options.integer_all and bool(key[1]))
            integers = wanted and not options.no_integer
            told = (seed, options.calibration, options.test, integers)
            name = "|".join((task, *map(str, told), *key))
            row = kept.once(name, partial(judged, c, make, integers))
            rows.setdefault(key, []).append(tuple(row))
            print(f"  {task} {seed} {' '.join(key)}: {row[0]:.2f}", file=sys.stderr, flush=True)
        print(
            f"  {task} {seed}: {time.process_time() - began:.0f} CPU s", file=sys.stderr, flush=True
        )
    print(
        f"\n{task}, {len(seeds)} seed(s), {options.calibration} calibration samples, {len(c.y)} tests\n"
    )
    print("| | method | accuracy % | spikes | kSynOps | integer % | CPU s | ours is better by |")
    print("|---" * 8 + "|")
    for key, values in rows.items():
        cells = [spread([v[k] for v in values], digits) for k, digits in enumerate((2, 3, 1, 2))]
        cells += [f"{values[-1][4]:.1f}", advantage(rows.get((key[0], "ours"), []), values)]
        print(f"| {' | '.join(key)} | {' | '.join(cells)} |")
    sys.stdout.flush()


def judged(c: Case, make: Callable[[], Network], integers: bool) -> list[float]:
    """A row: accuracy, distance of spikes, thousands of SynOps, accuracy of integers, CPU seconds."""
    start = time.process_time()
    net = make()
    seconds = time.process_time() - start
    whole = c.integer(net) if integers else np.nan
    s = c.score(net)
    return [s.accuracy, s.distance, s.synops / 1e3, whole, seconds]


def advantage(ours: list[tuple[float, ...]], other: list[tuple[float, ...]]) -> str:
    """Mean difference of the accuracies on the same networks, and the p of its sign-flip test."""
    if not ours or ours is other:
        return ""
    differences = np.array([a[0] - b[0] for a, b in zip(ours, other, strict=True)])
    told = f"{differences.mean():+.1f}"
    return told if len(differences) < 2 else f"{told} (p {sign_flip(differences):.2g})"


def sign_flip(differences: Array) -> float:
    """Exact paired test: how often random signs make the mean at least as large either way."""
    n = len(differences)
    signs = 1 - 2 * (np.arange(2**n)[:, np.newaxis] >> np.arange(n) & 1)
    means = np.abs(signs @ differences)
    return float((means >= abs(differences.sum()) - 1e-9).mean())


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
    """Accuracy at 95 % against the number of calibration samples, 0.1 … 30 per class."""
    task, counts = options.tasks[0], (1, 3, 10, 30, 100, 300)
    print(f"\n{task}, 95 % pruned\n\n| samples | obc | sbc | ours |\n|---|---|---|---|")
    results: dict[str, list[float]] = {"obc": [], "sbc": [], "ours": []}
    for count in counts:
        scores: dict[str, list[float]] = {name: [] for name in results}
        for seed in [0] if task in SINGLE else options.seeds:
            sized = argparse.Namespace(**{**vars(options), "calibration": count})
            c = case(task, seed, sized)
            makers = pruning(c, Published(c), [0.95])["95% pruned"]
            for name, values in scores.items():
                values.append(c.score(makers[name]()).accuracy)
        for name, values in scores.items():
            results[name].append(statistics.mean(values))
        cells = " | ".join(spread(v, 2) for v in scores.values())
        print(f"| {count} | {cells} |", flush=True)
    if options.plot:
        lines = {
            name: [(count / 10, value / 100) for count, value in zip(counts, values, strict=True)]
            for name, values in results.items()
        }
        panel = Panel(label=f"samples per class, {task}", lines=lines, logarithmic=True)
        options.plot.write_text(line_chart([panel], "accuracy"), encoding="utf-8")


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--tasks", nargs="+", choices=ALL_TASKS, default=list(ALL_TASKS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--calibration", type=int, default=300, help="samples")
    parser.add_argument("--test", type=int, default=1000, help="test samples")
    parser.add_argument("--sparsity", nargs="*", type=float, default=[0.8, 0.9, 0.95, 0.97])
    parser.add_argument("--bits", nargs="*", type=int, default=[4, 3, 2])
    parser.add_argument("--methods", nargs="+", help="only these rows")
    parser.add_argument("--no-integer", action="store_true", help="skip accuracy after lowering")
    parser.add_argument("--integer-all", action="store_true", help="also of real-valued weights")
    parser.add_argument("--ablation", action="store_true", help="calibration size, first task")
    parser.add_argument("--json", type=Path, help="keep rows here, and take those that it has")
    parser.add_argument("--plot", type=Path, help="write the ablation as an SVG")
    parser.add_argument("--correlation", action="store_true", help="predicted against measured")
    parser.add_argument("--speed", action="store_true", help="against the published algorithms")
    parser.add_argument("--vgg16", action="store_true", help="prune and quantise 15 M weights")
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 512, 784, 1152, 2304, 4608])
    parser.add_argument("--reference-steps", type=int, default=20, help="timed, then scaled up")
    options = parser.parse_args()
    if options.speed:
        speed(options.sizes, options.reference_steps)
    elif options.vgg16:
        vgg16_size(options.data)
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
