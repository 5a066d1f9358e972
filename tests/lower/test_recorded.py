"""What random networks were lowered to when this was recorded: a change shows, line by line.

That these integers are right is not said here but by those who compute them in another way: the fuzzer
runs the same cases in all engines, and the separate checker compares numbers and bounds with its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy.chip import load_target
from snndeploy.errors import LoweringRefused
from snndeploy.ir.network import Network
from snndeploy.ir.program import Program
from snndeploy.lower import InputCoding, lower
from tests.fuzz.networks import draw
from tests.support import xylo_networks
from tests.support.recorded import Record, fields

DRAWN, IN_TURN = range(120), range(24)
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


def lowered(network: Network, chip: str, **options: Any) -> Iterator[str]:
    """A program, or why there is none."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            program = lower(network, load_target(chip), **options)
    except LoweringRefused as why:
        yield f"refused {why.code} {why.where}: {why.message} ({why.hint})"
        return
    yield from told(program)


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
    yield from lowered(case.network, chip, **options)


def in_turn(seed: int) -> Iterator[str]:
    """Neurons of Xylo, and others that have to be fitted to it."""
    chip = XYLO[seed % 3]
    match seed % 4:
        case 0:
            network = xylo_networks.hidden_layers(seed, bias=seed % 8 == 0)
        case 1:
            network = xylo_networks.hidden_layers(seed, readout=True)
        case 2:
            network = xylo_networks.once_per_step(seed)
        case _:
            network = draw(seed).network
    coding = InputCoding(kind="graded", peak=float(1 + seed % 9))
    observed = {p.name: 2.0 for p in network.populations} if seed % 5 == 4 else None
    yield from lowered(network, chip, inputs=coding, observed=observed, steps=16 + seed)


CASES: dict[str, Callable[[], Iterator[str]]] = {
    **{f"drawn {seed}": partial(drawn, seed) for seed in DRAWN},
    **{f"in turn {seed}": partial(in_turn, seed) for seed in IN_TURN},
}
RECORD = Record(Path(__file__).with_name("recorded.txt"), CASES)


@pytest.mark.parametrize("case", CASES)
def test_it_is_as_it_was(case: str) -> None:
    RECORD.check(case)
