"""What a file leaves open is told, measured, settled by a flag, or refused."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest

import snndeploy
from snndeploy.data import Samples
from snndeploy.errors import InputError
from snndeploy.ingest import read_model, read_network
from snndeploy.ir.finding import Finding
from snndeploy.pipeline.assumptions import weighed
from tests.support.nir_graphs import chain, graph, lif

SNNTORCH = {"tau": 1e-3, "r": 10.0}


def one(name: str, **fields: Any) -> nir.NIRGraph:
    """One LIF neuron per input, named ``name``, behind weights of 1, in float32 as from torch."""
    neuron = lif(2, **fields)
    for key in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
        setattr(neuron, key, getattr(neuron, key).astype(np.float32))
    return chain(2, nir.Linear(np.eye(2, dtype=np.float32)), neuron, names=("fc", name))


def assumed(findings: tuple[Finding, ...]) -> Finding | None:
    found = [f for f in findings if f.code == "assumed"]
    assert len(found) <= 1
    return found[0] if found else None


def flags(finding: Finding | None) -> list[str]:
    assert finding is not None
    return [fix.text for fix in finding.fixes]


@pytest.mark.parametrize(
    ("frontend", "fields", "options", "expected"),
    [
        (
            "snntorch",
            SNNTORCH,
            {},
            ["--reset zero", "--reset none", "--reset-timing snntorch-immediate"],
        ),
        ("snntorch", SNNTORCH, {"reset": "subtract"}, ["--reset-timing snntorch-immediate"]),
        ("norse", {"tau": 1e-2, "r": 1.0}, {"dt": 1e-3}, ["--reset subtract"]),
        (
            "sinabs",
            {"tau": 10.0, "r": 1.0},
            {},
            ["--reset zero", "--spikes-per-step one", "--semantics input_gain=ode"],
        ),
        ("spikingjelly", {"tau": 2e-3, "r": 1.0}, {}, ["--dt 0.001", "--dt 1e-05"]),
        ("spikingjelly", {"tau": 2e-3, "r": 20.0}, {}, []),
        ("norse", {"tau": 2e-6, "r": 1.0}, {"reset": "zero"}, ["--dt 1e-08"]),
        (
            "nir",
            {"tau": 1e-2, "r": 1.0, "v_leak": 0.5},
            {"dt": 1e-3},
            [
                "--integrator exp",
                "--reset subtract",
                "--spikes-per-step many",
                "--semantics v_init=rest",
            ],
        ),
    ],
)
def test_what_a_framework_leaves_open(
    frontend: str, fields: dict[str, float], options: dict[str, Any], expected: list[str]
) -> None:
    found = assumed(read_network(one("lif", **fields), frontend, **options).findings)
    assert ([] if found is None else flags(found)) == expected


def test_what_makes_no_difference_is_not_asked() -> None:
    """Reset zero of a Leaky acts at once either way; the reset of a readout is none at all."""
    assert assumed(read_network(one("lif", **SNNTORCH), "snntorch", reset="zero").findings) is None
    readout = chain(2, nir.LI(*(np.full(2, v) for v in (1e-3, 10.0, 0.0))), names=("li",))
    assert assumed(read_network(readout, "snntorch").findings) is None


def test_metadata_of_the_graph_and_of_nodes_decide() -> None:
    edges = [("input", "lif"), ("lif", "output")]
    whole = graph({"lif": lif(2, **SNNTORCH)}, edges, 2, metadata={"reset": "hard"})
    assert assumed(read_network(whole, "snntorch").findings) is None
    node = lif(2, **SNNTORCH)
    node.metadata = {"reset_mechanism": "soft", "reset_timing": "snntorch-immediate"}
    told = read_network(graph({"lif": node}, edges, 2), "snntorch")
    assert assumed(told.findings) is None
    neuron = told.population("lif").neuron
    assert neuron is not None
    assert (neuron.reset, neuron.reset_timing) == ("subtract", "snntorch-immediate")
    neuron = read_network(graph({"lif": node}, edges, 2), "snntorch", reset="zero").population(
        "lif"
    )
    assert neuron.neuron is not None
    assert neuron.neuron.reset == "zero"  # what the user says wins


def test_strict_refuses_and_names_the_flags() -> None:
    with pytest.raises(InputError) as caught:
        read_network(one("lif", **SNNTORCH), "snntorch", strict=True)
    assert caught.value.code == "semantics-assumed"
    assert "reset (would be subtract)" in caught.value.message
    assert caught.value.hint == "say it: --reset subtract --reset-timing snntorch-delayed"
    assert read_network(one("lif", **SNNTORCH), "snntorch", strict=True, reset="zero")


def test_the_stakes_are_counted_on_the_samples() -> None:
    """Leak 0.9, threshold 1, input 0.7 for 4 steps: v is 0.7, 1.33, then 0.7 or 0.9 * 1.33 - 1 + 0.7.

    With reset zero it fires at step 1 and 3, with subtraction (delayed) at 1 and 3 too; without a reset
    at 1, 2 and 3. Two neurons get the same, of 2 neurons x 4 steps = 8 outputs.
    """
    reading = read_model(one("lif", **SNNTORCH), "snntorch")
    x = np.full((4, 1, 2), 0.7, np.float32)
    found = assumed(weighed(reading, Samples(x)).findings)
    assert found is not None
    effect = {fix.text: fix.effect for fix in found.fixes}
    assert effect["--reset zero"] == (
        "0 of 8 outputs of neurons differ, and 0 of 1 answers, on the first 1 of the samples"
    )
    assert effect["--reset none"].startswith("2 of 8 outputs of neurons differ, and 0 of 1 answers")
    unmeasured = assumed(reading.findings)
    assert unmeasured is not None
    assert {fix.effect for fix in unmeasured.fixes} == {""}
    random = assumed(weighed(reading).findings)
    assert random is not None
    assert all(f.effect.endswith("on random spikes (no data were given)") for f in random.fixes)


def test_findings_follow_the_network_to_the_end() -> None:
    model = one("lif", **SNNTORCH)
    for given, frontend in ((model, "snntorch"), (read_network(model, "snntorch"), None)):
        compiled = snndeploy.compile(given, frontend=frontend, recipe=None)
        found = assumed(compiled.findings)
        assert found is not None
        assert found.severity == "warning"
        report = snndeploy.report_of(compiled)
        record = next(f for f in report["findings"] if f["code"] == "assumed")
        assert record["rule"] == (
            "to confirm what was taken: --reset subtract --reset-timing snntorch-delayed"
        )
        assert snndeploy.bundle_of(compiled).report["findings"] == report["findings"]
    with pytest.raises(InputError, match="the file does not say reset"):
        snndeploy.compile(model, frontend="snntorch", recipe=None, semantics={"strict": True})
