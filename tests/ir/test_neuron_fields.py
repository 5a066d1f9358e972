"""A field of `Neuron` is known wherever a neuron is written down, stepped, or turned into something."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from snndeploy.chip import load_target
from snndeploy.errors import SnnDeployError
from snndeploy.export.netx import refuse_network
from snndeploy.export.nir import neuron_fields
from snndeploy.ir import neurons
from snndeploy.ir.codec import SharedArrays, encode
from snndeploy.ir.decoding import decode
from snndeploy.ir.network import Network
from snndeploy.ir.neurons import PARAMETERS, Neuron
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import CompartmentGroup
from snndeploy.ir.step import CHOICES, FloatParameters, IntegerState, NeuronRule
from snndeploy.ir.text import full_text, read_network
from snndeploy.lower import InputCoding, lower
from snndeploy.simulate.float.neuron import CARRIED, NeuronState
from snndeploy.simulate.integer.neurons.step import registers
from tests.support.builders import inputs, lif, project

FIELDS = tuple(f.name for f in dataclasses.fields(Neuron))


def network(**fields: Any) -> Network:
    weight = np.eye(2, dtype=np.float32)
    return Network(
        (inputs((2,)), lif("output", (2,), "output", **fields)),
        (project("in", "input", "output", Dense(2, 2), weight),),
    )


def other(name: str) -> Any:
    """A value that a plain neuron does not have."""
    if name in CHOICES:
        return CHOICES[name][-1]
    return np.array(0.375) if name in PARAMETERS else 3


def changed(name: str) -> dict[str, Any]:
    """What came since the founding fields is set together: one part may need another."""
    new = [n for n in FIELDS if n not in neurons.FOUNDING]
    fields = {n: other(n) for n in (new if name in new else [name])}
    if name == "max_spikes":
        fields["spikes_per_step"] = "many"
    if name == "reset_timing":
        fields["reset"] = "subtract"
    return fields


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_told_in_text_files_and_digests(name: str) -> None:
    fields = changed(name)
    plain = {k: v for k, v in fields.items() if k != name}
    net, without = network(**fields).verify(), network(**plain)
    assert net.digest != without.digest
    assert read_network(full_text(net)).digest == net.digest
    arrays = SharedArrays()
    assert decode(encode(net, arrays), arrays, Network).digest == net.digest


def test_the_step_takes_every_field() -> None:
    """v_init is where a state starts."""
    taken = {f.name for kind in (FloatParameters, NeuronRule) for f in dataclasses.fields(kind)}
    assert set(FIELDS) == taken | {"v_init"}


@pytest.mark.parametrize("name", ["compare", "v_floor", "drive"])
def test_what_is_not_known_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the field had come after the code that would lose it."""
    net = network(**changed(name))
    neuron = net.population("output").neuron
    assert neuron is not None
    assert neuron.beyond() == ()
    monkeypatch.setattr(neurons, "FOUNDING", neurons.FOUNDING - {name})
    assert neuron.beyond() == (name,)
    assert neuron.beyond(name) == ()
    plain = network().population("output").neuron
    assert plain is not None
    assert plain.beyond() == ()
    with pytest.raises(SnnDeployError, match=name) as as_nir:
        neuron_fields(neuron, (2,), 1e-3, "output")
    with pytest.raises(SnnDeployError, match=f"Lava's LIF has no {name}") as as_netx:
        refuse_network(net)
    codes = [e.value.code for e in (as_nir, as_netx)]
    assert codes == ["export-nir", "export-netx"]


def lowered(net: Network) -> CompartmentGroup:
    program = lower(net, load_target("loihi2"), inputs=InputCoding.named("binary"), steps=4)
    return program.group("output")


@pytest.mark.parametrize("name", ["v_floor", "drive"])
def test_lowering_knows_what_has_a_register(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A register of its name is filled whenever it came; what has none is refused."""
    net = network(**changed(name))
    expected = lowered(net)
    monkeypatch.setattr(neurons, "FOUNDING", neurons.FOUNDING - {name})
    if name == "drive":
        with pytest.raises(SnnDeployError, match="no register holds its drive") as refused:
            lowered(net)
        assert refused.value.code == "neuron-unsupported"
        return
    assert np.array_equal(getattr(lowered(net), name), getattr(expected, name))
    plain = lowered(network())
    assert not np.array_equal(getattr(expected, name), getattr(plain, name))


def test_a_state_goes_on_where_another_ended() -> None:
    import torch

    neuron = Neuron.create(
        (3,), leak=0.75, syn_leak=0.5, threshold=1.0, reset="subtract", reset_timing="next-step"
    )
    x = torch.as_tensor(np.random.default_rng(0).integers(0, 5, (8, 2, 3)) / 4)

    def state() -> NeuronState:
        return NeuronState(neuron, (3,), 2, torch.float64, kernel=False)

    whole, first, second = state(), state(), state()
    wanted = [whole.step(step) for step in x]
    found = [first.step(step) for step in x[:4]]
    second.resume(first.carried)
    found += [second.step(step) for step in x[4:]]
    assert torch.equal(torch.stack(found), torch.stack(wanted))
    assert {name for name in CARRIED if getattr(second, name).any()} == {"u", "v", "fired"}


def test_every_register_reaches_the_integer_step() -> None:
    """Its parameters are read off a group, and its state goes to Lava and back by these names."""
    program = lower(
        network(reset="subtract", v_floor=np.array(-1.0)),
        load_target("loihi2"),
        inputs=InputCoding.named("binary"),
        steps=4,
    )
    held = vars(registers(program.group("output"), program.arithmetic))
    unset = {name for name, value in held.items() if value is None}
    assert unset == set(FIELDS) & held.keys() - neurons.FOUNDING
    assert [f.name for f in dataclasses.fields(IntegerState)][:3] == ["u", "v", "fired"]
