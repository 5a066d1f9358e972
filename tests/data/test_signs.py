"""Inputs split by sign: the same network on data of both signs, with spikes that are all alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from snndeploy import compile, read_network, split_signs
from snndeploy.data import Samples, input_shapes, load_samples
from snndeploy.errors import InputError, LoweringRefused
from snndeploy.ir.arrays import Array
from snndeploy.passes.quantization.quantize import Quantize
from snndeploy.recipe import Recipe
from snndeploy.simulate.float.engine import run_float
from tests.support.commands import check, printed, run
from tests.support.nir_graphs import chain, conv2d, cuba, lif, written

SEMANTICS = ("--frontend", "nir", "--dt", "0.001")
N, STEPS = 6, 15


def signed(shape: tuple[int, ...]) -> Array:
    """As files hold them, (samples, steps, ...)."""
    return np.random.default_rng(0).integers(-1, 2, (N, STEPS, *shape)).astype(np.int16)


def dense() -> tuple[nir.NIRGraph, tuple[int, ...]]:
    rng = np.random.default_rng(1)
    nodes = [nir.Affine(rng.normal(size=(7, 4)), rng.normal(size=7)), cuba(7)]
    return chain(4, *nodes, nir.Linear(rng.normal(size=(3, 7))), lif(3)), (4,)


def convolution() -> tuple[nir.NIRGraph, tuple[int, ...]]:
    rng = np.random.default_rng(2)
    nodes = [conv2d(rng.normal(size=(3, 2, 3, 3)), rng.normal(size=3)), lif((3, 4, 4))]
    return chain((2, 6, 6), *nodes), (2, 6, 6)


@pytest.mark.parametrize("model", [dense, convolution])
def test_both_signs_add_up_to_what_arrived(model: Any, tmp_path: Path) -> None:
    graph, shape = model()
    network = read_network(graph, "nir", dt=1e-3)
    split = split_signs(network)
    assert list(input_shapes(split)) == ["input", "input.negative"]
    np.save(tmp_path / "x.npy", signed(shape))
    whole = load_samples(tmp_path / "x.npy", input_shapes(network))
    parts = load_samples(tmp_path / "x.npy", input_shapes(split))
    given = parts.by_input(input_shapes(split))
    np.testing.assert_array_equal(given["input"] - given["input.negative"], whole.inputs)
    assert set(np.unique(given["input.negative"])) == {0, 1}
    wanted = run_float(network, whole.inputs, dtype="float64")
    found = run_float(split, given, dtype="float64")
    for name in (p.name for p in network.populations if p.neuron is not None):
        np.testing.assert_array_equal(found.spikes[name], wanted.spikes[name])
        assert wanted.spikes[name].any()


def test_codes_and_masks_are_negated() -> None:
    network = read_network(dense()[0], "nir", dt=1e-3)
    recipe = Recipe(name="q", guard="off", passes=(Quantize(bits=5),))
    quantized = compile(network, recipe=recipe).network
    split = split_signs(quantized)
    by_name = {p.name: p for p in split.projections}
    first = quantized.projections[0]
    twin = by_name[f"{first.name}.negative"]
    np.testing.assert_array_equal(twin.weight.data, -first.weight.data)
    np.testing.assert_array_equal(twin.weight.values(), -first.weight.values())
    assert twin.weight.off_grid() == 0
    assert twin.bias is None
    assert [s.population for s in twin.sources] == ["input.negative"]
    with pytest.raises(InputError) as caught:
        split_signs(split)
    assert caught.value.code == "signs-split"


def test_a_refusal_proposes_it() -> None:
    network = read_network(dense()[0], "nir", dt=1e-3)
    data = Samples(signed((4,)).swapaxes(0, 1))
    with pytest.raises(LoweringRefused) as caught:
        compile(network, recipe=None, target="loihi1", calibration=data)
    assert caught.value.code == "graded-input"
    assert "--split-signs" in str(caught.value.hint)
    with pytest.raises(LoweringRefused) as caught:
        compile(network, recipe=None, target="loihi1", calibration=Samples(2 * data.values[0]))
    assert "--split-signs" not in str(caught.value.hint)


def test_commands(tmp_path: Path) -> None:
    path = written(tmp_path, dense()[0])
    np.savez(tmp_path / "x.npz", x=signed((4,)), y=np.zeros(N, int))
    data = ("-d", tmp_path / "x.npz")
    refused = run("check", path, *SEMANTICS, *data, "-t", "loihi1", "-r", "none")
    assert refused.exit_code == 5
    assert "the data are -1, 0 and 1: split them by sign (--split-signs)" in refused.output
    bundle = tmp_path / "a.snnb"
    options = ("-t", "loihi1", "--split-signs", "-r", "none", "-o", bundle)
    check(run("compile", path, *SEMANTICS, *data, *options), 0)
    told = printed(run("verify", bundle, *data, "--engines", "float,integer", "--json"))
    accuracy = json.loads(told)["accuracy"]
    unsplit = check(
        run("simulate", path, *SEMANTICS, *data, "-r", "none", "-e", "float", "--json"), 0
    )
    assert accuracy["float"] == json.loads(unsplit)["accuracy"]["float"]
    again = tmp_path / "b.snnb"
    locked = run("compile", path, *data, "--locked", bundle / "lock.toml", "-o", again)
    check(locked, 0)
    assert (again / "program.npz").read_bytes() == (bundle / "program.npz").read_bytes()
