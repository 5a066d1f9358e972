"""Time and digest of the same work in this process, and with one, two and three workers.

    python benchmarks/cluster.py [--data folder] [--workers 0 1 2 3] [--samples 60] [--killed 3]

What each layer of the NIR paper's ``cnn_sinabs`` can lose (bits and sparsity, alone) is measured on
N-MNIST. Seconds are of the clock, the start of the workers apart, and of one thread each. With
``--killed N`` one of N workers is killed after a third of the time that N take.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as Dask sets it for its workers

from networks import data_folder
from tune import of_nmnist

from snndeploy.data import Samples
from snndeploy.ir.network import Network
from snndeploy.pipeline.advise.sensitivity import sensitivity
from snndeploy.workers import workers_at


def measured(net: Network, data: Samples, count: int, kill_after: float | None = None) -> Any:
    """Seconds to start, seconds of work, and the digest of what was found."""
    began = time.perf_counter()
    with workers_at(f"local:{count}" if count else None) as workers:
        started = time.perf_counter()
        if kill_after is not None:
            cluster = workers.cluster  # type: ignore[attr-defined]
            victim = next(iter(cluster.workers.values()))
            pid = victim.process.process.pid
            threading.Timer(kill_after, os.kill, (pid, 9)).start()
        found = sensitivity(net, data, ratios=(), bits=(4, 2), sparsities=(0.75,), workers=workers)
        ended = time.perf_counter()
    told = json.dumps(found.record(), sort_keys=True)
    return started - began, ended - started, hashlib.sha256(told.encode()).hexdigest()[:16]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--killed", type=int, default=3, help="0: none is killed")
    options = parser.parse_args()
    net, samples = of_nmnist(options.data)
    samples = samples.first(options.samples)
    print(f"load {os.getloadavg()[0]:.1f}\n\n| workers | to start, s | work, s | digest |")
    print("|---|---:|---:|---|")
    took: dict[int, float] = {}
    for count in options.workers:
        start, took[count], digest = measured(net, samples, count)
        name = "in process" if count == 0 else str(count)
        print(f"| {name} | {start:.1f} | {took[count]:.1f} | {digest} |", flush=True)
    if options.killed in took:
        after = took[options.killed] / 3
        start, work, digest = measured(net, samples, options.killed, after)
        name = f"{options.killed}, one killed after {after:.1f} s"
        print(f"| {name} | {start:.1f} | {work:.1f} | {digest} |")


if __name__ == "__main__":
    main()
