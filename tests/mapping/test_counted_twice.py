"""Two counts of one slice that share no code: the compiler's and the separate checker's.

Slices are cut at random, not as a search would, so that they take kernels, lists with and without
zeros and run lengths, cross the borders of groups and chips, and are stored in what costs least.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from snndeploy.certify.cores import Counted
from snndeploy.certify.files import plain
from snndeploy.chip import Target, family_of, load_target
from snndeploy.chip.counting import neurons_in
from snndeploy.ir.arrays import frozen
from snndeploy.ir.placement import Bounds, Placement, Slice
from snndeploy.ir.program import Program, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.mapping.count.axons import recount
from snndeploy.mapping.count.memory import Memory
from tests.support.checked import checked, checked_placement
from tests.support.mapping_programs import conv, group, mlp, synapses, with_synapses
from tests.support.random_programs import cut_at_random, random_program, small_chip

LOIHI1, LOIHI2 = load_target("loihi1"), load_target("loihi2")


def counted(program: Program, placement: Placement, target: Target) -> tuple[Any, list[Any]]:
    """What the checker counts: the slices in its form, and what it knows of them."""
    read, placed = checked(program), checked_placement(placement)
    for part in placed.slices:
        part.box = tuple(slice(*b) for b in part.bounds)
        part.shape = tuple(high - low for low, high in part.bounds)
    rules: Any = plain(target.model_dump(exclude_none=True))
    return Counted(read, placed, rules, target.family == "loihi2"), placed.slices


CHECKED = {"neuron_words", "delay_slots"}
"""Resources of the compiler that the checker knows by another name, or counts for whole cores."""


@pytest.mark.parametrize("target", [LOIHI1, LOIHI2], ids=lambda t: t.name)
@pytest.mark.parametrize("first", range(0, 60, 12))
def test_all_that_a_slice_takes(target: Target, first: int) -> None:
    seen = set()
    for seed in range(first, first + 12):
        rng = np.random.default_rng(seed)
        program = random_program(seed)
        chip = small_chip(target, seed) if seed % 3 == 2 else target
        placement = cut_at_random(program, rng)
        memory = Memory(program, chip)
        other, slices = counted(program, placement, chip)
        for s, mine, part in zip(placement.slices, recount(memory, placement), slices, strict=True):
            theirs = other.part(part)
            theirs.pop("delay", None)
            same = {name: n for name, n in mine.items() if name not in CHECKED}
            assert {k: theirs.get(k) for k in same} == same, (seed, s)
            ways = other.ways[id(part)]
            into = program.incoming(s.group)
            for end, way in zip(into, ways, strict=True):
                stored = memory.stored(end.name, s.bounds)
                seen.add(stored.encoding)
                found = (stored.shared, stored.words, stored.axons, stored.slots)
                assert found == (way.kernel, way.words, way.axons, way.slots), (seed, s)
                assert stored.longest == way.longest or way.kernel
    assert "dense" in seen


def kernels_of(channels: int, side: int, target: Target) -> tuple[Any, Any]:
    """A convolution of one channel on one core, as the slow count and as the fast one takes it."""
    shape = (channels, side, side)
    ends = (group("c0", (1, side, side), 0), group("c1", shape, 1, role="output"))
    arriving = (synapses("c0", "c1", conv(channels, 1)),)
    program = Program(arithmetic=LOIHI, target="any", groups=ends, synapses=arriving).verify()
    whole = tuple((0, n) for n in shape)
    placement = Placement(
        target="any", cores_per_chip=1, slices=(Slice(group="c1", bounds=whole, core=0),)
    )
    other, slices = counted(program, placement, target)
    (way,) = other.ways[id(slices[0])]
    return way, Memory(program, target).stored("c0->c1", whole)


def test_kernels_of_more_places_than_an_offset_reaches() -> None:
    """20 x 20 are two times 256: on Loihi the kernel is there twice, for either count."""
    way, stored = kernels_of(2, 20, LOIHI1)
    assert (way.kernel, way.words, way.axons) == (True, stored.words, stored.axons)
    cases = [-(-(10 + a * b * 2 * (8 + 10)) // 64) for a in (2, 3, 2) for b in (2, 3, 2)]
    assert stored.words == 2 * sum(cases)


def test_rows_of_kernels_on_loihi_2() -> None:
    """34 weights of 8 + 1 bits and a header of 18 are six words of 64, and five of 65."""
    way, stored = kernels_of(34, 4, LOIHI2)
    assert (way.kernel, way.words, way.longest) == (True, 9 * 6, 6)
    assert stored.words == 9 * 6


Told = tuple[str, int, int, int, int, int, int, bool, bool]


def every_way(program: Program, target: Target, bounds: Bounds) -> list[Told]:
    """All that can be chosen from for a slice: the fields of `Stored`, in their order."""
    memory = Memory(program, target)
    (fan,) = memory.fans.values()
    found = family_of(target).encodings(fan, fan.into(bounds), neurons_in(bounds))
    return [dataclasses.astuple(s) for s in found]


def test_lists_in_numbers() -> None:
    """20 of 100 neurons: words of 64 bits hold 18 + 20 x (8 + 12) bits on Loihi 2, and on Loihi 10 for
    each 64 synapses, 6 that name the first of them, and 8 for each."""
    full = mlp(30, 100)
    box = ((10, 30),)
    assert every_way(full, LOIHI2, box) == [("dense", 30 * 7, 7, 30, 1, 600, 600, False, False)]
    assert every_way(full, LOIHI1, box) == [("dense", 30 * 3, 3, 30, 1, 600, 600, False, False)]


def test_lists_without_zeros_in_numbers() -> None:
    """Every third of 30 sources has none of its 20 synapses but the first and the last."""
    program = mlp(30, 20)
    mantissa = np.array(program.synapses[0].mantissa)
    mantissa[1:-1, ::3] = 0
    mantissa[:, 1] = 0
    sparse = with_synapses(program, "l0->l1", mantissa=frozen(mantissa))
    box = ((0, 20),)
    some = 10 * 2 + 19 * 20
    assert every_way(sparse, LOIHI2, box) == [
        ("dense", 30 * 7, 7, 30, 1, 600, some, False, False),
        ("sparse", 10 * 1 + 19 * 7, 7, 29, 1, some, some, False, True),
    ]
    # 2 x 14 + 10 and 20 x 14 + 10 bits; in runs 10 for each entry with 6 for its first target, and 8 + 2
    # for a synapse: a step of 19 does not fit two bits, and not five
    assert every_way(sparse, LOIHI1, box) == [
        ("dense", 30 * 3, 3, 30, 1, 600, some, False, False),
        ("sparse", 10 * 1 + 19 * 5, 5, 29, 1, some, some, False, True),
        ("run-length", 10 * 1 + 19 * 4, 4, 29, 1, some, some, False, True),
    ]


def test_delays_and_sources_in_numbers() -> None:
    """A delay takes bits of every synapse; sources that wait alike share lists, others have copies."""
    program = mlp(30, 20)
    late = SynapseSource("l0", frozen(5, np.int64))
    one = with_synapses(program, "l0->l1", sources=(late, late))
    assert every_way(one, LOIHI1, ((0, 20),)) == [
        ("dense", 30 * 4, 4, 60, 1, 600, 600, False, False)  # 16 + 20 x (8 + 3)
    ]
    both = (program.synapses[0].sources[0], late)
    two = with_synapses(program, "l0->l1", sources=both)
    assert every_way(two, LOIHI1, ((0, 20),)) == [
        ("dense", 2 * 30 * 4, 4, 60, 1, 1200, 1200, False, False)
    ]


def test_kernels_in_numbers() -> None:
    """Two channels of 3 x 3 into four, cut in the middle of 8 x 8."""
    program = Program(
        arithmetic=LOIHI,
        target="any",
        groups=(group("c0", (2, 8, 8), 0), group("c1", (4, 8, 8), 1, role="output")),
        synapses=(synapses("c0", "c1", conv(4, 2)),),
    ).verify()
    inside: Bounds = ((0, 3), (2, 6), (2, 6))
    # Loihi 2: a row for each of 2 x 9 taps and channels: 3 x (8 + 1) + 18 bits
    shared = ("conv", 18, 1, 2, 1, 54, 54, True, False)
    assert shared in every_way(program, LOIHI2, inside)
    # Loihi: 6 x 6 places are cut off in 5 x 5 ways, of which each channel has 81 x 3 synapses in all
    ways = every_way(program, LOIHI1, inside)
    kernels = [w for w in ways if w[0] == "conv"]
    counts = [min(a, 6 - a, 3) for a in range(1, 6)]  # taps that reach the box, along an axis
    assert counts == [1, 2, 3, 2, 1]
    words = [-(-(10 + 3 * a * b * (8 + 6)) // 64) for a in counts for b in counts]
    synapses_held = 2 * 3 * sum(a * b for a in counts for b in counts)
    rest = (synapses_held, synapses_held, True, False)
    assert kernels == [
        ("conv", 2 * sum(words), max(words), 36, 2, *rest),
        ("conv", 2 * sum(words), max(words), 2 * 36, 1, *rest),
    ]
