"""lava-dl's .net files as programs, against recordings of Loihi's own runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from snndeploy import read_netx
from snndeploy.cli import main
from snndeploy.errors import InputError
from snndeploy.ir.arrays import Array
from snndeploy.ir.linear.apply import apply_chain
from snndeploy.ir.program import Program
from snndeploy.simulate.integer.engine import run_integer
from tests.support.commands import code_of
from tests.support.netx_files import LIF, dense, net

RECORDED = {
    "conv-0": "conv-1",
    "conv-1": "conv-2",
    "conv-2": "conv-3",
    "conv-3": "conv-4",
    "conv-4": "conv-5",
    "fc-0": "dense-7",
    "fc-1": "dense-8",
    "fc-2": "dense-9",
}
"""Names in the recording, and groups of the program."""
BEFORE = {"conv-0": "input", **dict(zip(list(RECORDED)[1:], RECORDED, strict=False))}
STEPS = 16


def shift(sums: Array, exponent: int) -> Array:
    return sums << exponent if exponent >= 0 else sums >> -exponent


def trains(recording: Mapping[str, Array], name: str) -> Array:
    """A recorded array (x, y, channels, steps) as (steps, channels, y, x)."""
    return recording[name].astype(np.int64).T


@pytest.fixture(scope="module")
def recording(shared_data: Path) -> Mapping[str, Array]:
    path = shared_data / "nir_models/lava_dl/pilotnet_lif_ground_truth.npz"
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


@pytest.fixture(scope="module")
def pilotnet(shared_data: Path) -> Program:
    return read_netx(shared_data / "nir_models/lava_dl/pilotnet_lif.net")


@pytest.mark.parametrize("layer", list(RECORDED)[1:])
def test_recorded_spikes_give_the_next_layers_recorded_current(
    layer: str, pilotnet: Program, recording: Mapping[str, Array]
) -> None:
    """Weights, their order and the one step between layers; every value of every step."""
    (synapses,) = pilotnet.incoming(RECORDED[layer])
    arriving = shift(
        apply_chain(synapses.ops, synapses.mantissa, trains(recording, BEFORE[layer])),
        synapses.exponent,
    )
    np.testing.assert_array_equal(arriving[:-1] << 6, trains(recording, f"{layer}-u")[1:])
    assert arriving.any()


def test_the_whole_network_from_the_recorded_image(
    pilotnet: Program, recording: Mapping[str, Array]
) -> None:
    """All nine recorded layers over one sample. The recorded image holds 40 * pixel + 36 already.

    The recording clears layer k before its steps k and k + 17, which is what a program does between
    samples: step t of a sample reaches layer k at step t + k.
    """
    bias = int(pilotnet.group("input-0").bias_mant)
    message = trains(recording, "image") - bias
    inputs = np.repeat(message[np.newaxis, np.newaxis], STEPS, axis=0)
    run = run_integer(pilotnet, inputs)
    for depth, (recorded, group) in enumerate({"input": "input-0", **RECORDED}.items()):
        expected = trains(recording, recorded)[depth : depth + STEPS]
        np.testing.assert_array_equal(run.spikes[group][:, 0], expected, err_msg=group)
    scale = float(pilotnet.group("input").scale)
    assert (-1, 1) <= (message.min() / scale, message.max() / scale) <= (-0.8, 1)


def test_layout_of_pilotnet(pilotnet: Program) -> None:
    assert [g.shape for g in pilotnet.groups][:3] == [(3, 66, 200), (3, 66, 200), (24, 32, 99)]
    assert pilotnet.group("dense-10").role == "output"
    assert pilotnet.group("conv-1").du == 4095
    assert (pilotnet.group("conv-1").dv, pilotnet.group("conv-1").vth) == (1024, 25)
    assert pilotnet.synapses[4].ops[0].padding == ((1, 1), (0, 0))  # type: ignore[union-attr]


def test_mnist_loads_checks_and_places(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "nir_models/lava_dl/mnist_784-128-64-10.net"
    result = CliRunner().invoke(main, ["check", str(path)])
    assert result.exit_code == 0, result.output
    report = json.loads(CliRunner().invoke(main, ["check", str(path), "--json"]).stdout)
    assert sum(layer["cores"] for layer in report["layers"]) <= 5  # what Intel's compiler takes
    shown = CliRunner().invoke(main, ["inspect", str(path)])
    assert "dense 784->128" in shown.output
    bundle = tmp_path / "mnist.snnb"
    result = CliRunner().invoke(main, ["compile", str(path), "-o", str(bundle)])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, ["verify", str(bundle), "--engines", "integer"])
    assert result.exit_code == 0, result.output


def test_delays_per_output_per_input_and_for_all(tmp_path: Path) -> None:
    pulse = np.zeros((6, 1, 3), np.int64)
    pulse[0] = 1
    weight = [[3, 3, 3], [4, 4, 4]]
    for delay, expected in (
        ([0, 2], {0: [1, 0], 2: [0, 1]}),
        ([1, 1, 1], {1: [1, 1]}),
        (3, {3: [1, 1]}),
    ):
        program = read_netx(net(tmp_path, dense(weight, delay=np.asarray(delay))))
        spikes = run_integer(program, pulse).spikes["dense-0"][:, 0]
        assert {int(t): spikes[t].tolist() for t in np.flatnonzero(spikes.any(1))} == expected
    program = read_netx(net(tmp_path, dense(weight, delay=np.array([0, 1, 2]))))
    assert program.synapses[0].sources[0].latency.tolist() == [1, 2, 3]


def test_recurrence_readout_pool_and_flatten(tmp_path: Path) -> None:
    path = net(
        tmp_path,
        {"type": "input", "shape": [1, 4, 4]},
        {
            "type": "pool",
            "shape": [1, 2, 2],
            "kernelSize": 2,
            "stride": 2,
            "weight": np.full((1, 1, 2, 2, 1), 3.0),
            "neuron": LIF,
        },
        {"type": "flatten", "shape": [1, 1, 4]},
        {**dense(np.eye(4) * 3), "type": "dense_rec", "weight_rec": np.full((4, 4), -1.0)},
        {"type": "dense", "shape": [2], "weight": np.array([[1.0, 2, 3, 4], [-1, 0, 0, 0]])},
        {"type": "average", "shape": [1]},
    )
    program = read_netx(path)
    assert [g.kind for g in program.groups] == ["input", "lif", "lif", "readout"]
    assert [f.code for f in program.findings] == ["netx-average", "netx-compare"]
    inputs = np.ones((4, 1, 1, 4, 4), np.int64)
    run = run_integer(program, inputs)
    assert run.spikes["dense_rec-3"][:, 0].tolist() == [[n] * 4 for n in (1, 0, 0, 1)]
    assert (run.spikes["dense-4"][:, 0] >> 6).tolist() == [[10, -1]] * 3 + [[20, -2]]


@pytest.mark.parametrize(
    ("weight", "exponent", "mode", "bits"),
    [
        ([[1, 2]], 0, "excitatory", 8),
        ([[-8, -16]], 3, "inhibitory", 8),
        ([[1, -2]], -1, "mixed", 8),
        ([[255, -256]], 0, "mixed", 9),
        ([[0, 0]], 0, "excitatory", 8),
        ([[1024, -512]], 8, "mixed", 8),
    ],
)
def test_weights_keep_their_values(
    weight: list[list[int]], exponent: int, mode: str, bits: int, tmp_path: Path
) -> None:
    synapses = read_netx(net(tmp_path, dense(weight))).synapses[0]
    assert (synapses.exponent, synapses.sign_mode, synapses.weight_bits) == (exponent, mode, bits)
    assert shift(synapses.mantissa, synapses.exponent).tolist() == weight


def neuron(kind: str) -> dict[str, Any]:
    fields = {"neuron/type": np.bytes_(kind), "neuron/iDecay": 1}
    return {**{k: v for k, v in dense([[1]]).items() if k != "neuron"}, **fields}


@pytest.mark.parametrize(
    ("layers", "code", "text"),
    [
        ([], "netx-layout", "it holds no group 'layer'"),
        ([{"type": "input", "shape": [3]}], "netx-layout", "no layer with neurons"),
        (
            [{"type": "conv", "shape": [1, 2, 2], "weight": np.ones((1, 1, 1, 1)), "neuron": LIF}],
            "netx-layout",
            "a conv block comes first",
        ),
        ([{"type": "convT"}], "netx-block", "a block of type 'convT' is not supported"),
        ([neuron("ALIF")], "netx-neuron", "ALIF neurons (adaptive threshold) are not supported"),
        ([neuron("SDN")], "netx-neuron", "SDN neurons are not supported"),
        (
            [{**neuron("ADRF_PHASE"), "weight": None}],
            "netx-neuron",
            "ADRF_PHASE neurons (adaptive resonate-and-fire) are not supported",
        ),
        ([neuron("SDNN")], "netx-field", "'neuron/vThMant' is missing or does not hold numbers"),
        ([neuron("CUBA")], "netx-field", "'neuron/vDecay' is missing or does not hold numbers"),
        ([dense([[0.5]])], "netx-integers", "weight holds 0.5, which is no whole number"),
        ([dense([[1, -300, 7]])], "netx-range", "need more than 9 bits"),
        ([dense([[1]], delay=70)], "netx-range", "its delays are 70…70, outside 0…62"),
        ([dense([[1]], neuron=(5000, 0, 1))], "netx-range", "iDecay is 5000, outside 0…4096"),
        ([dense([[1]], bias=np.ones(3))], "netx-shape", "bias has shape (3,), expected (1,)"),
        ([{"type": "input", "shape": [3]}, dense([[1, 1]])], "netx-shape", "its weight expects"),
    ],
)
def test_refusals(layers: list[dict[str, Any]], code: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_netx(net(tmp_path, *layers))
    assert caught.value.code == code
    assert text in caught.value.message


def test_each_format_names_the_other(tmp_path: Path) -> None:
    from snndeploy import read_network

    path = net(tmp_path, dense([[1]]))
    with pytest.raises(InputError) as caught:
        read_network(path)
    assert caught.value.hint == "it looks like a lava-dl .net file: name it .net"
    with h5py.File(path, "w") as file:
        file["node/x"] = 1
    with pytest.raises(InputError) as caught:
        read_netx(path)
    assert caught.value.hint == "it looks like a NIR file: name it .nir"


def test_options_about_trained_networks_are_refused(tmp_path: Path) -> None:
    path = net(tmp_path, dense([[1]]))
    for command, given in (("check", ["--recipe", "default"]), ("inspect", ["--v-min", "0"])):
        result = CliRunner().invoke(main, [command, str(path), *given])
        assert result.exit_code == 2
        assert code_of(result) == "option-not-obeyed"
        assert f"{command} cannot obey {given[0]} for a .net file" in result.stderr


@pytest.mark.parametrize("decay", [0, 128])
def test_thresholds_that_are_reached(decay: int, tmp_path: Path) -> None:
    """SLAYER's comparison, exact in integers: v meets the threshold at the first step."""
    neuron = (4096, decay, 8)
    path = net(tmp_path, dense([[8.0, 0.0], [4.0, 5.0], [7.0, 0.0]], neuron=neuron))
    strict, told = read_netx(path, compare=">"), read_netx(path)
    reached = read_netx(path, compare=">=")
    assert [f.code for f in told.findings] == ["netx-compare"]
    assert (strict.findings, reached.findings) == ((), ())
    assert strict.digest == told.digest != reached.digest
    group = reached.groups[-1]
    assert (group.kind, int(group.vth)) == (("lif", 7) if decay == 0 else ("custom", 8))
    x = np.array([[[1, 0]], [[0, 0]], [[0, 1]]], np.int64)
    v = np.zeros(3, np.int64)
    expected = []
    for row in x[:, 0]:
        v = ((v * (4096 - decay)) >> 12) + ((np.array([[8, 0], [4, 5], [7, 0]]) @ row) << 6)
        expected.append((v >= 8 << 6).tolist())
        v = np.where(v >= 8 << 6, 0, v)
    run = run_integer(reached, x).spikes["dense-0"][:, 0]
    assert run.astype(bool).tolist() == expected
    assert run_integer(strict, x).spikes["dense-0"][0, 0].tolist() == [0, 0, 0]
