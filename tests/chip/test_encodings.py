"""What can be chosen from, and the least of it, in numbers, where counts of whole cores do not tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snndeploy.chip import Target, family_of, load_target
from snndeploy.chip.counting import Stored, neurons_in
from snndeploy.chip.families.loihi.family import LoihiFamily
from snndeploy.chip.families.loihi.lists import index_bits
from snndeploy.chip.families.loihi1 import Loihi1
from snndeploy.chip.families.loihi1.encodings import least_kernel_words
from snndeploy.ir.arrays import frozen
from snndeploy.ir.placement import Bounds
from snndeploy.ir.program import Program, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.mapping.count.axons import fan_out
from snndeploy.mapping.count.memory import Memory
from tests.support.mapping_programs import cnn, conv, group, mlp, synapses, with_synapses

LOIHI1, LOIHI2 = load_target("loihi1"), load_target("loihi2")


def ways(program: Program, target: Target, bounds: Bounds) -> list[Stored]:
    (fan,) = Memory(program, target).fans.values()
    return family_of(target).encodings(fan, fan.into(bounds), neurons_in(bounds))


def words(program: Program, target: Target, bounds: Bounds) -> dict[str, int]:
    return {way.encoding: way.words for way in ways(program, target, bounds)}


def mlp_without(zeros: tuple[slice | int, slice | int]) -> Program:
    """20 neurons that hear 30, without some synapses."""
    program = mlp(30, 20)
    mantissa = np.array(program.synapses[0].mantissa)
    mantissa[zeros] = 0
    return with_synapses(program, "l0->l1", mantissa=frozen(mantissa))


def test_run_lengths_are_counted_only_where_they_can_win() -> None:
    """Whole lists of 10 + 6 + 20 x 8 bits take 90 words. One zero less, and runs of 8 + 2 bits take more
    even if they came without headers; five lists less, and they may take less (but do not)."""
    whole = 30 * 3
    found = words(mlp_without((0, 0)), LOIHI1, ((0, 20),))
    assert found == {"dense": whole, "sparse": 30 * 5}
    assert whole < 599 * 10 // 64
    found = words(mlp_without((slice(None), slice(5))), LOIHI1, ((0, 20),))
    assert found == {"dense": whole, "sparse": 25 * 5, "run-length": 25 * 4}
    assert 500 * 10 // 64 < whole < 500 * 13 // 64


@pytest.mark.parametrize(("neurons", "bits"), [(2, 6), (64, 6), (65, 7), (128, 7), (129, 8)])
def test_an_index_names_every_neuron(neurons: int, bits: int) -> None:
    family = family_of(LOIHI1)
    assert isinstance(family, Loihi1)
    assert index_bits(neurons, family.target) == bits


def test_positions_that_hear_nothing_take_no_words() -> None:
    """A kernel of one tap and a stride of two: three of four border cases have no synapse at all."""
    op = conv(2, 3, stride=2)
    s = synapses("a", "b", op)
    mantissa = np.zeros_like(s.mantissa)
    mantissa[:, :, 1, 1] = 2
    ends = (group("a", (3, 6, 6), 0), group("b", (2, 3, 3), 1, role="output"))
    program = Program(arithmetic=LOIHI, target="any", groups=ends, synapses=(s,))
    program = with_synapses(program, s.name, mantissa=frozen(mantissa))
    box: Bounds = ((0, 2), (0, 3), (0, 3))
    kernels = [way for way in ways(program, LOIHI1, box) if way.shared]
    # at even positions, a list of 10 + 2 x 14 bits for each of three channels
    assert [(way.words, way.longest) for way in kernels] == [(3, 1), (3, 1)]


def convolution(*, density: float = 1.0) -> Program:
    """Two channels of 8 x 8 into six, at once and four steps later."""
    s = synapses("a", "b", conv(6, 2), density=density)
    now, late = (SynapseSource("a", frozen(n, np.int64)) for n in (1, 5))
    ends = (group("a", (2, 8, 8), 0), group("b", (6, 8, 8), 1, role="output"))
    both = replace(s, sources=(now, late))
    return Program(arithmetic=LOIHI, target="any", groups=ends, synapses=(both,))


WHOLE: Bounds = ((0, 6), (0, 8), (0, 8))


def test_kernels_with_two_delays_are_there_twice() -> None:
    program = convolution(density=0.5)
    mantissa = program.synapses[0].mantissa
    (kernel,) = (way for way in ways(program, LOIHI2, WHOLE) if way.shared)
    assert (kernel.synapses, kernel.nonzero) == (2 * 108, 2 * np.count_nonzero(mantissa))
    assert kernel.words == 2 * 18 * -(-(6 * 12 + 18) // 64)
    (fan,) = Memory(program, LOIHI1).fans.values()
    family = family_of(LOIHI1)
    assert isinstance(family, Loihi1)
    # The longest list of each channel, that of a position all of whose taps are in the box: 8 bits of a
    # weight, 3 of its delay, and 9 that name one of 384 neurons.
    longest = np.count_nonzero(mantissa, axis=(0, 2, 3)).tolist()
    least = sum(-(-(n * (8 + 3 + 9) + 10) // 64) for n in longest)
    assert least_kernel_words(fan, fan.into(WHOLE), 384, family.target) == 2 * least


@pytest.mark.parametrize("target", [LOIHI1, LOIHI2], ids=lambda t: t.name)
def test_the_least_of_all_ways(target: Target) -> None:
    """Each number of what is compared with limits is the smallest of any encoding."""
    program, family = convolution(), family_of(target)
    assert isinstance(family, LoihiFamily)
    (fan,) = Memory(program, target).fans.values()
    small: Bounds = ((0, 1), (0, 1), (0, 1))
    for box in (WHOLE, small):
        into, neurons = fan.into(box), neurons_in(box)
        every, least = family.encodings(fan, into, neurons), family.cheapest(fan, into, neurons)
        assert least.slots == min(way.slots for way in every)
        assert least.axons == min(way.axons for way in every)
        assert least.longest == min(way.longest for way in every)
        assert least.words <= min(way.words for way in every)


def test_lists_of_a_corner_are_shorter_than_its_kernel() -> None:
    """One neuron hears 2 x 4: on Loihi as many lists of a word; a kernel takes the same, once padded."""
    family = family_of(LOIHI1)
    assert isinstance(family, LoihiFamily)
    (fan,) = Memory(convolution(), LOIHI1).fans.values()
    into = fan.into(((0, 1), (0, 1), (0, 1)))
    # lists for each of two delays; of a kernel, one list for each channel and delay is sure
    assert {way.words for way in family.encodings(fan, into, 1) if not way.shared} == {2 * 8}
    assert family.least_words(fan, into, 1, family.encodings(fan, into, 1)) == 2 * 2


def test_population_axons_take_two_slots_of_their_sender() -> None:
    program = cnn(80, 4, extent=8)
    memory, box = Memory(program, LOIHI1), ((0, 4), (0, 8), (0, 8))
    assert memory.stored("c0->c1", box).slots == 2
    assert set(fan_out(memory, "c0->c1", [(box, 0)]).slots.reshape(-1).tolist()) == {2}
    assert set(fan_out(memory, "c0->c1", [(box, 0)] * 2).slots.reshape(-1).tolist()) == {4}


def test_the_published_compiler_stores_zeros() -> None:
    """It has no lists without them; where a chip has none anyway, nothing else is published."""
    published = family_of(LOIHI2).published
    assert published is not None
    program = mlp_without((slice(None), slice(20)))
    assert set(words(program, LOIHI2, ((0, 20),))) == {"dense", "sparse"}
    assert set(words(program, published, ((0, 20),))) == {"dense"}
    assert family_of(published).published is None
    assert family_of(LOIHI1).published is None


def test_what_the_words_of_a_slice_rest_on() -> None:
    """The width of an index, of a header, and on Loihi of the steps in runs."""
    assert family_of(LOIHI1).format_certainties == ("code", "code", "inferred")
    family = family_of(LOIHI1)
    assert isinstance(family, Loihi1)
    synapse = family.target.synapse.model_copy(update={"skip": None})
    without = family_of(family.target.model_copy(update={"synapse": synapse}))
    assert without.format_certainties == ("code", "code")


def test_run_lengths_of_two_delays_are_counted_only_where_they_can_win() -> None:
    """Two copies of whole lists of 10 + 6 + 20 x 11 bits take 240 words; runs of 13 bits take more."""
    program = mlp_without((0, 0))
    (s,) = program.synapses
    late = SynapseSource("l0", frozen(5, np.int64))
    both = with_synapses(program, "l0->l1", sources=(s.sources[0], late))
    found = words(both, LOIHI1, ((0, 20),))
    assert found == {"dense": 2 * 30 * 4, "sparse": 2 * 30 * 6}
    assert 2 * 30 * 4 < 599 * 13 // 64 * 2


def strided() -> Program:
    """Three channels of 6 x 6 into two, of which each reads every other position alone."""
    s = synapses("a", "b", conv(2, 3, 1, stride=2))
    ends = (group("a", (3, 6, 6), 0), group("b", (2, 3, 3), 1, role="output"))
    return Program(arithmetic=LOIHI, target="any", groups=ends, synapses=(s,))


@pytest.mark.parametrize("target", [LOIHI1, LOIHI2], ids=lambda t: t.name)
def test_the_least_of_a_box_that_does_not_hear_all(target: Target) -> None:
    family = family_of(target)
    assert isinstance(family, LoihiFamily)
    (fan,) = Memory(strided(), target).fans.values()
    into = fan.into(((0, 2), (0, 3), (0, 3)))
    assert 0 < np.count_nonzero(into.full) < into.full.size
    least = family.cheapest(fan, into, 18)
    # a list of two synapses for each channel, or a row for each
    assert least.words == 3
    assert least.skips_zeros


def test_room_for_the_compartments_that_reset_is_taken_off() -> None:
    """100 neurons that subtract have 100 axons and words of their own; two groups share what is left."""
    family = family_of(LOIHI1)
    assert isinstance(family, Loihi1)
    program = mlp(30, 100)
    (fan,) = Memory(program, LOIHI1).fans.values()
    twice = replace(program.group("l1"), kind="custom", reset="subtract")
    listed = family.cost(fan, fan.into(((0, 100),)), 100, twice, 2)
    plain = Stored(encoding="dense", words=1, longest=1, axons=1, slots=1, synapses=1, nonzero=1)
    room_words, room_axons = (16384 - 100) // 2, (4096 - 100) // 2
    for fields, over in (
        ({"words": room_words}, False),
        ({"words": room_words + 1}, True),
        ({"axons": room_axons}, False),
        ({"axons": room_axons + 1}, True),
        ({"longest": 256}, False),
        ({"longest": 257}, True),
    ):
        assert listed(replace(plain, **fields))[0] == over, fields
    assert listed(plain)[1:] == (1 / 4096, 1 / 16384 + 1 / 4096 + 1 / 4096)


def test_what_a_core_without_compartments_holds() -> None:
    assert family_of(LOIHI1).combined(({"axon_words": 5}, {"axon_words": 7})) == {"axon_words": 7}


def test_output_axons_of_loihi_2() -> None:
    assert family_of(LOIHI2).axons_out({"axon_map": 3, "axon_mem": 4}) == 7


def test_a_kernel_of_one_row() -> None:
    s = synapses("a", "b", conv(6, 1, 1))
    ends = (group("a", (1, 4, 4), 0), group("b", (6, 4, 4), 1, role="output"))
    program = Program(arithmetic=LOIHI, target="any", groups=ends, synapses=(s,))
    (kernel,) = (way for way in ways(program, LOIHI2, ((0, 6), (0, 4), (0, 4))) if way.shared)
    assert (kernel.words, kernel.longest) == (2, 2)


def test_a_kernel_of_nothing_is_empty() -> None:
    program = strided()
    (s,) = program.synapses
    none = with_synapses(program, s.name, mantissa=frozen(np.zeros_like(s.mantissa)))
    kernels = [way for way in ways(none, LOIHI1, ((0, 2), (0, 3), (0, 3))) if way.shared]
    assert [(way.words, way.longest, way.synapses) for way in kernels] == [(0, 0, 0)] * 2


def test_slots_that_a_sender_surely_takes() -> None:
    """A convolution may be heard over population axons, a dense layer is not."""
    family = family_of(LOIHI1)
    assert isinstance(family, Loihi1)
    axons = family.target.axons.model_copy(
        update={
            "out_discrete": family.target.axons.out_discrete.model_copy(update={"limit": 3}),
            "out_population": family.target.axons.out_population.model_copy(update={"limit": 2}),
        }
    )
    other = family_of(family.target.model_copy(update={"axons": axons}))
    (kernel,) = Memory(strided(), LOIHI1).fans.values()
    (dense,) = Memory(mlp(3, 2), LOIHI1).fans.values()
    assert [other.least_slots(fan) for fan in (kernel, dense)] == [2, 3]
    assert [family.least_slots(fan) for fan in (kernel, dense)] == [1, 1]
