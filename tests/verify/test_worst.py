"""Head-room is a theorem, or an input that anybody can replay."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from snndeploy import compile
from snndeploy.bundle import read_bundle, write_bundle
from snndeploy.certify import certify
from snndeploy.errors import InputError
from snndeploy.ir.arrays import frozen
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.lower import InputCoding
from snndeploy.pipeline import bundle_of, loaded_bundle, place_file, save_bundle
from snndeploy.simulate.integer.engine import run_integer
from snndeploy.verify import worst_found
from tests.support.builders import inputs, project
from tests.support.exact_networks import integrator
from tests.support.netx_files import dense, net

BINARY = InputCoding.named("binary")


def program(exponent: int, dv: int = 2048, **fields: object) -> Program:
    """Three inputs of both signs into two neurons, and those into one."""
    parameters = {"du": frozen(2048), "dv": frozen(dv), "vth": frozen(5000), **fields}
    groups = (
        CompartmentGroup(name="in", shape=(3,), role="input", kind="input", depth=0),
        CompartmentGroup(name="a", shape=(2,), role="hidden", kind="lif", depth=1, **parameters),  # type: ignore[arg-type]
        CompartmentGroup(name="b", shape=(1,), role="output", kind="lif", depth=2, **parameters),  # type: ignore[arg-type]
    )
    weights = {"a": [[120, -40, 60], [-8, 16, 100]], "b": [[200, -250]]}
    synapses = tuple(
        SynapseGroup(
            name=f"to {target}",
            sources=(SynapseSource(source, frozen(1)),),
            target=target,
            ops=(Dense(*np.shape(weights[target])),),
            mantissa=frozen(weights[target]),
            exponent=exponent,
            sign_mode="mixed",
            weight_bits=8,
        )
        for source, target in (("in", "a"), ("a", "b"))
    )
    return Program(target="any", arithmetic=LOIHI, groups=groups, synapses=synapses).verify()


def test_nothing_is_sought_where_all_is_proved() -> None:
    assert worst_found(program(4)) is None


def test_a_wrap_is_found_and_replayed() -> None:
    """Not every input at its most: the one that inhibits has to be silent."""
    strong = program(9)
    found = worst_found(strong)
    assert found is not None
    assert {register for _, register in found.reached} == {"u", "v"}
    run, step, magnitude = found.reached["a", "u"]
    assert magnitude > LOIHI.state_max
    x = found.inputs["in"][: step + 1, run : run + 1]
    assert x[-1, 0].tolist() == [1, 0, 1]
    use = run_integer(strong, {"in": x}, watch=True).registers["a"]
    assert use.u_peak == magnitude
    assert use.wraps > 0
    assert run_integer(strong, {"in": x[:-1]}, watch=True).registers["a"].wraps == 0


def test_the_search_goes_beyond_its_first_guesses() -> None:
    """A v that falls without end: the best time for it is all the time, for one of two neurons."""
    found = worst_found(program(4, dv=0))
    assert found is not None
    assert set(found.reached) == {("a", "v"), ("b", "v")}
    run, step, magnitude = found.reached["b", "v"]
    assert magnitude > 0
    x = found.inputs["in"][: step + 1, run : run + 1]
    assert run_integer(program(4, dv=0), {"in": x}, watch=True).registers["b"].v_peak == magnitude


def test_the_search_is_the_same_every_time() -> None:
    one, other = worst_found(program(9)), worst_found(program(9))
    assert one is not None
    assert other is not None
    assert one.reached == other.reached
    np.testing.assert_array_equal(one.inputs["in"], other.inputs["in"])


def test_every_register_has_a_witness_however_many_there_are() -> None:
    """Inputs are sought for 24; the others keep the best of those, each found again by the engine."""
    n = 14
    one = program(9)
    groups = [one.groups[0]]
    synapses = []
    for i in range(n):
        group = dataclasses.replace(one.group("a"), name=f"a{i}")
        groups.append(group if i < n - 1 else dataclasses.replace(group, role="output"))
        weight = np.roll(one.synapses[0].mantissa, i, axis=1)
        parts = {"name": f"to a{i}", "target": f"a{i}", "mantissa": frozen(weight)}
        synapses.append(dataclasses.replace(one.synapses[0], **parts))
    many = Program(
        target="any", arithmetic=LOIHI, groups=tuple(groups), synapses=tuple(synapses)
    ).verify()
    found = worst_found(many)
    assert found is not None
    assert {(f"a{i}", r) for i in range(n) for r in "uv"} == set(found.reached)
    x = found.inputs["in"]
    assert x.shape[1] <= 24
    for (name, register), (run, _, magnitude) in found.reached.items():
        each = run_integer(many, {"in": x[:, [run]]}, watch=True).registers[name]
        assert getattr(each, f"{register}_peak") >= magnitude > 0


def test_inputs_of_very_large_programs_are_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snndeploy.verify.worst._VALUES", 20)  # of 6 neurons
    found = worst_found(program(9))
    assert found is not None
    assert len(found.inputs["in"]) == 3
    assert found.reached["a", "u"][2] > LOIHI.state_max
    monkeypatch.setattr("snndeploy.verify.worst._VALUES", 5)
    found = worst_found(program(9))
    assert found is not None
    assert len(found.inputs["in"]) == 1


def inhibited() -> Network:
    """No leak, and an input that only inhibits: v has no lower bound."""
    return Network(
        (inputs((2,)), integrator("a", (2,), "output")),
        (project("in", "input", "a", Dense(2, 2), np.array([[1.0, -0.5], [0.5, 0.25]])),),
    ).verify()


def test_a_bundle_holds_it_and_the_certificate_replays_it(tmp_path: Path) -> None:
    bundle = bundle_of(compile(inhibited(), recipe=None, inputs=BINARY))
    path = save_bundle(tmp_path / "net.snnb", bundle)
    told = certify(path)
    u, v = (told["bounds"]["a"][register] for register in "uv")
    assert u["proved"]
    assert not v["proved"]
    run, step, reached = bundle.worst["v.a"].tolist()
    assert (v["run"], v["step"], v["reached"]) == (run, step, reached)
    assert step == 31  # as long as the inputs are: one step more is further
    half = int(bundle.program.group("a").scale.max() * 0.5)
    assert reached == 32 * half
    (line,) = [x for x in told["not_proved"] if x.startswith("head-room")]
    limit = LOIHI.state_max
    assert "v may saturate; " in line
    assert f"takes it to {reached:,} of {limit:,} ({reached / limit:.0%}) at step 31" in line
    steps = limit // half
    assert line.endswith(f"within {steps} steps nothing can")
    back = read_bundle(path)
    assert back.worst.keys() == bundle.worst.keys()
    for name, x in back.worst.items():
        np.testing.assert_array_equal(x, bundle.worst[name])
    # And so it is: the register ends in the step behind those, and not within them.
    x = np.zeros((steps + 1, 1, 2), np.int64)
    x[:, :, 1] = 1
    use = run_integer(bundle.program, x, watch=True).registers["a"]
    assert use.clips == 1
    assert run_integer(bundle.program, x[:-1], watch=True).registers["a"].clips == 0


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_stated_must_be_what_happens(place: int, tmp_path: Path) -> None:
    bundle = bundle_of(compile(inhibited(), recipe=None, inputs=BINARY))
    stated = np.array(bundle.worst["v.a"])
    stated[place] += 1
    wrong = dataclasses.replace(bundle, worst={**bundle.worst, "v.a": stated})
    path = write_bundle(tmp_path / "net.snnb", wrong, version="0")
    if place == 0:  # a run that is not there
        assert stated[0] >= bundle.worst["input.input"].shape[1]
        from snndeploy.certify import BundleRefused

        with pytest.raises(BundleRefused):
            certify(path)
    else:
        found = certify(path)["contradiction"]
        assert found["what"] == "step and largest |v|"
        assert found["file"] == "worst.npz"


def test_a_bundle_of_a_file_of_integers_holds_it_too(tmp_path: Path) -> None:
    """It came without: a register that is neither proved nor has an input that anybody can replay."""
    file = net(tmp_path, dense([[30, -40], [-20, 0]]), dense([[7, 9]]))
    told = certify(save_bundle(tmp_path / "net.snnb", loaded_bundle(place_file(file))))
    assert told["certified"]
    reached = {n: b["v"]["reached"] for n, b in told["bounds"].items()}
    assert reached == {"dense-0": 32 * 40 << 6, "dense-1": None}
    share = (32 * 40 << 6) / LOIHI.state_max
    (line,) = told["not_proved"]
    assert f"of {LOIHI.state_max:,} ({share:.0%}) at step 31" in line


@pytest.mark.parametrize("left", ["nothing", "the inputs"])
def test_without_it_there_is_no_certificate(left: str, tmp_path: Path) -> None:
    """A register is proved or comes with its worst input: there is nothing in between."""
    bundle = bundle_of(compile(inhibited(), recipe=None, inputs=BINARY))
    worst = {n: x for n, x in bundle.worst.items() if left == "the inputs" and n != "v.a"}
    path = write_bundle(
        tmp_path / "net.snnb", dataclasses.replace(bundle, worst=worst), version="0"
    )
    told = certify(path)
    assert not told["certified"]
    found = told["contradiction"]
    assert (found["file"], found["where"], found["stated"]) == ("worst.npz", "a", "none")
    assert found["what"] == "worst input of a v that is not proved"


def test_a_damaged_one_is_not_read(tmp_path: Path) -> None:
    bundle = bundle_of(compile(inhibited(), recipe=None, inputs=BINARY))
    worst = {**bundle.worst, "input.input": bundle.worst["input.input"][..., :1]}
    wrong = dataclasses.replace(bundle, worst=worst)
    path = write_bundle(tmp_path / "net.snnb", wrong, version="0")
    with pytest.raises(InputError) as caught:
        read_bundle(path)
    assert caught.value.code == "bundle-content"
