"""The probe finds the semantics of a recorded run, or says where the nearest one differs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from click.testing import CliRunner

from snndeploy.cli import main
from snndeploy.errors import InputError
from snndeploy.ingest import read_network
from snndeploy.simulate.float.engine import run_float
from snndeploy.verify import probe
from tests.support.commands import code_of
from tests.support.nir_graphs import chain, lif, written

EXACT = {
    "norse_mlp_lifbox": ("norse", {}),
    "rockpool_lif_maxspk1": ("rockpool", {"spikes_per_step": "one"}),
    "snntorch_synaptic_mlp_default": ("snntorch", {}),
    "spikingjelly_mlp_cubalif": ("spikingjelly", {}),
}


@pytest.mark.parametrize("case", EXACT)
def test_finds_the_profile_of_recorded_runs(case: str, shared_data: Path) -> None:
    folder = shared_data / "nir_exports"
    found = probe(folder / f"{case}.nir", folder / f"{case}.npz")
    assert found.exact
    assert (found.best.frontend, dict(found.best.overrides)) == EXACT[case]


def test_two_answers_away(shared_data: Path) -> None:
    """snnTorch that resets to zero, late: the file alone reads as subtract."""
    folder = shared_data / "nir_exports"
    case = "snntorch_rsynaptic_zero_delay"
    found = probe(folder / f"{case}.nir", folder / f"{case}.npz")
    assert found.exact
    network = read_network(folder / f"{case}.nir", "snntorch", reset="zero")
    ours = read_network(folder / f"{case}.nir", found.best.frontend, **dict(found.best.overrides))
    assert ours.digest == network.digest


def test_what_was_lost_cannot_be_found(shared_data: Path) -> None:
    folder = shared_data / "nir_exports"
    found = probe(folder / "rockpool_rec.nir", folder / "rockpool_rec.npz")
    assert not found.exact
    assert found.best.frontend == "rockpool"
    assert found.best.first is not None
    assert found.best.first.values[0] != found.best.first.values[1]
    assert found.best.layer in (found.best.differing or {})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    net = chain(6, nir.Linear(rng.normal(size=(8, 6)).astype(np.float32) * 2), lif(8))
    return written(tmp_path, net)


def recorded(model: Path, folder: Path, **options: Any) -> Path:
    network = read_network(model, "nir", dt=1e-3, **options)
    inputs = (np.random.default_rng(1).random((20, 1, 6)) < 0.5).astype(np.float32)
    output = run_float(network, inputs).spikes["n1"]
    np.savez(folder / "trace.npz", input=inputs[:, 0], output=output[:, 0], layer_gone=output)
    return folder / "trace.npz"


def test_neurons_that_differ_from_each_other(tmp_path: Path) -> None:
    """No profile is that of all; single nodes' answers are found, and read back."""
    own = {"n3": {"v_floor": "minus-threshold", "reset": "subtract"}, "n1": {"compare": ">="}}
    rng = np.random.default_rng(0)
    weights = [rng.integers(-4, 9, shape) / 4 for shape in ((8, 6), (5, 8))]
    first, last = (nir.Linear(w.astype(np.float32)) for w in weights)
    path = written(tmp_path, chain(6, first, _integrate(8), last, _integrate(5)))
    network = read_network(path, "nir", dt=1e-3, if_gain="unit", populations=own)
    inputs = (np.random.default_rng(1).random((60, 1, 6)) < 0.5).astype(np.float32)
    run = run_float(network, inputs).spikes
    trace = {"input": inputs, "output": run["n3"], "layer_n1": run["n1"]}
    fixed = {"dt": 1e-3, "if_gain": "unit"}
    found = probe(path, trace, **fixed)
    assert found.exact
    general, local = {}, {}
    for field, answer in found.best.overrides:
        node, of_one, key = field.rpartition(":")
        (local.setdefault(node, {}) if of_one else general)[key] = answer
    assert local
    again = read_network(path, found.best.frontend, **general, **fixed, populations=local)
    np.testing.assert_array_equal(run_float(again, inputs).spikes["n3"], run["n3"])


def _integrate(n: int) -> nir.IF:
    return nir.IF(r=np.ones(n), v_threshold=np.ones(n), v_reset=np.zeros(n))


def test_command(model: Path, tmp_path: Path) -> None:
    trace = recorded(model, tmp_path, reset="subtract")
    result = CliRunner().invoke(
        main, ["frontend", "probe", str(model), "--trace", str(trace), "--dt", "0.001"]
    )
    assert result.exit_code == 0, result.output
    said = r"exact: --frontend \w+ --semantics dt=0.001 --semantics reset=subtract\n"
    assert re.match(said, result.stdout)
    assert "layer_gone names no population and was not compared" in result.stderr
    with np.load(trace) as arrays:
        wrong = dict(arrays)
    wrong["output"] = 1 - wrong["output"]
    np.savez(trace, **wrong)
    arguments = ["frontend", "probe", str(model), "--trace", str(trace), "--dt", "0.001"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 6
    assert code_of(result) == "no-exact-profile"
    assert "  first in n1: step 0, sample 0, neuron" in result.stdout
    as_json = CliRunner().invoke(main, [*arguments, "--json"])
    assert as_json.exit_code == 6
    assert json.loads(as_json.stdout)["exact"] is False


def sinabs_with_a_floor(folder: Path) -> tuple[Path, Path]:
    """A file of Sinabs' exporter, whose gain and floor of v it does not hold, and a run of it."""
    rng = np.random.default_rng(0)
    weights = [rng.uniform(-1, 1, shape).astype(np.float32) * 5 for shape in ((24, 32), (6, 24))]
    cell = nir.LIF(*(np.array(v, np.float32) for v in (20, 1, 0, 1)))
    first, last = (nir.Affine(w, np.zeros(len(w), np.float32)) for w in weights)
    path = written(folder, chain(32, first, cell, last, cell))
    network = read_network(path, "sinabs", input_gain="ode", v_floor=-1.0)
    inputs = (rng.random((100, 1, 32)) < 0.3).astype(np.float32)
    run = run_float(network, inputs).spikes["n3"]
    assert run.sum() > 10
    np.savez(folder / "trace.npz", input=inputs, output=run)
    return path, folder / "trace.npz"


def test_a_framework_that_the_file_shows_is_followed_though_others_are_nearer(
    tmp_path: Path,
) -> None:
    """Gain and floor are two answers away, and the floor is a number of the network's own."""
    path, trace = sinabs_with_a_floor(tmp_path)
    found = probe(path, trace)
    assert found.exact
    assert (found.best.frontend, dict(found.best.overrides)) == (
        "sinabs",
        {"input_gain": "ode", "v_floor": -1.0},
    )


def test_a_framework_that_is_given_is_not_searched(tmp_path: Path) -> None:
    path, trace = sinabs_with_a_floor(tmp_path)
    base = ["frontend", "probe", str(path), "--trace", str(trace)]
    result = CliRunner().invoke(main, [*base, "--frontend", "sinabs", "--v-min", "-1"])
    assert result.exit_code == 0, result.output
    said = "exact: --frontend sinabs --semantics v_floor=-1.0 --semantics input_gain=ode\n"
    assert result.stdout.startswith(said)
    assert "so they are with" not in result.stdout
    only = probe(path, trace, "norse", dt=1e-3)
    assert {a.frontend for a in only.attempts} == {"norse"}
    assert not only.exact
    result = CliRunner().invoke(main, [*base, "--frontend", "sinab"])
    assert result.exit_code == 2
    assert code_of(result) == "unknown-frontend"


def test_other_fields_on_the_command_line(model: Path) -> None:
    base = ["inspect", str(model), "--frontend", "nir", "--dt", "0.001", "--json"]
    result = CliRunner().invoke(main, [*base, "--semantics", "v-floor=minus-threshold"])
    assert json.loads(result.stdout)["profile"]["v_floor"] == "minus-threshold"
    result = CliRunner().invoke(main, [*base, "--semantics", "max_spikes"])
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"] == {
        "code": "semantics-syntax",
        "message": "'max_spikes' is not [POPULATION:]FIELD=VALUE",
        "where": "--semantics",
        "hint": "for example --semantics input_gain=unit",
    }
    listed = CliRunner().invoke(main, ["frontend", "list"])
    assert "rockpool" in listed.stdout
    assert json.loads(CliRunner().invoke(main, ["frontend", "list", "--json"]).stdout)["sinabs"]


def test_traces_that_say_nothing(model: Path, tmp_path: Path) -> None:
    inputs, silent = np.ones((5, 6)), np.zeros((5, 8))
    for arrays, code, text in (
        ({"input": inputs}, "trace-content", "it holds no array 'output'"),
        ({"input": inputs, "output": silent}, "trace-silent", "nothing spikes in it"),
        ({"input": np.ones((5, 7)), "output": silent}, "trace-shape", "input has shape (5, 7)"),
        ({"input": inputs, "output": np.ones((4, 8))}, "trace-shape", "output has (4, 1) steps"),
    ):
        with pytest.raises(InputError) as caught:
            probe(model, arrays, dt=1e-3)
        assert caught.value.code == code
        assert text in caught.value.message
    with pytest.raises(InputError, match="no such file") as caught:
        probe(model, tmp_path / "gone.npz")
    assert caught.value.code == "trace-missing"
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    with pytest.raises(InputError, match="not a readable") as caught:
        probe(model, tmp_path / "bad.npz")
    assert caught.value.code == "trace-unreadable"


def test_a_model_that_no_frontend_reads(tmp_path: Path) -> None:
    net = chain(4, nir.Linear(np.ones((3, 5))), lif(3))
    with pytest.raises(InputError, match="no frontend can read the model: ") as caught:
        probe(written(tmp_path, net), {"input": np.ones((5, 4)), "output": np.ones((5, 3))})
    assert caught.value.code == "probe-unreadable"
