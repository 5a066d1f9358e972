"""Every framework's own spikes, recorded, against the ingested network in the float engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy.errors import InputError
from snndeploy.ingest import choose_profile, read_network, read_raw
from snndeploy.ir.network import Network
from snndeploy.simulate.float.engine import run_float
from tests.support.framework_cases import CASES, ZERO_NOW

# the parameters of an IF network with r = 1 fit Sinabs and Norse alike
UNDECIDED = {"norse_mlp_iaf"}
# the probes of single operators recorded no spikes, only that they export
PROBES = {"snntorch_op_groups", "snntorch_op_same_padding"}
# what the exporter dropped, no importer can bring back
LOSSY = {"rockpool_bias", "rockpool_rec", "sinabs_lif_syn"}
BROKEN = {"snntorch_residual_add"}


def differences(network: Network, recorded: Any, dtype: str = "float32") -> dict[str, int]:
    """Differing spikes per recorded layer, and in the output."""
    run = run_float(network, recorded["input"], dtype=dtype)  # type: ignore[arg-type]
    found = {}
    for key in recorded.files:
        layer = key.removeprefix("layer_")
        if key != layer:
            names = [n for n in (layer, f"_{layer}", f"{layer}.lif") if n in run.spikes]
            found[key] = int((run.spikes[names[0]] != recorded[key]).sum())
    output = network.with_role("output")[0].name
    found["output"] = int((run.spikes[output] != recorded["output"]).sum())
    return found


def test_every_case_is_accounted_for(shared_data: Path) -> None:
    listed = json.loads((shared_data / "nir_exports" / "cases.json").read_text())
    assert set(listed) == set(CASES) | PROBES | LOSSY | BROKEN
    noted = {name for name, case in listed.items() if "lost information" in case.get("note", "")}
    assert noted == LOSSY


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_matches_the_framework(case: str, dtype: str, shared_data: Path) -> None:
    frontend, overrides = CASES[case]
    folder = shared_data / "nir_exports"
    network = read_network(folder / f"{case}.nir", frontend, **overrides)
    with np.load(folder / f"{case}.npz", allow_pickle=False) as recorded:
        found = differences(network, recorded, dtype)
        assert recorded["output"].any()
    assert set(found.values()) == {0}, found


@pytest.mark.parametrize("case", sorted(set(CASES) - UNDECIDED))
def test_fingerprint_finds_the_framework(case: str, shared_data: Path) -> None:
    frontend, overrides = CASES[case]
    path = shared_data / "nir_exports" / f"{case}.nir"
    asked, _ = choose_profile(read_raw(path), frontend, overrides)
    found, why = choose_profile(read_raw(path), None, overrides)
    assert found == asked
    assert why
    assert (
        read_network(path, **overrides).digest == read_network(path, frontend, **overrides).digest
    )


@pytest.mark.parametrize("case", sorted(UNDECIDED))
def test_fingerprint_refuses_to_guess(case: str, shared_data: Path) -> None:
    with pytest.raises(InputError, match="fits sinabs and norse") as caught:
        read_network(shared_data / "nir_exports" / f"{case}.nir")
    assert caught.value.code == "semantics-ambiguous"


@pytest.mark.parametrize("case", sorted(PROBES))
def test_operators_export_and_run(case: str, shared_data: Path) -> None:
    folder = shared_data / "nir_exports"
    network = read_network(folder / f"{case}.nir")
    with np.load(folder / f"{case}.npz", allow_pickle=False) as recorded:
        run = run_float(network, recorded["input"])
        output = run.spikes[network.with_role("output")[0].name]
        assert output.shape[:2] == recorded["input"].shape[:2]


def test_a_lost_residual_edge_is_noticed(shared_data: Path) -> None:
    path = shared_data / "nir_exports" / "snntorch_residual_add.nir"
    with pytest.raises(InputError, match=r"'l3' delivers \(5,\) to this Output, which has \(16,\)"):
        read_network(path)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sinabs_on_a_real_digit(dtype: str, shared_data: Path) -> None:
    network = read_network(shared_data / "nir_models" / "paper" / "cnn_sinabs.nir")
    assert network.notes["frontend"] == "sinabs"
    path = shared_data / "nir_exports" / "cnn_sinabs_nmnist0.npz"
    with np.load(path, allow_pickle=False) as recorded:
        assert set(differences(network, recorded, dtype).values()) == {0}
        assert run_float(network, recorded["input"]).predictions("12").tolist() == [0]


BRAILLE = {
    "braille_noDelay_bias_zero": {"reset": "zero", "reset_timing": "immediate"},
    "braille_noDelay_noBias_subtract": {"reset": "subtract", "reset_timing": "immediate"},
}


@pytest.mark.parametrize(
    ("nested", "frontend", "dtype"), [(False, "norse", "float32"), (True, "snntorch", "float64")]
)
@pytest.mark.parametrize("model", BRAILLE)
def test_braille_through_norse(
    model: str, nested: bool, frontend: str, dtype: str, shared_data: Path
) -> None:
    """140 real samples, run by Norse; nirtorch lets the recurrent bias wait."""
    folder = shared_data / "nir_models"
    path = folder / f"{model}_subgraph.nir" if nested else folder / "paper" / f"{model}.nir"
    options = {**BRAILLE[model], "dt": 1e-4, "recurrent_delay": "nirtorch"}
    network = read_network(path, frontend, **options)
    recording = shared_data / "nir_exports" / f"{model}_norse140.npz"
    with np.load(recording, allow_pickle=False) as recorded:
        assert differences(network, recorded, dtype) == {"output": 0}


def test_recurrent_bias_waits_only_with_nirtorch(shared_data: Path) -> None:
    path = shared_data / "nir_models" / "paper" / "braille_noDelay_bias_zero.nir"
    here, behind = (
        read_network(path, recurrent_delay=d, **ZERO_NOW) for d in ("spikes", "nirtorch")
    )
    assert here.projections[0].target == "lif1.lif"
    loops = [next(p for p in n.projections if p.name == "lif1.w_rec") for n in (here, behind)]
    assert [loop.bias is None for loop in loops] == [True, False]
    both = here.population("lif1.lif").neuron, behind.population("lif1.lif").neuron
    assert all(neuron is not None for neuron in both)
    assert not np.array_equal(both[0].bias, both[1].bias)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("frontend", "model", "trace", "late", "options"),
    [
        ("nir", "lif_norse", "lif_exact", 0, {"dt": 1e-4}),
        ("norse", "lif_norse", "lif_norse", 0, {"dt": 1e-4}),
        ("spyx", "lif_norse", "lif_spyx", 1, {"dt": 1e-4, "input_gain": "ode"}),
        ("lava", "lif_norse", "lif_lava_cpu_float", 1, {}),
        ("rockpool", "lif_rockpool", "lif_rockpool", 0, {}),
    ],
)
def test_published_single_neuron(
    frontend: str, model: str, trace: str, late: int, options: dict[str, Any], shared_data: Path
) -> None:
    """The NIR paper's test neuron on the platforms whose traces it published (input, v, spikes)."""
    folder = shared_data / "nir_models" / "paper"
    published = np.loadtxt(folder / f"{trace}.csv", delimiter=",")
    network = read_network(folder / f"{model}.nir", frontend, **options)
    run = run_float(network, published[:, 0].reshape(-1, 1, 1))
    output = network.with_role("output")[0].name
    spikes = np.flatnonzero(run.spikes[output])
    np.testing.assert_array_equal(spikes + late, np.flatnonzero(published[:, 2]))
    assert spikes.size == 4


def test_nengo_feedback_graph(shared_data: Path) -> None:
    """A spiking population with a filter in its loop: the wait sits behind the spikes."""
    network = read_network(shared_data / "nir_models" / "feedback_graph.nir", "nir", dt=1e-3)
    waits = {p.name: [s.max_delay for s in p.sources] for p in network.projections}
    assert waits["feedback_weights"] == [1]
    assert [waits[n] for n in ("state_weights", "output_probe_conn_weights")] == [[0], [0]]
    run = run_float(network, np.zeros((20, 1, 3)))
    assert np.isfinite(run.spikes["output_probe"]).all()


DEMO_TRACE = Path(__file__).parents[1] / "golden" / "digits_snntorch.npz"
DEMO_MODEL = Path(__file__).parents[2] / "snndeploy" / "demo" / "digits.nir"


@pytest.mark.skipif(
    not (DEMO_TRACE.exists() and DEMO_MODEL.exists()), reason="the demo model is not there yet"
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_demo_model_matches_snntorch(dtype: str) -> None:
    network = read_network(DEMO_MODEL, "snntorch", reset="zero")
    with np.load(DEMO_TRACE, allow_pickle=False) as recorded:
        run = run_float(network, recorded["input"], dtype=dtype)  # type: ignore[arg-type]
        layers = [key for key in recorded.files if key.startswith("layer_")]
        assert layers
        for key in layers:
            np.testing.assert_array_equal(run.spikes[key.removeprefix("layer_")], recorded[key])
