"""The pipeline in Python: one call compiles, another runs, and what is missing is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snndeploy
from snndeploy.data import Samples
from snndeploy.errors import InputError, UsageError
from snndeploy.pipeline import run_compiled
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import conv_net, recurrent_net, spikes


def samples(n: int = 4) -> Samples:
    net = conv_net()
    return Samples(spikes(net, samples=n), np.arange(n) % 10)


def test_compile_runs_every_stage() -> None:
    compiled = snndeploy.compile(conv_net(), recipe="digits")
    assert compiled.fits
    assert [step.name for step in compiled.log.steps] == ["remove-kernels", "prune", "quantize"]
    assert compiled.program.target == "loihi2"
    assert {s.group for s in compiled.placement.slices} == {
        g.name for g in compiled.program.on_chip
    }
    assert all(p.weight.bits == 4 for p in compiled.network.projections)
    assert snndeploy.compile(conv_net(), recipe="digits").program.digest == compiled.program.digest


def test_without_a_recipe_weights_are_rounded_to_8_bits_and_that_is_said() -> None:
    net = snndeploy.Network(
        conv_net().populations,
        tuple(
            snndeploy.Projection(
                p.name, p.sources, p.target, p.ops, snndeploy.Weight(p.weight.data / 3)
            )
            for p in conv_net().projections
        ),
    )
    compiled = snndeploy.compile(net, recipe=None)
    assert compiled.log.steps == ()
    rounded = {f.where for f in compiled.findings if f.code == "weights-rounded"}
    assert rounded == {p.name for p in net.projections}


def test_calibration_infers_the_input_and_may_set_the_scale() -> None:
    graded = Samples(samples().inputs * 5)
    compiled = snndeploy.compile(conv_net(), calibration=graded)
    assert compiled.program.group("input").message_bits == 4
    trusted = snndeploy.compile(conv_net(), calibration=graded, scale="calibrated")
    for g in trusted.program.on_chip:
        assert (g.vth >= compiled.program.group(g.name).vth).all()
    with pytest.raises(InputError) as caught:
        snndeploy.compile(conv_net(), scale="calibrated")
    assert (caught.value.code, caught.value.hint) == ("calibration-missing", "give --data")


def test_engines_on_the_same_samples() -> None:
    compiled = snndeploy.compile(conv_net())
    report = run_compiled(compiled, samples(), ("float", "integer"))
    assert set(report["accuracy"]) == {"float", "integer"}
    (comparison,) = report["comparisons"]
    assert comparison["engines"] == ("float", "integer")
    assert comparison["match"]["s1"] == 1.0  # the builder's weights are exact; its leaks round
    assert report["activity"]["synops_per_sample"] > 0
    assert report["energy"]["loihi2"]["low"] < report["energy"]["loihi2"]["high"]


def test_engines_say_what_they_lack() -> None:
    with pytest.raises(UsageError) as caught:
        snndeploy.run_engine("float", samples())
    assert caught.value.code == "network-missing"
    with pytest.raises(UsageError) as caught:
        snndeploy.run_engine("integer", samples())
    assert (caught.value.code, caught.value.message) == (
        "program-missing",
        "the integer engine runs a program",
    )


def test_integer_inputs_are_checked() -> None:
    program = snndeploy.compile(recurrent_net()).program
    shape = program.group("input").shape

    def text(data: object) -> str:
        with pytest.raises(InputError) as caught:
            run_integer(program, data)  # type: ignore[arg-type]
        return f"{caught.value.code}: {caught.value}"

    assert text({"retina": np.zeros((2, 1, *shape), int)}) == (
        "input-missing: no data for input 'input'"
    )
    wrong = np.zeros((2, 1, *shape, 3), int)
    assert text(wrong).startswith(
        f"input-shape: input input: data has shape {wrong.shape}, expected"
    )
    assert text(np.zeros((2, 1, *shape))) == (
        "input-not-integer: input input: data is float64, the program takes integers\n"
        "  next: encode it first (encode_inputs)"
    )


def test_public_names_all_load() -> None:
    for name in snndeploy.__all__:
        assert getattr(snndeploy, name) is not None
    assert snndeploy.__version__ == "0.1.0"
    assert set(snndeploy.__all__) <= set(dir(snndeploy))
    with pytest.raises(AttributeError, match="no attribute 'deploy'"):
        snndeploy.deploy  # noqa: B018


def test_a_bundle_round_in_python(tmp_path: Path) -> None:
    compiled = snndeploy.compile(conv_net())
    path = snndeploy.save_bundle(tmp_path / "net.snnb", snndeploy.bundle_of(compiled, samples()))
    bundle = snndeploy.read_bundle(path)
    run = run_integer(bundle.program, bundle.golden["input.input"])
    for name, train in run.spikes.items():
        if f"spikes.{name}" in bundle.golden:
            np.testing.assert_array_equal(train, bundle.golden[f"spikes.{name}"])
    assert "[recipe]" in bundle.lock
