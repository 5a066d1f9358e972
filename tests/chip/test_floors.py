"""The least that boxes take, in numbers: a smaller one would still be a bound, and prove less.

`tests/mapping/test_search.py` shows that no cut undercuts them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snndeploy.chip import Target, family_of, load_target
from snndeploy.chip.floor import Boxes, Floor
from snndeploy.ir.arrays import frozen
from snndeploy.ir.ops import Pointwise
from snndeploy.ir.program import Program, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.mapping.count.memory import Memory
from tests.support.mapping_programs import (
    cnn,
    conv,
    group,
    mlp,
    synapses,
    with_group,
    with_synapses,
)

CHIPS = ("loihi1", "loihi2")


def floor(
    program: Program, chip: str | Target, name: str, *, listed: bool = True, heard: bool = True
) -> Floor:
    """Each neuron takes three slots of its core's output axons."""
    target = load_target(chip) if isinstance(chip, str) else chip
    memory, box = Memory(program, target), program.group(name)
    return family_of(target).floor(
        Boxes(
            group=box,
            fans=[memory.fans[s.name] for s in memory.into[name]],
            slots=np.full(box.shape, 3),
            listed=listed,
            heard=heard,
        )
    )


def each(least: Floor) -> dict[str, set[float]]:
    return {name: {float(x) for x in values.reshape(-1)} for name, values in least.each().items()}


@pytest.fixture
def dense() -> Program:
    """20 neurons that hear 30, but the first, which hears 18 of them, and the others but one: 29."""
    program = mlp(30, 20)
    mantissa = np.array(program.synapses[0].mantissa)
    mantissa[0, :12] = mantissa[1:, 3] = 0
    return with_synapses(program, "l0->l1", mantissa=frozen(mantissa))


def waits(program: Program, name: str) -> Program:
    """The source a second time, five steps late: 3 more bits of each synapse, and lists of its own."""
    (now,) = program.synapses[0].sources
    late = SynapseSource(now.group, frozen(5, np.int64))
    return with_synapses(program, name, sources=(now, late))


def test_lists_on_loihi(dense: Program) -> None:
    """8 bits of a synapse are its neuron's, a header of 10 is the box's, for each of 18 lists."""
    least = floor(dense, "loihi1", "l1")
    assert each(least) == {
        "compartments": {1.0},
        "synapse_words": {18 * 8 / 64, 29 * 8 / 64},
        "in_axons": {0.0},
        "out_axons": {3.0},
        "delay_slots": {8.0},
    }
    assert least.once() == {"synapse_words": 18 * 10 / 64, "in_axons": 18.0, "synapse_formats": 1}
    assert least.of_all_boxes(2) == {"synapse_words": 0.0}


def test_lists_on_loihi_2(dense: Program) -> None:
    """20 bits of a synapse, and headers of 18."""
    least = floor(dense, "loihi2", "l1")
    words = {18 * 20 / 64, 29 * 20 / 64}
    assert each(least) == {
        "neurons": {1.0},
        "synapse_words": words,
        "axon_in": {0.0},
        "axon_map": {1.0},
        "pool_words": {1 + n + 1 for n in words},
    }
    once = {"groups": 1.0, "synapse_words": 18 * 18 / 64, "axon_in": 18.0}
    assert least.once() == {**once, "pool_words": 1 + 18 * 18 / 64 + 18}
    assert least.of_all_boxes(2) == {"synapse_words": 0.0, "pool_words": 0.0}


def test_delays_and_second_compartments(dense: Program) -> None:
    """Another delay takes lists of its own; a reset by subtraction takes a neuron twice."""
    late = with_group(waits(dense, "l0->l1"), "l1", kind="custom", reset="subtract")
    least = floor(late, "loihi1", "l1")
    assert each(least) == {
        "compartments": {2.0},
        "synapse_words": {18 * 11 * 2 / 64 + 1, 29 * 11 * 2 / 64 + 1},
        "in_axons": {1.0},
        "out_axons": {4.0},
        "delay_slots": {16.0},
    }
    assert least.once()["synapse_words"] == 18 * 10 * 2 / 64
    assert least.once()["in_axons"] == 36
    least = floor(late, "loihi2", "l1", listed=False)
    assert each(least)["synapse_words"] == {18 * 23 * 2 / 64, 29 * 23 * 2 / 64}
    assert each(least)["axon_map"] == {0.0}
    assert each(least)["pool_words"] == {2 + 18 * 23 * 2 / 64, 2 + 29 * 23 * 2 / 64}
    assert least.once()["pool_words"] == 1 + 18 * 18 * 2 / 64 + 36


@pytest.mark.parametrize(("chip", "axons"), [("loihi1", "in_axons"), ("loihi2", "axon_in")])
def test_one_to_one_in_numbers(chip: str, axons: str) -> None:
    """A list, of a word, and an axon for each neuron that hears its own, from both of two sources."""
    s = synapses(("a", "b"), "c", Pointwise((6,), (6,)))
    mantissa = np.array(s.mantissa)
    mantissa[2] = 0
    ends = (group("a", (6,), 0), group("b", (6,), 0), group("c", (6,), 1, role="output"))
    program = Program(arithmetic=LOIHI, target="any", groups=ends, synapses=(s,))
    program = with_synapses(program, s.name, mantissa=frozen(mantissa))
    least = floor(program, chip, "c")
    assert least.each()["synapse_words"].tolist() == [1, 1, 0, 1, 1, 1]
    assert least.each()[axons].tolist() == [2, 2, 0, 2, 2, 2]
    assert least.once()["synapse_words"] == least.once()[axons] == 0
    late = SynapseSource("b", frozen(3, np.int64))
    apart = with_synapses(program, s.name, sources=(s.sources[0], late))
    assert floor(apart, chip, "c").each()["synapse_words"].tolist() == [2, 2, 0, 2, 2, 2]


BOXES = np.array([1, 6, 6]), np.array([[1, 2, 4], [1, 2, 6]])
"""Channels, and extents along both axes: one neuron, 24 and 144."""


def extents(least: Floor, boxes: tuple[np.ndarray, np.ndarray] = BOXES) -> dict[str, list[float]]:
    plain = {name: float(values.min()) for name, values in least.each().items()}
    return {name: values.tolist() for name, values in least.extents(*boxes, plain).items()}


def test_kernels_on_loihi() -> None:
    """A corner hears 2 x 4 of 2 x 9: as lists of 8 bits with headers of 10, or as a kernel of 8 + 6."""
    least = floor(cnn(2, 6, extent=8), "loihi1", "c1")
    one = min(8 * (8 + 10), 8 * 14) / 64
    assert least.once() == {"synapse_words": one, "in_axons": 4.0, "synapse_formats": 1}
    assert extents(least) == {
        "compartments": [1, 24, 144],
        "synapse_words": [one, 6 * 8 * 14 / 64, 6 * 8 * 14 / 64],
        "in_axons": [2 * 2, 3 * 3, 5 * 7],  # at a corner
        "out_axons": [3, 72, 432],
        "delay_slots": [8, 192, 1152],
    }
    whole = 6 * 18 * 8 / 64  # each channel's weights are in some box
    assert least.of_all_boxes(2) == {"synapse_words": whole - 2 * one}
    assert least.of_all_boxes(100) == {"synapse_words": 0.0}


def test_kernels_on_loihi_2() -> None:
    """As lists of 20 bits with headers of 18, or in 18 rows of 9 bits for each channel and a header."""
    least = floor(cnn(2, 6, extent=8), "loihi2", "c1", listed=False)
    one = min(8 * (20 + 18) / 64, 18)
    assert least.once() == {
        "groups": 1.0,
        "synapse_words": one,
        "axon_in": 2.0,
        "pool_words": 1 + one + 2,
    }
    rows = 18 * -(-(6 * 9 + 18) // 64)
    assert extents(least) == {
        "neurons": [1, 24, 144],
        "synapse_words": [one, rows, rows],
        "axon_in": [2, 2, 2],
        "axon_map": [1, 4, 24],
        "pool_words": [1 + 1 + one + 2 + 1, 1 + 24 + rows + 2 + 4, 1 + 144 + rows + 2 + 24],
    }
    more = 6 * 18 * 9 / 64 - 2 * one
    assert least.of_all_boxes(2) == {"synapse_words": more, "pool_words": more}
    assert least.of_all_boxes(100) == {"synapse_words": 0.0, "pool_words": 0.0}


def test_entries_of_the_axon_map() -> None:
    """Neuron by neuron in front of lists, by place in front of kernels, none where nobody hears."""
    program = cnn(2, 6, extent=8)
    for listed, heard, entries in (
        (True, True, [1, 24, 144]),
        (False, True, [1, 4, 24]),
        (False, False, [0, 0, 0]),
    ):
        least = floor(program, "loihi2", "c1", listed=listed, heard=heard)
        assert extents(least)["axon_map"] == entries


def test_kernels_that_are_late_or_far_apart_have_copies() -> None:
    """Two delays, and more places than an axon's offset reaches, each double what boxes hold."""
    program = waits(cnn(2, 6, extent=20), "c0->c1")
    large = np.array([6, 6]), np.array([[16, 17], [16, 16]])
    one, two = (extents(floor(program, chip, "c1"), large) for chip in CHIPS)
    assert one["synapse_words"] == [6 * 8 * (11 + 6) / 64 * 2, 6 * 8 * (11 + 6) / 64 * 2 * 2]
    assert one["in_axons"] == [17 * 17 * 2, 18 * 17 * 2]
    assert two["synapse_words"] == [18 * -(-(6 * 12 + 18) // 64) * 2] * 2
    assert two["axon_in"] == [4, 4]
    few = np.array([1]), np.array([[1], [1]])
    one, two = (extents(floor(program, chip, "c1"), few) for chip in CHIPS)
    assert one["synapse_words"] == [min(8 * (11 + 10) / 64 * 2, 8 * (11 + 6) / 64 * 2)]
    assert two["synapse_words"] == [8 * (23 + 18) / 64 * 2]
    all_of_it = floor(program, "loihi1", "c1").of_all_boxes(0)
    assert all_of_it == {"synapse_words": 6 * 18 * 11 / 64}
    all_of_it = floor(program, "loihi2", "c1").of_all_boxes(0)
    assert all_of_it["synapse_words"] == 6 * 18 * 12 * 2 / 64


def test_kernels_of_several_groups() -> None:
    """Of four channels in two groups, three have rows of both."""
    ends = (group("a", (4, 6, 6), 0), group("b", (4, 6, 6), 1, role="output"))
    s = synapses("a", "b", conv(4, 4, groups=2))
    program = Program(arithmetic=LOIHI, target="any", groups=ends, synapses=(s,))
    boxes = np.array([2, 3, 4]), np.full((2, 3), 6)
    two = extents(floor(program, "loihi2", "b"), boxes)
    # a row of 2 x 9 + 18 bits; of 3 x 9 + 2 x 18 bits in two parts
    assert two["synapse_words"] == [18 * 1, 18 * 2, 18 * 2]
    assert two["axon_in"] == [2, 2, 2]


def test_sparse_kernels_take_what_the_emptiest_neuron_does() -> None:
    program = cnn(2, 6, extent=8)
    mantissa = np.zeros_like(program.synapses[0].mantissa)
    mantissa[:, 0, 1, 1] = 2  # the middle of one input channel
    mantissa[0] = program.synapses[0].mantissa[0]
    sparse = with_synapses(program, "c0->c1", mantissa=frozen(mantissa))
    one, two = (floor(sparse, chip, "c1") for chip in CHIPS)
    assert one.once()["synapse_words"] == min(1 * (8 + 10), 1 * 14) / 64
    assert extents(one)["in_axons"] == [1, 1, 1]
    assert two.once()["synapse_words"] == (20 + 18) / 64
    assert extents(two)["axon_in"] == [1, 1, 1]
    assert one.of_all_boxes(0) == {"synapse_words": (18 + 5 * 1) * 8 / 64}
    assert two.of_all_boxes(0)["synapse_words"] == 6 * 18 * 9 / 64


def test_kernels_and_lists_of_one_group_add_up() -> None:
    """Each neuron of a convolution hears one more, and takes two words of state on Loihi 2."""
    image = (2, 6, 6)
    ends = (group("a", image, 0), group("b", image, 1, role="output", kind="custom"))
    layers = (synapses("a", "b", conv(2, 2)), synapses("a", "b", Pointwise(image, image)))
    layers = (layers[0], replace(layers[1], name="own"))
    program = Program(arithmetic=LOIHI, target="any", groups=ends, synapses=layers)
    boxes = np.array([2]), np.array([[3], [4]])
    one, two = (extents(floor(program, chip, "b"), boxes) for chip in CHIPS)
    kernel = 2 * 8 * (8 + 6) / 64
    assert one["synapse_words"] == [kernel + 24]
    assert one["in_axons"] == [4 * 5 + 24]
    rows = 18 * -(-(2 * 9 + 18) // 64)
    assert two["synapse_words"] == [rows + 24]
    assert two["axon_in"] == [2 + 24]
    assert two["pool_words"] == [1 + 2 * 24 + rows + 24 + 2 + 24 + 24]
    assert each(floor(program, "loihi2", "b"))["pool_words"] == {2.0 + 1 + 1 + 1}


def test_a_channel_takes_its_lists_where_those_are_shorter() -> None:
    """One place hears one of nine taps: lists of 2 x 23 bits, for two delays twice; not 18 rows."""
    s = synapses("a", "b", conv(4, 2))
    now, late = (SynapseSource("a", frozen(n, np.int64)) for n in (1, 5))
    ends = (group("a", (2, 1, 1), 0), group("b", (4, 1, 1), 1, role="output"))
    both = replace(s, sources=(now, late))
    program = Program(arithmetic=LOIHI, target="any", groups=ends, synapses=(both,))
    assert floor(program, "loihi2", "b").of_all_boxes(0)["synapse_words"] == 4 * 2 * 23 * 2 / 64
    assert floor(program, "loihi1", "b").of_all_boxes(0)["synapse_words"] == 4 * 2 * 11 / 64


def test_rows_of_a_channel_are_those_of_its_group() -> None:
    ends = (group("a", (4, 6, 6), 0), group("b", (4, 6, 6), 1, role="output"))
    s = synapses("a", "b", conv(4, 4, groups=2))
    program = Program(arithmetic=LOIHI, target="any", groups=ends, synapses=(s,))
    found = floor(program, "loihi2", "b").of_all_boxes(0)["synapse_words"]
    assert found == 4 * (2 * 9) * 9 / 64


def test_the_narrowest_index_is_what_lists_take_at_the_least() -> None:
    target = load_target("loihi2")
    index = target.synapse.index.model_copy(update={"widths": (6, 12)})
    synapse = target.synapse.model_copy(update={"index": index})
    program = mlp(30, 20)
    least = floor(program, target.model_copy(update={"synapse": synapse}), "l1")
    assert each(least)["synapse_words"] == {30 * (8 + 6) / 64}


def test_two_projections_add_up() -> None:
    program = mlp(30, 20)
    both = synapses("l0", "l1", *program.synapses[0].ops, bits=4)
    ends = program.groups
    other = replace(program.synapses[0], name="other")
    program = Program(arithmetic=LOIHI, target="any", groups=ends, synapses=(both, other))
    one, two = (floor(program, chip, "l1") for chip in CHIPS)
    assert each(one)["synapse_words"] == {30 * (4 + 8) / 64}
    assert one.once() == {"synapse_words": 30 * 20 / 64, "in_axons": 60.0, "synapse_formats": 2}
    assert each(two)["synapse_words"] == {30 * (16 + 20) / 64}
    assert two.once()["axon_in"] == 60


def test_what_spikes_take_of_one_box() -> None:
    program = mlp(30, 20)
    slots = np.array([1, 3, 2])
    used = {"out_axons": 4, "synapse_words": 7}
    assert floor(program, "loihi1", "l1").sending(used, slots) == {**used, "out_axons": 10}
    used = dict.fromkeys(("groups", "neuron_words", "axon_in", "synapse_words", "axon_mem"), 1)
    for listed, entries in ((True, 5), (False, 2)):
        sent = floor(program, "loihi2", "l1", listed=listed).sending({**used, "axon_map": 2}, slots)
        assert (sent["axon_map"], sent["pool_words"]) == (entries, 5 + entries)
