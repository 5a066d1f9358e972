"""Published measurements of networks on Loihi and Loihi 2, beside what is estimated here.

    python benchmarks/published.py ../shared/data [--only kws-loihi1,...] [--known published.json]

Every point of ``published_points.toml`` is recomputed from its network where that is public. Where the
activity is not published, spikes are drawn at the rates that the point names: such rows say whether the
published value is within reach, not that it is met. What cannot be recomputed is listed with the reason.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from mapping import mobilenet, network
from results import Results

from snndeploy import toml
from snndeploy.chip import load_target
from snndeploy.ingest import read_netx
from snndeploy.ir.arrays import Array, frozen
from snndeploy.ir.ops import Conv, Dense, Op, Reshape
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.mapping import StepMeter, effects, place_program
from snndeploy.measure.energy import Meter, chip_estimates
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.recording import Recording

Ranges = dict[str, tuple[float, float]]
"""Quantities of a point, each from low to high."""

NOT_RECOMPUTED = {
    "pilotnet-lif-synops": "it is per printed tile: the printed mapping has to be rebuilt by hand",
    "pilotnet-lif-steps": "pairs of steps were chosen by hand: a hint, not a test",
    "tactile-braille-loihi1": "weights and activity are not published",
    "shrestha-emstdp-loihi1": "the kernels are not given",
    "lin-1920-10-loihi1": "steps and rates are not given",
    "relnet-babi-loihi1": "the network is not rebuilt",
}
MISSES = {
    "cores": "older compilers keep zeros and cut less tightly",
    "step_us": "measured on boards of 32 chips; a fixed part per step of one chip is not published",
    "time_us": "the measurement holds the host and the embedded processors",
    "energy_uj": "the measurement holds static power or the embedded processors",
    "dynamic_uj": "the measurement holds the embedded processors, or another definition of an event",
}
"""Why published values are outside, by quantity."""
OF_POINTS = {
    (
        "pilotnet-lif-oheo",
        "cores",
    ): "the older compiler stores zeros and fills 12,000 words of a core",
    ("pilotnet-sdnn-oheo", "cores"): "the older compiler stores zeros; inputs take none here",
    (
        "ntidigits-loihi1",
        "cores",
    ): "with its delays; 3 without, and it is not said which was placed",
    ("lsnn-smnist-loihi1", "step_us"): "rates are assumed, and 32 chips have a fixed part per step",
    (
        "kws-loihi1",
        "dynamic_uj",
    ): "steps and rates are assumed; above idle after the run it is 46.9 uJ",
    ("kws-loihi1", "time_us"): "steps and rates are assumed, and the time holds the host",
    (
        "nxtf-mobilenet-loihi1",
        "cores",
    ): "shared kernels take up to 33 % more here than is proved to do",
    ("nxtf-mobilenet-loihi1", "chips"): "as its cores",
}
"""Why single points are outside, where more is known."""
CALIBRATED = {("pilotnet-lif-oheo", "step_us"), ("pilotnet-lif-oheo", "time_us")}
"""What constants of a target are fitted to: these rows judge nothing."""


def figures(
    program: Program, chip: str, spikes: Mapping[str, Array], *, steps: int, boards: bool = False
) -> Ranges:
    """Cores, time of a step and of all, and dynamic energy of a run on a chip."""
    target = load_target(chip)
    placement = place_program(program, target, 64)
    clock = StepMeter(program, placement, target)
    clock.add({name: x != 0 for name, x in spikes.items()})
    time = clock.result()
    assert time is not None
    meter = Meter(program, effects(program, placement, target))
    activity = meter.measure(Recording(engine="published", spikes=spikes))
    found: Ranges = {"cores": (len(placement.cores),) * 2}
    low, high = time.low / 1e3, time.high / 1e3
    if boards and target.time is not None and target.time.barrier_chips is not None:
        high += target.time.barrier_chips.most / 1e3
    found["step_us"] = low, high
    found["time_us"] = low * steps, high * steps
    for name, e in chip_estimates(activity, target, (time.low, time.high)).items():
        suffix = "" if name == chip else f"_{name.replace('-', '_')}"
        found[f"dynamic_uj{suffix}"] = e.low / 1e3, e.high / 1e3
    return found


def drawn(program: Program, steps: int, rates: Mapping[str, float]) -> dict[str, Array]:
    """Spikes at a rate per group; ``""`` is that of all others."""
    rng = np.random.default_rng(0)
    return {
        g.name: (rng.random((steps, 1, *g.shape)) < rates.get(g.name, rates[""])).astype(np.uint8)
        for g in program.groups
    }


def spanned(program: Program, chip: str, steps: int, rates: list[dict[str, float]]) -> Ranges:
    """Figures over several assumed rates: from the lowest to the highest."""
    all_found = [figures(program, chip, drawn(program, steps, r), steps=steps) for r in rates]
    return {
        name: (min(f[name][0] for f in all_found), max(f[name][1] for f in all_found))
        for name in all_found[0]
    }


def dense(*sizes: int) -> Program:
    """Dense layers."""
    shape, layers = (sizes[0],), []
    for a, b in itertools.pairwise(sizes):
        layers.append((Dense(b, a),))
    return network(shape, [tuple(layer) for layer in layers])


def kws() -> Ranges:
    """Rates and steps are assumed: 0.05 to 0.2 spikes per neuron and step, 10 steps."""
    program = dense(390, 256, 256, 29)
    return spanned(program, "loihi1", 10, [{"": 0.05}, {"": 0.2}])


def kws_layer() -> Ranges:
    """One more layer: the difference of two programs."""
    ends = []
    for rate in (0.05, 0.1):
        with_, without = (
            figures(p, "loihi1", drawn(p, 10, {"": rate}), steps=10)
            for p in (dense(390, 256, 256, 256, 29), dense(390, 256, 256, 29))
        )
        pair = zip(with_["dynamic_uj"], without["dynamic_uj"], strict=True)
        ends.append(tuple(a - b for a, b in pair))
    return {"dynamic_uj": (min(e[0] for e in ends), max(e[1] for e in ends))}


def renner() -> Ranges:
    """One step per layer, a quarter of the inputs and 0.3 of the hidden neurons spike."""
    program = dense(400, 400, 10)
    found = figures(program, "loihi1", drawn(program, 1, {"input": 0.25, "": 0.3}), steps=1)
    return {"time_us": found["time_us"], "energy_uj": found["dynamic_uj"]}


def nxtf() -> Ranges:
    """Uniform rates of 0.02 to 0.1."""

    def unpadded(cin: int, cout: int, k: int, stride: int) -> Conv:
        return Conv(cout, cin, (k, k), (stride, stride), ((0, 0), (0, 0)), (1, 1))

    layers: list[tuple[Op, ...]] = [
        (unpadded(1, 16, 5, 2),),
        (unpadded(16, 32, 3, 1),),
        (unpadded(32, 64, 3, 2),),
        (unpadded(64, 10, 4, 1), Reshape((10,))),
    ]
    program = network((1, 28, 28), layers)
    found = spanned(program, "loihi1", 64, [{"": 0.02}, {"": 0.1}])
    return {"step_us": found["step_us"]}


def nxtf_mobilenet() -> Ranges:
    """Cores and chips alone."""
    placed = place_program(mobilenet(), load_target("loihi1"), 64)
    return {"cores": (len(placed.cores),) * 2, "chips": (placed.chips,) * 2}


def lsnn(folder: Path) -> Ranges:
    """The measured weights as a plain recurrent program; adaptation is left out."""
    w = {n: np.load(folder / f"w_{n}.npy", allow_pickle=False) for n in ("in", "rec", "out")}

    def group(name: str, n: int, depth: int, **fields: object) -> CompartmentGroup:
        return CompartmentGroup(name=name, shape=(n,), depth=depth, **fields)  # type: ignore[arg-type]

    def synapses(name: str, source: str, target: str, weight: Array) -> SynapseGroup:
        rows = weight.T if weight.shape[0] == sizes[source] else weight
        return SynapseGroup(
            name=name,
            sources=(SynapseSource(source, frozen(1, np.int64)),),
            target=target,
            ops=(Dense(*rows.shape),),
            mantissa=frozen(np.rint(rows).astype(np.int64)),
            exponent=0,
            sign_mode="mixed",
            weight_bits=8,
        )

    sizes = {"input": 80, "hidden": 240, "out": 10}
    threshold = {"kind": "lif", "vth": frozen(64, np.int64)}
    program = Program(
        target="published",
        arithmetic=LOIHI,
        groups=(
            group("input", 80, 0, role="input", kind="input"),
            group("hidden", 240, 1, role="hidden", **threshold),
            group("out", 10, 2, role="output", **threshold),
        ),
        synapses=(
            synapses("in", "input", "hidden", w["in"]),
            synapses("rec", "hidden", "hidden", w["rec"]),
            synapses("out", "hidden", "out", w["out"]),
        ),
    ).verify()
    rates = [{"input": 0.0125, "": rate} for rate in (0.01, 0.05)]
    found = spanned(program, "loihi1", 840, rates)
    return {"core_dynamic_uj": found["dynamic_uj"], "step_us": found["step_us"]}


def mnist(folder: Path) -> Ranges:
    """Cores alone."""
    program = read_netx(folder / "mnist_784-128-64-10.net", "loihi2")
    placed = place_program(program, load_target("loihi2"))
    return {"cores": (len(placed.cores),) * 2}


def ntidigits(folder: Path) -> Ranges:
    """Recorded input; energy and time of the same synapses without the split by delay."""
    program = read_netx(folder / "ntidigits.net", "loihi1")
    with np.load(folder / "ntidigits_ground_truth.npz", allow_pickle=False) as stored:
        x = stored["input"]
    (name,) = (g.name for g in program.groups if g.kind == "input")
    channels = int(np.prod(program.group(name).shape))
    x = x.reshape(channels, -1).T if x.shape[0] == channels else x.reshape(-1, channels)
    sent = (x != 0).astype(np.uint8).reshape(len(x), 1, *program.group(name).shape)
    spikes = run_integer(program, sent).spikes
    plain = [
        dataclasses.replace(
            s, sources=tuple(dataclasses.replace(o, latency=frozen(1, np.int64)) for o in s.sources)
        )
        for s in program.synapses
    ]
    at_once = dataclasses.replace(program, synapses=tuple(plain))
    found = figures(at_once, "loihi1", spikes, steps=len(x), boards=True)
    keep = ("cores", "step_us", "dynamic_uj", "dynamic_uj_sana_fe")
    return {quantity: found[quantity] for quantity in keep}


def pilotnet(folder: Path) -> Ranges:
    """A silent input, 16 steps, on cores of our own choice."""
    program = read_netx(folder / "pilotnet_lif.net", "loihi2")
    zeros = {
        g.name: np.zeros((16, 1, *g.shape), np.uint8) for g in program.groups if g.kind == "input"
    }
    spikes = run_integer(program, zeros).spikes
    found = figures(program, "loihi2", spikes, steps=16)
    return {quantity: found[quantity] for quantity in ("cores", "step_us", "time_us", "dynamic_uj")}


def pilotnet_sdnn(folder: Path) -> Ranges:
    """Cores alone: the published time is bound by its input."""
    program = read_netx(folder / "pilotnet_sdnn_200x66.net", "loihi2")
    placed = place_program(program, load_target("loihi2"), 64)
    return {"cores": (len(placed.cores),) * 2}


def points(data: Path) -> dict[str, Callable[[], Ranges]]:
    """How each point is recomputed, the quick ones first."""
    lava, models = data / "nir_models" / "lava_dl", data / "nir_models"
    return {
        "renner-mnist-loihi1": renner,
        "kws-loihi1": kws,
        "kws-loihi1-per-layer": kws_layer,
        "mnist-784-128-64-10": lambda: mnist(lava),
        "lsnn-smnist-loihi1": lambda: lsnn(models / "lsnn_smnist_loihi"),
        "nxtf-mnist-loihi1": nxtf,
        "ntidigits-loihi1": lambda: ntidigits(lava),
        "pilotnet-lif-oheo": lambda: pilotnet(lava),
        "pilotnet-sdnn-oheo": lambda: pilotnet_sdnn(lava),
        "nxtf-mobilenet-loihi1": nxtf_mobilenet,
    }


def rows(point: Mapping[str, object], found: Ranges) -> list[str]:
    """Lines of the table: published, ours, and their ratio to the nearest end."""
    lines = []
    for quantity, (low, high) in found.items():
        base = quantity.removesuffix("_sana_fe")
        published = point.get(base)
        if not isinstance(published, (int, float)):
            continue
        ratio = published / (low if published < low else high if published > high else published)
        where = "inside" if ratio == 1 else f"{ratio:.2f}"
        reason = OF_POINTS.get((str(point["name"]), base)) or MISSES.get(base, MISSES["dynamic_uj"])
        if (point["name"], base) in CALIBRATED:
            reason = "Loihi 2's time per operation is fitted to this run: it judges nothing"
        elif ratio == 1:
            reason = ""
        ends = f"{low:,.4g}" if low == high else f"{low:,.4g}…{high:,.4g}"
        lines.append(
            f"| {point['name']} | {quantity} | {published:,} | {ends} | {where} | {reason} |"
        )
    return lines


def main() -> None:
    """Recompute points and print the table; what is known already is not computed again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--known", type=Path, default=Path("published.json"))
    given = parser.parse_args()
    known = Results(given.known)
    chosen = {name for name in given.only.split(",") if name}
    for name, compute in points(given.data).items():
        if name in known or (chosen and name not in chosen):
            continue
        known.once(name, compute)
        print(f"computed {name}", flush=True)
    table = toml.loads((given.data / "published_points.toml").read_text())["point"]
    print("| point | quantity | published | here | published / nearest end | reason |")
    print("|---|---|---|---|---|---|")
    for point in table:
        name = point["name"]
        for line in rows(point, known.get(name, {})):
            print(line)
        if name in NOT_RECOMPUTED:
            print(f"| {name} | | | not recomputed | | {NOT_RECOMPUTED[name]} |")


if __name__ == "__main__":
    main()
