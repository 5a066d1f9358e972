"""Whatever a neuron has, every engine does the same with it, and no run leaves what was proved.

The fields are those of `Neuron`, so a new one is put to the test on the day it comes. What nobody has
taught to a place is refused there, by name; it never runs as if it were not there.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from snndeploy.certify import checks, engine
from snndeploy.certify.bounds import bounds
from snndeploy.certify.engine import run
from snndeploy.certify.files import BundleRefused
from snndeploy.chip import NoForm, family_of, load_target
from snndeploy.errors import SnnDeployError
from snndeploy.ir.fields import held_fields
from snndeploy.ir.network import Network
from snndeploy.ir.neurons import FOUNDING, Neuron
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import CompartmentGroup, Program
from snndeploy.ir.step import CHOICES, IntegerParameters, NeuronRule
from snndeploy.lower import InputCoding, lower
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import IntegerEngine
from snndeploy.simulate.lava.env import LavaEnv
from tests.support.builders import inputs, lif, project
from tests.support.checked import checked

STEPS, SAMPLES = 24, 3
HELD = held_fields(Neuron)
FIELDS = tuple(f.name for f in dataclasses.fields(Neuron) if f.name != "v_init")
NEW = tuple(name for name in FIELDS if name not in FOUNDING)
"""What came later; it is tested together, since one part may need another."""
ROUNDED = 0.1
"""Share of spikes that rounding may change."""


def value(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    """One that matters, another for every neuron where that can be."""
    if name in CHOICES:
        return CHOICES[name][-1]
    if name == "max_spikes":
        return 2
    if HELD[name] == "factor":
        return rng.integers(4, 15, shape) / 16
    if name == "v_floor":
        return -rng.integers(1, 5, shape) / 8
    return rng.integers(1, 5, shape) / 8 + (0.5 if name == "threshold" else 0.0)


def network(name: str | None, seed: int) -> Network:
    """Two layers and a loop, whose neurons have ``name`` besides a random rule."""
    rng = np.random.default_rng(seed)

    def neurons(label: str, size: int, role: Any) -> Any:
        fields: dict[str, Any] = {"reset": ("zero", "subtract")[seed % 2]}
        given = () if name is None else NEW if name in NEW else (name,)
        fields |= {n: value(n, (size,), rng) for n in given}
        if name == "max_spikes":
            fields["spikes_per_step"] = "many"
        if fields.get("reset_timing") == "snntorch-immediate":
            fields["reset"] = "subtract"
        return lif(label, (size,), role, **fields)

    def dense(label: str, source: str, target: str, size: tuple[int, int], delay: int = 0) -> Any:
        weight = rng.integers(-3, 6, (size[1], size[0])) / 16
        return project(label, source, target, Dense(size[1], size[0]), weight, delay=delay)

    return Network(
        (inputs((6,)), neurons("hidden", 8, "hidden"), neurons("output", 4, "output")),
        (
            dense("in", "input", "hidden", (6, 8)),
            dense("loop", "hidden", "hidden", (8, 8), 1),
            dense("out", "hidden", "output", (8, 4)),
        ),
    ).verify()


def lowered(net: Network, target: str = "loihi2") -> Program:
    return lower(net, load_target(target), inputs=InputCoding.named("binary"), steps=STEPS)


def spikes_in(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(1000 + seed)
    return {"input": (rng.random((STEPS, SAMPLES, 6)) < 0.5).astype(np.uint8)}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", FIELDS)
def test_all_engines_agree(name: str, seed: int) -> None:
    """Compiled or plain, on torch, and the checker's own; and the trained network, but for rounding."""
    net, x = network(name, seed), spikes_in(seed)
    program = lowered(net)
    found = IntegerEngine(program).run(x).spikes
    torch = IntegerEngine(program, device="cpu").run(x).spikes
    checker, _ = run(checked(program), x)
    trained = run_float(net, x, dtype="float64").spikes
    for label in ("hidden", "output"):
        np.testing.assert_array_equal(torch[label], found[label], err_msg=label)
        np.testing.assert_array_equal(checker[label], found[label], err_msg=label)
        assert (trained[label] != found[label]).mean() < ROUNDED, label
        if not program.rounding[label].exact:
            continue
        np.testing.assert_array_equal(trained[label], found[label], err_msg=label)


@pytest.mark.parametrize(
    "name", [n for n in FIELDS if n not in ("leak", "threshold", "max_spikes")]
)
def test_every_field_matters(name: str) -> None:
    """Else the test above would show nothing."""
    for seed in range(8):
        x = spikes_in(seed)
        with_it, without = lowered(network(name, seed)), lowered(network(None, seed))
        pair = [IntegerEngine(p).run(x).spikes["hidden"] for p in (with_it, without)]
        if (pair[0] != pair[1]).any():
            return
    pytest.fail("the spikes are those of a neuron without it")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", FIELDS)
def test_no_run_leaves_what_was_proved(name: str, seed: int) -> None:
    program, x = lowered(network(name, seed)), spikes_in(seed)
    used = IntegerEngine(program).run(x, watch=True).registers
    apart = bounds(checked(program))
    for label in ("hidden", "output"):
        room, by_checker = program.headroom[label], apart[label]
        assert used[label].u_peak <= room.u_peak
        assert used[label].u_peak <= by_checker.u.max()
        if room.clip_steps is None:
            assert used[label].v_peak <= room.v_peak
        assert used[label].v_peak <= by_checker.v.max() or not by_checker.safe


@pytest.mark.lava
def test_lava_agrees(lava: LavaEnv) -> None:
    """Neuron programs run on Lava as the update itself says."""
    from snndeploy.simulate.lava.engine import run_lava

    for name in ("v_floor", "reset_timing", *NEW[:1]):
        program, x = lowered(network(name, 1)), spikes_in(1)
        found = run_lava(program, x, lava=lava).spikes
        expected = IntegerEngine(program).run(x).spikes
        for label in ("hidden", "output"):
            np.testing.assert_array_equal(found[label], expected[label], err_msg=(name, label))


# --- forgotten places ---------------------------------------------------------------------------------


def test_registers_are_the_parameters_of_the_update() -> None:
    """One that is forgotten on either side would be read by nobody, or never be filled."""
    own = {"du", "dv", "threshold", "bias"}
    held = held_fields(CompartmentGroup)
    assert {f.name for f in dataclasses.fields(IntegerParameters)} == own | set(held)
    assert {name: HELD[name] for name in held} == held
    words = {f.name for f in dataclasses.fields(NeuronRule)}
    neuron, group = ({f.name for f in dataclasses.fields(c)} for c in (Neuron, CompartmentGroup))
    assert words <= neuron
    assert words <= group


def taller(neuron: Neuron, number: float | None) -> Any:
    """``neuron`` with a field that came after all code."""
    cls = dataclasses.make_dataclass(
        "Taller", [("tiredness", Any, None)], bases=(Neuron,), frozen=True, kw_only=True
    )
    values = {f.name: getattr(neuron, f.name) for f in dataclasses.fields(neuron)}
    return cls(**values, tiredness=None if number is None else np.array(number))


def test_a_parameter_without_a_register_is_not_lowered() -> None:
    net = network(None, 0)
    hidden = net.population("hidden")
    assert hidden.neuron is not None

    def with_neuron(neuron: Neuron) -> Network:
        tired = dataclasses.replace(hidden, neuron=neuron)
        others = tuple(tired if p is hidden else p for p in net.populations)
        return dataclasses.replace(net, populations=others)

    with pytest.raises(SnnDeployError, match="no register holds its tiredness") as refused:
        lowered(with_neuron(taller(hidden.neuron, 0.5)))
    assert refused.value.code == "neuron-unsupported"
    with pytest.raises(SnnDeployError, match="one kind of neuron, without tiredness") as refused:
        lowered(with_neuron(taller(hidden.neuron, 0.5)), "xylo-a2")
    assert refused.value.code == "neuron-unsupported"
    assert lowered(with_neuron(taller(hidden.neuron, None))).group("hidden").kind == "lif"


def test_what_target_files_do_not_name_takes_a_program() -> None:
    """A chip without programs has no form of it, and its rules find it in a program for another."""
    neuron = network(None, 0).population("hidden").neuron
    assert neuron is not None
    assert family_of(load_target("loihi2")).form(taller(neuron, 0.5)).way == "program"  # type: ignore[union-attr]
    for chip in ("loihi1", "xylo-a2"):
        assert isinstance(family_of(load_target(chip)).form(taller(neuron, 0.5)), NoForm)


def test_no_proof_is_claimed_of_what_no_proof_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    from snndeploy.ir import neurons

    net = network("v_floor", 0)
    monkeypatch.setattr(neurons, "FOUNDING", FOUNDING - {"v_floor"})
    reasons = lowered(net).rounding["hidden"].reasons
    assert "no proof knows its v floor" in reasons


def test_the_checker_refuses_what_it_cannot_step(monkeypatch: pytest.MonkeyPatch) -> None:
    program = lowered(network("v_floor", 0))
    checked(program)
    monkeypatch.setattr(checks, "TAUGHT", engine.TAUGHT - {"v_floor"})
    with pytest.raises(BundleRefused, match=r"\['v_floor'\], which this checker cannot step"):
        checked(program)
