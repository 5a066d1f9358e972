"""Mapping beside its baselines: cores, messages x hops, time, memory and how they grow.

    python benchmarks/mapping.py [--data folder] [--only table,mobilenet,scaling] [--plot scaling.png]

The baseline splits as nengo-loihi 1.1.0 does (``builder/split_blocks.py``: as many equal parts as the
scarcest resource asks for, in the order of the neurons; here rounded to whole channels, then rows, and
with one part more for as long as a part does not fit and can be cut so, which nengo-loihi does not do),
and numbers cores in layer order along a snake through the mesh. Both sides are counted by the same code.

Messages are spikes x cores that hear them, with rates measured on real data where the folder has it
(the layout of the project's test data), else one spike per neuron. Every second is this machine's.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from networks import data_folder

from snndeploy.chip import Target, load_target
from snndeploy.data import Samples
from snndeploy.demo import FOLDER, digits
from snndeploy.ir.arrays import Array, Shape, frozen, size
from snndeploy.ir.ops import (
    Conv,
    Dense,
    Op,
    Pointwise,
    Reshape,
    SumPool,
    chain_shapes,
    weighted_index,
)
from snndeploy.ir.placement import Bounds, Placement, Slice
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.mapping import place_program
from snndeploy.mapping.count.axons import NOWHERE, Outgoing, fan_outs, recount, total
from snndeploy.mapping.count.memory import Memory
from snndeploy.mapping.cut.grid import cuts
from snndeploy.mapping.cut.split import in_layer_order
from snndeploy.mapping.route.flows import flows
from snndeploy.mapping.route.mesh import busiest_load, cost
from snndeploy.pipeline import compile, place_file, run_engine
from snndeploy.pipeline.run import program_messages

Rates = Mapping[str, Array]
BOARDS = {"loihi1": 768, "loihi2": 8}
"""Chips of the boards of the table: Pohoiki Springs and Kapoho Point."""


def network(shape: Shape, layers: list[tuple[Op, ...]], bits: int = 8) -> Program:
    """A feed-forward program with random weights."""
    rng = np.random.default_rng(0)
    groups = [CompartmentGroup(name="input", shape=shape, role="input", kind="input", depth=0)]
    synapses = []
    for depth, ops in enumerate(layers, start=1):
        shape = chain_shapes(ops, shape)[-1]
        op = ops[weighted_index(ops)]
        weight = 2 * rng.integers(1, 2 ** (bits - 1), op.weight_shape, dtype=np.int16)  # type: ignore[union-attr]
        groups.append(
            CompartmentGroup(
                name=f"l{depth}",
                shape=shape,
                kind="lif",
                depth=depth,
                vth=frozen(64, np.int64),
                role="output" if depth == len(layers) else "hidden",
            )
        )
        synapses.append(
            SynapseGroup(
                name=f"w{depth}",
                sources=(SynapseSource(groups[-2].name, frozen(1, np.int64)),),
                target=groups[-1].name,
                ops=ops,
                mantissa=frozen(weight),
                exponent=0,
                sign_mode="mixed",
                weight_bits=bits,
            )
        )
    return Program(
        arithmetic=LOIHI, target="benchmark", groups=tuple(groups), synapses=tuple(synapses)
    ).verify()


def conv(cin: int, cout: int, *, kernel: int = 3, stride: int = 1, groups: int = 1) -> Conv:
    """A square convolution with padding that keeps the extent."""
    pad = kernel // 2
    return Conv(
        cout, cin, (kernel, kernel), (stride, stride), ((pad, pad), (pad, pad)), (1, 1), groups
    )


POOL = SumPool((2, 2), (2, 2))


def vgg9() -> Program:
    """VGG-9 on 32 x 32 x 3: seven convolutions, two dense layers, and a population that pools."""
    layers: list[tuple[Op, ...]] = [
        (conv(3, 64),),
        (conv(64, 64),),
        (POOL, conv(64, 128)),
        (conv(128, 128),),
        (POOL, conv(128, 256)),
        (conv(256, 256),),
        (conv(256, 256),),
        (POOL, Pointwise((256, 4, 4))),
        (Reshape((4096,)), Dense(768, 4096)),
        (Dense(10, 768),),
    ]
    return network((3, 32, 32), layers)


def mobilenet() -> Program:
    """MobileNet at 128 x 128: 28 layers of 4.2 M weights, and a population that pools."""
    layers: list[tuple[Op, ...]] = [(conv(3, 32, stride=2),)]
    plan = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    plan += [(512, 512, 1)] * 5 + [(512, 1024, 2), (1024, 1024, 1)]
    for cin, cout, stride in plan:
        layers += [(conv(cin, cin, stride=stride, groups=cin),), (conv(cin, cout, kernel=1),)]
    layers += [
        (SumPool((4, 4), (4, 4)), Pointwise((1024, 1, 1))),
        (Reshape((1024,)), Dense(1000, 1024)),
    ]
    return network((3, 128, 128), layers)


def measured(program: Program, samples: Samples) -> Rates:
    """Spikes of every neuron on some samples."""
    run = run_engine("integer", samples, program=program)
    inputs = program_messages(program, samples)
    return {name: (x != 0).sum(axis=(0, 1)) for name, x in {**run.spikes, **inputs}.items()}


def event_frames(data: Path, samples: int) -> Array:
    """Spikes of N-MNIST digits of the test part, 40 steps of a millisecond."""
    frames = np.zeros((40, samples, 2, 34, 34), np.uint8)
    with np.load(data / "nmnist_small/nmnist_small.npz", allow_pickle=False) as d:
        for s in range(samples):
            part = slice(int(d["offset"][1000 + s]), int(d["offset"][1001 + s]))
            t = (d["t_us"][part] - d["t_us"][part][0]) // 1000
            keep = t < len(frames)
            frames[t[keep], s, d["p"][part][keep], d["y"][part][keep], d["x"][part][keep]] = 1
    return frames


def networks(data: Path) -> dict[str, Callable[[], tuple[Program, Rates | None]]]:
    """Programs of the table, each with its rates (None: uniform)."""

    def digits_net() -> tuple[Program, Rates | None]:
        program = compile(
            FOLDER / "digits.nir", recipe="digits", frontend="snntorch", semantics={"reset": "zero"}
        ).program
        return program, measured(program, digits().first(100))

    def sinabs() -> tuple[Program, Rates | None]:
        program = compile(data / "nir_models/paper/cnn_sinabs.nir").program
        return program, measured(program, Samples(event_frames(data, 10)))

    def braille() -> tuple[Program, Rates | None]:
        program = compile(
            data / "nir_models/paper/braille_noDelay_bias_zero.nir",
            frontend="norse",
            semantics={"reset": "zero", "reset_timing": "immediate", "dt": 1e-4},
        ).program
        with np.load(data / "nir_models/braille/braille_unique.npz", allow_pickle=False) as d:
            x = np.moveaxis(d["x"][:20], 0, 1)
        return program, measured(program, Samples(x))

    def pilotnet() -> tuple[Program, Rates | None]:
        program = place_file(data / "nir_models/lava_dl/pilotnet_lif.net").program
        recorded = data / "nir_models/lava_dl/pilotnet_lif_ground_truth.npz"
        rates: dict[str, Array] = {}
        with np.load(recorded, allow_pickle=False) as d:
            left = [n for n in d.files if not n.endswith(("-u", "-v", "-s"))]
            for g in program.groups:
                # Recorded as (x, y, channel, step), in the order of the layers.
                for name in left:
                    spikes = (d[name] != 0).sum(axis=-1)
                    if spikes.ndim == 3:
                        spikes = spikes.transpose(2, 1, 0)
                    for turned in (
                        spikes,
                        np.swapaxes(spikes, -1, -2) if spikes.ndim > 1 else spikes,
                    ):
                        if turned.shape == g.shape and g.name not in rates:
                            rates[g.name] = turned.astype(float)
        mean = {g.name: np.full(g.shape, 1.0) for g in program.groups}
        return program, {**mean, **rates}

    return {
        "digits": digits_net,
        "cnn_sinabs": sinabs,
        "pilotnet": pilotnet,
        "braille": braille,
        "vgg9": lambda: (vgg9(), None),
    }


def sequential(shape: Shape, parts: int) -> list[Bounds]:
    """``parts`` (or a few more) equal ranges in the order of the neurons, as whole channels or rows."""
    across, inner = min(parts, shape[0]), math.ceil(parts / shape[0])
    rest: list[list[tuple[int, int]]] = [[(0, n)] for n in shape[1:]]
    if inner > 1 and len(shape) > 1:
        rest[0] = cuts(shape[1], min(inner, shape[1]))
        across = shape[0]
    return [
        (channels, *box)
        for channels in cuts(shape[0], across)
        for box in ([(a, *(b[0] for b in rest[1:])) for a in rest[0]] if rest else [()])
    ]


def baseline(program: Program, target: Target) -> Placement:
    """nengo-loihi's sequential split, in layer order along the snake."""
    memory = Memory(program, target)
    tiles: dict[str, list[tuple[Bounds, int]]] = {}
    limits = {name: limit.limit for name, limit in target.core.items()}
    off_chip = NOWHERE if target.family == "loihi1" else 0
    for group in reversed(in_layer_order(program)):
        out = Outgoing(memory, group, off_chip, fan_outs(memory, group.name, tiles))
        needed = _resources(memory, group, tuple((0, n) for n in group.shape), out)
        parts = max(-(-needed.get(n, 0) // m) for n, m in limits.items() if n != "axon_words")
        boxes: list[Bounds] = []
        while len(boxes) < size(group.shape[:2]):  # rows of channels are the smallest parts
            boxes = sequential(group.shape, parts)
            counted = (_resources(memory, group, box, out) for box in boxes)
            if all(used.get(n, 0) <= limit for used in counted for n, limit in limits.items()):
                break
            parts = max(parts + 1, round(parts * 1.05))
        tiles[group.name] = [(box, 0) for box in boxes]
    slices: list[Slice] = []
    for group in in_layer_order(program):
        for box, _ in tiles[group.name]:
            slices.append(Slice(group=group.name, bounds=box, core=len(slices)))
    return Placement(
        target=target.name, cores_per_chip=target.chip.cores.limit, slices=tuple(slices)
    )


def _resources(
    memory: Memory, group: CompartmentGroup, bounds: Bounds, out: Outgoing
) -> dict[str, int]:
    return total(memory, memory.incoming(group, bounds), out.box(bounds))


def snake(program: Program, target: Target, chips: int) -> Placement:
    """Our split and packing, but cores numbered in layer order."""
    return place_program(program, target, chips, effort="low")


def work(
    program: Program, placement: Placement, target: Target, rates: Rates | None
) -> tuple[float, float]:
    """Messages x hops and the load of the busiest link."""
    sent = flows(Memory(program, target), placement.slices, rates).between_cores()
    return cost(sent, target), busiest_load(sent, target)


def broken(program: Program, placement: Placement, target: Target) -> str:
    """What the fullest cores take of each resource that any exceeds (slices are alone on a core)."""
    used = recount(Memory(program, target), placement)
    most = {name: max(u.get(name, 0) for u in used) for name in target.core}
    return ", ".join(
        f"{name} {most[name]:,} of {limit.limit:,}"
        for name, limit in target.core.items()
        if most[name] > limit.limit
    )


def table(data: Path, only: list[str], targets: list[str]) -> None:
    """Print one line per network and chip."""
    print(
        f"{'network':11} {'target':7} {'rates':8} {'cores':>17} {'messages x hops':>33} "
        f"{'ratio':>6} {'busiest link':>21} {'seconds':>8}"
    )
    print(
        f"{'':28} {'ours base snake':>17} {'ours':>10} {'base':>11} {'snake':>10} "
        f"{'':>6} {'ours':>10} {'base':>10}"
    )
    ratios: dict[str, list[float]] = {"nengo-loihi's split": [], "snake": []}
    for name, load in networks(data).items():
        if only and name not in only:
            continue
        try:
            program, rates = load()
        except Exception as error:  # the folder is not there: say so and go on
            print(f"{name:11} skipped: {str(error).splitlines()[0]}")
            continue
        for target_name in targets:
            target, chips = load_target(target_name), BOARDS[target_name]
            line = snake(program, target, chips)
            if line.search is not None and line.search.kind in ("impossible", "not-found"):
                print(f"{name:11} {target_name:7} does not fit, {line.search}", flush=True)
                continue
            began = time.perf_counter()
            mine = place_program(program, target, chips, rates=rates)
            seconds = time.perf_counter() - began
            base = baseline(program, target)
            (a, la), (b, lb), (c, _) = (work(program, p, target, rates) for p in (mine, base, line))
            cores = "/".join(str(len(p.cores)) for p in (mine, base, line))
            ratio = a / b if b else math.nan
            print(
                f"{name:11} {target_name:7} {'uniform' if rates is None else 'measured':8} "
                f"{cores:>17} {a:>10,.0f} {b:>11,.0f} {c:>10,.0f} {ratio:>6.2f} {la:>10,.0f} "
                f"{lb:>10,.0f} {seconds:>8.1f}",
                flush=True,
            )
            if over := broken(program, base, target):
                print(f"  the baseline's cores do not fit: {over}")
            if len(mine.cores) > len(base.cores):
                print(f"  more cores than the baseline: {len(mine.cores)} and {len(base.cores)}")
            for key, other in zip(ratios, (b, c), strict=True):
                if a and other:
                    ratios[key].append(a / other)
    for key, values in ratios.items():
        if values:
            mean = math.exp(sum(map(math.log, values)) / len(values))
            print(
                f"geometric mean against {key}: {mean:.2f} of its messages x hops, over "
                f"{len(values)} rows where neither is zero"
            )


def apart(what: str, *arguments: object) -> dict[str, float]:
    """Run one job in a process of its own, for its peak memory."""
    command = [sys.executable, __file__, "--job", what, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def job(what: str, *arguments: str) -> None:
    """Place one network and print what it took as JSON."""
    if what == "mobilenet":
        program, target, chips = mobilenet(), load_target("loihi2"), 8
    else:
        program, target, chips = wide(int(arguments[0])), load_target("loihi2"), 1152
    began, cpu = time.perf_counter(), time.process_time()
    placement = place_program(program, target, chips)
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - began,
                "cpu": time.process_time() - cpu,
                "cores": len(placement.cores),
                "slices": len(placement.slices),
                "weights": sum(s.mantissa.size for s in program.synapses),
                "neurons": sum(size(g.shape) for g in program.on_chip),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "verdict": str(placement.search),
            }
        )
    )


def wide(extent: int) -> Program:
    """Seven convolutions of 32 channels on a square map, so that slices grow with its area."""
    layers: list[tuple[Op, ...]] = [(conv(2, 32),)]
    layers += [(conv(32, 32),) for _ in range(6)]
    layers += [(SumPool((extent // 4,) * 2, (extent // 4,) * 2), Reshape((512,)), Dense(10, 512))]
    return network((2, extent, extent), layers, bits=4)


def scaling(plot: Path | None, extents: list[int]) -> None:
    """Processor time against slices (others may use the machine), and the exponent of the best fit."""
    print("\nscaling (Loihi 2, Hala Point): slices, cores, processor seconds, peak MB")
    points = []
    for extent in extents:
        found = apart("scaling", extent)
        points.append((found["slices"], found["cpu"]))
        print(
            f"  {found['slices']:>7,.0f} {found['cores']:>7,.0f} {found['cpu']:>9.2f} "
            f"{found['peak_mb']:>8,.0f}",
            flush=True,
        )
    n, seconds = np.array(points).T
    exponent, offset = np.polyfit(np.log(n), np.log(seconds), 1)
    steeper = np.polyfit(np.log(n * np.log(n)), np.log(seconds), 1)[0]
    print(f"  seconds ~ slices^{exponent:.2f}; ~ (slices log slices)^{steeper:.2f}")
    if plot is not None:
        _draw(plot, n, seconds, np.exp(offset) * n**exponent, f"slices^{exponent:.2f}")
        print(f"  wrote {plot}")


def _draw(plot: Path, slices: Array, seconds: Array, fit: Array, label: str) -> None:
    """Seconds against slices on logarithmic axes, the fitted line, and n log n through the first."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(6, 4), layout="constrained")).add_subplot()
    log_linear = slices * np.log(slices)
    axes.loglog(slices, seconds, "o", label="measured")
    axes.loglog(slices, fit, "-", label=label)
    axes.loglog(slices, seconds[0] * log_linear / log_linear[0], ":", label="n log n")
    axes.set(xlabel="slices", ylabel="processor seconds to place")
    axes.legend()
    figure.savefig(plot)


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=data_folder(), help="folder of test data")
    parser.add_argument("--only", default="table,mobilenet,scaling", help="parts, by commas")
    parser.add_argument("--networks", default="", help="networks of the table, by commas")
    parser.add_argument("--targets", default=",".join(BOARDS), help="chips of the table, by commas")
    parser.add_argument("--plot", type=Path, help="draw the scaling here (.png, .svg)")
    parser.add_argument(
        "--extents", default="40,64,104,176,288,416", help="maps of the scaling run"
    )
    parser.add_argument("--job", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        job(*args.job)
        return
    parts = args.only.split(",")
    if "table" in parts:
        names = [n for n in args.networks.split(",") if n]
        table(args.data, names, args.targets.split(","))
    if "mobilenet" in parts:
        found = apart("mobilenet")
        print(
            f"\nMobileNet, {found['weights']:,.0f} weights, {found['neurons']:,.0f} neurons, on "
            f"Kapoho Point: {found['cores']:,.0f} cores, {found['seconds']:.1f} s, "
            f"{found['peak_mb']:,.0f} MB; {found['verdict']}"
        )
    if "scaling" in parts:
        scaling(args.plot, [int(e) for e in args.extents.split(",")])


if __name__ == "__main__":
    main()
