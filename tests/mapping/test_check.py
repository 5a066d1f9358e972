"""The check: every rule has a program that breaks it; all violations at once; fixes were tried."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from snndeploy.chip import Target, family_class, load_target
from snndeploy.ir.arrays import frozen
from snndeploy.ir.finding import Finding
from snndeploy.ir.ops import Dense, Pointwise, chain_shapes
from snndeploy.ir.program import Headroom, Program, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.mapping import check_program, fits, place_program, summarise, traffic
from snndeploy.mapping.fix.shrink import fewer_channels
from snndeploy.mapping.fix.suggest import carry_out
from snndeploy.mapping.rules.rules import PROGRAM_RULES, all_core_rules, rules_of
from snndeploy.mapping.tell.summary import verdict_certainty
from tests.support.mapping_programs import (
    cnn,
    conv,
    group,
    mlp,
    synapses,
    with_group,
    with_synapses,
)

ROOT = Path(__file__).parents[2]
LOIHI1, LOIHI2, TINY = (load_target(n) for n in ("loihi1", "loihi2", "tiny"))
XYLO, XYLO3 = (load_target(n) for n in ("xylo-a2", "xylo-a3"))


def found(program: Program, target: Target, chips: int | None = None) -> tuple[Finding, ...]:
    placement = place_program(program, target, chips)
    return check_program(program, placement, target, chips, fixes_for=0)


def limited(target: Target, **limits: int) -> Target:
    core = {n: target.core[n].model_copy(update={"limit": v}) for n, v in limits.items()}
    return target.model_copy(update={"core": {**target.core, **core}})


BASE = mlp(6, 8, 4, bits=4)
SUBTRACT = with_group(BASE, "l1", kind="custom", reset="subtract")

BREAKS: dict[str, tuple[Program, Target]] = {
    "arithmetic": (replace(BASE, arithmetic=replace(BASE.arithmetic, state_bits=16)), LOIHI2),
    "subtract-reset": (SUBTRACT, TINY),
    "many-spikes": (with_group(SUBTRACT, "l1", spikes_per_step="many"), LOIHI1),
    "v-floor": (with_group(SUBTRACT, "l1", v_floor=frozen(0)), LOIHI1),
    "neuron-program": (with_group(BASE, "l1", kind="custom", compare=">="), LOIHI1),
    "graded-spikes": (with_group(BASE, "l0", message_bits=8), LOIHI1),
    "weight-bits": (with_synapses(BASE, "l0->l1", weight_bits=9), LOIHI2),
    "mantissa": (with_synapses(BASE, "l0->l1", mantissa=frozen(np.full((8, 6), 300))), LOIHI2),
    "weight-exponent": (with_synapses(BASE, "l0->l1", exponent=-9), LOIHI2),
    "delay": (
        with_synapses(BASE, "l0->l1", sources=(SynapseSource("l0", frozen(70, np.int64)),)),
        LOIHI2,
    ),
    "decay": (with_group(BASE, "l1", dv=frozen(4096, np.int64)), LOIHI2),
    "threshold": (with_group(BASE, "l1", vth=frozen(131072, np.int64)), LOIHI2),
    "bias": (with_group(BASE, "l1", bias_mant=frozen(-4096, np.int64)), LOIHI2),
    "bias-exponent": (with_group(BASE, "l1", bias_exp=8), LOIHI2),
    "headroom": (
        replace(
            BASE,
            headroom={"l1": Headroom(u_peak=2**23, v_peak=0, limit=2**23 - 1, clip_steps=None)},
        ),
        LOIHI2,
    ),
    "core-neurons": (BASE, limited(LOIHI2, neurons=0)),
    "core-compartments": (BASE, limited(LOIHI1, compartments=0)),
    "core-groups": (BASE, limited(LOIHI2, groups=0)),
    "synapse-memory": (BASE, limited(LOIHI2, synapse_words=1)),
    "axon-words": (BASE, limited(LOIHI1, axon_words=0)),
    "input-axons": (BASE, limited(LOIHI1, in_axons=3)),
    "output-axons": (BASE, limited(LOIHI1, out_axons=0)),
    "axon-map": (BASE, limited(LOIHI2, axon_map=0)),
    "axon-memory": (cnn(1, 2, 4, extent=4), limited(LOIHI2, axon_mem=0, neurons=4)),
    "core-memory": (BASE, limited(LOIHI2, pool_words=5)),
    "profiles": (BASE, limited(LOIHI1, threshold_profiles=0)),
    "delay-memory": (BASE, limited(LOIHI1, delay_slots=8)),
    "board": (mlp(8, 200, bits=4), TINY),
    "xylo-inputs": (mlp(17, 8, 4), XYLO),
    "xylo-layers": (mlp(6, 4), XYLO),
    "xylo-latency": (
        with_synapses(BASE, "l0->l1", sources=(SynapseSource("l0", frozen(2, np.int64)),)),
        XYLO,
    ),
    "xylo-shift": (with_synapses(mlp(6, 8, 8, 8, 4), "l1->l2", exponent=3), XYLO),
    "xylo-fan-out": (mlp(6, 8, 65, 4), XYLO),
    "xylo-ends": (mlp(6, 129, 4), XYLO3),
    "xylo-neurons": (BASE, limited(XYLO, hidden_neurons=7)),
    "xylo-recurrent": (mlp(6, 8, 8, 4), limited(XYLO, recurrent_entries=1)),
}


def test_every_rule_has_a_program_that_breaks_it() -> None:
    assert BREAKS.keys() == {rule.code for rule in (*PROGRAM_RULES, *all_core_rules())}


@pytest.mark.parametrize("code", BREAKS)
def test_rules(code: str) -> None:
    program, target = BREAKS[code]
    findings = [f for f in found(program, target) if f.code == code]
    assert findings
    rule = next(r for r in rules_of(family_class(target.family)) if r.code == code)
    for f in findings:
        assert f.rule == rule.sentence
        assert f.rule.endswith(".")
        assert f.severity == ("warning" if code == "headroom" else "error")
        assert f.where
        assert f.source
        assert f.certainty
        assert f.used is None or f.ratio > 1


@pytest.mark.parametrize("target", [LOIHI1, LOIHI2], ids=lambda t: t.name)
def test_a_program_that_fits_has_no_findings(target: Target) -> None:
    assert found(mlp(784, 128, 64, 10), target) == ()
    assert found(cnn(2, 16, 32, extent=16), target) == ()


def test_programs_of_their_own_are_fine_where_the_chip_has_them() -> None:
    custom = with_group(SUBTRACT, "l1", spikes_per_step="many", v_floor=frozen(0))
    assert found(custom, LOIHI2) == ()
    assert found(SUBTRACT, LOIHI1) == ()


def test_wide_graded_spikes_are_told_with_their_width() -> None:
    (finding,) = found(with_group(BASE, "l0", message_bits=30), LOIHI2)
    assert (finding.used, finding.limit, finding.unit) == (30, 24, "bits")


OVERFLOW = """\
subtract-reset l1: its reset subtracts the threshold, which tiny cannot do
many-spikes l1: it spikes several times per step, which tiny cannot do
graded-spikes l0: its spikes carry values of 16 bits, which tiny cannot do
threshold l1: threshold: 131,072 where 1,023 is the limit (x 2^6)
board network: 20 of 4 cores on 1 chip (proved: within all limits it takes at least 54)
weight-exponent l0->l1: exponent: 7 where 2 is the limit
delay l0->l1: delay: 8 where 3 is the limit (steps)
weight-bits l0->l1: weight bits: 8 where 4 is the limit (bits)
weight-bits l1->l2: weight bits: 8 where 4 is the limit (bits)
input-axons l1: axon in: 100 of 64 words on each of 17 cores
core-memory l1: pool words: 205 of 200 words on each of 17 cores
"""


def overflowing() -> Program:
    program = with_group(
        mlp(100, 33, 20),
        "l1",
        kind="custom",
        reset="subtract",
        spikes_per_step="many",
        vth=frozen(131072, np.int64),
    )
    program = with_group(program, "l0", message_bits=16)
    return with_synapses(
        program, "l0->l1", exponent=7, sources=(SynapseSource("l0", frozen(9, np.int64)),)
    )


def test_headroom_is_told_once() -> None:
    program, target = BREAKS["headroom"]
    told = Finding(code="headroom-unproved", severity="warning", where="l1", message="m")
    assert found(replace(program, findings=(told,)), target) == ()


def test_all_violations_at_once_worst_first() -> None:
    findings = found(overflowing(), TINY)
    text = "".join(f"{f.code} {f.where}: {f.message}\n" for f in findings)
    assert text == OVERFLOW
    numbered = [f.ratio for f in findings if f.used is not None]
    assert numbered == sorted(numbered, reverse=True)
    assert not fits(findings)


def suggested(program: Program, target: Target, code: str) -> dict[str, tuple[str, str]]:
    findings = check_program(program, place_program(program, target), target)
    finding = next(f for f in findings if f.code == code)
    return {fix.action: (fix.text, fix.effect) for fix in finding.fixes}


def test_fixes_for_a_layer_that_is_too_large() -> None:
    fixes = suggested(mlp(50, 40, 40, 4, bits=4), TINY, "board")
    assert fixes == {
        "prune": ("prune 80% of the weights of all layers", "this rule then holds"),
        "remove-kernels": ("remove 32 of 40 neurons of l1", "this rule then holds"),
        "target": ("compile for loihi2 (oheo-gulch)", "this rule holds there"),
    }


def test_a_bigger_board_is_suggested_when_it_is_enough() -> None:
    fixes = suggested(mlp(8, 32 * 6, bits=4), TINY, "board")
    assert fixes["board"] == ("use the board two (2 chips)", "6 of 8 cores")


def test_fixes_hold_when_carried_out() -> None:
    program = cnn(2, 32, 8, extent=8, bits=8)
    target = limited(LOIHI1, in_axons=100)
    finding = next(
        f
        for f in check_program(program, place_program(program, target), target)
        if f.code == "input-axons"
    )
    remove = next(f for f in finding.fixes if f.action == "remove-kernels")
    options = dict(remove.options)
    smaller = fewer_channels(program, str(options["layers"]), int(options["count"]))
    assert smaller is not None
    assert not [f for f in found(smaller.verify(), target) if f.code == "input-axons"]
    less = fewer_channels(program, str(options["layers"]), int(options["count"]) - 1)
    assert less is not None
    assert [f for f in found(less, target) if f.code == "input-axons"]


def test_features_and_widths_get_fixes_that_were_tried() -> None:
    assert suggested(SUBTRACT, TINY, "subtract-reset")["target"][1] == "this rule holds there"
    assert suggested(mlp(6, 4), TINY, "weight-bits")["quantize"] == (
        "quantize all layers to 4 bits",
        "this rule then holds",
    )


def test_removing_channels_keeps_a_program_well_formed() -> None:
    program = with_group(cnn(2, 6, 8, extent=8), "c1", vth=frozen(np.arange(6).reshape(6, 1, 1)))
    smaller = fewer_channels(program, "c1", 2)
    assert smaller is not None
    smaller.verify()
    assert smaller.group("c1").shape == (4, 8, 8)
    assert smaller.group("c1").vth.shape == (4, 1, 1)
    shapes = {g.name: g.shape for g in smaller.groups}
    for s in smaller.synapses:
        assert chain_shapes(s.ops, smaller.source_shape(s))[-1] == shapes[s.target]
    flat = fewer_channels(program, "c2", 3)
    assert flat is not None
    assert flat.verify().synapses[-1].mantissa.shape == (10, 5 * 2 * 2)


def test_neurons_of_a_loop_go_from_both_its_sides() -> None:
    around = np.arange(64).reshape(8, 8) + 1
    loop = replace(synapses("l1", "l1", Dense(8, 8)), mantissa=frozen(around, np.int64))
    smaller = fewer_channels(replace(BASE, synapses=(*BASE.synapses, loop)), "l1", 3)
    assert smaller is not None
    smaller.verify()
    last = smaller.synapses[-1]
    assert last.ops == (Dense(5, 5),)
    np.testing.assert_array_equal(last.mantissa, around[:5, :5])
    assert [s.mantissa.shape for s in smaller.synapses[:-1]] == [(5, 6), (4, 5)]


def test_a_sparse_layer_is_pruned_further_than_dense_ones_beside_it() -> None:
    """Five percent of all weights of a layer that has two would leave it as it is."""
    rng = np.random.default_rng(0)
    loop = synapses("l1", "l1", Dense(100, 100))
    few = np.where(rng.random((100, 100)) < 0.02, 5, 0)
    few[0, :2] = 7, 9
    loop = replace(loop, mantissa=frozen(few, np.int64))
    base = mlp(6, 100, 4)
    program = replace(base, synapses=(*base.synapses, loop))
    left = int(np.count_nonzero(few))
    target = limited(XYLO, recurrent_entries=left - 10)
    placement = place_program(program, target)
    (finding,) = (
        f for f in check_program(program, placement, target) if f.code == "xylo-recurrent"
    )
    assert (finding.used, finding.limit) == (left, left - 10)
    fix = next(f for f in finding.fixes if f.action == "prune")
    assert dict(fix.options)["layers"] == loop.name
    assert fix.text == f"prune all but {0.9 * left / 1e4:.1%} of the weights of {loop.name}"
    smaller = carry_out(program, fix)
    assert np.count_nonzero(smaller.synapses[-1].mantissa) == round(0.9 * left)
    assert not [f for f in found(smaller, target) if f.code == "xylo-recurrent"]


def test_channels_that_others_depend_on_stay() -> None:
    assert fewer_channels(BASE, "l2", 1) is None
    assert fewer_channels(BASE, "l1", 8) is None
    one_to_one = synapses("l1", "l1", Pointwise((8,), (8,)))
    loop = replace(BASE, synapses=(*BASE.synapses, one_to_one))
    assert fewer_channels(loop, "l1", 1) is None
    grouped = Program(
        arithmetic=LOIHI,
        target="any",
        groups=(group("a", (4, 4, 4), 0), group("b", (4, 4, 4), 1)),
        synapses=(synapses("a", "b", conv(4, 4, groups=2)),),
    )
    assert fewer_channels(grouped, "b", 1) is None


def test_summary() -> None:
    program = mlp(784, 128, 64, 10, density=0.5)
    placement = place_program(program, LOIHI2)
    summary = summarise(program, placement, LOIHI2)
    first = summary.layers[0]
    nonzero = int(np.count_nonzero(program.synapses[0].mantissa))
    assert (first.name, first.neurons, first.encodings) == ("l1", 128, ("sparse",))
    assert (first.entries_stored, first.entries_nonzero) == (nonzero, nonzero)
    assert first.used["neurons"] == 128
    assert first.fullest == max(summary.core_share[c] for c in range(first.cores))
    assert (summary.cores, summary.cores_available) == (len(placement.cores), 128)
    assert summary.certainty == "fit"


def test_the_verdict_is_as_sure_as_what_it_rests_on() -> None:
    error = Finding(code="x", severity="error", where="l", message="m", certainty="spec")
    unsure = replace(error, certainty="fit")
    assert verdict_certainty(LOIHI2, ()) == "fit"
    assert verdict_certainty(LOIHI2, (unsure, error)) == "spec"


def test_messages_go_to_every_core_that_needs_them() -> None:
    program = mlp(784, 128, 64, 10)
    placement = place_program(program, LOIHI2, effort="low")  # in layer order
    spikes = {"l0": 100.0, "l1": np.full(128, 2.0), "l2": 64.0}
    estimate = traffic(program, placement, LOIHI2, spikes)
    assert estimate.from_host == pytest.approx(300)  # three cores hold the first layer
    assert estimate.messages == pytest.approx(300 + 256 + 64)
    assert estimate.hops_x == pytest.approx(64.0)  # core 3 to core 4: the next router
    assert (estimate.hops_y, estimate.off_chip) == (0, 0)
    assert estimate.busiest == pytest.approx(256)
