"""The integer and the float engine beside Lava, bare products, and other simulators: ratios of one run.

    python benchmarks/engine.py [--data folder] [--peers] [--no-lava]

Every figure is the median of several repetitions on this machine, at this moment, those of float
engines taken in turn; compare columns of one run only. Lava runs in its best mode: all samples as one
stream with ``LIFReset``, from a file. Peers run the same networks, weights and inputs in float32, each
with its own neuron and our float engine with that same neuron; each is installed on demand in an
environment of its own. Ours counts the conversion of the input and the recording of every spike, theirs
neither.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from engine_networks import (
    SHAPES,
    STEPS,
    Array,
    mnist,
    nmnist,
    published_network,
    published_program,
    random_network,
    random_program,
    with_neurons_of,
    with_pools_in_convolutions,
)
from networks import data_folder
from peers import PEERS, Worker, default_folder, interpreter, worker

from snndeploy.ir.network import Network
from snndeploy.ir.ops import Conv, Dense
from snndeploy.ir.program import Program
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import IntegerEngine
from snndeploy.simulate.jit import has_numba

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def seconds(function: Callable[[], object], clock: str = "wall") -> float:
    """Time of one call."""
    now = CLOCKS[clock]
    start = now()
    function()
    return now() - start


def median(function: Callable[[], object], repeat: int) -> float:
    """Median seconds of ``repeat`` calls, after one that does not count."""
    function()
    return statistics.median(seconds(function) for _ in range(repeat))


def bare(program: Program, samples: int) -> Callable[[], object]:
    """The matrix products and convolutions of the program alone, float32, no spikes, no neurons."""
    import torch
    from torch.nn import functional

    work = []
    for s in program.synapses:
        shape = program.source_shape(s)
        for op in s.ops[:-1]:
            shape = op.out_shape(shape)
        x = torch.rand((STEPS * samples, *shape))
        if isinstance(s.op, (Conv, Dense)):
            work.append((s.op, x, torch.tensor(s.mantissa, dtype=torch.float32)))

    def run() -> None:
        with torch.no_grad():
            for op, x, w in work:
                if isinstance(op, Conv):
                    padding = tuple(before for before, _ in op.padding)
                    functional.conv2d(x, w, None, op.stride, padding)
                else:
                    functional.linear(x, w)

    return run


def lava_rates(program: Program, x: Array) -> dict[str, float]:
    """Steps per second of Lava on these samples as one stream, by the route of convolutions.

    Start-up is left out. Empty where there is no Lava.
    """
    from snndeploy.simulate.lava.engine import run_lava
    from snndeploy.simulate.lava.env import find_lava

    if find_lava() is None:
        return {}
    convolves = any(isinstance(s.op, Conv) for s in program.synapses)
    routes = (
        {"Lava, Conv": "native", "Lava, as Sparse": "sparse"} if convolves else {"Lava": "auto"}
    )
    work = x.shape[1] * STEPS
    return {
        name: work / run_lava(program, x, conv=route).seconds  # type: ignore[arg-type]
        for name, route in routes.items()
    }


def report(title: str, program: Program, x: Array, lava_samples: int, repeat: int) -> None:
    """Print one network's lines."""
    samples = x.shape[1]
    work = samples * STEPS
    engine = IntegerEngine(program)
    run = engine.run(x[:, : min(samples, 64)])
    rates = ", ".join(f"{n} {float((v != 0).mean()):.1%}" for n, v in run.spikes.items())
    print(f"\n{title}: {samples} samples x {STEPS} steps; activity: {rates}")
    ours = work / median(lambda: engine.run(x), repeat)
    limit = work / median(bare(program, samples), repeat)
    print(
        f"  ours                  {ours:>12,.0f} steps/s   {limit / ours:6.2f} x the bare products"
    )
    for route in ("events", "dense"):
        other = IntegerEngine(program, route=route)  # type: ignore[arg-type]
        speed = work / median(partial(other.run, x), repeat)
        print(f"  ours, all {route:<8}    {speed:>12,.0f} steps/s   {limit / speed:6.2f} x")
    one = x[:, :1]
    alone = median(lambda: engine.run(one), 20)
    print(
        f"  one sample alone      {STEPS / alone:>12,.0f} steps/s   {alone * 1e3:.2f} ms per sample"
    )
    if lava_samples:
        for name, lava in lava_rates(
            with_pools_in_convolutions(program), x[:, :lava_samples]
        ).items():
            print(
                f"  {name:<20}  {lava:>12,.0f} steps/s   ours is {ours / lava:,.0f} x, "
                f"one sample alone {STEPS / alone / lava:,.0f} x"
            )


def sparse_report(program: Program, repeat: int) -> None:
    """Time per step against activity, events and products side by side."""
    print(
        "\nactivity of the input against the route (784-512-10, 128 samples), microseconds per step"
    )
    rng = np.random.default_rng(3)
    for activity in (0.005, 0.02, 0.05, 0.1, 0.3, 0.9):
        x = (rng.random((STEPS, 128, 784)) < activity).astype(np.uint8)
        times = {}
        for route in ("events", "dense", "auto"):
            engine = IntegerEngine(program, route=route)  # type: ignore[arg-type]
            times[route] = median(partial(engine.run, x), repeat)
        line = ", ".join(f"{r} {t / STEPS / 128 * 1e6:7.2f}" for r, t in times.items())
        print(f"  {activity:6.1%}: {line}")


def float_report(
    title: str, network: Network, x: Array, names: list[str], options: argparse.Namespace
) -> None:
    """Print our float engine beside each peer, batch and single sample."""
    work = x.shape[0] * x.shape[1]
    print(f"\n{title} in float32: {x.shape[1]} samples x {x.shape[0]} steps")
    for name in names:
        python = interpreter(name, options.peers_folder)
        if python is None:
            continue
        with (
            tempfile.TemporaryDirectory() as scratch,
            worker(name, python, network, x, Path(scratch)) as peer,
        ):
            if name == "nengo_loihi":
                _print_emulator(
                    title,
                    peer.peer.title,
                    x,
                    [peer.seconds("one", "wall") for _ in range(options.repeat)],
                )
                continue
            m, differing = _in_turn(with_neurons_of(network, name), x, peer, options)
        print(
            f"  {peer.peer.title:<20} {work / m['peer']:>10,.0f} steps/s, ours "
            f"{work / m['ours']:>10,.0f}: {m['peer'] / m['ours']:.1f} x   one sample "
            f"{m['peer, one'] * 1e3:.1f} ms, ours {m['ours, one'] * 1e3:.1f}: "
            f"{m['peer, one'] / m['ours, one']:.1f} x   "
            f"({differing} samples answer with other counts)"
        )


def _in_turn(
    network: Network, x: Array, peer: Worker, options: argparse.Namespace
) -> tuple[dict[str, float], int]:
    """Median seconds of our runs and the peer's, and samples whose answers have other spike counts."""
    counts = run_float(network, x).counts(network.with_role("output")[0].name)
    one, clock = x[:, :1].copy(), options.clock
    runs: dict[str, Callable[[], float]] = {
        "ours": lambda: seconds(lambda: run_float(network, x), clock),
        "peer": lambda: peer.seconds("batch", clock),
        "ours, one": lambda: seconds(lambda: run_float(network, one), clock),
        "peer, one": lambda: peer.seconds("one", clock),
    }
    times: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(options.repeat):
        for key, run in runs.items():
            times[key].append(run())
    medians = {key: statistics.median(values) for key, values in times.items()}
    return medians, int((counts != peer.counts).any(axis=1).sum())


def _print_emulator(title: str, peer: str, x: Array, times: list[float]) -> None:
    theirs = x.shape[0] / statistics.median(times)
    engine = IntegerEngine(random_program(title))
    batch = x.shape[0] * x.shape[1] / median(lambda: engine.run(x), len(times))
    one = x.shape[0] / median(lambda: engine.run(x[:, :1]), 20)
    print(
        f"  {peer:<20} {theirs:>10,.0f} steps/s, one sample at a time; our integer engine "
        f"{batch / theirs:,.0f} x, one sample alone {one / theirs:,.0f} x"
    )


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--data",
        type=Path,
        default=data_folder(),
        help="folder with mnist/, nmnist_small/ and nir_models/",
    )
    parser.add_argument("--no-lava", action="store_true")
    parser.add_argument("--no-integer", action="store_true", help="only the float networks")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), help="all of them without names")
    parser.add_argument("--peers-folder", type=Path, default=default_folder())
    parser.add_argument(
        "--clock",
        choices=list(CLOCKS),
        default="wall",
        help="of float networks; on a busy machine, cpu with one thread",
    )
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--samples", type=int, default=1000)
    args = parser.parse_args()
    data = args.data if args.data.is_dir() else None
    if data is None:
        print(f"there is no {args.data}: random spikes, and no published network")
    print(f"kernels: {'numba' if has_numba() else 'none (pip install snndeploy[fast])'}")
    few = min(args.samples, 100)
    digits, recordings = mnist(data, args.samples), nmnist(data, few)
    published = None if data is None else published_network(data)
    dense, conv = SHAPES
    if not args.no_integer:

        def lava(n: int) -> int:
            return 0 if args.no_lava else n

        report(dense, random_program(dense), digits, lava(100), args.repeat)
        report(conv, random_program(conv), recordings, lava(8), args.repeat)
        if published is not None:
            program = published_program(published)
            report("cnn_sinabs", program, recordings, lava(8), args.repeat)
        sparse_report(random_program(dense), args.repeat)
    if args.peers is not None:
        names = args.peers or list(PEERS)
        torch_peers = [name for name in names if name != "nengo_loihi"]
        float_report(dense, random_network(dense), digits, names, args)
        float_report(conv, random_network(conv), recordings, torch_peers, args)
        if published is not None:
            float_report("cnn_sinabs", published, recordings, torch_peers, args)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory of this process: {peak:,.0f} MB")


if __name__ == "__main__":
    main()
