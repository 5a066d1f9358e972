"""By what a chip's family chooses among the ways to store a slice's synapses, in numbers."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from snndeploy.chip import Family, family_of, load_target
from snndeploy.chip.counting import Sent, Stored
from snndeploy.chip.families.loihi.lists import too_many
from snndeploy.ir.arrays import frozen
from snndeploy.ir.program import SynapseSource
from snndeploy.mapping.count.memory import Memory
from tests.support.mapping_programs import cnn, group, with_synapses

LOIHI2 = family_of(load_target("loihi2"))
NOTHING: Any = None
"""What these answers do not depend on."""


def stored(words: int, axons: int) -> Stored:
    return Stored(
        encoding="any", words=words, longest=0, axons=axons, slots=1, synapses=0, nonzero=0
    )


@pytest.mark.parametrize(("words", "axons"), [(1000, 3), (10, 900), (0, 0), (1, 4)])
def test_loihi2_takes_what_leaves_most_room(words: int, axons: int) -> None:
    """The larger share counts: of the memory that lists and their axons share, or of the axons."""
    cost = LOIHI2.cost(NOTHING, NOTHING, 4, NOTHING, 1)
    memory, most = LOIHI2.limits["synapse_words"], LOIHI2.limits["axon_in"]
    assert cost(stored(words, axons)) == max((words + axons) / memory, axons / most)


def test_the_least_words_are_those_of_the_shortest_way() -> None:
    ways = [stored(words, axons) for words, axons in ((7, 1), (5, 9), (6, 0))]
    assert LOIHI2.least_words(NOTHING, NOTHING, 4, ways) == 5


@pytest.mark.parametrize(
    ("words", "axons", "told"),
    [(10, 6, False), (9, 6, True), (9, 7, False), (9, 5, True), (11, 6, False)],
)
def test_lists_that_are_longer_than_a_kernel_are_not_looked_at(
    words: int, axons: int, *, told: bool
) -> None:
    """40 synapses of 16 bits are ten words of 64, and three sources in two populations six axons."""
    into: Any = SimpleNamespace(stored=np.array([20, 0, 15, 5]))
    fan: Any = SimpleNamespace(synapses=SimpleNamespace(sources=("one", "other")))
    assert too_many(into, fan, 16, stored(words, axons)) is told


def test_channels_share_the_entries_of_their_position() -> None:
    """On Loihi 2; a list has one of each neuron. More than one destination takes a word each."""
    along = np.array([[1, 2, 0], [3, 1, 1]])
    for kernels, entries in ((along, 3), (along.reshape(2, 3, 1), 3), (along[0], 3)):
        sent = Sent(kernels=kernels, listed=False, heard=True, slots=NOTHING)
        memory = 5 if kernels.ndim > 1 else 2
        assert LOIHI2.outgoing(sent) == {"axon_map": entries, "axon_mem": memory}
        listed = replace(sent, listed=True)
        assert LOIHI2.outgoing(listed) == {"axon_map": kernels.size, "axon_mem": memory}
        unheard = replace(sent, heard=False)
        assert LOIHI2.outgoing(unheard)["axon_map"] == 0


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
def test_a_grid_of_boxes_is_counted_like_each_box(name: str, *, listed: bool) -> None:
    rng = np.random.default_rng(0)
    slots, kernels = rng.integers(0, 4, (2, 4, 6, 3))
    sent = Sent(slots=slots, kernels=kernels, listed=listed, heard=True)
    cuts = (((0, 1), (1, 4)), ((0, 2), (2, 5), (5, 6)), ((0, 2), (2, 3)))
    family = family_of(load_target(name))
    found = family.outgoing_grid(sent, cuts)
    for place in np.ndindex(2, 3, 2):
        bounds = tuple(axis[i] for axis, i in zip(cuts, place, strict=True))
        told = {key: int(values[place]) for key, values in found.items()}
        assert told == family.outgoing(sent.within(bounds))


def with_one_of(name: str, *resources: str) -> Family:
    """A chip whose cores have only one of some resources."""
    target = load_target(name)
    one = {r: target.core[r].model_copy(update={"limit": 1}) for r in resources}
    return family_of(target.model_copy(update={"core": {**target.core, **one}}))


def test_a_share_of_one_is_a_share() -> None:
    narrow = with_one_of("loihi2", "synapse_words")
    assert narrow.cost(NOTHING, NOTHING, 4, NOTHING, 1)(stored(3, 0)) == 3.0
    fan: Any = SimpleNamespace(synapses=SimpleNamespace(sources=("one",)))
    into: Any = SimpleNamespace(full=np.array([1, 0, 2]))
    narrow = with_one_of("loihi1", "synapse_words", "in_axons", "out_axons")
    over, largest, all_of_them = narrow.cost(fan, into, 4, group("l1", (4,), 1), 1)(stored(3, 2))
    assert (over, largest, all_of_them) == (True, 3.0, 3.0 + 2.0 + 2.0)


@pytest.mark.parametrize(("late", "copies"), [(1, 1), (4, 2)])
def test_kernels_of_two_delays_are_stored_twice(late: int, copies: int) -> None:
    """Of 6 positions along a side, 4 outputs hear 2, 3, 3, 2, 1 and 0 taps: four lists of 8 in all."""
    plain = cnn(2, 4, extent=6)
    groups = (plain.groups[0], group("other", (2, 6, 6), 0), *plain.groups[1:])
    sources = tuple(
        SynapseSource(name, frozen(latency, np.int64))
        for name, latency in (("c0", 1), ("other", late))
    )
    program = with_synapses(replace(plain, groups=groups), plain.synapses[0].name, sources=sources)
    memory = Memory(program, load_target("loihi1"))
    fan = memory.fans[plain.synapses[0].name]
    ways = memory.family.encodings(fan, fan.into(((0, 4), (0, 4), (0, 4))), 64)
    found = {(way.synapses, way.nonzero) for way in ways if way.shared}
    synapses = copies * 2 * 4 * 8 * 8
    assert found == {(synapses, synapses)}
