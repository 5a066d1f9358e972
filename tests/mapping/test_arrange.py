"""Messages between cores, and arranging cores so that their ways are short."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snndeploy.chip import Target, load_target
from snndeploy.errors import UsageError
from snndeploy.ir.linear.unroll import unroll
from snndeploy.ir.program import Program
from snndeploy.mapping import place_program
from snndeploy.mapping.count.memory import Memory
from snndeploy.mapping.route import partition
from snndeploy.mapping.route.arrange import Budget, arrange
from snndeploy.mapping.route.flows import HOST, Flows, flows
from snndeploy.mapping.route.mesh import busiest_load, cost, off_chip_hops, spot
from snndeploy.mapping.route.partition import deal
from snndeploy.mapping.route.traffic import traffic
from tests.support.mapping_programs import cnn, mlp

LOIHI2, TINY = load_target("loihi2"), load_target("tiny")


def small_cores(neurons: int, cores: int = 128) -> Target:
    """Loihi 2 with fewer neurons per core and cores per chip, so that little needs many."""
    core = {"neurons": LOIHI2.core["neurons"].model_copy(update={"limit": neurons})}
    chip = {"cores": LOIHI2.chip.cores.model_copy(update={"limit": cores})}
    return LOIHI2.model_copy(
        update={"core": {**LOIHI2.core, **core}, "chip": LOIHI2.chip.model_copy(update=chip)}
    )


def naive_flows(program: Program, target: Target, rates: dict[str, np.ndarray]) -> dict:
    """Every spike of every neuron, sent to every core that holds a synapse behind it."""
    placement = place_program(program, target)
    owner = {g.name: np.full(int(np.prod(g.shape)), HOST) for g in program.groups}
    for s in placement.slices:
        owner[s.group][s.members(program.group(s.group).shape)] = s.core
    found: dict[tuple[int, int], float] = {}
    for group in program.groups:
        hearing: dict[int, set[int]] = {}
        for s in program.outgoing(group.name):
            matrix = unroll(s.ops, s.mantissa, group.shape).dense()
            for target_neuron, neuron in np.argwhere(matrix != 0):
                hearing.setdefault(int(neuron), set()).add(int(owner[s.target][target_neuron]))
        for neuron, cores in hearing.items():
            for core in cores:
                key = (int(owner[group.name][neuron]), core)
                rate = float(rates[group.name].reshape(-1)[neuron])
                found[key] = found.get(key, 0.0) + rate
    return found


@pytest.mark.parametrize(
    "program",
    [mlp(30, 40, 20, 7), cnn(2, 6, 4, extent=8), cnn(1, 3, 3, extent=8, density=0.5)],
    ids=["dense", "convolution", "pruned"],
)
def test_messages_equal_those_counted_spike_by_spike(program: Program) -> None:
    target = small_cores(25)
    rng = np.random.default_rng(1)
    rates = {g.name: rng.integers(0, 9, g.shape).astype(float) for g in program.groups}
    placement = place_program(program, target)
    f = flows(Memory(program, target), placement.slices, rates)
    counted = {
        (int(a), int(b)): float(w) for a, b, w in zip(f.source, f.target, f.weight, strict=True)
    }
    naive = naive_flows(program, target, rates)
    assert counted == pytest.approx({k: v for k, v in naive.items() if v})
    # The report's estimate walks the same messages.
    estimate = traffic(program, placement, target, rates)
    assert estimate.messages == pytest.approx(f.weight.sum())
    assert estimate.hops_x + estimate.hops_y == pytest.approx(cost(f.between_cores(), target))


def walked(f: Flows, target: Target) -> tuple[float, float]:
    """Total hops and the busiest directed link, hop by hop."""
    links: dict[tuple, float] = {}
    total = 0.0
    for a, b, w in zip(f.source, f.target, f.weight, strict=True):
        one, two = spot(int(a), target), spot(int(b), target)
        if one.chip != two.chip:
            total += w * off_chip_hops(target)
            continue
        x, y = one.x, one.y
        while (x, y) != (two.x, two.y):
            nx = x + np.sign(two.x - x)
            ny = y if nx != x else y + np.sign(two.y - y)
            links[one.chip, x, y, nx, ny] = links.get((one.chip, x, y, nx, ny), 0.0) + w
            total += w
            x, y = nx, ny
    return total, max(links.values(), default=0.0)


def random_flows(rng: np.random.Generator, cores: int, count: int) -> Flows:
    pairs = rng.integers(0, cores, (count, 2))
    return Flows(pairs[:, 0], pairs[:, 1], rng.integers(1, 50, count).astype(float))


@given(st.integers(0, 999), st.sampled_from([4, 30, 128, 300]))
def test_hops_and_links_equal_those_walked(seed: int, cores: int) -> None:
    f = random_flows(np.random.default_rng(seed), cores, 20)
    total, busiest = walked(f, LOIHI2)
    assert cost(f, LOIHI2) == pytest.approx(total)
    assert busiest_load(f, LOIHI2) == pytest.approx(busiest)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999), st.integers(2, 40), st.integers(1, 120), st.sampled_from([8, 128]))
def test_arranging_never_makes_ways_longer(
    seed: int, cores: int, count: int, per_chip: int
) -> None:
    target = small_cores(4095, per_chip)
    f = random_flows(np.random.default_rng(seed), cores, count)
    moved = arrange(f, cores, target, budget=Budget(3), seed=seed)
    assert len(set(moved.tolist())) == cores
    assert {int(m) // per_chip for m in moved} == set(range(-(-cores // per_chip)))
    inner = f.between_cores()
    after = Flows(moved[inner.source], moved[inner.target], inner.weight)
    assert cost(after, target) <= cost(inner, target)
    again = arrange(f, cores, target, budget=Budget(3), seed=seed)
    assert np.array_equal(moved, again)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999))
def test_a_small_mesh_is_arranged_as_well_as_it_can_be(seed: int) -> None:
    f = random_flows(np.random.default_rng(seed), 4, 8).between_cores()
    moved = arrange(f, 4, TINY, budget=Budget(10), seed=0)
    best = min(
        cost(Flows(at[f.source], at[f.target], f.weight), TINY)
        for at in map(np.array, itertools.permutations(range(4)))
    )
    assert cost(Flows(moved[f.source], moved[f.target], f.weight), TINY) <= best * 1.01


def test_a_chain_that_is_scattered_is_put_in_line() -> None:
    rng = np.random.default_rng(5)
    order = rng.permutation(64)
    chain = Flows(order[:-1], order[1:], np.ones(63))
    moved = arrange(chain, 64, LOIHI2, budget=Budget(20), seed=0)
    after = Flows(moved[chain.source], moved[chain.target], chain.weight)
    # Four cores share a router, so a chain of 64 crosses at least 15 links.
    assert 15 <= cost(after, LOIHI2) <= 22 < cost(chain, LOIHI2)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999), st.integers(2, 6), st.integers(0, 7), st.integers(1, 200))
def test_chips_are_never_too_full(seed: int, chips: int, spare: int, count: int) -> None:
    cores = 8 * chips - spare
    f = random_flows(np.random.default_rng(seed), cores, count).between_cores()
    chip = deal(f, cores, chips, 8, library=False, seed=0)
    sizes = np.bincount(chip, minlength=chips)
    assert sizes.max() <= 8
    assert chip.max() < chips
    layers = np.arange(cores) // 8

    def cut(part: np.ndarray) -> float:
        return float(f.weight[part[f.source] != part[f.target]].sum())

    assert cut(chip) <= cut(layers)


def test_communities_are_kept_on_their_chips() -> None:
    """Eight groups of sixteen cores that mostly talk among themselves, in scattered order."""
    rng = np.random.default_rng(2)
    member = rng.permutation(np.repeat(np.arange(8), 16))
    a, b = np.triu_indices(128, 1)
    weight = np.where(member[a] == member[b], 10.0, 0.01)
    chip = deal(Flows(a, b, weight), 128, 8, 16, library=False, seed=0)
    assert all(len(set(member[chip == c])) == 1 for c in range(8))


def test_the_optional_partitioner() -> None:
    pytest.importorskip("mtkahypar", reason="the partition extra is not installed")
    f = random_flows(np.random.default_rng(1), 60, 300).between_cores()
    plain, told = (deal(f, 60, 4, 16, library=library, seed=0) for library in (False, True))
    assert np.bincount(told).max() <= 16
    assert np.array_equal(told, deal(f, 60, 4, 16, library=True, seed=0))

    def cut(part: np.ndarray) -> float:
        return float(f.weight[part[f.source] != part[f.target]].sum())

    assert cut(told) <= cut(plain)


def test_clusters_of_many_cores() -> None:
    """More cores than a dense Laplacian is made for: a ring cut into eight arcs."""
    ring = np.arange(2048)
    mixed = np.random.default_rng(3).permutation(2048)
    f = Flows(mixed[ring], mixed[(ring + 1) % 2048], np.ones(2048))
    chip = deal(f, 2048, 8, 256, library=False, seed=0)
    assert np.bincount(chip).tolist() == [256] * 8
    assert (chip[f.source] != chip[f.target]).sum() <= 64


def test_a_board_of_very_many_cores_stays_in_layer_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every search among all cores and chips at once would need more than there is."""
    cores, per_chip = 40, 8
    rng = np.random.default_rng(0)
    some = Flows(rng.integers(0, cores, 300), rng.integers(0, cores, 300), np.ones(300))
    order = np.arange(cores) // per_chip
    assert not np.array_equal(deal(some, cores, 5, per_chip, library=False, seed=0), order)
    monkeypatch.setattr(partition, "_REFINED", 5 * cores - 1)
    assert np.array_equal(deal(some, cores, 5, per_chip, library=False, seed=0), order)


def test_messages_that_stay_near_win_over_those_that_do_not() -> None:
    """Rates decide: the layer that spikes gets the short way."""
    program = mlp(4, 40, 40, 40, 4)
    target = small_cores(8)
    memory = Memory(program, target)
    for loud in ("l1", "l2", "l3"):
        rates = {
            g.name: np.full(g.shape, 100.0 if g.name == loud else 0.01) for g in program.groups
        }
        uniform, told = (place_program(program, target, rates=r) for r in (None, rates))
        ways = [
            cost(flows(memory, p.slices, rates).between_cores(), target) for p in (uniform, told)
        ]
        assert ways[1] <= ways[0]
        assert len(told.cores) == len(uniform.cores)


def test_layer_order_is_never_better() -> None:
    program = cnn(2, 16, 32, 64, extent=32)
    memory = Memory(program, LOIHI2)
    low, normal = (place_program(program, LOIHI2, effort=e) for e in ("low", "normal"))
    ways = [cost(flows(memory, p.slices).between_cores(), LOIHI2) for p in (low, normal)]
    assert ways[1] < 0.8 * ways[0]
    assert len(normal.cores) <= len(low.cores)
    assert place_program(program, LOIHI2) == normal


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (
            {"effort": "hihg"},
            "placement-option-unknown",
            "there is no effort 'hihg'\n  next: did you mean 'high'?",
        ),
        (
            {"share": "never"},
            "placement-option-unknown",
            "there is no way to share 'never'\n  next: known: always, if-needed",
        ),
        (
            {"rates": {"l9": 1.0}},
            "rates-group-unknown",
            "there are rates for 'l9', which is no group\n  next: known: l0, l1, l2",
        ),
        (
            {"rates": {"l1": np.ones(3)}},
            "rates-shape",
            "l1: rates have the shape (3,), the group has (8,)\n"
            "  next: give one number per neuron, or their total",
        ),
        ({"rates": {"l1": -1.0}}, "rates-invalid", "l1: rates must be finite and not negative"),
    ],
)
def test_bad_calls_are_told(options: dict[str, Any], code: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        place_program(mlp(4, 8, 3), LOIHI2, **options)
    assert (caught.value.code, str(caught.value)) == (code, text)
