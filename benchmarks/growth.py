"""How the time of every stage grows: over layers, weights and neurons, a process for each size.

    python benchmarks/growth.py [--axes layers,weights,neurons] [--sizes 10,40,160,640] [--json out.json]
        [--plot growth.svg [--tables page.md]]

``layers`` is a chain of dense layers 32 wide, ``weights`` three square dense layers, ``neurons`` two
convolutions of eight kernels on a map. Seconds are of processor time, children included (a model file is
read in one), so other work on the machine counts little. The exponent is the slope of a straight line
through the logarithms, over the sizes at which a stage takes at least 0.1 s, if there are two such.
Memory is the peak of the process; per weight (or neuron) what it grew by over the smallest size.

``check`` is that of a program that does not fit (a chip of one core), with the search for fixes.
``--plot`` draws what was measured, or, with ``--tables``, what the tables on a page say, and runs
nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from results import Results

from snndeploy.bundle import write_bundle
from snndeploy.chip import Target, load_target
from snndeploy.export.nir import write_nir
from snndeploy.ingest import read_network
from snndeploy.ir.arrays import frozen, size
from snndeploy.ir.network import Network, Population, Projection, Source
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Conv, Dense, Op
from snndeploy.ir.weights import Weight
from snndeploy.limits import Limits, using
from snndeploy.lower import lower
from snndeploy.mapping import check_program, place_program, summarise
from snndeploy.passes.base import Pass, PassContext
from snndeploy.passes.kernels.remove_kernels import RemoveKernels
from snndeploy.passes.prune import Prune
from snndeploy.passes.quantization.prune_quantize import PruneQuantize
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.pipeline import bundle_of, certificate_of, compile
from snndeploy.simulate.integer.engine import run_integer

SIZES: Mapping[str, tuple[int, ...]] = {
    "layers": (10, 40, 160, 640, 2000),
    "weights": (10**5, 10**6, 10**7, 10**8),
    "neurons": (10**4, 10**5, 10**6, 3 * 10**6),
}
LEAST_S = 0.1
STEPS, SAMPLES = 8, 2
BOARD = "9999"
"""Chips, so that everything fits that is not meant not to."""


def chain(ops: list[Op], shapes: list[tuple[int, ...]]) -> Network:
    """A feed-forward network with random weights."""
    rng = np.random.default_rng(0)
    populations = [Population("input", shapes[0], None, "input")]
    projections = []
    for i, (op, shape) in enumerate(zip(ops, shapes[1:], strict=True), start=1):
        role = "output" if i == len(ops) else "hidden"
        neuron = Neuron.create(shape, leak=0.5, threshold=1.0)
        populations.append(Population(f"n{i}", shape, neuron, role))  # type: ignore[arg-type]
        weight = rng.standard_normal(op.weight_shape).astype(np.float32)  # type: ignore[union-attr]
        weight *= 2 / math.sqrt(weight[0].size)
        source = Source(populations[-2].name, frozen(0, np.int64))
        projections.append(Projection(f"w{i}", (source,), f"n{i}", (op,), Weight(weight)))
    return Network(populations=tuple(populations), projections=tuple(projections)).verify()


def layers(n: int) -> Network:
    """``n`` dense layers of 32 neurons."""
    return chain([Dense(32, 32)] * n, [(32,)] * (n + 1))


def weights(n: int) -> Network:
    """Three square dense layers of ``n`` weights in all."""
    wide = max(2, round(math.sqrt(n / 3)))
    return chain([Dense(wide, wide)] * 3, [(wide,)] * 4)


def neurons(n: int) -> Network:
    """Two convolutions, of ``n`` neurons in all."""
    side = max(4, round(math.sqrt(n / 16)))
    first = Conv(8, 2, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    second = Conv(8, 8, (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    return chain([first, second], [(2, side, side), (8, side, side), (8, side, side)])


BUILD: Mapping[str, Callable[[int], Network]] = {
    "layers": layers,
    "weights": weights,
    "neurons": neurons,
}
PASSES: Mapping[str, tuple[Pass, ...]] = {
    "remove-kernels": (RemoveKernels(ratio=0.25, kinds=("conv", "dense"), optional=True),),
    "prune": (Prune(sparsity=0.5),),
    "quantize": (Quantize(bits=4),),
    "prune-quantize": (
        PruneQuantize(sparsity=0.5, scope="layer", search="rounds", sequential=True),
    ),
}
_DEAREST = {"prune-quantize": 3_000_000}
"""Weights, or neurons, up to which a pass is run: it solves a system for every row."""


def seconds() -> float:
    """Processor time of this process and of its children."""
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


def one_core(target: Target) -> Target:
    """The same chip with one core."""
    cores = target.chip.cores.model_copy(update={"limit": 1})
    return target.model_copy(update={"chip": target.chip.model_copy(update={"cores": cores})})


def measure(axis: str, n: int) -> dict[str, Any]:
    """Seconds of each stage for one size, and the peak memory in bytes."""
    found: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        began = seconds()
        result = work()
        found[stage] = seconds() - began
        return result

    chip = load_target("loihi2")
    chips = chip.chips(BOARD)
    net = BUILD[axis](n)
    stored = sum(p.weight.data.size for p in net.projections)
    rng = np.random.default_rng(0)
    x = (rng.random((STEPS, SAMPLES, *net.populations[0].shape)) < 0.1).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder, using(Limits(memory=1 << 34, model_s=3600.0)):
        path = Path(folder) / "net.nir"
        write_nir(path, net)
        read = timed("read", lambda: read_network(path, "nir", dt=1e-3))
        timed("digest", lambda: dataclasses.replace(read, notes={}).digest)
        context = PassContext(calibration=_Calibration({"input": x}))
        for name, passes in PASSES.items():
            if max(stored, n) <= _DEAREST.get(name, sys.maxsize):
                timed(name, lambda p=passes: p[0].apply(net, context))
        small = Quantize(bits=4).apply(net, PassContext()).network
        program = timed("lower", lambda: lower(small, chip))
        placement = timed("place", lambda: place_program(program, chip, chips))
        timed("check", lambda: check_program(program, placement, one_core(chip), 1))
        timed("report", lambda: summarise(program, placement, chip, (), chips))
        messages = {"input": x.astype(np.int64)}
        run_integer(program, {"input": messages["input"][:1, :1]})  # loads what is compiled
        timed("simulate", lambda: run_integer(program, messages))
        compiled = compile(small, target=chip, recipe=None, board=BOARD)
        if compiled.fits:
            bundle = Path(folder) / "net.snnb"
            write_bundle(bundle, bundle_of(compiled), version="0")
            timed("certify", lambda: certificate_of(bundle))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    many = sum(size(p.shape) for p in net.populations)
    return {"seconds": found, "peak": peak, "weights": stored, "neurons": many}


@dataclasses.dataclass(frozen=True, eq=False)
class _Calibration:
    inputs: Mapping[str, Any]
    labels: Any = None
    window: int = 1


def exponent(points: list[tuple[float, float]]) -> float | None:
    """The slope through the logarithms of (size, seconds); None where too few take long enough."""
    seen = [(math.log(n), math.log(s)) for n, s in points if s >= LEAST_S]
    if len(seen) < 2:
        return None
    x, y = np.array(seen).T
    return float(np.polyfit(x, y, 1)[0])


def table(axis: str, runs: Mapping[int, Mapping[str, Any]]) -> str:
    """Markdown: a row per stage, a column per size, and the exponent."""
    sizes = sorted(runs)
    stages = list(dict.fromkeys(s for n in sizes for s in runs[n]["seconds"]))
    lines = [
        f"| {axis} | " + " | ".join(f"{n:,}" for n in sizes) + " | exponent |",
        "|---|" + "---:|" * (len(sizes) + 1),
    ]
    for stage in stages:
        times = {n: runs[n]["seconds"].get(stage) for n in sizes}
        slope = exponent([(n, t) for n, t in times.items() if t is not None])
        cells = ["" if t is None else f"{t:.2f} s" for t in times.values()]
        lines.append(
            f"| {stage} | " + " | ".join(cells) + f" | {'' if slope is None else f'{slope:.2f}'} |"
        )
    unit = "neurons" if axis == "neurons" else "weights"
    first = runs[sizes[0]]
    grown = [
        (runs[n]["peak"] - first["peak"]) / max(1, runs[n][unit] - first[unit]) for n in sizes[1:]
    ]
    peaks = [f"{runs[n]['peak'] / 2**20:,.0f} MiB" for n in sizes]
    lines.append("| peak memory | " + " | ".join(peaks) + " | |")
    per = ["", *(f"{g:,.0f} B" for g in grown)]
    lines.append(f"| per {unit[:-1]} | " + " | ".join(per) + " | |")
    return "\n".join(lines)


Times = dict[str, dict[int, float]]
"""Seconds of each stage by size."""


def tables_on(page: str) -> dict[str, Times]:
    """The times in the tables of a page that `table` has printed, by axis."""
    found: dict[str, Times] = {}
    axis, sizes = "", list[int]()
    for line in page.splitlines():
        first, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and first in BUILD:
            axis, sizes = first, [int(c.replace(",", "")) for c in cells[:-1]]
            found[axis] = {}
        elif line.startswith("|") and axis:
            times = {n: float(c[:-2]) for n, c in zip(sizes, cells, strict=False) if c[-2:] == " s"}
            found[axis] |= {first: times} if times else {}
        else:
            axis = ""
    return found


def plot(by_axis: Mapping[str, Times]) -> str:
    """SVG: a panel for each axis, both scales logarithmic, a line for each stage."""
    import vl_convert

    def panel(axis: str, times: Times) -> dict[str, Any]:
        values = [
            {axis: n, "stage": stage, "seconds": t}
            for stage, points in times.items()
            for n, t in points.items()
            if t >= LEAST_S / 10
        ]
        log = {"type": "quantitative", "scale": {"type": "log", "nice": False}}
        return {
            "width": 260,
            "height": 340,
            "data": {"values": values},
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": {"field": axis, **log, "axis": {"format": "~s", "tickCount": 4}},
                "y": {"field": "seconds", **log, "axis": {"format": "~g", "tickCount": 5}},
                "color": {"field": "stage", "sort": None, "scale": {"scheme": "tableau20"}},
            },
        }

    spec = {
        "background": "white",
        "hconcat": [panel(axis, times) for axis, times in by_axis.items()],
        "resolve": {"scale": {"y": "shared", "color": "shared"}},
    }
    return str(vl_convert.vegalite_to_svg(spec))


def main() -> None:
    """Parse options and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--axes", default=",".join(BUILD))
    parser.add_argument("--sizes", default="", help="of one axis, separated by commas")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one size")
    parser.add_argument(
        "--json", type=Path, help="keep results here, and take those that are there"
    )
    parser.add_argument("--plot", type=Path, help="write a picture here (SVG)")
    parser.add_argument("--tables", type=Path, help="draw what the tables of this page say")
    parser.add_argument("--one", nargs=2, metavar=("AXIS", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]))))
        return
    if options.tables:
        drawn = plot(tables_on(options.tables.read_text(encoding="utf-8")))
        (options.plot or Path("growth.svg")).write_text(drawn, encoding="utf-8")
        return
    drawn_of: dict[str, Times] = {}
    known = Results(options.json)
    axes = options.axes.split(",")
    if unknown := [axis for axis in axes if axis not in BUILD]:
        parser.error(f"--axes: {', '.join(unknown)}: there are {', '.join(BUILD)}")
    for axis in axes:
        sizes = [int(n) for n in options.sizes.split(",") if n] or SIZES[axis]
        runs: dict[int, Any] = {}
        for n in sizes:
            key = f"{axis} {n}"
            if key not in known:
                command = [sys.executable, __file__, "--one", axis, str(n)]
                try:
                    done = subprocess.run(
                        command, capture_output=True, text=True, timeout=options.timeout, check=True
                    )
                except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
                    print(f"{key}: {error}\n{error.stderr or ''}", file=sys.stderr)
                    break
                known[key] = json.loads(done.stdout.splitlines()[-1])
                known.write()
            runs[n] = known[key]
        if runs:
            print(table(axis, runs), end="\n\n", flush=True)
            drawn_of |= tables_on(table(axis, runs))
    if options.plot and drawn_of:
        options.plot.write_text(plot(drawn_of), encoding="utf-8")


if __name__ == "__main__":
    main()
