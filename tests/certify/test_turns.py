"""The checker on chips that take spikes in turn: its engine, its bounds, and what it finds wrong."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy.certify import certify
from snndeploy.certify.bounds import bounds
from snndeploy.certify.files import Contradiction, plain
from snndeploy.certify.turns import check_xylo, run_in_turn
from snndeploy.chip import family_of, load_target
from snndeploy.ir.arrays import frozen
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.lower import InputCoding, lower
from snndeploy.mapping import place_program
from snndeploy.pipeline import bundle_of, compile
from snndeploy.simulate.integer.engine import run_integer
from tests.support.checked import checked, checked_placement, folder_of
from tests.support.xylo_networks import hidden_layers, sent

XYLO = load_target("xylo-a2")
RULES: Any = plain(XYLO.model_dump(exclude_none=True))


def program(seed: int = 0, **options: bool) -> Program:
    return lower(hidden_layers(seed, **options), XYLO, inputs=InputCoding(kind="graded", peak=15))


@pytest.mark.parametrize("options", [{}, {"bias": True}, {"readout": True}], ids=str)
def test_it_computes_what_the_integer_engine_computes(options: dict[str, bool]) -> None:
    made = program(2, **options)
    x = sent(2)
    found, peaks = run_in_turn(checked(made), {"in": x})
    expected = run_integer(made, x, watch=True)
    for name, train in found.items():
        np.testing.assert_array_equal(train, expected.spikes[name], err_msg=name)
        use = expected.registers[name]
        assert (peaks[name][0].max(), peaks[name][1].max()) == (use.u_peak, use.v_peak)


@pytest.mark.parametrize("seed", range(4))
def test_no_run_leaves_the_bounds(seed: int) -> None:
    made = program(seed, bias=seed % 2 == 1)
    read = checked(made)
    found = bounds(read)
    x = sent(seed)
    _, peaks = run_in_turn(read, {"in": x})
    names = [g.name for g in made.on_chip]
    states = run_integer(made, x, record_states=names)
    for name in names:
        b = found[name]
        if b.safe:
            assert peaks[name][0].max() <= b.u.max()
            assert peaks[name][1].max() <= b.v.max()
            assert (np.abs(states.u[name]).max(axis=(0, 1)) <= b.u).all()
        assert (states.v[name].max(axis=(0, 1)) <= np.minimum(b.v_high, 32767)).all(), name


def alone(bits: int, weights: tuple[int, ...], **fields: Any) -> Program:
    """One neuron behind as many channels as it has weights, in registers of so many bits."""
    kind = fields.pop("kind", "custom")
    fires = {"compare": ">=", "reset": "subtract", "vth": frozen(20)} if kind == "custom" else {}
    n = len(weights)
    groups = (
        CompartmentGroup(
            name="in", shape=(n,), role="input", kind="input", depth=0, message_bits=2, max_spikes=1
        ),
        CompartmentGroup(
            name="n", shape=(1,), role="output", kind=kind, depth=1, **{**fires, **fields}
        ),
    )
    synapses = SynapseGroup(
        name="s",
        sources=(SynapseSource("in", frozen(1, np.int64)),),
        target="n",
        ops=(Dense(1, n),),
        mantissa=frozen(np.array([weights], np.int64)),
        exponent=0,
        sign_mode="mixed",
        weight_bits=8,
    )
    arithmetic = replace(family_of(XYLO).arithmetic, state_bits=bits)
    return Program(
        target="any", arithmetic=arithmetic, groups=groups, synapses=(synapses,)
    ).verify()


TRAINS = np.array(list(product((0, 1), repeat=12)), np.int64).reshape(-1, 6, 2).swapaxes(0, 1)
"""All that two channels can send in six steps."""


@pytest.mark.parametrize("kind", ["custom", "readout"])
@pytest.mark.parametrize("weights", [(7, -5), (12, 0), (0, -12), (15, -15), (-15, -15)])
@pytest.mark.parametrize(("du", "dv"), [(1, 1), (2, 1), (1, 3), (3, 0), (0, 2)])
def test_what_is_proved_is_never_lost(
    kind: str, weights: tuple[int, int], du: int, dv: int
) -> None:
    """Every train is tried: registers of 7 bits do as wide ones do, where nothing leaves them."""
    for bias in (0, 6, -6):
        shifts = {"du": frozen(du), "dv": frozen(dv), "bias_mant": frozen(bias)}
        narrow, wide = (checked(alone(bits, weights, kind=kind, **shifts)) for bits in (7, 24))
        found, real = bounds(narrow)["n"], run_in_turn(wide, {"in": TRAINS})
        u, v = real[1]["n"].max(axis=(1, 2)).tolist()
        if kind == "readout":
            assert u <= found.u.max()
        if found.safe and found.v.max() <= 63:
            assert v <= found.v.max()
            held = run_in_turn(narrow, {"in": TRAINS})
            np.testing.assert_array_equal(held[0]["n"], real[0]["n"])
            np.testing.assert_array_equal(held[1]["n"], real[1]["n"])
        elif found.safe:  # so many steps are proved all the same
            steps = 63 // int(found.drive.max())
            assert (real[1]["n"][1, :steps] <= 63).all()


def test_bounds_of_v_behind_a_u_that_has_decayed() -> None:
    """Spikes take u to 12 << 2 before it decays, of which 36 reach v, and v to 36 << 1."""
    found = bounds(checked(alone(8, (12, -4), kind="readout", du=frozen(2), dv=frozen(1))))["n"]
    assert (int(found.u.max()), int(found.v_high[0]), int(found.v_low[0])) == (48, 72, 24)
    # What a step adds: 36, and half of the 24 that v may be below zero; it ends by itself.
    assert int(found.v.max()) == 72
    assert int(found.drive.max()) == 0
    narrow = bounds(checked(alone(7, (12, -4), kind="readout", du=frozen(2), dv=frozen(1))))["n"]
    assert (int(narrow.v.max()), int(narrow.drive.max())) == (72, 36)


def test_what_a_step_adds_to_v_has_a_register_too() -> None:
    """v forgets at once, so it stays below 63; from its lowest to its highest is one step of 72."""
    fields = {"kind": "readout", "du": frozen(2), "dv": frozen(0)}
    found = bounds(checked(alone(7, (12, -12), **fields)))["n"]
    assert found.v_high.max() == found.v_low.max() == 36
    assert (int(found.v.max()), int(found.drive.max())) == (72, 36)
    free = checked(alone(7, (12, -12), **fields))
    free.arithmetic.v_step = "free"
    assert (int(bounds(free)["n"].v.max()), int(bounds(free)["n"].drive.max())) == (36, 0)


def test_the_largest_of_v_are_those_of_its_changes_too() -> None:
    """A bias takes v to its lowest; the first spikes then find more to add than v ever is."""
    program = checked(
        alone(8, (60, 0), kind="readout", du=frozen(1), dv=frozen(0), bias_mant=frozen(-50))
    )
    x = np.zeros((4, 1, 2), np.int64)
    x[2:, :, 0] = 1
    sent, peaks = run_in_turn(program, {"in": x})
    # u: 0, 0, 30, 45; what v loses: 0, 50, 50, 20; what it gains before its bias: 0, 50, 80, 65
    assert sent["n"][:, 0, 0].tolist() == [-50, -50, -20, -5]
    assert peaks["n"][:, :, 0].tolist() == [[0, 0, 60, 90], [50, 50, 80, 65]]


@pytest.mark.parametrize("options", [{}, {"bias": True}, {"readout": True}], ids=str)
def test_what_is_not_proved_has_a_witness(options: dict[str, bool], tmp_path: Path) -> None:
    coding = InputCoding(kind="graded", peak=15)
    compiled = compile(hidden_layers(1, **options), target="xylo-a2", recipe=None, inputs=coding)
    bundle = bundle_of(compiled)
    told = certify(folder_of(bundle, tmp_path / "net.snnb"))
    assert told["certified"]
    open_ones = [
        (name, register)
        for name, registers in told["bounds"].items()
        for register in "uv"
        if not registers[register]["proved"]
    ]
    assert open_ones
    for name, register in open_ones:
        seen = told["bounds"][name][register]
        assert seen["reached"] is not None
        x = {
            key.removeprefix("input."): value[: seen["step"] + 1, [seen["run"]]]
            for key, value in bundle.worst.items()
            if key.startswith("input.")
        }
        # the program's own engine, on what was kept: the register is full, or as full as it says
        use = run_integer(compiled.program, x, watch=True).registers[name]
        assert getattr(use, f"{register}_peak") >= seen["reached"]
        lost = use.wraps if register == "u" else use.clips
        assert (lost > 0) == (seen["reached"] > use.limit)


@pytest.mark.parametrize("readout", [False, True])
def test_bundles_are_certified(readout: bool, tmp_path: Path) -> None:
    network = hidden_layers(1, bias=True, readout=readout)
    coding = InputCoding(kind="graded", peak=15)
    compiled = compile(network, target="xylo-a2", recipe=None, inputs=coding)
    assert compiled.fits
    told = certify(folder_of(bundle_of(compiled), tmp_path / "net.snnb"))
    assert told["contradiction"] is None
    assert told["certified"]
    assert any(line.startswith("memory: every core is within xylo-a2") for line in told["proved"])


def test_what_the_chip_does_not_hold_is_a_contradiction() -> None:
    made = program()
    placed = checked_placement(place_program(made, XYLO))
    shares = check_xylo(checked(made), placed, RULES)
    hidden = [s for s in made.synapses if s.name in ("hidden12->hidden9", "hidden9->hidden9")]
    most = max(int(np.count_nonzero(s.mantissa, axis=0).max()) for s in hidden)
    assert shares["fan out"] == most / 64
    held = {
        name: share
        for name, share in shares.items()
        if name not in ("recurrent entries", "fan out")
    }
    assert held == {
        "inputs": 6 / 16,
        "hidden neurons": 21 / 1000,
        "output neurons": 5 / 8,
        "fed_by_inputs": 12 / 1000,
        "feeding_outputs": 9 / 1000,
    }

    def refused(changed: Program, rules: Any = RULES) -> str:
        with pytest.raises(Contradiction) as caught:
            check_xylo(checked(changed), placed, rules)
        places.append(str(caught.value.record["where"]))
        return str(caught.value.record["what"])

    places: list[str] = []

    def synapses(name: str, **changes: Any) -> Program:
        parts = [replace(s, **changes) if s.name == name else s for s in made.synapses]
        return replace(made, synapses=tuple(parts))

    late = (SynapseSource("hidden12", frozen(2, np.int64)),)
    assert refused(synapses("hidden12->hidden9", sources=late)) == "latency"
    assert refused(synapses("hidden12->hidden9", exponent=9)) == "weight shifts of a block"
    assert places == ["hidden12->hidden9", "hidden neurons"]
    for table, key, what in (
        ("ends", "inputs", "inputs"),
        ("ends", "fed_by_inputs", "fed_by_inputs"),
        ("ends", "feeding_outputs", "feeding_outputs"),
        ("core", "hidden_neurons", "hidden neurons"),
        ("core", "output_neurons", "output neurons"),
        ("core", "recurrent_entries", "recurrent entries"),
        ("synapse", "fan_out_max", "fan out"),
    ):
        small = {**RULES, table: {**RULES[table], key: 1}}
        assert refused(made, small) == what


@pytest.mark.parametrize("resource", ["hidden_neurons", "output_neurons", "recurrent_entries"])
def test_what_a_placement_states_of_the_chip_is_counted(resource: str) -> None:
    made = program()
    placed = checked_placement(place_program(made, XYLO))
    part = next(p for p in placed.slices if p.resources.get(resource))
    part.resources[resource] -= 1
    with pytest.raises(Contradiction) as caught:
        check_xylo(checked(made), placed, RULES)
    assert caught.value.record["what"] == resource
