"""What a Xylo holds, obeys and takes, counted by hand on a program of a few neurons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snndeploy.chip import Target, family_of, load_target
from snndeploy.chip.families.xylo import rules
from snndeploy.chip.families.xylo.clock import cycles
from snndeploy.chip.families.xylo.configuration import configuration_of
from snndeploy.chip.families.xylo.family import Xylo
from snndeploy.chip.families.xylo.tables import XyloTarget
from snndeploy.chip.family import Form
from snndeploy.errors import LoweringRefused
from snndeploy.ir.arrays import frozen
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.mapping.count.axons import slice_resources
from snndeploy.mapping.count.memory import Memory
from tests.support.builders import lif

A2, IMU = load_target("xylo-a2"), load_target("xylo-imu")


def own(target: Target) -> Xylo:
    family = family_of(target)
    assert isinstance(family, Xylo)
    return family


def limited(target: Target, **ends: int) -> Xylo:
    """The chip with other limits of its ends."""
    held = own(target).target
    changed = {n: getattr(held.ends, n).model_copy(update={"limit": v}) for n, v in ends.items()}
    return own(held.model_copy(update={"ends": held.ends.model_copy(update=changed)}))


def group(name: str, n: int, depth: int, role: str = "hidden") -> CompartmentGroup:
    kind = "input" if role == "input" else "custom"
    return CompartmentGroup(
        name=name,
        shape=(n,),
        role=role,  # type: ignore[arg-type]
        kind=kind,  # type: ignore[arg-type]
        depth=depth,
        vth=frozen(100, np.int64),
        reset="subtract",
        compare=">=",
    )


def synapses(source: str, target: str, weight: Any, **fields: Any) -> SynapseGroup:
    held = np.asarray(weight, np.int64)
    given: dict[str, Any] = {"exponent": 0, "latency": 1, **fields}
    latency = given.pop("latency")
    return SynapseGroup(
        name=f"{source}->{target}",
        target=target,
        ops=(Dense(*held.shape),),
        mantissa=frozen(held),
        sources=(SynapseSource(source, frozen(latency, np.int64)),),
        sign_mode="mixed",
        weight_bits=8,
        **given,
    )


def program(*more: SynapseGroup, without: tuple[str, ...] = ()) -> Program:
    """3 inputs -> a (2) -> b (4) -> out (2), and b hears itself; a does not feed outputs."""
    ends = (
        group("in", 3, 0, "input"),
        group("a", 2, 1),
        group("b", 4, 2),
        group("out", 2, 3, "output"),
    )
    layers = (
        synapses("in", "a", [[1, 0, 2], [0, 0, 3]]),
        synapses("a", "b", [[1, 2], [0, 3], [0, 0], [4, 0]]),
        synapses("b", "b", np.diag([5, 0, 6, 7])),
        synapses("b", "out", np.ones((2, 4))),
    )
    kept = (*(s for s in layers if s.name not in without), *more)
    return Program(arithmetic=own(A2).arithmetic, target="any", groups=ends, synapses=kept)


def test_cycles_of_two_steps() -> None:
    """In the first, two inputs, one of a and three of b spike; in the second, one of b."""
    active = {
        "in": np.array([[1, 0, 1], [0, 0, 0]]),
        "a": np.array([[0, 1], [0, 0]]),
        "b": np.array([[1, 1, 0, 1], [0, 0, 1, 0]]),
    }
    everywhere = cycles(own(A2).target, program(), active)
    # a of the second neuron reaches two of b; b reaches itself where there is a weight
    recurrent = [2 + 1 + 0 + 1, 1]
    assert {name: part.tolist() for name, part in everywhere.parts.items()} == {
        "input spikes": [3.5 * 6 * 2 + 3, 3],
        "recurrent spikes": [7 * recurrent[0] + 3 * 4, 7 * recurrent[1] + 3],
        "spikes to outputs": [(1 + 8 * 2) * 4, 17],
        "neuron updates": [22 * 6 + 12 * 2] * 2,
    }
    assert everywhere.ns == 1e6 / 50_000
    # elsewhere only those are visited that have a weight: a hears inputs, b feeds outputs
    some = cycles(limited(A2, fed_by_inputs=5).target, program(), active)
    assert some.parts["input spikes"].tolist() == [3.5 * 2 * 2 + 3, 3]
    assert some.parts["spikes to outputs"].tolist() == [17 * 3, 17]
    silent = cycles(own(A2).target, program(), {"b": active["b"]})
    assert silent.parts["input spikes"].tolist() == [3, 3]
    assert silent.parts["recurrent spikes"].tolist() == [7 * 2 + 3 * 3, 7 + 3]


def told(rule: Any, family: Xylo, held: Program) -> list[tuple[str, Any, Any]]:
    return [(b.where, b.used, b.limit) for b in rule(family, held)]


def test_inputs_are_channels() -> None:
    assert told(rules.inputs, limited(A2, inputs=3), program()) == []
    assert told(rules.inputs, limited(A2, inputs=2), program()) == [("in", 3, 2)]
    without = replace(program(), groups=program().groups[1:], synapses=program().synapses[1:])
    assert told(rules.inputs, limited(A2, inputs=0), without) == []
    assert told(rules.inputs, limited(A2, inputs=-1), without) == [("network", 0, -1)]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (synapses("out", "a", np.ones((2, 2))), "output neurons (out) send to the host alone"),
        (
            synapses("in", "out", np.ones((2, 3))),
            "output neurons (out) hear hidden neurons alone, not the host",
        ),
    ],
)
def test_ways_that_no_synapse_goes(more: SynapseGroup, message: str) -> None:
    assert list(rules.layers(own(A2), program())) == []
    (breach,) = rules.layers(own(A2), program(more))
    assert (breach.where, breach.message) == (more.name, message)


@pytest.mark.parametrize(("latency", "late"), [(1, 0), (2, 1), (4, 3)])
def test_spikes_that_would_wait(latency: int, late: int) -> None:
    """The longest of a projection's sources, and of each the longest of its neurons, counts."""
    now, then = (
        SynapseSource("b", frozen(np.array(x), np.int64))
        for x in ([1, 1, 1, 1], [1, 1, latency, 1])
    )
    loop = replace(synapses("b", "b", np.eye(4)), name="again", sources=(now, then))
    breaches = list(rules.delays(own(A2), program(loop)))
    if not late:
        assert breaches == []
        return
    (breach,) = breaches
    assert (breach.where, breach.used, breach.limit) == ("again", latency, 1)
    steps = f"{late} step{'s' * (late > 1)}"
    assert breach.message.startswith(f"its spikes arrive {steps} later than the chip's")


@pytest.mark.parametrize(("most", "told_of"), [(1, True), (2, False)])
def test_a_chip_that_holds_spikes_back(most: int, told_of: bool) -> None:
    held = own(A2).target
    limit = held.synapse.delay_max.model_copy(update={"limit": most})
    synapse = held.synapse.model_copy(update={"delay_max": limit})
    chip = own(held.model_copy(update={"synapse": synapse}))
    loop = replace(synapses("b", "b", np.eye(4), latency=3), name="again")
    expected = [("again", 3, 1 + most)] if told_of else []
    assert told(rules.delays, chip, program(loop)) == expected


def test_a_block_has_one_shift() -> None:
    assert list(rules.shifts(own(A2), program())) == []
    other = synapses("b", "a", np.ones((2, 4)), exponent=2)
    (breach,) = rules.shifts(own(A2), program(other))
    assert breach.where == "a->b + b->b + b->a"
    assert breach.message == (
        "weights of hidden neurons have several shifts (a->b: 0, b->b: 0, b->a: 2)"
    )


@pytest.mark.parametrize(("limit", "over"), [(2, []), (1, [("a", 2, 1)]), (0, ["a", "b"])])
def test_a_neuron_reaches_few_others(limit: int, over: list[Any]) -> None:
    """a's second reaches two of b, b's three reach themselves; outputs do not count."""
    held = own(A2).target
    most = held.synapse.fan_out_max.model_copy(update={"limit": limit})
    synapse = held.synapse.model_copy(update={"fan_out_max": most})
    found = told(rules.fan_out, own(held.model_copy(update={"synapse": synapse})), program())
    assert (found if limit else [name for name, _, _ in found]) == over


def test_large_groups_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many synapses are never near the limit of a neuron's."""
    monkeypatch.setattr(rules, "_TOO_LARGE", 16)  # of b to itself, and no less
    (b,) = (g for g in program().groups if g.name == "b")
    assert [x.tolist() for x in rules.fan_outs(program(), b)] == [[1, 0, 1, 1]]
    monkeypatch.setattr(rules, "_TOO_LARGE", 15)
    assert [x.tolist() for x in rules.fan_outs(program(), b)] == [[0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("fed", "feeding", "over"),
    [
        (2, 4, []),
        (1, 4, [("a", 2, 1)]),
        (2, 3, [("b", 4, 3)]),
        (1000, 1, []),  # where all may hear inputs, all may feed outputs
        (999, 1, [("b", 4, 1)]),
    ],
)
def test_the_first_hear_the_host_and_the_last_are_read(
    fed: int, feeding: int, over: list[Any]
) -> None:
    family = limited(A2, fed_by_inputs=fed, feeding_outputs=feeding)
    assert told(rules.ends, family, program()) == over


def test_ends_reach_to_the_last_that_hears_and_from_the_first_that_feeds() -> None:
    family = limited(A2, fed_by_inputs=0, feeding_outputs=0)
    both = program(synapses("in", "b", np.ones((4, 3))), synapses("a", "out", np.ones((2, 2))))
    assert told(rules.ends, family, both) == [("a + b", 6, 0), ("a + b", 6, 0)]
    none = program(without=("in->a", "b->out"))
    assert told(rules.ends, family, none) == []


def test_what_a_group_takes() -> None:
    memory = Memory(program(), A2)
    a, b, out = (slice_resources(memory, n, ((0, k),)) for n, k in (("a", 2), ("b", 4), ("out", 2)))
    names = ("hidden_neurons", "output_neurons", "recurrent_entries", "heard")
    assert [a[n] for n in names] == [2, 0, 0, 2]
    assert [b[n] for n in names] == [4, 0, 4 + 3, 2 + 3]
    assert [out[n] for n in names] == [0, 2, 0, 4]
    (stored,) = own(A2).encodings(*fan_of(memory, "a->b", 4))
    assert (stored.encoding, stored.words, stored.longest, stored.axons) == ("list", 4, 2, 2)
    assert (stored.slots, stored.synapses, stored.nonzero, stored.skips_zeros) == (1, 4, 4, True)
    fan, into, n = fan_of(memory, "a->b", 4)
    assert own(A2).cheapest(fan, into, n) == stored
    assert own(A2).store(fan, into, n, memory.program.group("b"), 1) == stored
    assert list(own(A2).contents("b", b, {})) == [("recurrent connections into b", 7)]
    assert list(own(A2).contents("a", a, {})) == []


def fan_of(memory: Memory, name: str, n: int) -> tuple[Any, Any, int]:
    fan = memory.fans[name]
    return fan, fan.into(((0, n),)), n


def test_two_sources_of_a_projection_are_two_lists() -> None:
    (s,) = (s for s in program().synapses if s.name == "a->b")
    again = SynapseSource("a", frozen(1, np.int64))
    twice = replace(s, name="both", sources=(*s.sources, again))
    memory = Memory(program(twice, without=("a->b",)), A2)
    (stored,) = own(A2).encodings(*fan_of(memory, "both", 4))
    assert (stored.words, stored.longest, stored.axons) == (8, 2, 4)


def test_a_slice_that_hears_nothing_has_no_list() -> None:
    nothing = program(synapses("a", "b", np.zeros((4, 2))), without=("a->b",))
    (stored,) = own(A2).encodings(*fan_of(Memory(nothing, A2), "a->b", 4))
    assert (stored.words, stored.longest, stored.axons) == (0, 0, 0)


NEURON: dict[str, Any] = {"reset": "subtract", "compare": ">="}


@pytest.mark.parametrize(
    ("fields", "native"),
    [
        ({}, True),
        ({"reset": "zero"}, False),
        ({"reset_timing": "next-step"}, False),
        ({"compare": ">"}, False),
        ({"v_floor": 0.0}, False),
    ],
)
def test_the_one_neuron(fields: dict[str, Any], native: bool) -> None:
    neuron = lif("n", (2,), **{**NEURON, **fields}).neuron
    assert neuron is not None
    assert isinstance(own(A2).form(neuron), Form) == native


def test_what_it_computes_in() -> None:
    arithmetic, weights = own(A2).arithmetic, own(A2).weights
    assert (arithmetic.state_bits, arithmetic.sum_bits, arithmetic.decay_bits) == (16, 32, 15)
    assert (weights.low, weights.high, weights.mixed_step) == (-128, 127, 1)
    assert own(A2).judge == "xylosim"
    held = own(A2).target
    bits = held.numeric.state_bits.model_copy(update={"limit": 17})
    numeric = held.numeric.model_copy(update={"state_bits": bits})
    assert own(held.model_copy(update={"numeric": numeric})).judge is None
    assert isinstance(held, XyloTarget)


def test_a_configuration_is_the_weights_in_their_memories() -> None:
    found = configuration_of(program(synapses("b", "a", np.zeros((2, 4)))), 32767)
    assert (found.channels, found.neurons) == (3, 6)
    rows = list(zip(found.hidden.source, found.hidden.target, found.hidden.weight, strict=True))
    assert [tuple(map(int, row)) for row in rows] == [
        *((0, 2, 1), (0, 5, 4), (1, 2, 2), (1, 3, 3)),
        *((2, 2, 5), (4, 4, 6), (5, 5, 7)),
    ]
    assert found.inputs.shift == 0
    empty = program(without=("a->b", "b->b"))
    none = configuration_of(empty, 32767).hidden
    assert (none.source.size, none.shift) == (0, 0)


@pytest.mark.parametrize(
    "more", [synapses("out", "a", np.ones((2, 2))), synapses("in", "out", np.ones((2, 3)))]
)
def test_no_memory_holds_other_ways(more: SynapseGroup) -> None:
    with pytest.raises(LoweringRefused, match="no memory holds synapses") as caught:
        configuration_of(program(more), 32767)
    assert caught.value.code == "xylo-configuration"
