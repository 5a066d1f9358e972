"""Rows of different size in one layer: nobody loses its input in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from snndeploy.chip import family_of, load_target
from snndeploy.errors import LoweringRefused
from snndeploy.ir.network import Network
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import Program
from snndeploy.ir.weights import Weight
from snndeploy.lower import InputCoding, lower
from snndeploy.lower.rows import _held
from snndeploy.mapping import check_program, place_program
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer
from tests.support.builders import inputs, lif, project

STEPS = 60
SIZES = np.logspace(-3, 2, 6)
X = (np.random.default_rng(1).random((STEPS, 8, 8)) < 0.3).astype(np.int64)


def network(
    sizes: np.ndarray, weight: Any = None, thresholds: Any = None, **fields: Any
) -> Network:
    """Rows of these sizes, and thresholds to match."""
    n = len(sizes)
    rng = np.random.default_rng(0)
    rows = np.abs(rng.normal(size=(n, 8))) * sizes[:, None]
    neuron = {"leak": 0.9, "threshold": sizes if thresholds is None else thresholds, **fields}
    return Network(
        (inputs((8,)), lif("output", (n,), "output", **neuron)),
        (project("fc", "input", "output", Dense(n, 8), rows if weight is None else weight),),
    ).verify()


def counts(net: Network, program: Program) -> tuple[np.ndarray, np.ndarray]:
    trained = run_float(net, X.astype(float), dtype="float64").spikes["output"]
    held = run_integer(program, X).spikes["output"]
    return trained.sum((0, 1)).astype(int), held.sum((0, 1)).astype(int)


def lost(program: Program) -> list[str]:
    return [f.message for f in program.findings if f.code == "drive-lost"]


@pytest.mark.parametrize("target", ["loihi1", "loihi2"])
def test_every_neuron_keeps_its_input(target: str) -> None:
    """Rows over five decades with thresholds to match spike as often as they did."""
    net, chip = network(SIZES), load_target(target)
    program = lower(net, chip, steps=STEPS)
    trained, held = counts(net, program)
    assert trained.min() > 100
    assert np.abs(held - trained).max() < 0.03 * trained.min()
    assert not lost(program)
    placed = place_program(program, chip)
    assert not [f for f in check_program(program, placed, chip) if f.severity == "error"]


def test_thresholds_of_a_core_of_loihi1_are_few() -> None:
    """20 sizes of rows beside one threshold: powers of two that 8 thresholds hold."""
    net = network(np.logspace(-6, 0, 20), thresholds=1e-3)
    few = lower(net, load_target("loihi1"), steps=STEPS).group("output").vth
    many = lower(net, load_target("loihi2"), steps=STEPS).group("output").vth
    assert 1 < len(np.unique(few)) <= 8
    assert len(np.unique(many)) >= len(np.unique(few))


def test_rows_of_like_size_share_one_scale() -> None:
    program = lower(network(np.array([1.0, 0.5, 0.9])), load_target("loihi2"), steps=STEPS)
    assert program.group("output").scale.size == 1


def test_codes_that_were_chosen_stay_and_what_they_lost_is_said() -> None:
    """Three rows of zeros beside others: quantisation took their input."""
    codes = np.zeros((6, 8), np.int64)
    codes[3:] = 5
    net = network(SIZES, Weight(codes, np.array(0.5), 4))
    (message,) = lost(lower(net, load_target("loihi2")))
    assert message.startswith("3 of 6 neurons or channels of output (0, 1, 2) lose more than 25%")
    assert message.endswith("3 of them all of it")


def test_the_worst_row_is_reported() -> None:
    """A row that cannot have its own scale, since a shortcut on a grid fixes the layer's."""
    rng = np.random.default_rng(3)
    weight = rng.normal(size=(4, 8))
    weight[2] *= 2e-3
    net = Network(
        (inputs((8,)), lif("output", (4,), "output")),
        (
            project("fc", "input", "output", Dense(4, 8), weight),
            project("grid", "input", "output", Dense(4, 8), np.full((4, 8), 0.5)),
        ),
    ).verify()
    program = lower(net, load_target("loihi2"))
    (message,) = lost(program)
    assert "1 of 4 neurons or channels of output (2)" in message
    assert program.rounding["output"].weight > 0.25


def test_numbers_for_input_are_of_other_units_than_its_weights() -> None:
    """Analog data go out as so many messages to a unit; rows are judged as the network has them."""
    sizes = np.array([1.0, 1e-9, 1.0])
    coding = InputCoding(kind="analog", peak=4.0)
    assert coding.scale > 1
    program = lower(network(sizes, thresholds=np.ones(3)), load_target("loihi2"), inputs=coding)
    (message,) = lost(program)
    assert "1 of 3 neurons or channels of output (1)" in message


def test_a_layer_of_denormal_weights_is_none() -> None:
    program = lower(network(np.ones(3), np.full((3, 8), 5e-324)), load_target("loihi2"))
    assert not program.synapses[0].mantissa.any()
    assert "3 of them all of it" in lost(program)[0]
    assert not program.rounding["output"].exact


@pytest.mark.parametrize("step", [8e-303, 1e-312, 5e-324])
def test_codes_of_subnormal_steps_have_no_scale_beside_a_threshold(step: float) -> None:
    weight = Weight(np.full((3, 8), 127, np.int32), scale=np.asarray(step), bits=8)
    with pytest.raises(LoweringRefused, match=r"its threshold takes \d\.\d+e\+\d+ at") as caught:
        lower(network(np.ones(3), weight), load_target("loihi2"))
    assert (caught.value.code, caught.value.where) == ("states-too-narrow", "output")


def test_a_finer_projection_beside_a_larger_one_keeps_its_grid() -> None:
    """Weights of 1/8 and of 1/16 into neurons that count graded spikes: no sum drops a fraction."""
    rng = np.random.default_rng(3)
    fields = {"leak": 1.0, "reset": "subtract", "spikes_per_step": "many", "compare": ">="}
    net = Network(
        (inputs((14,)), inputs((5,), "second"), lif("output", (6,), "output", **fields)),
        (
            project("coarse", "input", "output", Dense(6, 14), rng.integers(-8, 9, (6, 14)) / 8),
            project("fine", "second", "output", Dense(6, 5), rng.integers(-8, 9, (6, 5)) / 16),
        ),
    ).verify()
    program = lower(net, load_target("loihi2"))
    assert program.rounding["output"].weight == 0
    shapes = {"input": (14,), "second": (5,)}
    data = {n: rng.integers(0, 3, (20, 8, *shape)) for n, shape in shapes.items()}
    trained = run_float(net, data, dtype="float64").spikes["output"]
    assert trained.any()
    np.testing.assert_array_equal(run_integer(program, data).spikes["output"], trained)


@pytest.mark.parametrize(("size", "bits"), [(5e-6, 8), (2e-6, 7), (1e-6, 6), (1e-7, 3)])
def test_small_weights_beside_a_threshold_have_as_many_bits_as_states_leave(
    size: float, bits: int
) -> None:
    """With so many, the threshold is within the registers; what it costs is stated."""
    weight = size * np.random.default_rng(0).uniform(-1, 1, (3, 8))
    program = lower(network(np.ones(3), weight), load_target("loihi2"))
    found = [f for f in program.findings if f.code == "weights-coarse"]
    assert [f.where for f in found] == (["output"] if bits < 8 else [])
    assert all(f"rounded to {bits} bits" in f.message for f in found)
    assert 2 ** (bits - 2) < np.abs(program.synapses[0].mantissa).max() <= 2 ** (bits - 1)
    assert program.group("output").vth.max() < 2**17
    assert not program.rounding["output"].exact


@pytest.mark.parametrize("leak", [0.999, 0.9973])
def test_slow_leaks_keep_their_rate(leak: float) -> None:
    """Dropped fractions are small beside the threshold, and what a leak loses is told."""
    rng = np.random.default_rng(5)
    net = network(np.ones(6), rng.uniform(0, 0.02, (6, 8)), 1.0, leak=leak)
    program = lower(net, load_target("loihi2"), steps=500)
    x = (rng.random((500, 4, 8)) < 0.3).astype(np.int64)
    trained = run_float(net, x.astype(float), dtype="float64").spikes["output"].sum()
    held = run_integer(program, x).spikes["output"].sum()
    assert trained > 100
    assert abs(int(held) - trained) <= 0.02 * trained
    rounding = program.rounding["output"]
    assert 0 < rounding.truncation < 0.01
    drift = rounding.leak * min(500, 1 / (1 - leak))
    assert bool([f for f in program.findings if f.code == "leak-coarse"]) == (drift > 0.02)


def test_leaks_that_have_a_constant_keep_it() -> None:
    for leak, dv in ((0.875, 512), (0.5, 2048), (1.0, 0), (1 - 3 / 4096, 3)):
        program = lower(network(np.ones(3), leak=leak), load_target("loihi2"))
        assert int(program.group("output").dv) == dv


def test_thresholds_may_grow_to_sixteen_times_the_largest() -> None:
    """Of channels, however many neurons each has."""
    powers, threshold = np.array([0, 9, 2, 9]), np.array([1.0, -0.25, 0.5, 2.0]).reshape(4, 1, 1)
    family = family_of(load_target("loihi2"))
    assert _held(powers, threshold, (4, 3, 3), family).tolist() == [0, 7, 2, 4]
    assert _held(powers, threshold[:, 0, 0], (4,), family).tolist() == [0, 7, 2, 4]
    within = np.array([[1.0, 0.5], [0.25, 0.25]])  # the largest of a row counts
    assert _held(np.array([9, 9]), within, (2, 2), family).tolist() == [4, 6]
