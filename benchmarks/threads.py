"""Samples per second of the integer and the float engine with 1 and with 2 threads.

    python benchmarks/threads.py [--samples 256] [--rounds 5] [--threads 1 2]

A process for each number of threads, which are asked in turn, so that what else the machine does falls
on all of them alike; the figure is the best of the rounds. Two threads need two cores that are free.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import IO

from engine_networks import SHAPES, mnist, nmnist, random_network, random_program

from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import IntegerEngine


def served(samples: int) -> None:
    """Run what each line of the input names, and answer with samples per second."""
    runs: dict[str, Callable[[], object]] = {}
    for title in SHAPES:
        make = mnist if title.startswith("784") else nmnist
        x = make(None, samples)
        engine, network = IntegerEngine(random_program(title)), random_network(title)
        runs[f"integer {title}"] = lambda engine=engine, x=x: engine.run({"input": x})
        runs[f"float {title}"] = lambda network=network, x=x: run_float(network, x)
    for run in runs.values():
        run()  # loads what is compiled
    print("\n".join(runs), end="\n\n", flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        runs[line.strip()]()
        print(samples / (time.perf_counter() - began), flush=True)


def _line(pipe: IO[str] | None) -> str:
    assert pipe is not None
    return pipe.readline().strip()


def main() -> None:
    """Parse options and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        served(options.samples)
        return
    command = [sys.executable, __file__, "--serve", "--samples", str(options.samples)]
    workers = {
        n: subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(n), "MKL_NUM_THREADS": str(n)},
        )
        for n in options.threads
    }
    titles: list[str] = []
    for worker in workers.values():
        titles = list(iter(lambda out=worker.stdout: _line(out), ""))
    print(f"load {os.getloadavg()[0]:.1f}")
    for title in titles:
        best = dict.fromkeys(workers, 0.0)
        for _ in range(options.rounds):
            for n, worker in workers.items():
                assert worker.stdin is not None
                print(title, file=worker.stdin, flush=True)
                best[n] = max(best[n], float(_line(worker.stdout)))
        first = best[options.threads[0]]
        told = [f"{n} threads {rate:,.0f} ({rate / first:.2f}x)" for n, rate in best.items()]
        print(f"{title}: samples/s: {', '.join(told)}", flush=True)
    for worker in workers.values():
        worker.communicate()


if __name__ == "__main__":
    main()
