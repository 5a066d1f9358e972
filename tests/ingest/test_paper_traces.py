"""Published traces and real data: the NIR paper's test neuron on its platforms, and Braille by touch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy import read_network
from snndeploy.ir.arrays import Array, frozen
from snndeploy.ir.ops import Dense
from snndeploy.ir.program import CompartmentGroup, Program, SynapseGroup, SynapseSource
from snndeploy.ir.step import LOIHI
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.integer.engine import run_integer

ZERO_NOW: dict[str, Any] = {"reset": "zero", "reset_timing": "immediate"}
# frontend, its options, v in the column per v here, the column's delay in steps, tolerance of v
COLUMNS: dict[str, tuple[str, dict[str, Any], float, int, float]] = {
    "norse": ("norse", {"dt": 1e-4}, 1, 0, 1e-7),
    "snntorch": ("snntorch", ZERO_NOW, 25, 0, 1e-6),
    "spinnaker2": ("nir", {"dt": 1e-4}, 25, 0, 5e-4),  # it computes in fixed point
    "sinabs": ("sinabs", {"dt": 1e-4}, 1, 0, 0),
    "nengo": ("nir", {"dt": 1e-4, "integrator": "exp"}, 10, 0, 1e-6),
    "lava_cpu_float": ("lava", {}, 1, 1, 1e-7),
}


def column(shared_data: Path, name: str) -> Array:
    """Input, v and spikes over 1,000 steps."""
    path = shared_data / "nir_models" / "paper" / f"lif_{name}.csv"
    return np.loadtxt(path, delimiter=",")


def run(shared_data: Path, inputs: Array, frontend: str, **options: Any) -> tuple[Array, Array]:
    """v and spikes of the neuron."""
    model = shared_data / "nir_models" / "paper" / "lif_norse.nir"
    network = read_network(model, frontend, **options)
    found = run_float(network, inputs.reshape(-1, 1, 1), record=("1",))
    return found.v["1"].ravel(), found.spikes["1"].ravel()


@pytest.mark.parametrize("name", COLUMNS)
def test_membrane_and_spikes_of_every_platform(name: str, shared_data: Path) -> None:
    frontend, options, unit, late, tolerance = COLUMNS[name]
    inputs, v, spikes = column(shared_data, name).T
    ours_v, ours = run(shared_data, inputs, frontend, **options)
    end = len(v) - late
    np.testing.assert_array_equal(ours[:end], spikes[late:])
    np.testing.assert_allclose(ours_v[:end] * unit, v[late:], rtol=0, atol=tolerance)
    assert spikes.sum() == 4


def test_the_exact_solution(shared_data: Path) -> None:
    """Its spikes fall between steps, so v is comparable up to the first one."""
    inputs, v, spikes = column(shared_data, "exact").T
    ours_v, ours = run(shared_data, inputs, "nir", dt=1e-4, integrator="exp")
    np.testing.assert_array_equal(ours, spikes)
    first = int(np.flatnonzero(spikes)[0])
    np.testing.assert_allclose(ours_v[:first], v[:first], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "after_spike"), [("lava_cpu_fixed", 0), ("lava_loihi_fixed", 128)]
)
def test_loihis_fixed_point(name: str, after_spike: int, shared_data: Path) -> None:
    """Loihi 2's own registers; its importer chose the integers dv 163, weight 10, threshold 25."""
    inputs, v, spikes = column(shared_data, name).T
    neuron = CompartmentGroup(
        name="lif",
        shape=(1,),
        role="output",
        kind="lif",
        depth=1,
        dv=frozen(163, np.int64),
        vth=frozen(25, np.int64),
    )
    source = CompartmentGroup(name="input", shape=(1,), role="input", kind="input", depth=0)
    synapse = SynapseGroup(
        name="w",
        sources=(SynapseSource("input", frozen(1, np.int64)),),
        target="lif",
        ops=(Dense(1, 1),),
        mantissa=frozen([[10]], np.int64),
        exponent=0,
        sign_mode="excitatory",
        weight_bits=8,
    )
    program = Program(
        arithmetic=LOIHI, target="loihi2", groups=(source, neuron), synapses=(synapse,)
    ).verify()
    found = run_integer(program, inputs.astype(np.int64).reshape(-1, 1, 1), record_states=("lif",))
    ours = found.spikes["lif"].ravel()
    np.testing.assert_array_equal(ours[:-1], spikes[1:])
    shown = np.where(ours > 0, after_spike, found.v["lif"].ravel())
    np.testing.assert_array_equal(shown[:-1], v[1:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "reset", "accuracy"),
    [("bias_zero", "zero", 0.9637), ("noBias_subtract", "subtract", 0.9732)],
)
def test_braille_on_all_real_samples(
    model: str, reset: str, accuracy: float, shared_data: Path
) -> None:
    folder = shared_data / "nir_models"
    path = folder / "paper" / f"braille_noDelay_{model}.nir"
    network = read_network(path, reset=reset, reset_timing="immediate")
    with np.load(folder / "braille" / "braille_unique.npz", allow_pickle=False) as data:
        x, y = data["x"].swapaxes(0, 1).astype(np.float32), data["y"]
    found = run_float(network, x)
    right = found.predictions(network.with_role("output")[0].name) == y
    assert len(right) == 1158
    assert abs(right.mean() - accuracy) <= 0.001
