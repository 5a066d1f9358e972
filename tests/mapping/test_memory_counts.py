"""Word counts: against what Intel's compiler printed, and against listing every synapse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snndeploy.chip import family_of, load_target
from snndeploy.chip.families.loihi.lists import list_words
from snndeploy.chip.families.loihi1.encodings import run_length_words
from snndeploy.chip.families.loihi2.encodings import kernel_words
from snndeploy.ir.arrays import frozen, size
from snndeploy.ir.fan.fan import Fan
from snndeploy.ir.linear.unroll import unroll
from snndeploy.ir.ops import Conv, Dense, Op, Pointwise, Reshape, SumPool, chain_shapes
from snndeploy.ir.placement import Bounds
from snndeploy.ir.program import Program, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.mapping.count.axons import slice_resources
from snndeploy.mapping.count.memory import Memory
from tests.support.mapping_programs import (
    POOL,
    cnn,
    conv,
    group,
    mlp,
    synapses,
    with_group,
    with_synapses,
)

LOIHI1, LOIHI2 = load_target("loihi1"), load_target("loihi2")

# Printed by Intel's compiler in public notebooks of lava-dl and lava-optimization:
# (outputs per core, weight bits, words per input axon) and, for convolutions,
# (output channels per core, weight bits, words per kernel row).
PRINTED_LISTS = [
    (100, 4, 26),
    (17, 4, 5),
    (9, 4, 3),
    (1, 4, 1),
    (50, 6, 15),
    (10, 5, 3),
    (1, 4, 1),
    (100, 3, 24),
    (17, 3, 5),
    (9, 3, 3),
    (1, 3, 1),
    (50, 4, 13),
    (10, 5, 3),
    (1, 6, 1),
    (64, 8, 21),
    (10, 8, 4),
    (50, 8, 16),
    (256, 8, 81),
    (200, 7, 63),
    (85, 8, 27),
]
PRINTED_ROWS = [
    (24, 6, 3),
    (36, 5, 4),
    (48, 4, 5),
    (64, 5, 6),
    (64, 4, 5),
    (24, 5, 3),
    (36, 4, 4),
    (48, 4, 5),
    (64, 4, 5),
    (64, 4, 5),
]


@pytest.mark.parametrize(("outputs", "bits", "words"), PRINTED_LISTS)
def test_lists_take_the_words_that_the_compiler_printed(
    outputs: int, bits: int, words: int
) -> None:
    entry = LOIHI2.synapse.weight.holding(bits) + LOIHI2.synapse.index.holding(12)
    assert list_words(np.array([outputs]), entry, LOIHI2, 0).tolist() == [words]


@pytest.mark.parametrize(("channels", "bits", "words"), PRINTED_ROWS)
def test_kernel_rows_are_never_under_counted(channels: int, bits: int, words: int) -> None:
    assert words <= kernel_words([(1, channels)], bits, LOIHI2) <= words + 1


def test_core_totals_of_the_printed_mnist_network() -> None:
    memory = Memory(mlp(784, 128, 64, 10), LOIHI2)
    cores: list[tuple[str, Bounds]] = [("l1", ((0, 50),)), ("l2", ((0, 64),)), ("l3", ((0, 10),))]
    tiles = {"l2": [(((0, 64),), 0)], "l3": [(((0, 10),), 0)]}
    pool = LOIHI2.core["pool_words"].limit
    used = [slice_resources(memory, *core, tiles)["pool_words"] for core in cores]
    assert [f"{100 * u / pool:.2f}" for u in used] == ["67.14", "14.72", "1.71"]


def test_a_pruned_layer_is_stored_sparse_and_zeros_of_a_full_one_are_charged() -> None:
    full, half = mlp(100, 50), mlp(100, 50, density=0.3)
    nonzero = int(np.count_nonzero(half.synapses[0].mantissa))
    box: Bounds = ((0, 50),)
    dense, sparse = (Memory(p, LOIHI2).stored("l0->l1", box) for p in (full, half))
    assert (dense.encoding, dense.synapses, dense.words) == ("dense", 5000, 1600)
    assert (sparse.encoding, sparse.synapses, sparse.nonzero) == ("sparse", nonzero, nonzero)
    assert sparse.words < dense.words / 2


def test_a_kernel_is_stored_once_however_many_positions() -> None:
    program = cnn(2, 16, extent=16)
    memory = Memory(program, LOIHI2)
    small = memory.stored("c0->c1", ((0, 16), (0, 4), (0, 4)))
    large = memory.stored("c0->c1", ((0, 16), (0, 16), (0, 16)))
    assert small == large
    assert (large.encoding, large.axons, large.synapses) == ("conv", 2, 2 * 9 * 16)


def test_positions_with_several_destinations_take_axon_memory() -> None:
    """As printed for PilotNet: 56 positions whose spikes go to 8 cores take 448 words."""
    groups = (
        group("in", (1, 8, 7), 0),
        group("a", (1, 8, 7), 1),
        group("b", (64, 8, 7), 2),
        group("out", (10,), 3, role="output"),
    )
    program = Program(
        arithmetic=LOIHI,
        target="any",
        groups=groups,
        synapses=(
            synapses("in", "a", conv(1, 1)),
            synapses("a", "b", conv(64, 1)),
            synapses("b", "out", Reshape((3584,)), Dense(10, 3584)),
        ),
    )
    memory = Memory(program, LOIHI2)
    tiles = {
        "b": [(((i * 8, i * 8 + 8), (0, 8), (0, 7)), 0) for i in range(8)],
        "out": [(((0, 10),), 0)],
    }
    one = slice_resources(memory, "a", ((0, 1), (0, 8), (0, 7)), {"b": [tiles["b"][0]]})
    eight = slice_resources(memory, "a", ((0, 1), (0, 8), (0, 7)), tiles)
    dense = slice_resources(memory, "b", ((0, 48), (0, 4), (0, 7)), tiles)
    assert (one["axon_map"], one["axon_mem"]) == (56, 0)
    assert (eight["axon_map"], eight["axon_mem"]) == (56, 448)
    assert (dense["axon_map"], dense["axon_mem"]) == (48 * 4 * 7, 0)


def test_neuron_programs_take_their_words() -> None:
    program = with_group(mlp(4, 8), "l1", kind="custom", reset="subtract")
    assert slice_resources(Memory(program, LOIHI2), "l1", ((0, 8),))["neuron_words"] == 16


def test_summed_sources_share_lists_unless_their_delays_differ() -> None:
    base = mlp(6, 4)
    groups = (base.groups[0], group("other", (6,), 0), base.groups[1])
    shared = synapses(("l0", "other"), "l1", Dense(4, 6))
    late = SynapseSource("other", frozen(3, np.int64))
    found = {}
    for name, s in (("same", shared.sources), ("late", (shared.sources[0], late))):
        program = Program(
            arithmetic=LOIHI,
            target="any",
            groups=groups,
            synapses=(
                with_synapses(
                    Program(arithmetic=LOIHI, target="any", groups=groups, synapses=(shared,)),
                    shared.name,
                    sources=s,
                ).synapses[0],
            ),
        )
        found[name] = Memory(program, LOIHI2).stored(shared.name, ((0, 4),))
    assert (found["same"].axons, found["late"].axons) == (12, 12)
    assert found["same"].words == 6 * 2
    assert found["late"].words == 2 * 6 * 2  # 4 * (8 + 2 delay + 12) + 18 bits, twice


def test_loihi_lists_have_a_header_per_64_synapses() -> None:
    stored = Memory(mlp(10, 100), LOIHI1).stored("l0->l1", ((0, 100),))
    # 100 x 8 bits and two headers of 10 bits with a start index of 7 bits: 834 bits
    assert (stored.encoding, stored.longest, stored.words) == ("dense", 14, 140)


def test_loihi_doubles_compartments_for_a_subtracting_reset() -> None:
    plain = mlp(10, 7)
    twice = with_group(plain, "l1", kind="custom", reset="subtract")
    a, b = (slice_resources(Memory(p, LOIHI1), "l1", ((0, 7),)) for p in (plain, twice))
    assert (a["compartments"], b["compartments"]) == (8, 16)
    assert b["in_axons"] == a["in_axons"] + 7
    assert b["out_axons"] == 7


def test_loihi_counts_different_parameters_and_long_delays() -> None:
    program = with_group(mlp(10, 6), "l1", vth=frozen([1, 2, 3, 1, 2, 3], np.int64))
    program = with_synapses(program, "l0->l1", sources=(SynapseSource("l0", frozen(33, np.int64)),))
    used = slice_resources(Memory(program, LOIHI1), "l1", ((0, 6),))
    assert used["threshold_profiles"] == 3
    assert used["compartment_profiles"] == 1
    assert used["delay_slots"] == 8 * 2**6


def test_a_core_reserves_the_longest_delay_for_all_its_compartments() -> None:
    short = {"compartments": 100, "delay_slots": 800, "axon_words": 5}
    long = {"compartments": 10, "delay_slots": 640, "axon_words": 3}
    both = family_of(LOIHI1).combined((short, long))
    assert both == {"compartments": 110, "delay_slots": 7040, "axon_words": 5}


CHAINS: list[tuple[tuple[Op, ...], tuple[int, ...]]] = [
    ((Dense(7, 12),), (12,)),
    ((Reshape((12,)), Dense(7, 12)), (3, 2, 2)),
    ((POOL, Reshape((12,)), Dense(7, 12)), (3, 5, 4)),
    ((conv(6, 4),), (4, 6, 7)),
    ((Conv(6, 4, (3, 2), (2, 1), ((1, 1), (1, 0)), (1, 2), 2),), (4, 6, 7)),
    ((POOL, conv(6, 4)), (4, 8, 9)),
    ((Conv(6, 4, (3,), (1,), ((1, 1),), (1,)),), (4, 9)),
    ((Pointwise((4, 3, 3), (4, 1, 1)),), (4, 3, 3)),
    ((SumPool((2, 2), (2, 2)), Pointwise((4, 2, 2))), (4, 4, 5)),
    ((conv(6, 4, stride=2), Reshape((54,))), (4, 6, 6)),
]


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_counts_equal_those_of_the_unrolled_matrix(data: st.DataObject) -> None:
    ops, shape = data.draw(st.sampled_from(CHAINS))
    density = data.draw(st.sampled_from([1.0, 0.6, 0.1]))
    s = synapses("a", "b", *ops, bits=4, density=density, seed=data.draw(st.integers(0, 99)))
    out = chain_shapes(ops, shape)[-1]
    cuts = [sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in out]
    bounds = tuple((low, high + (low == high)) for low, high in cuts)
    bounds = tuple(
        (low - (high > n), min(high, n)) for (low, high), n in zip(bounds, out, strict=True)
    )
    inside = np.arange(size(out)).reshape(out)[tuple(slice(*b) for b in bounds)].reshape(-1)

    into = Fan(s, shape, out).into(bounds)
    for counts, weight in ((into.full, np.ones_like(s.mantissa)), (into.stored, s.mantissa)):
        matrix = unroll(ops, weight, shape).dense()
        whole = np.zeros(shape, int)
        whole[tuple(slice(*b) for b in into.region)] = counts
        assert whole.reshape(-1).tolist() == (matrix[inside] != 0).sum(0).tolist()


def test_a_run_length_list_says_how_far_the_next_target_is() -> None:
    lists = np.zeros((1024, 4), bool)
    lists[:130, 0] = True  # three entries of up to 64 synapses
    lists[0:60:3, 1] = True  # steps of 3 fit two bits
    lists[0:200:40, 2] = True  # steps of 40 fit no width: an entry each
    words = run_length_words(lists, 8, LOIHI1, index=10)
    # 130 x (8 + 2) and 3 x (10 + 10) bits; 20 x (8 + 2) and 20; 5 x (8 + 2) and 5 x 20; nothing
    assert words.tolist() == [22, 4, 3, 0]
    wider = lists.copy()
    wider[:, 1] = wider[:, 0] = False
    wider[0:1024:8, 1] = True  # steps of 8 need four bits, which then all lists use
    words = run_length_words(wider, 8, LOIHI1, index=10)
    assert words.tolist() == [0, -(-(128 * 12 + 2 * 20) // 64), -(-(5 * 12 + 5 * 20) // 64), 0]


@pytest.mark.parametrize(
    ("density", "encoding"),
    [(1.0, "dense"), (0.95, "dense"), (0.5, "run-length"), (0.01, "sparse")],
)
def test_the_density_of_a_layer_decides_between_lists(density: float, encoding: str) -> None:
    memory = Memory(mlp(200, 300, density=density), LOIHI1)
    stored = memory.stored("l0->l1", ((0, 300),))
    assert stored.encoding == encoding
    two = Memory(mlp(200, 300, density=density), LOIHI2).stored("l0->l1", ((0, 300),))
    assert two.encoding in ("dense", "sparse")  # how Loihi 2 would store runs is not public


def test_a_kernel_of_loihi_sits_behind_discrete_axons_where_they_fit() -> None:
    """They take one slot of each sender, population axons two, but one input axon per neuron."""
    box: Bounds = ((0, 4), (0, 8), (0, 8))
    few, many = (
        Memory(cnn(inputs, 4, extent=8), LOIHI1).stored("c0->c1", box) for inputs in (8, 80)
    )
    assert (few.encoding, few.axons, few.slots) == ("conv", 8 * 64, 1)
    assert (many.encoding, many.axons, many.slots) == ("conv", 64, 2)
