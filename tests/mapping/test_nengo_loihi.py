"""Loihi's memory as nengo-loihi counts it, live: where both agree exactly, and where and why not.

nengo-loihi 1.1.0 runs in an environment of its own, which is created on first use (Python 3.10 or older
and a package index are needed; without them these tests skip).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import findpython
import numpy as np
import platformdirs
import pytest

from snndeploy.chip import load_target
from snndeploy.chip.families.loihi1.encodings import encodings
from snndeploy.ir.arrays import frozen
from snndeploy.ir.fan.fan import Fan
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import Program
from snndeploy.ir.step import LOIHI
from snndeploy.mapping.count.axons import slice_resources
from snndeploy.mapping.count.memory import Memory
from tests.support.mapping_programs import conv, group, mlp, synapses

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LOIHI1 = load_target("loihi1")
PINS = ("nengo-loihi==1.1.0", "nengo==3.2.0", "numpy==1.23.5", "scipy==1.10.1")
"""The last releases that nengo-loihi, quiet since 2023, runs with."""


# (kind, …): dense inputs, outputs; sparse inputs, outputs, synapses per input; conv input channels,
# filters, extent, padding. At most 64 synapses per list, which is one entry, and one input channel.
SAME: list[tuple[Any, ...]] = [
    *(("dense", 5, n) for n in (1, 10, 16, 32, 50, 60, 64)),
    *(("dense", 300, n) for n in (10, 64)),
    *(("sparse", 7, n, k) for n in (64, 100, 128, 500, 1000) for k in (2, 17, 40) if 2 * k < n),
    *(("conv", 1, f, e, "same") for f, e in ((4, 8), (5, 8), (7, 8), (5, 12), (7, 12), (4, 16))),
]
LONG: list[tuple[Any, ...]] = [("dense", 5, n) for n in (65, 100, 128, 200, 256, 512, 1000, 1024)]
CHANNELS: list[tuple[Any, ...]] = [
    ("conv", c, f, e, "same") for c in (1, 2, 4, 8) for f in (4, 7) for e in (8, 12)
]


@pytest.fixture(scope="session")
def nengo() -> Path:
    """A Python that has nengo-loihi (``SNNDEPLOY_NENGO_PYTHON``, or one that is installed here)."""
    if given := os.environ.get("SNNDEPLOY_NENGO_PYTHON"):
        return Path(given)
    folder = Path(platformdirs.user_cache_dir("snndeploy")) / "nengo-loihi-1.1.0"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        found = next((p for v in ("3.10", "3.9") for p in findpython.find_all(v)), None)
        if found is None:
            pytest.skip("nengo-loihi needs Python 3.9 or 3.10")
        for command in (
            [str(found.executable), "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "-q", *PINS],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"nengo-loihi cannot be installed: {done.stderr[-300:]}")
        (folder / "complete").touch()
    return python


def theirs(python: Path, cases: list[tuple[Any, ...]]) -> list[dict[str, int]]:
    script = Path(__file__).parents[1] / "support" / "nengo_accounting.py"
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-W", "ignore", str(script)],
        input=json.dumps(cases),
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: list[dict[str, int]] = json.loads(done.stdout)
    return result


def program_of(kind: str, *arguments: Any) -> Program:
    """The same layer as one of our programs, its source on the chip too."""
    if kind == "conv":
        channels, filters, extent, _ = arguments
        op = conv(filters, channels)
        shapes = ((channels, extent, extent), (filters, extent, extent))
        layers = (synapses("h", "out", op),)
        groups = (group("h", shapes[0], 1), group("out", shapes[1], 2, role="output"))
        return Program(arithmetic=LOIHI, target="any", groups=groups, synapses=layers)
    inputs, outputs, *per_list = arguments
    weight = np.full((outputs, inputs), 2)
    if per_list:
        weight[:] = 0
        weight[np.linspace(0, outputs - 1, per_list[0]).astype(int)] = 2
    layer = synapses("h", "out", Dense(outputs, inputs))
    layers = (type(layer)(**{**vars(layer), "mantissa": frozen(weight)}),)
    groups = (group("h", (inputs,), 1), group("out", (outputs,), 2, role="output"))
    return Program(arithmetic=LOIHI, target="any", groups=groups, synapses=layers)


def ours(case: tuple[Any, ...]) -> dict[str, int]:
    program = program_of(*case)
    (layer,) = program.synapses
    (h, out) = program.groups
    fan = Fan(layer, h.shape, out.shape)
    into = fan.into(tuple((0, n) for n in out.shape))
    # Of two ways to store a kernel, the first is nengo-loihi's: population axons.
    stored = next(
        e for e in encodings(fan, into, int(np.prod(out.shape)), LOIHI1) if e.encoding == case[0]
    )
    return {"words": stored.words, "in_axons": stored.axons, "out_slots": stored.slots}


def test_both_agree_exactly(nengo: Path) -> None:
    """Words, input axons and output slots of dense, sparse and convolutional layers."""
    table = {
        case: (counted, ours(case)) for case, counted in zip(SAME, theirs(nengo, SAME), strict=True)
    }
    assert {c: pair for c, pair in table.items() if pair[0] != pair[1]} == {}


def test_longer_lists_differ_by_their_rounding(nengo: Path) -> None:
    """nengo-loihi rounds every entry of 64 synapses to whole words, NxTF (and we) the whole list, whose
    entries have a start index besides."""
    for case, counted in zip(LONG, theirs(nengo, LONG), strict=True):
        inputs, outputs = case[1:]
        entries = -(-outputs // 64)
        assert 0 <= counted["words"] / inputs - ours(case)["words"] / inputs < entries
        assert counted["in_axons"] == ours(case)["in_axons"]


def test_kernels_differ_by_a_few_words(nengo: Path) -> None:
    """NxTF (and we) start the list of every channel of a population at a word, nengo-loihi does not; and
    its indices reach over the kernel only, ours over the core."""
    for case, counted in zip(CHANNELS, theirs(nengo, CHANNELS), strict=True):
        mine = ours(case)
        assert 0.8 * counted["words"] <= mine["words"] <= 1.25 * counted["words"] + 9 * case[1], (
            case
        )
        assert counted["in_axons"] == mine["in_axons"]
        assert counted["out_slots"] == mine["out_slots"]


def test_only_we_charge_for_axons_that_leave_their_chip(nengo: Path) -> None:
    """nengo-loihi counts one slot (open issue 326: the driver then runs out of them), NxTF two."""
    program = mlp(4, 10, 10)
    memory = Memory(program, LOIHI1)
    tiles = {"l2": [(((0, 10),), 1)]}
    off_chip = slice_resources(memory, "l1", ((0, 10),), tiles, chip=0)["out_axons"]
    (counted,) = theirs(nengo, [("dense", 10, 10)])
    assert (counted["out_slots"], off_chip) == (1, 2 * 10)
