"""The checker on chips that take spikes in turn: its engine, its bounds, and what it finds wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy.certify import certify
from snndeploy.certify.bounds import bounds
from snndeploy.certify.files import Contradiction, plain
from snndeploy.certify.turns import check_xylo, run_in_turn
from snndeploy.chip import load_target
from snndeploy.ir.arrays import frozen
from snndeploy.ir.program import Program, SynapseSource
from snndeploy.lower import InputCoding, lower
from snndeploy.pipeline import bundle_of, compile
from snndeploy.simulate.integer.engine import run_integer
from tests.support.checked import checked, folder_of
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
        assert peaks[name].max() == expected.registers[name].u_peak


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
            assert peaks[name].max() <= b.u.max()
            assert (np.abs(states.u[name]).max(axis=(0, 1)) <= b.u).all()
        assert (states.v[name].max(axis=(0, 1)) <= np.minimum(b.v_high, 32767)).all(), name


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
    assert max(check_xylo(checked(made), RULES).values()) <= 1

    def refused(changed: Program, rules: Any = RULES) -> str:
        with pytest.raises(Contradiction) as caught:
            check_xylo(checked(changed), rules)
        return str(caught.value.record["what"])

    def synapses(name: str, **changes: Any) -> Program:
        parts = [replace(s, **changes) if s.name == name else s for s in made.synapses]
        return replace(made, synapses=tuple(parts))

    late = (SynapseSource("hidden12", frozen(2, np.int64)),)
    assert refused(synapses("hidden12->hidden9", sources=late)) == "latency"
    assert refused(synapses("hidden12->hidden9", exponent=9)) == "weight shifts of a block"
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
