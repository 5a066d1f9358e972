"""Calibrating on less than a sample per class: as it is, and filled up with made-up samples.

    python benchmarks/few_samples.py [--tasks digits braille-zero] [--counts 3 10 100] [--fill 100]
        [--draws 4] [--sparsity 0.9] [--methods sbc ours] [--shift 1] [--warp 1] [--search rounds]

``digits`` is the demo's network; its first 300 digits are tested on. A draw is a choice of calibration
samples among the others. Made-up samples are those of ``calibration.fill`` in a recipe: given ones
moved in time by up to a tenth of it, thinned by up to a fifth, or one begun as another ends; maps moved
by up to ``--shift`` pixels and warped (``--warp``) as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from pathlib import Path

import numpy as np
from networks import cache_folder, data_folder
from second_order_cases import ALL_TASKS, Case, case, ours

from snndeploy.calibrate.made_up import filled
from snndeploy.demo import FOLDER, digits
from snndeploy.ingest import read_network
from snndeploy.passes.prune import Prune

_POOL = 100_000


def pool(task: str, options: argparse.Namespace) -> Case:
    """The task with all samples that may calibrate."""
    if task != "digits":
        return case(task, 0, argparse.Namespace(**{**vars(options), "calibration": _POOL}))
    samples = digits()
    assert samples.labels is not None
    x, y = samples.inputs, samples.labels
    network = read_network(FOLDER / "digits.nir", "snntorch", reset="zero")
    return Case(network, x[:, 300:], x[:, :300], y[:300])


def main() -> None:
    """Print a row per number of samples."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--cache", type=Path, default=cache_folder())
    parser.add_argument("--tasks", nargs="+", choices=["digits", *ALL_TASKS], default=["digits"])
    parser.add_argument("--counts", nargs="+", type=int, default=[3, 10, 100])
    parser.add_argument("--fill", type=int, default=100)
    parser.add_argument("--shift", type=int, default=1)
    parser.add_argument("--warp", type=float, default=1.0)
    parser.add_argument("--search", choices=["greedy", "rounds"], default="greedy")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--methods", nargs="+", choices=["sbc", "ours"], default=["sbc", "ours"])
    parser.add_argument("--test", type=int, default=1000, help="test samples, where there are more")
    options = parser.parse_args()
    for task in options.tasks:
        whole = pool(task, options)
        print(f"\n{task}, {options.sparsity:.0%} pruned, {options.draws} draws\n")
        heads = [f"{m}{kind}" for m in options.methods for kind in ("", ", filled")]
        print(f"| samples | {' | '.join(heads)} |\n{'|---' * (len(heads) + 1)}|")
        for count in options.counts:
            cells = []
            for method in options.methods:
                how = ours() if method == "ours" else {}
                step = Prune(
                    sparsity=options.sparsity,
                    method="sbc",
                    scope="lamp",
                    search=options.search,
                    **how,  # type: ignore[arg-type]
                )
                for fill in (0, options.fill):
                    scores = []
                    for draw in range(options.draws if fill != count else 0):
                        rng = np.random.default_rng(draw)
                        chosen = rng.permutation(whole.calibration.shape[1])[:count]
                        x = {"x": whole.calibration[:, chosen]}
                        few = filled(
                            x,
                            fill,
                            np.random.default_rng(draw),
                            shift=options.shift,
                            warp=options.warp,
                        )["x"]
                        c = dataclasses.replace(whole, calibration=few)
                        scores.append(c.score(c.apply(step)).accuracy)
                    cells.append(
                        f"{statistics.mean(scores):.1f} ± {statistics.stdev(scores):.1f}"
                        if len(scores) > 1
                        else "".join(f"{s:.1f}" for s in scores)
                    )
            print(f"| {count} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
