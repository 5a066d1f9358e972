"""What a chip with one kind of neuron is given, against numbers that follow on paper."""

from __future__ import annotations

import numpy as np
import pytest

from snndeploy.chip import family_of, load_target
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.weights import Weight
from snndeploy.lower import InputCoding, fitted_in_turn, lower
from tests.support.builders import inputs, lif, project

XYLO = load_target("xylo-a2")


def test_codes_of_one_step_stay_codes_on_xylo() -> None:
    """Weights of one step of their grid are whole multiples of it: as many as the register holds."""
    held = Weight(np.array([[1, -1, 1], [1, 1, 0]], np.int8), scale=np.array(0.3), bits=2)
    net = Network(
        (inputs((3,), "in"), lif("h", (2,)), lif("out", (2,), "output")),
        (
            project("w1", "in", "h", Dense(2, 3), held),
            project("w2", "h", "out", Dense(2, 2), np.eye(2)),
        ),
    ).verify()
    own, _ = fitted_in_turn(net, family_of(XYLO))
    program = lower(own, XYLO, inputs=InputCoding.named("graded"))
    assert program.rounding["h"].weight == 0.0
    assert {g.name: g.route for g in program.on_chip}["h"] == "the chip's own neuron"


def test_a_readout_of_xylo_is_read() -> None:
    readout = lif("out", (2,), "output", threshold=None, reset="none")
    net = Network(
        (inputs((3,), "in"), lif("h", (2,)), readout),
        (
            project("w1", "in", "h", Dense(2, 3), np.ones((2, 3)) / 2),
            project("w2", "h", "out", Dense(2, 2), np.eye(2)),
        ),
    ).verify()
    own, _ = fitted_in_turn(net, family_of(XYLO))
    program = lower(own, XYLO, inputs=InputCoding.named("graded"))
    assert program.group("out").route == "the chip's own neuron; v is read"
    assert program.group("out").kind == "readout"


def test_gains_that_differ_are_each_neurons_own() -> None:
    """Two neurons of one leak and one of another: what lasts shorter is made as much stronger."""
    leak = np.array([0.875, 0.875, 0.9])
    net = Network(
        (inputs((3,), "in"), lif("h", (3,), leak=leak, syn_leak=0.5), lif("out", (2,), "output")),
        (
            project("w1", "in", "h", Dense(3, 3), np.ones((3, 3))),
            project("w2", "h", "out", Dense(2, 3), np.ones((2, 3))),
        ),
    ).verify()
    own, _ = fitted_in_turn(net, family_of(XYLO))
    (first,) = (p for p in own.projections if p.name == "w1")
    found = first.weight.values()
    assert found[:, 0].tolist() == pytest.approx([1.0, 1.0, 0.125 / 0.1])


def test_outputs_spike_as_often_as_the_chip_lets_them() -> None:
    family = family_of(XYLO)
    for most in (1, 2, 3):
        limit = family.target.neurons.most_of_outputs.model_copy(update={"limit": most})  # type: ignore[attr-defined]
        neurons = family.target.neurons.model_copy(update={"most_of_outputs": limit})
        chip = family_of(family.target.model_copy(update={"neurons": neurons}))
        net = Network(
            (inputs((3,), "in"), lif("h", (2,)), lif("out", (2,), "output")),
            (
                project("w1", "in", "h", Dense(2, 3), np.ones((2, 3))),
                project("w2", "h", "out", Dense(2, 2), np.eye(2)),
            ),
        ).verify()
        neuron = fitted_in_turn(net, chip)[0].population("out").neuron
        assert neuron is not None
        assert neuron.max_spikes == (most if most > 1 else None)
        assert neuron.spikes_per_step == ("many" if most > 1 else "one")


def test_span_of_values_that_are_told() -> None:
    net = Network(
        (
            inputs((3,), "in"),
            lif("h", (2,), leak=np.array([0.9, 0.8]), syn_leak=0.6),
            lif("out", (2,), "output"),
        ),
        (
            project("w1", "in", "h", Dense(2, 3), np.ones((2, 3))),
            project("w2", "h", "out", Dense(2, 2), np.eye(2)),
        ),
    ).verify()
    (told,) = (f for f in fitted_in_turn(net, family_of(XYLO))[1] if f.where == "h")
    assert "the leak of u moves from 0.6 to 0.5" in told.message
    assert "the leak of v moves from 0.8…0.9 to 0.75…0.875" in told.message
    (plain,) = (f for f in fitted_in_turn(net, family_of(XYLO))[1] if f.where == "out")
    assert "input passes a synapse that keeps 0.5 of it per step" in plain.message


def test_one_neuron_of_xylo_has_a_gain() -> None:
    net = Network(
        (
            inputs((1,), "in"),
            lif("h", (1,), leak=np.array([0.9]), syn_leak=0.5),
            lif("o", (1,), "output"),
        ),
        (
            project("w1", "in", "h", Dense(1, 1), np.ones((1, 1))),
            project("w2", "h", "o", Dense(1, 1), np.ones((1, 1))),
        ),
    ).verify()
    own, _ = fitted_in_turn(net, family_of(XYLO))
    (first,) = (p for p in own.projections if p.name == "w1")
    assert float(first.weight.values().reshape(-1)[0]) == pytest.approx(0.125 / 0.1)
