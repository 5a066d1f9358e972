"""The time of a step: closed forms on programs small enough to count by hand, and who sets the speed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snndeploy.chip import Target, load_target
from snndeploy.ir.arrays import frozen
from snndeploy.ir.linear.unroll import unroll
from snndeploy.ir.placement import Placement, Slice
from snndeploy.mapping import place_program, step_time, traffic
from snndeploy.mapping.count.memory import Memory
from snndeploy.mapping.route.flows import HOST, Flows
from snndeploy.mapping.route.mesh import spot
from snndeploy.mapping.route.traffic import busiest_link, messages
from snndeploy.mapping.tell.effects import effects, operations
from snndeploy.mapping.tell.step_time import ASSUMED_ACTIVITY, StepMeter, StepTime, TimeTerm
from tests.support.mapping_programs import mlp
from tests.support.random_programs import random_program, small_chip

LOIHI1, LOIHI2, TINY = (load_target(n) for n in ("loihi1", "loihi2", "tiny"))


def by_what(time: StepTime | None) -> dict[str, TimeTerm]:
    assert time is not None
    return {t.what: t for t in time.terms}


def test_a_chain_counted_by_hand() -> None:
    """10 -> 20 -> 5 on two cores of Loihi, where 4 inputs and 2 hidden neurons spike in a step."""
    program = mlp(10, 20, 5)
    box = [(("l1", ((0, 20),), 0)), ("l2", ((0, 5),), 5)]
    slices = tuple(
        Slice(group=g, bounds=b, core=c, resources={"compartments": n})
        for (g, b, c), n in zip(box, (20, 8), strict=True)
    )
    placement = Placement(target="loihi1", cores_per_chip=128, slices=slices)
    time = step_time(program, placement, LOIHI1, {"l0": 4.0, "l1": 2.0})
    terms = by_what(time)
    synops = terms["synaptic operations"]
    assert (synops.where, synops.layers, synops.count) == ("core 0", ("l1",), pytest.approx(80))
    assert synops.low == synops.high == pytest.approx(80 * 3.5)
    updates = terms["neuron updates"]
    assert (updates.low, updates.high) == (pytest.approx(20 * 5.3), pytest.approx(20 * 8.4))
    assert terms["messages sent"].count == pytest.approx(2)
    link = terms["messages over a link"]
    assert (link.where, link.count) == ("chip 0, router (0, 0) east", pytest.approx(2))
    assert time is not None
    assert time.low == pytest.approx(280)
    assert time.high == pytest.approx(80 * 3.5 + 20 * 8.4 + 2 * 2.1 + 2 * 0.29 + 465)
    assert (time.activity, time.certainty) == ("given", "inferred")
    assert [t.low for t in time.terms] == sorted((t.low for t in time.terms), reverse=True)


def test_without_spikes_the_barrier_sets_the_speed() -> None:
    program = mlp(10, 4)
    time = step_time(program, place_program(program, LOIHI1), LOIHI1, {})
    assert time is not None
    assert (time.terms[0].what, time.low) == ("the barrier between steps", 113.0)


def test_several_chips_wait_for_each_other() -> None:
    one = LOIHI1.model_copy(
        update={
            "chip": LOIHI1.chip.model_copy(
                update={"cores": LOIHI1.chip.cores.model_copy(update={"limit": 1})}
            )
        }
    )
    program = mlp(4, 4, 4)
    placement = place_program(program, one, 2)
    assert placement.chips == 2
    time = step_time(program, placement, one, {})
    assert time is not None
    assert time.high > 16_200 > time.low


def test_a_target_that_says_nothing_about_time() -> None:
    program = mlp(4, 4)
    mute = TINY.model_copy(update={"time": None})
    assert step_time(program, place_program(program, mute), mute) is None


def test_the_assumed_activity_is_told() -> None:
    program = mlp(100, 10)
    placement = place_program(program, LOIHI2)
    assumed = step_time(program, placement, LOIHI2)
    given = step_time(program, placement, LOIHI2, {"l0": 100 * ASSUMED_ACTIVITY, "l1": 1.0})
    assert assumed is not None
    assert given is not None
    assert (assumed.low, assumed.high) == (given.low, given.high)
    assert assumed.activity == "assumed: 10% of all neurons spike in a step"


@pytest.mark.parametrize("seed", range(12))
def test_flows_and_operations_are_what_listing_every_synapse_gives(seed: int) -> None:
    """One message per spike and core that has a synapse for it; one operation per such synapse."""
    program, target = random_program(seed), small_chip(LOIHI2, seed)
    placement = place_program(program, target, effort="low")
    rng = np.random.default_rng(seed)
    spikes = {g.name: rng.integers(0, 4, g.shape).astype(float) for g in program.groups}
    memory = Memory(program, target)
    found = messages(memory, placement, spikes)
    got = {
        (a, b): n
        for a, b, n in zip(
            found.source.tolist(), found.target.tolist(), found.weight.tolist(), strict=True
        )
    }
    want: dict[tuple[int, int], float] = {}
    for g in program.groups:
        home = np.full(g.shape, HOST).reshape(-1)
        for part in placement.of_group(g.name):
            home[part.members(g.shape)] = part.core
        hears: dict[int, np.ndarray] = {}
        for s in program.outgoing(g.name):
            for part in placement.of_group(s.target):
                # A dense list has an axon for weights that are zero too.
                stored = memory.stored(s.name, part.bounds)
                weight = s.mantissa != 0 if stored.encoding == "sparse" else s.mantissa * 0 + 1
                matrix = unroll(s.ops, weight.astype(np.int64), g.shape).dense()
                rows = part.members(program.group(s.target).shape)
                reached = (matrix[rows] != 0).any(0)
                hears[part.core] = hears.get(part.core, np.zeros_like(reached)) | reached
        for core, reached in hears.items():
            for i in np.flatnonzero(reached):
                n = float(spikes[g.name].reshape(-1)[i])
                if n:
                    pair = (int(home[i]), core)
                    want[pair] = want.get(pair, 0.0) + n
    assert got == pytest.approx(want)
    by_listing: dict[str, float] = {}
    for s in program.synapses:
        rate = np.sum([spikes[o.group] for o in s.sources], axis=0).reshape(-1)
        matrix = unroll(s.ops, s.mantissa, program.source_shape(s)).dense()
        by_listing[s.name] = float(((matrix != 0).sum(0) * rate).sum())
        (least, most) = effects(program, placement, target).synops[s.name]
        assert float(least @ rate) == pytest.approx(by_listing[s.name])
        assert np.array_equal(least, most)  # Loihi 2 counts no zeros, whatever stores them
    counted = dict.fromkeys(by_listing, 0.0)
    for part in operations(memory, placement):
        s = next(s for s in program.synapses if s.name == part.synapses)
        rate = np.sum([spikes[o.group] for o in s.sources], axis=0)
        box = tuple(slice(*b) for b in part.region)
        counted[s.name] += float((rate[box] * part.least).sum())
    assert counted == pytest.approx(by_listing)


def test_the_busiest_link_is_the_one_of_a_walk_along_every_route() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        n = 30
        sent = Flows(rng.integers(-1, 256, n), rng.integers(0, 256, n), rng.random(n).round(3))
        loads: dict[tuple[int, int, int, str], float] = {}
        for a, b, amount in zip(sent.source, sent.target, sent.weight, strict=True):
            if a < 0 or a // 128 != b // 128:
                continue
            start, end = spot(int(a), LOIHI1), spot(int(b), LOIHI1)
            x, y = start.x, start.y
            while (x, y) != (end.x, end.y):
                if x != end.x:
                    step, name = (1, "east") if end.x > x else (-1, "west")
                    moved = (x + step, y)
                else:
                    step, name = (1, "south") if end.y > y else (-1, "north")
                    moved = (x, y + step)
                key = (start.chip, x, y, name)
                loads[key] = loads.get(key, 0.0) + float(amount)
                x, y = moved
        link = busiest_link(sent, LOIHI1)
        assert link is not None
        most = max(loads.values())
        assert link.messages == pytest.approx(most)
        assert loads[link.chip, link.x, link.y, link.towards] == pytest.approx(most)


def test_nothing_crosses_a_link_on_one_core() -> None:
    program = mlp(4, 4)
    placement = place_program(program, LOIHI2)
    assert busiest_link(messages(Memory(program, LOIHI2), placement, {"l0": 4.0}), LOIHI2) is None
    assert traffic(program, placement, LOIHI2, {"l0": 4.0}).messages == pytest.approx(4)


def test_slower_constants_never_make_a_faster_step() -> None:
    program = mlp(60, 40, 10)
    placement = place_program(program, LOIHI2)
    base = step_time(program, placement, LOIHI2)
    assert LOIHI2.time is not None
    slow = LOIHI2.time.synaptic_op.model_copy(update={"ns": 5.0, "high": 9.0})
    model = LOIHI2.time.model_copy(update={"synaptic_op": slow})
    slower = step_time(program, placement, LOIHI2.model_copy(update={"time": model}))
    assert base is not None
    assert slower is not None
    assert (slower.low, slower.high) > (base.low, base.high)


def test_every_step_waits_for_its_own_busiest_core() -> None:
    """Two cores take turns: the mean of the maxima is 2 operations more than the maximum of means."""
    program = mlp(2, 8)
    weight = np.zeros((8, 2), np.int64)
    weight[:4, 0], weight[4:, 1] = 2, 4
    (s,) = program.synapses
    program = replace(program, synapses=(replace(s, mantissa=frozen(weight)),))
    slices = tuple(
        Slice(group="l1", bounds=((4 * c, 4 * c + 4),), core=c, resources={}) for c in (0, 1)
    )
    placement = Placement(target="loihi2", cores_per_chip=128, slices=slices)
    meter = StepMeter(program, placement, LOIHI2)
    turns = np.array([[[1, 0]], [[0, 1]]])  # two steps of one sample
    meter.add({"l0": turns, "l1": np.zeros((2, 1, 8))})
    in_turn = by_what(meter.result())["synaptic operations"]
    mean = by_what(step_time(program, placement, LOIHI2, {"l0": 1.0}))["synaptic operations"]
    assert (in_turn.count, mean.count) == (4, 2)
    assert in_turn.low == pytest.approx(4 * 1.02)


def test_batches_of_steps_add_up() -> None:
    program = mlp(30, 20, 5)
    placement = place_program(program, LOIHI1)
    rng = np.random.default_rng(0)
    spikes = {g.name: rng.random((6, 4, *g.shape)) < 0.3 for g in program.groups}
    spikes["l1"][-1], spikes["l2"][-2:] = 0, 0  # nothing flows from one sample into the next
    whole, parts = (StepMeter(program, placement, LOIHI1) for _ in range(2))
    whole.add(spikes)
    for first in (0, 1):
        parts.add({name: s[:, first::2] for name, s in spikes.items()})
    a, b = whole.result(), parts.result()
    assert a is not None
    assert b is not None
    assert (a.low, a.high) == pytest.approx((b.low, b.high))


@pytest.mark.parametrize(
    ("target", "low", "high"), [(LOIHI1, 9, 12), (LOIHI2, 9, 9), (TINY, 9, 12)]
)
def test_zeros_of_dense_lists(target: Target, low: int, high: int) -> None:
    """4 x 3 weights of which 3 are zero, stored densely: operations where all three inputs spike."""
    weight = np.full((4, 3), 2)
    weight[0, 0] = weight[1, 1] = weight[2, 2] = 0
    program = mlp(3, 4)
    (s,) = program.synapses
    program = replace(program, synapses=(replace(s, mantissa=frozen(weight)),))
    placement = place_program(program, target)
    memory = Memory(program, target)
    assert memory.stored(s.name, ((0, 4),)).encoding == "dense"
    assert effects(program, placement, target).synops[s.name].sum(axis=1).tolist() == [low, high]
    term = by_what(step_time(program, placement, target, {"l0": 3.0}))["synaptic operations"]
    assert (term.count, term.count_high) == (low, high)
