"""The integer engine beside Lava, bare products, and other simulators: ratios of one run.

    python benchmarks/engine.py [--data mnist folder] [--nmnist file.npz] [--peers] [--no-lava]

Every figure is the median of several repetitions on this machine, at this moment; compare columns of one
run only. Lava runs in its best mode: all samples as one stream with ``LIFReset``, from a file. Peers
(snnTorch, Norse, SpikingJelly) run the same networks in float32 and are measured where installed.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snndeploy.ir.arrays import frozen
from snndeploy.ir.ops import Conv, Dense, Op, Reshape
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.simulate.encode import rate
from snndeploy.simulate.exact.jit import has_numba
from snndeploy.simulate.integer import IntegerEngine

Array = npt.NDArray[np.generic]
STEPS = 32


def median(function: Callable[[], object], repeat: int) -> float:
    """Median seconds of ``repeat`` calls, after one that does not count."""
    function()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def chain(shape: tuple[int, ...], layers: list[tuple[Op, ...]], firing: float) -> Program:
    """A feed-forward program with random 8-bit weights; thresholds let about ``firing`` spike."""
    rng = np.random.default_rng(0)
    groups = [CompartmentGroup(name="input", shape=shape, role="input", kind="input", depth=0)]
    synapses = []
    for depth, ops in enumerate(layers, start=1):
        for op in ops:
            shape = op.out_shape(shape)
        op = ops[-1]
        assert isinstance(op, (Dense, Conv))
        fan_in = int(np.prod(op.weight_shape[1:]))
        last = depth == len(layers)
        threshold = max(1, int(145 * np.sqrt(fan_in) * firing))
        groups.append(
            CompartmentGroup(
                name="output" if last else f"layer{depth}", shape=shape, kind="lif", depth=depth,
                role="output" if last else "hidden", vth=frozen(threshold, np.int64),
                dv=frozen(256, np.int64),
            )
        )  # fmt: skip
        weight = rng.integers(-128, 128, op.weight_shape) * 2
        synapses.append(
            SynapseGroup(
                name=f"w{depth}", sources=(SynapseSource(groups[-2].name, frozen(1, np.int64)),),
                target=groups[-1].name, ops=ops, mantissa=frozen(weight, np.int64), exponent=0,
                sign_mode="mixed", weight_bits=8,
            )
        )  # fmt: skip
    return Program(target="benchmark", groups=tuple(groups), synapses=tuple(synapses)).verify()


def dense_program() -> Program:
    """784-512-10."""
    return chain((784,), [(Dense(512, 784),), (Dense(10, 512),)], 1.0)


def conv_program() -> Program:
    """34x34x2 -> 16 -> 32 (stride 2) -> 10."""

    def conv(cin: int, cout: int, stride: int) -> Conv:
        return Conv(cout, cin, (3, 3), (stride, stride), ((1, 1), (1, 1)), (1, 1))

    flat = 32 * 17 * 17
    return chain(
        (2, 34, 34),
        [(conv(2, 16, 1),), (conv(16, 32, 2),), (Reshape((flat,)), Dense(10, flat))],
        0.6,
    )


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
        work.append((s.op, x, torch.tensor(s.mantissa, dtype=torch.float32)))

    def run() -> None:
        with torch.no_grad():
            for op, x, w in work:
                if isinstance(op, Conv):
                    functional.conv2d(x, w, None, op.stride, op.padding[0][0])  # type: ignore[arg-type]
                else:
                    functional.linear(x, w)

    return run


def lava_rates(program: Program, x: Array) -> dict[str, float]:
    """Steps per second of Lava on these samples as one stream, by the route of convolutions.

    Start-up is left out. Empty where there is no Lava.
    """
    from snndeploy.simulate.lava_engine import run_lava
    from snndeploy.simulate.lava_env import find_lava

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


def peer_rates(x: Array) -> dict[str, float]:
    """Steps per second of 784-512-10 in float32, for the frameworks that are installed."""
    import torch
    from torch import nn

    data = torch.tensor(x, dtype=torch.float32)

    def per_step(
        layers: list[nn.Module],
        spiking: Callable[[int, torch.Tensor, object], tuple[torch.Tensor, object]],
    ) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad():
                state: list[object] = [None, None]
                for step in data:
                    y = step
                    for i, layer in enumerate(layers):
                        y, state[i] = spiking(i, layer(y), state[i])

        return run

    layers: list[nn.Module] = [nn.Linear(784, 512, bias=False), nn.Linear(512, 10, bias=False)]
    found: dict[str, Callable[[], None]] = {}
    try:
        import snntorch

        leaky = [snntorch.Leaky(beta=0.9) for _ in layers]
        found["snnTorch"] = per_step(
            layers, lambda i, y, s: leaky[i](y, torch.zeros_like(y) if s is None else s)
        )
    except ImportError:
        pass
    try:
        import norse.torch as norse

        cells = [norse.LIFBoxCell() for _ in layers]
        found["Norse"] = per_step(layers, lambda i, y, s: cells[i](y, s))
    except ImportError:
        pass
    try:
        from spikingjelly.activation_based import functional as sj_functional
        from spikingjelly.activation_based import layer as sj_layer
        from spikingjelly.activation_based import neuron as sj_neuron

        net = nn.Sequential(
            sj_layer.Linear(784, 512, bias=False), sj_neuron.LIFNode(tau=2.0),
            sj_layer.Linear(512, 10, bias=False), sj_neuron.LIFNode(tau=2.0),
        )  # fmt: skip
        sj_functional.set_step_mode(net, "m")

        def spikingjelly() -> None:
            with torch.no_grad():
                sj_functional.reset_net(net)
                net(data)

        found["SpikingJelly"] = spikingjelly
    except ImportError:
        pass
    work = x.shape[0] * x.shape[1]
    return {name: work / median(run, 3) for name, run in found.items()}


def mnist(folder: Path | None, samples: int) -> Array:
    """Rate-coded MNIST test digits, or random spikes of the same rate: uint8 (steps, samples, 784)."""
    if folder is None:
        rng = np.random.default_rng(1)
        return (rng.random((STEPS, samples, 784)) < 0.13).astype(np.uint8)
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
    return rate(pixels[:samples] / 255.0, STEPS)


def nmnist(path: Path | None, samples: int) -> Array:
    """N-MNIST events in bins of 1 ms, or random ones: uint8 (steps, samples, 2, 34, 34)."""
    if path is None:
        rng = np.random.default_rng(2)
        return (rng.random((STEPS, samples, 2, 34, 34)) < 0.02).astype(np.uint8)
    frames = np.zeros((STEPS, samples, 2, 34, 34), np.uint8)
    with np.load(path, allow_pickle=False) as d:
        for s in range(samples):
            part = slice(int(d["offset"][s]), int(d["offset"][s + 1]))
            t = (d["t_us"][part] - d["t_us"][part][0]) // 1000
            keep = t < STEPS
            frames[t[keep], s, d["p"][part][keep], d["y"][part][keep], d["x"][part][keep]] = 1
    return frames


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
        for name, lava in lava_rates(program, x[:, :lava_samples]).items():
            print(f"  {name:<20}  {lava:>12,.0f} steps/s   ours is {ours / lava:,.0f} x, "
                  f"one sample alone {STEPS / alone / lava:,.0f} x")  # fmt: skip


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


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, help="folder with MNIST's t10k-*.gz")
    parser.add_argument("--nmnist", type=Path, help=".npz with x, y, p, t_us, offset")
    parser.add_argument("--no-lava", action="store_true")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--samples", type=int, default=1000)
    args = parser.parse_args()
    print(f"kernels: {'numba' if has_numba() else 'none (pip install snndeploy[fast])'}")
    dense, conv = dense_program(), conv_program()
    digits = mnist(args.data, args.samples)
    report("784-512-10", dense, digits, 0 if args.no_lava else 100, args.repeat)
    report("34x34x2-16-32s2-10", conv, nmnist(args.nmnist, min(args.samples, 100)),
           0 if args.no_lava else 8, args.repeat)  # fmt: skip
    sparse_report(dense, args.repeat)
    if args.peers:
        engine = IntegerEngine(dense)
        ours = digits.shape[0] * digits.shape[1] / median(lambda: engine.run(digits), args.repeat)
        for name, speed in peer_rates(digits).items():
            print(f"  {name:<14} {speed:>12,.0f} steps/s   ours is {ours / speed:.1f} x")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory of this process: {peak:,.0f} MB")


if __name__ == "__main__":
    main()
