"""What random networks were lowered to when this was recorded: a change shows, line by line.

That these integers are right is not said here but by those who compute them in another way: the fuzzer
runs the same cases in all engines, and the separate checker compares numbers and bounds with its own.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy.chip import Target, families, load_target
from snndeploy.chip.families import GROUP
from snndeploy.errors import LoweringRefused
from snndeploy.ir.network import Network, Projection
from snndeploy.ir.ops import Dense, Reshape
from snndeploy.ir.program import Program
from snndeploy.ir.weights import Weight
from snndeploy.lower import InputCoding, lower
from snndeploy.lower.registers import held_neuron
from snndeploy.lower.timing import lengthened
from tests.fuzz.networks import draw
from tests.support import fictional_family, xylo_networks
from tests.support.builders import conv, inputs, lif, project
from tests.support.recorded import Record, fields
from tests.support.small_chips import small

DRAWN, IN_TURN, LOUD = range(120), range(48), range(6)
FLAT, NARROW = range(200, 248), range(120)
XYLO = ("xylo-a2", "xylo-a3", "xylo-imu")


def told(program: Program) -> Iterator[str]:
    """All of a program, a line for each thing in it."""
    for group in program.groups:
        yield f"group {fields(group)}"
    for synapses in program.synapses:
        yield f"synapses {fields(synapses)}"
    for what in ("headroom", "rounding"):
        for name, thing in getattr(program, what).items():
            yield f"{what} {name} {fields(thing)}"
    for finding in program.findings:
        yield f"finding {fields(finding)}"


def lowered(network: Network, chip: str | Target, **options: Any) -> Iterator[str]:
    """A program, or why there is none."""
    target = load_target(chip) if isinstance(chip, str) else chip
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            program = lower(network, target, **options)
    except LoweringRefused as why:
        yield f"refused {why.code} {why.where}: {why.message} ({why.hint})"
        return
    yield from told(program)
    for population in network.populations if program.arithmetic.arrival == "summed" else ():
        if population.neuron is not None:
            group = program.group(population.name)
            held = held_neuron(population.neuron, group, target)
            yield f"held {population.name} {fields(held)}"


def drawn(seed: int) -> Iterator[str]:
    """A case of the fuzzer, with options that take turns."""
    case = draw(seed)
    options: dict[str, Any] = {"inputs": case.coding, "steps": (case.steps, 7, 200)[seed % 3]}
    names = [p.name for p in case.network.populations if p.neuron is not None]
    if seed % 4 == 1:
        options["observed"] = {n: 0.3 * (1 + i) for i, n in enumerate(names)}
    if seed % 4 == 2:
        options["layout"] = "netx"
    chip = case.target
    if chip == "loihi1" and any(
        f.startswith("refused neuron") for f in lowered(case.network, chip)
    ):
        chip = "loihi2"
    network, later = lengthened(case.network)
    for late in later:
        yield f"later {fields(late)}"
    yield from lowered(network, chip, **options)


def loud(seed: int) -> Iterator[str]:
    """Loops of many spikes, in which every spike makes others."""
    rng = np.random.default_rng(seed)
    many = {"spikes_per_step": "many", "leak": 0.5, "threshold": 0.25 + 0.25 * seed}
    most = {"max_spikes": 3} if seed % 3 == 2 else {}
    populations = (
        inputs((3,)),
        lif("a", (4,), reset="subtract", **many, **most),
        lif("b", (2,), "output", reset="zero", **many),
    )
    weights = [rng.normal(0.5, 1, shape) for shape in ((4, 3), (2, 4), (4, 2))]
    projections = (
        project("in", "input", "a", Dense(4, 3), weights[0]),
        project("on", "a", "b", Dense(2, 4), weights[1], delay=seed % 2),
        project("back", "b", "a", Dense(4, 2), weights[2] * 4.0 ** -(seed // 2), delay=2),
    )
    network = Network(populations, projections).verify()
    coding = InputCoding(kind="graded", peak=float(1 + 50 * (seed % 2)))
    yield from lowered(network, "loihi2", inputs=coding)


def on_a_grid(network: Network, bits: int) -> Network:
    """Weights as whole codes of one step per projection."""

    def change(q: Projection) -> Projection:
        step = float(np.abs(q.weight.data).max()) / (2 ** (bits - 1) - 1)
        codes = np.rint(q.weight.data / step).astype(np.int32)
        return dataclasses.replace(q, weight=Weight(codes, np.asarray(step), bits))

    return network.map_projections(change).verify()


def with_a_kernel(seed: int) -> Network:
    """A convolution in front of a layer: its weights are shared."""
    rng = np.random.default_rng(seed)
    neuron = {"leak": 0.75, "syn_leak": 0.5, "compare": ">=", "reset": "subtract"}
    kernel = conv(1, 2)
    threshold = rng.uniform(0.5, 2, (2, 4, 4)) if seed % 2 else 1.0
    populations = (
        inputs((1, 4, 4)),
        lif("a", (2, 4, 4), threshold=threshold, **neuron),
        lif("b", (3,), "output", drive=rng.normal(0, 0.2, 3), **neuron),
    )
    projections = (
        project("in", "input", "a", kernel, rng.normal(0.1, 0.5, kernel.weight_shape)),
        project("out", "a", "b", [Reshape((32,)), Dense(3, 32)], rng.normal(0, 0.4, (3, 32))),
    )
    return Network(populations, projections).verify()


def in_turn(seed: int) -> Iterator[str]:
    """Neurons of Xylo, and others that have to be fitted to it."""
    chip = XYLO[seed % 3]
    match seed % 6:
        case 0:
            network = xylo_networks.hidden_layers(seed, bias=seed % 12 == 0)
        case 1:
            network = xylo_networks.hidden_layers(seed, readout=True)
        case 2:
            network = xylo_networks.once_per_step(seed)
        case 3:
            network = on_a_grid(xylo_networks.hidden_layers(seed), (4, 6, 8, 9)[seed // 6 % 4])
        case 4:
            network = with_a_kernel(seed // 6)
        case _:
            network = draw(seed).network
    coding = InputCoding(kind="graded", peak=float(1 + seed % 9))
    observed = {p.name: 2.0 for p in network.populations} if seed % 5 == 4 else None
    yield from lowered(network, chip, inputs=coding, observed=observed, steps=16 + seed)


def flat(seed: int) -> Iterator[str]:
    """On the fictional chip: narrow registers that decay by shifts."""
    case = draw(seed)
    with pytest.MonkeyPatch.context() as patch:
        points = [EntryPoint("flat", "tests.support.fictional_family:Flat", GROUP)]
        patch.setattr(families, "entry_points", lambda group: points if group == GROUP else [])
        load_target.cache_clear()
        toml = Path(fictional_family.__file__).with_name("flat.toml")
        yield from lowered(case.network, str(toml), inputs=case.coding, steps=case.steps)
    load_target.cache_clear()


def narrow(seed: int) -> Iterator[str]:
    """Round numbers for fields of a few bits, which they often just fit."""
    network, target, options = small(seed)
    yield from lowered(network, target, **options)


CASES: dict[str, Callable[[], Iterator[str]]] = {
    **{f"drawn {seed}": partial(drawn, seed) for seed in DRAWN},
    **{f"in turn {seed}": partial(in_turn, seed) for seed in IN_TURN},
    **{f"loud {seed}": partial(loud, seed) for seed in LOUD},
    **{f"flat {seed}": partial(flat, seed) for seed in FLAT},
    **{f"narrow {seed}": partial(narrow, seed) for seed in NARROW},
}
RECORD = Record(Path(__file__).with_name("recorded.txt"), CASES)


@pytest.mark.parametrize("case", CASES)
def test_it_is_as_it_was(case: str) -> None:
    RECORD.check(case)
