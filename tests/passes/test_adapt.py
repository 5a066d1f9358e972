"""Neurons that a chip lacks: what becomes of them, what is exact, and the whole answer of check."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import snndeploy
from snndeploy.chip import NoForm, family_of, load_target
from snndeploy.errors import PassRefused
from snndeploy.ir.network import Network, Population
from snndeploy.ir.neurons import Neuron
from snndeploy.ir.ops import Dense
from snndeploy.passes.adapt import Adapt, adapted, unsupported
from snndeploy.passes.base import PassContext
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import inputs, project

LOIHI1 = load_target("loihi1")


def network(weight: float = 1.0, **fields: Any) -> Network:
    """Two layers; the second has the given options."""
    rng = np.random.default_rng(2)
    first = Neuron.create((6,), leak=1.0, threshold=1.0)
    last = Neuron.create((4,), **{"leak": 0.5, "threshold": 1.0, **fields})
    return Network(
        (inputs((5,)), Population("a", (6,), first), Population("b", (4,), last, "output")),
        (
            project("in-a", "input", "a", Dense(6, 5), rng.integers(-4, 9, (6, 5)) / 8),
            project("a-b", "a", "b", Dense(4, 6), weight * rng.integers(-4, 9, (4, 6)) / 8),
        ),
    )


def spikes(net: Network) -> Any:
    x = (np.random.default_rng(4).random((20, 8, 5)) < 0.5).astype(np.float32)
    return run_float(net, x).spikes["b"]


@pytest.mark.parametrize(
    ("fields", "became", "told"),
    [
        (
            {"spikes_per_step": "many", "reset": "subtract", "compare": ">="},
            {"spikes_per_step": "one", "reset": "subtract", "compare": ">"},
            ["many spikes per step become one", "fires above its threshold, not at it"],
        ),
        (
            {"spikes_per_step": "many", "max_spikes": 2, "v_floor": -1.0},
            {"spikes_per_step": "one", "max_spikes": None, "v_floor": None},
            ["the floor of v goes", "many spikes per step become one"],
        ),
        (  # one threshold, a bias per neuron
            {"spikes_per_step": "many", "bias": np.arange(4) / 8},
            {"spikes_per_step": "one", "reset": "zero"},
            ["many spikes per step become one"],
        ),
        ({"reset": "subtract"}, {"reset": "subtract"}, []),
        ({"reset": "subtract", "reset_timing": "next-step"}, {"reset_timing": "next-step"}, []),
        (  # a second compartment subtracts late, and sets nothing to zero
            {"reset": "zero", "reset_timing": "next-step"},
            {"reset": "zero", "reset_timing": "immediate"},
            ["the reset of the next step acts at once"],
        ),
    ],
)
def test_only_what_the_chip_lacks_is_changed(
    fields: dict[str, Any], became: dict[str, Any], told: list[str]
) -> None:
    net = network(**fields)
    result = adapted(net, family_of(LOIHI1))
    neuron = result.network.population("b").neuron
    assert neuron is not None
    assert {name: getattr(neuron, name) for name in became} == became
    assert not isinstance(family_of(LOIHI1).form(neuron), NoForm)
    assert [f.message.partition(" (")[0] for f in result.findings] == told
    assert {f.code for f in result.findings} <= {"adapted"}
    assert {f.severity for f in result.findings} <= {"warning"}
    assert result.modified == bool(told)
    assert result.network.population("a") is net.population("a")


def test_a_floor_that_v_never_reaches_goes_exactly() -> None:
    net = network(v_floor=-1.0)
    positive = net.map_projections(
        lambda p: (
            dataclasses.replace(p, weight=dataclasses.replace(p.weight, data=abs(p.weight.data)))
            if p.name == "a-b"
            else p
        )
    )
    (found,) = adapted(positive, family_of(LOIHI1)).findings
    assert found.severity == "note"
    assert found.message == "the floor of v goes (exact)"
    (found,) = adapted(net, family_of(LOIHI1)).findings
    assert found.code == "adapted"
    assert found.severity == "warning"


@pytest.mark.parametrize("leak", [0.5, 1.0])
def test_a_start_becomes_a_bias_of_the_first_step(leak: float) -> None:
    net = network(v_init=np.array([0.75, 0.5, -0.5, 0.9]), leak=leak, bias=0.125)
    result = adapted(net, family_of(LOIHI1))
    neuron = result.network.verify().population("b").neuron
    assert neuron is not None
    assert not neuron.v_init.any()
    assert [f.severity for f in result.findings] == ["note"]
    np.testing.assert_array_equal(spikes(result.network), spikes(net))
    b = net.population("b").neuron
    assert b is not None
    without = net.replace([Population("b", (4,), b.changed((4,), v_init=0.0), "output")])
    assert (spikes(without) != spikes(net)).any()


def test_a_start_behind_a_synapse_is_dropped_and_told() -> None:
    (found,) = adapted(network(v_init=0.5, syn_leak=0.5), family_of(LOIHI1)).findings
    assert found.severity == "warning"
    assert found.message == "v starts at zero (measured: compare the answers on your data)"


def test_neurons_are_adapted_to_a_target_that_is_named() -> None:
    with pytest.raises(PassRefused, match="none is named") as caught:
        Adapt().apply(network(), PassContext())
    assert caught.value.code == "adapt-target"


def test_layers_are_chosen_by_name() -> None:
    net = network(spikes_per_step="many")
    context = PassContext(target=LOIHI1)
    assert not Adapt(layers=("a",)).apply(net, context).modified
    assert Adapt(layers=("b",)).apply(net, context).modified


def test_all_that_is_missing_is_told_at_once() -> None:
    net = network(spikes_per_step="many", v_floor=-1.0, v_init=0.5)
    other = net.replace(
        [
            dataclasses.replace(
                net.population("a"),
                neuron=Neuron.create((6,), leak=1.0, threshold=1.0, v_floor=-1.0),
            )
        ]
    )
    found = unsupported(other, LOIHI1)
    assert [(f.code, f.severity, f.where) for f in found] == [
        ("neuron-unsupported", "error", "a"),
        ("neuron-unsupported", "error", "b"),
    ]
    assert "--adapt: the floor of v goes" in found[0].message
    assert "does not start at the reset value" in found[1].message
    told = snndeploy.compile(other, target=LOIHI1, recipe=None, tell_all=True)
    assert not told.fits
    assert [f.where for f in told.findings if f.code == "neuron-unsupported"] == ["a", "b"]
    done = snndeploy.compile(other, target=LOIHI1, recipe=None, adapt=True)
    assert done.fits
    assert {f.where for f in done.findings if f.code == "adapted"} == {"a", "b"}


def test_values_on_a_chip_of_binary_spikes_are_told() -> None:
    from snndeploy.lower import InputCoding

    told = snndeploy.compile(
        network(), target=LOIHI1, recipe=None, inputs=InputCoding.named("graded"), tell_all=True
    )
    assert [f.where for f in told.findings if f.code == "graded-input"] == ["input"]
    assert not told.fits
