"""Spikes, events, messages, hops, energy and time of placed programs beside SANA-FE's (Loihi 1).

    python benchmarks/sana_fe.py ../shared/data [--only digits,...] [--python PATH]

SANA-FE is a separate program under another licence: it runs in an environment of its own (made on
demand, or ``--python`` names one), gets a file and answers with a file. One sample each, the same
placement in both, synapses that are not zero. Its soma part also holds ``depth + 1`` steps in which
layers wait.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import peers
from mapping import event_frames, network

from snndeploy import compile
from snndeploy.chip import Target, load_target
from snndeploy.demo import FOLDER, digits
from snndeploy.ingest import read_netx
from snndeploy.ir.arrays import Array, frozen, size
from snndeploy.ir.linear.unroll import unroll
from snndeploy.ir.ops import Conv, Dense, Reshape
from snndeploy.ir.placement import Placement
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup
from snndeploy.mapping import StepMeter, effects, place_program
from snndeploy.mapping.route.mesh import spot
from snndeploy.measure.energy import Meter, chip_estimates
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.simulate.recording import Recording

CHIP = "loihi1"
HOP_PJ = (3.0, 4.2)
"""SANA-FE's energy of a hop in x and y, to leave out what inputs beside the mesh cost."""
NEVER = 1e12
"""Threshold of a group that does not spike."""


@dataclass(frozen=True)
class Case:
    """A program and one sample of input, ``(steps, 1, *shape)``; ``sparse`` names its synapse form."""

    program: Program
    inputs: Array
    form: str = "dense"
    why: str = ""


def work_of(case: Case, placement: Placement, target: Target, run: Recording) -> dict[str, Array]:
    """The file for SANA-FE: groups with their parameters and cores, synapses as lists."""
    program, steps = case.program, len(case.inputs)
    deepest = max(g.depth for g in program.groups)
    depths = {g.name: g.depth for g in program.groups}
    groups, arrays = [], {}
    for g in program.groups:
        n, outside = size(g.shape), g.kind in ("input", "constant")
        told = {"name": g.name, "size": n, "depth": g.depth, "kind": "input" if outside else "lif"}
        if outside:
            train = np.zeros((steps + deepest + 1, n), np.uint8)
            train[g.depth : g.depth + steps] = run.spikes[g.name].reshape(steps, -1) != 0
            arrays[f"train {g.name}"] = train
            groups.append(told)
            continue
        reset = {"zero": "hard", "subtract": "soft", "none": "none"}[g.reset]
        forms = {type(op) for s in program.incoming(g.name) for op in s.ops}
        form = "conv" if Conv in forms else case.form
        groups.append({**told, "reset": reset, "synapse": f"loihi_{form}_synapse"})
        never = np.array(NEVER)
        arrays[f"threshold {g.name}"] = wide(g, never if g.rule is None else g.vth)
        arrays[f"leak_decay {g.name}"] = (4096 - wide(g, g.dv)) / 4096
        arrays[f"input_decay {g.name}"] = (4096 - wide(g, g.du) - 1) / 4096
        if g.bias_mant.any():
            arrays[f"bias {g.name}"] = wide(g, g.bias_mant) * 2.0**g.bias_exp / 64
        cores = np.zeros(n, np.int64)
        for part in placement.slices:
            if part.group == g.name:
                here = spot(part.core, target)
                per_router = target.chip.cores_per_router
                tile = here.x * target.chip.mesh[1] + here.y
                cores[part.members(g.shape)] = tile * per_router + part.core % per_router
        arrays[f"core {g.name}"] = cores
    synapses = []
    for s in program.synapses:
        matrix = unroll(s.ops, s.mantissa, program.source_shape(s))
        for source in s.sources:
            apart = depths[s.target] - depths[source.group]
            loop = apart <= 0 and (source.latency == 1).all()
            if not loop and (source.latency != apart).any():
                raise ValueError(f"{s.name}: SANA-FE's synapses take one step")
            k = len(synapses)
            synapses.append({"source": source.group, "target": s.target})
            arrays |= {
                f"from {k}": matrix.cols,
                f"to {k}": matrix.rows,
                f"weight {k}": matrix.values * 2.0**s.exponent,
            }
    spec = {
        "groups": groups,
        "synapses": synapses,
        "steps": steps + deepest + 1,
        "window": steps,
        "depths": depths,
    }
    return {"spec": np.array(json.dumps(spec)), **arrays}


def wide(g: CompartmentGroup, values: Array) -> Array:
    """A value per neuron, flat."""
    return np.broadcast_to(values, g.shape).reshape(-1).astype(np.float64)


def row(name: str, case: Case, python: Path, scratch: Path) -> str:
    """A line of the table."""
    program, target, steps = case.program, load_target(CHIP), len(case.inputs)
    placement = place_program(program, target)
    run = run_integer(program, case.inputs)
    work, answer = scratch / "work.npz", scratch / "result.npz"
    np.savez_compressed(work, **work_of(case, placement, target, run))
    script = Path(__file__).parent / "sana_fe_worker.py"
    done = subprocess.run(
        [str(python), str(script), str(work), str(answer)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return f"| {name} | SANA-FE ended with: {done.stderr.strip().splitlines()[-1]} |"
    with np.load(answer) as found:
        told = json.loads(str(found["told"]))
        spikes = {g.name: found[f"train {g.name}"] for g in program.groups}
    differ = total = 0
    for g in program.on_chip:
        if g.rule is not None and g.kind != "constant":
            ours = run.spikes[g.name].reshape(steps, -1) != 0
            theirs = spikes[g.name][g.depth : g.depth + steps] != 0
            differ, total = differ + int((ours != theirs).sum()), total + int(ours.sum())
    activity = Meter(program, effects(program, placement, target)).measure(run)
    layers = activity.layers
    sent = [layers[g.name] for g in program.on_chip if g.kind != "constant"]
    synops = sum(layer.synops for layer in layers.values())
    messages, hops = sum(s.messages for s in sent), sum(sum(s.hops) for s in sent)
    clock = StepMeter(program, placement, target)
    clock.add({n: x != 0 for n, x in run.spikes.items()})
    time = clock.result()
    assert time is not None
    ours = chip_estimates(activity, target, (time.low, time.high))
    outside = sum(n * pj for n, pj in zip(told["host_hops"], HOP_PJ, strict=True)) / 1e3
    theirs = sum(told["energy"].values()) * 1e9 - outside
    ends = {key: (e.low, e.high) for key, e in ours.items()}
    place = ratio(theirs, ends["sana-fe"])
    return (
        f"| {name} | {len(placement.cores)} | {steps} | {differ:,} of {total:,} "
        f"| {synops:,} / {told['events']:,} | {messages:,} / {told['messages']:,} "
        f"| {hops:,} / {told['hops']:,} "
        f"| {span(ends[CHIP])} | {span(ends['sana-fe'])} | {theirs:,.0f} | {place} "
        f"| {time.low / 1e3:.1f}…{time.high / 1e3:.1f} | {told['time'] * 1e6 / steps:.1f} | {case.why} |"
    )


def span(ends: tuple[float, float]) -> str:
    """A range in words."""
    return f"{ends[0]:,.0f}…{ends[1]:,.0f}"


def ratio(value: float, ends: tuple[float, float]) -> str:
    """Whether a value is within a range, and how far off."""
    low, high = ends
    return "inside" if low <= value <= high else f"{value / (low if value < low else high):.2f}"


def spikes(shape: tuple[int, ...], steps: int, rate: float) -> Array:
    """Random input of one sample."""
    rng = np.random.default_rng(1)
    return (rng.random((steps, 1, *shape)) < rate).astype(np.uint8)


def random(
    layers: list[Any], shape: tuple[int, ...], *, keep: float = 1.0, **fields: Any
) -> Program:
    """A feed-forward program with random weights of which a share is kept, and thresholds to match."""
    rng, plain = np.random.default_rng(2), network(shape, layers)
    synapses = [
        replace(s, mantissa=frozen(signed(rng, s.mantissa, keep), np.int64)) for s in plain.synapses
    ]
    groups = [
        g
        if g.kind == "input"
        else replace(g, vth=frozen(threshold(g, synapses), np.int64), **fields)
        for g in plain.groups
    ]
    return replace(plain, groups=tuple(groups), synapses=tuple(synapses)).verify()


def signed(rng: np.random.Generator, mantissa: Array, keep: float) -> Array:
    """Weights of both signs, of which a share is kept."""
    sign = np.where(rng.random(mantissa.shape) < 0.4, -1, 1)
    return mantissa * sign * (rng.random(mantissa.shape) < keep)


def threshold(g: CompartmentGroup, synapses: list[SynapseGroup]) -> int:
    """About what a twentieth of the largest weights reaches."""
    (into,) = (s for s in synapses if s.target == g.name)
    per_row = np.abs(into.mantissa).reshape(len(into.mantissa), -1).sum(axis=1)
    return max(64, int(per_row.mean() / 20))


def cases(data: Path) -> Iterator[tuple[str, Callable[[], Case]]]:
    """Networks of the table."""

    def demo(recipe: str | None) -> Case:
        made = compile(
            FOLDER / "digits.nir",
            target=CHIP,
            recipe=recipe or "default",
            frontend="snntorch",
            semantics={"reset": "zero"},
        ).program
        return Case(made, digits().first(1).by_input(("input",))["input"])

    def dense(sizes: tuple[int, ...], steps: int, rate: float, keep: float, **fields: Any) -> Case:
        layers = [(Dense(b, a),) for a, b in itertools.pairwise(sizes)]
        form = "dense" if keep == 1 else "sparse"
        made = random(layers, (sizes[0],), keep=keep, **fields)
        return Case(made, spikes((sizes[0],), steps, rate), form)

    def convolutions(keep: float) -> Case:
        pad = ((1, 1), (1, 1))
        layers: list[Any] = [
            (Conv(8, 2, (3, 3), (1, 1), pad, (1, 1), 1),),
            (Conv(16, 8, (3, 3), (2, 2), pad, (1, 1), 1),),
            (Reshape((16 * 64,)), Dense(10, 16 * 64)),
        ]
        return Case(random(layers, (2, 16, 16), keep=keep), spikes((2, 16, 16), 16, 0.1))

    def mnist() -> Case:
        made = read_netx(data / "nir_models/lava_dl/mnist_784-128-64-10.net", CHIP)
        (entry,) = (g for g in made.groups if g.kind == "input")
        return Case(made, spikes(entry.shape, 32, 0.1), "sparse")

    def sinabs() -> Case:
        made = compile(
            data / "nir_models/paper/cnn_sinabs.nir", target=CHIP, frontend="sinabs", adapt=True
        ).program
        frames = event_frames(data, 1).reshape(10, 4, 1, 2, 34, 34).any(axis=1)
        return Case(made, frames.astype(np.uint8), "dense")

    def braille(file: str, reset: str, immediate: bool) -> Case:
        made = compile(
            data / f"nir_models/paper/{file}.nir",
            target=CHIP,
            frontend="norse" if reset == "zero" else "snntorch",
            semantics={"reset": reset, "dt": 1e-4},
        ).program
        why = ""
        if any(g.reset == "subtract" and g.reset_timing == "next-step" for g in made.on_chip):
            why = "a reset in the next step; SANA-FE subtracts at once"
        if immediate:
            made = replace(
                made,
                groups=tuple(
                    g if g.rule is None else replace(g, reset_timing="immediate")
                    for g in made.groups
                ),
            )
            why = "the same with the reset at once"
        (entry,) = (g for g in made.groups if g.kind == "input")
        return Case(made, spikes(entry.shape, 64, 0.05), why=why)

    yield "digits, recipe digits", lambda: demo("digits")
    yield "digits, 8 bits", lambda: demo(None)
    yield "784-128-10", lambda: dense((784, 128, 10), 16, 0.1, 1.0)
    yield "784-256-128-10, 10 % kept", lambda: dense((784, 256, 128, 10), 16, 0.1, 0.1)
    leaks = {"du": frozen(1500, np.int64), "dv": frozen(300, np.int64)}
    bias = {"bias_mant": frozen(300, np.int64)}
    yield (
        "200-100-50-10, leaks and bias",
        lambda: dense((200, 100, 50, 10), 16, 0.1, 1.0, **leaks, **bias),
    )
    yield "convolutions", lambda: convolutions(1.0)
    yield "convolutions, 20 % kept", lambda: convolutions(0.2)
    yield "MNIST .net", mnist
    yield "cnn_sinabs, adapted", sinabs
    for file, reset in (("braille_noDelay_noBias_subtract", "subtract"),):
        yield f"{file}", lambda file=file, reset=reset: braille(file, reset, False)  # type: ignore[misc]
        yield f"{file}, at once", lambda file=file, reset=reset: braille(file, reset, True)  # type: ignore[misc]


def main() -> None:
    """Print the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", default="", help="parts of names, separated by commas")
    parser.add_argument("--python", type=Path, help="an interpreter that has SANA-FE and PyYAML")
    given = parser.parse_args()
    python = given.python or peers.interpreter("sana_fe", peers.default_folder())
    if python is None:
        sys.exit("there is no SANA-FE to compare with")
    print(
        "| network | cores | steps | spikes differ | SynOps (ours / SANA-FE) | messages | hops "
        "| nJ, loihi1 | nJ, its constants | nJ, SANA-FE | by ours | µs/step | µs/step, SANA-FE | why |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    chosen = [part for part in given.only.split(",") if part]
    with tempfile.TemporaryDirectory() as scratch:
        for name, make in cases(given.data):
            if not chosen or any(part in name for part in chosen):
                print(row(name, make(), python, Path(scratch)), flush=True)


if __name__ == "__main__":
    main()
