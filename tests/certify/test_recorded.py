"""What the checker said when this was recorded, word for word: a change shows, line by line.

Whether bounds are bounds, and verdicts right, is asked by other tests; here every number counts.
"""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy.certify import BundleRefused, Contradiction, certify, rounding
from snndeploy.certify.bounds import bounds, pause
from snndeploy.certify.files import At, shaped
from snndeploy.chip import Target, family_of, load_target
from snndeploy.errors import LoweringRefused
from snndeploy.ir.codec import SharedArrays, encode
from snndeploy.ir.network import Network
from snndeploy.ir.program import Program
from snndeploy.lower import InputCoding, fitted_in_turn, lower
from tests.fuzz.networks import draw
from tests.support import xylo_networks
from tests.support.checked import checked
from tests.support.miscompiled import FUZZED, KINDS, Files, bases, fuzzed, miscompile
from tests.support.random_programs import random_program
from tests.support.recorded import Record, fields, text
from tests.support.small_chips import small

DRAWN, RANDOM, IN_TURN, NARROW = range(90), range(30), range(8), range(60)
CHANGED = range(len(KINDS), 3 * len(KINDS))
"""Miscompilations of every kind, of bundles of the compiler and of random networks in turn."""


def bounded(program: Program) -> Iterator[str]:
    """How far all registers go, and how long neurons pause."""
    if any(abs(s.exponent) > 31 for s in program.synapses):
        yield "its exponents fit no chip"
        return
    read = checked(program)
    for name, b in bounds(read).items():
        told = text(pause(read.group[name], program.arithmetic, b))
        yield f"bounds {name} {fields(b)} pause={told}"


def drawn(seed: int) -> Iterator[str]:
    """A case of the fuzzer, where it has integers."""
    case = draw(seed)
    yield from of_network(case.network, "loihi2", case.coding, case.steps)


def in_turn(seed: int) -> Iterator[str]:
    """Neurons of Xylo."""
    network = xylo_networks.hidden_layers(seed, bias=seed % 2 == 0, readout=seed % 3 == 0)
    fitted, _ = fitted_in_turn(network, family_of(load_target("xylo-a2")))
    coding = InputCoding(kind="graded", peak=float(1 + seed))
    yield from of_network(fitted, "xylo-a2", coding, 16)


def of_network(network: Network, chip: str, coding: InputCoding, steps: int) -> Iterator[str]:
    """Bounds of what a network is lowered to."""
    yield from lowered(network, load_target(chip), inputs=coding, steps=steps)


def lowered(network: Network, target: Target, **options: Any) -> Iterator[str]:
    """Bounds of a program, and how near its numbers have to be to those of the network."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            program = lower(network, target, **options)
    except LoweringRefused as why:
        yield f"refused {why.code}"
        return
    with np.errstate(all="ignore"):
        yield from bounded(program)
        yield from compared(program, network)


def compared(program: Program, network: Network) -> Iterator[str]:
    """All that is compared: what is found, what is wanted, and how far off it may be."""
    arrays, told, lines = SharedArrays(), {"not_proved": []}, []
    read = shaped(json.loads(json.dumps(encode(network, arrays))), "Network", arrays)

    def near(at: At, what: str, *numbers: Any) -> None:
        shown = " ".join(text(np.asarray(x, np.float64)) for x in numbers)
        lines.append(f"near {at.where} {what} {shown}")
        plain(at, what, *numbers)

    plain = rounding._near
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounding, "_near", near)
        try:
            error = rounding.check_numbers(checked(program), read, told)
            lines.append(f"weights {text(error)}")
        except (BundleRefused, Contradiction) as why:
            lines.append(f"no: {why}")
    yield from lines
    yield from (f"not proved: {line}" for line in told["not_proved"])


def narrow(seed: int) -> Iterator[str]:
    """Round numbers for fields of a few bits."""
    network, target, options = small(seed)
    yield from lowered(network, target, **options)


@cache
def made() -> list[Files]:
    """Bundles of the compiler."""
    return [*bases(), *fuzzed()]


def verdict(number: int) -> Iterator[str]:
    """What is said of a bundle with one thing changed.

    A quarter of the stated rounding may still be true of a random network.
    """
    random = number // len(KINDS) == 2 and list(KINDS)[number % len(KINDS)] != "stated rounding"
    kind, files = miscompile(made() if random else bases(), number)
    with tempfile.TemporaryDirectory(prefix="recorded-") as folder:
        try:
            found = certify(files.write(Path(folder) / "net.snnb"))["contradiction"]
        except BundleRefused as refused:
            yield f"{kind}: refused: it {refused}"
            return
    told = " | ".join(f"{k} {' '.join(str(v).split())}" for k, v in found.items())
    yield f"{kind}: " + re.sub(r"np\.\w+\(([^()]*)\)", r"\1", told)


def certificate(number: int) -> Iterator[str]:
    """All that is said of a bundle as it is."""
    with tempfile.TemporaryDirectory(prefix="recorded-") as folder:
        told = certify(made()[number].copy().write(Path(folder) / "net.snnb"))
    for part in ("proved", "not_proved", "not_checked"):
        for line in told[part]:
            yield f"{part.replace('_', ' ')}: {line}"
    for name, found in told["bounds"].items():
        yield f"bounds {name} {text(found)}"


CASES: dict[str, Callable[[], Iterator[str]]] = {
    **{f"drawn {seed}": partial(drawn, seed) for seed in DRAWN},
    **{f"random {seed}": lambda seed=seed: bounded(random_program(seed)) for seed in RANDOM},  # type: ignore[misc]
    **{f"in turn {seed}": partial(in_turn, seed) for seed in IN_TURN},
    **{f"narrow {seed}": partial(narrow, seed) for seed in NARROW},
    **{f"certificate {number}": partial(certificate, number) for number in range(20 + len(FUZZED))},
    **{f"changed {number}": partial(verdict, number) for number in CHANGED},
}
RECORD = Record(Path(__file__).with_name("recorded.txt"), CASES)


@pytest.mark.parametrize("case", CASES)
def test_it_is_as_it_was(case: str) -> None:
    RECORD.check(case)
