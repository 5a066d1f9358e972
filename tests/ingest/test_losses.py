"""What exporters lose is told: where the graph shows it, and as a possibility where it cannot."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest
import torch

from snndeploy import live
from snndeploy.errors import InputError, UsageError
from snndeploy.ingest import read_model, read_network
from snndeploy.ingest.readers.foreign import LIVE
from snndeploy.ingest.semantics.losses import ABOUT_EXPORTERS
from snndeploy.pipeline.opening import kind_of
from tests.support.nir_graphs import chain, full, graph, lif

ROCKPOOL = {"maybe-lost-recurrence": "w_rec", "maybe-lost-bias": "bias of its neurons"}
MARKED = {
    "rockpool_rec": ROCKPOOL,
    "rockpool_bias": ROCKPOOL,
    "sinabs_lif_syn": {"maybe-lost-tau-syn": "drops tau_syn: if 1, 4, 7 had"},
    "norse_mlp_lifbox": {
        "norse-tau": "multiplies tau by dt",
        "maybe-lost-v-reset": "drops v_reset: if that of",
    },
}
SILENT = ("snntorch_synaptic_mlp_default", "sinabs_iaf_default", "spikingjelly_residual_add")


@pytest.mark.parametrize("case", MARKED)
def test_marked_cases_are_warned_of(case: str, shared_data: Path) -> None:
    reading = read_model(shared_data / "nir_exports" / f"{case}.nir")
    lost = [f for f in reading.findings if f.code in ABOUT_EXPORTERS]
    assert {f.code for f in lost} == set(MARKED[case])
    for finding in lost:
        assert finding.severity == "warning"
        assert MARKED[case][finding.code] in finding.message
        may = finding.code.startswith("maybe")
        assert may == (" if " in finding.message)


@pytest.mark.parametrize("case", SILENT)
def test_nothing_lost_nothing_said(case: str, shared_data: Path) -> None:
    found = read_model(shared_data / "nir_exports" / f"{case}.nir").findings
    assert not [f for f in found if f.code in ABOUT_EXPORTERS]


def test_a_lost_residual_edge_is_named_as_the_cause(shared_data: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_network(shared_data / "nir_exports" / "snntorch_residual_add.nir")
    assert caught.value.code == "lost-edge"
    assert caught.value.message == (
        "edges were lost: nir invented this input for 'fc3', because the exporter lost the edges into "
        "it, and 'l2' and 'l3' lead to the output at once; snnTorch does that to residual additions; "
        "so 'l3' delivers (5,) to this Output, which has (16,)"
    )
    assert str(caught.value.where).endswith("input_fc3")
    assert caught.value.hint.endswith("snndeploy.from_snntorch(module, sample)")
    assert "add the edges" in caught.value.hint


@pytest.mark.parametrize(
    ("frontend", "said"),
    [
        ("norse", "no exporter: snndeploy.from_norse(module, sample)"),
        ("spikingjelly", "no exporter: snndeploy.from_spikingjelly(module, sample)"),
        (
            "rockpool",
            "no exporter: snndeploy.from_snntorch(module, sample)  # or from_norse, from_sinabs, "
            "from_spikingjelly",
        ),
    ],
)
def test_who_lost_an_edge_is_pointed_to_the_reader_of_his_framework(
    frontend: str, said: str
) -> None:
    nodes = {"a": nir.Linear(np.ones((4, 3))), "n": lif(4), "b": nir.Linear(np.ones((2, 5)))}
    nodes["m"] = lif(2)
    edges = [("input", "a"), ("a", "n"), ("n", "output"), ("input_b", "b"), ("b", "m")]
    model = graph(nodes, [*edges, ("m", "output")], {"input": 3, "input_b": 5})
    with pytest.raises(InputError) as caught:
        read_network(model, frontend, dt=1e-3)
    assert caught.value.code == "lost-edge"
    assert caught.value.hint is not None
    assert caught.value.hint.endswith(said)
    assert "snnTorch" not in caught.value.message


def test_every_reader_of_live_modules_is_known() -> None:
    readers = {name.removeprefix("from_") for name in live.__all__}
    assert set(LIVE) == readers - {"relu"}


def test_a_live_module_where_a_model_is_asked_for() -> None:
    class Net(torch.nn.Module):
        """A part of it says who made it."""

        def __init__(self) -> None:
            super().__init__()
            cell = type("LIFBoxCell", (torch.nn.Module,), {"__module__": "norse.torch.module.lif"})
            self.cells = torch.nn.Sequential(torch.nn.Linear(2, 2), cell())

    with pytest.raises(InputError) as caught:
        kind_of(Net())
    assert caught.value.code == "model-foreign"
    assert caught.value.hint is not None
    assert "network = snndeploy.from_norse(module, sample)" in caught.value.hint
    assert "from_snntorch" not in caught.value.hint


def test_a_lost_edge_whose_shapes_happen_to_fit() -> None:
    weight = np.eye(4, dtype=np.float32)
    nodes = {"a": nir.Linear(weight), "n": lif(4), "b": nir.Linear(weight), "m": lif(4)}
    edges = [
        ("input", "a"),
        ("a", "n"),
        ("n", "output"),
        ("input_b", "b"),
        ("b", "m"),
        ("m", "output"),
    ]
    model = graph(nodes, edges, {"input": 4, "input_b": 4})
    found = [f for f in read_model(model, "nir", dt=1e-3).findings if f.code != "assumed"]
    assert [f.code for f in found] == ["lost-edge"]
    assert "'n' and 'm' lead to the output" in found[0].message or "'m' and 'n'" in found[0].message


def test_an_only_input_is_no_lost_edge() -> None:
    """Whatever it is called: of one input nothing can have been invented."""
    weight = np.eye(4, dtype=np.float32)
    edges = [("input_b", "b"), ("b", "m"), ("m", "output")]
    model = graph({"b": nir.Linear(weight), "m": lif(4)}, edges, {"input_b": 4})
    assert "lost-edge" not in [f.code for f in read_model(model, "nir", dt=1e-3).findings]


def test_what_leads_to_the_output_is_named_where_it_is_several() -> None:
    weight = np.eye(4, dtype=np.float32)
    nodes = {"a": nir.Linear(weight), "n": lif(4), "b": nir.Linear(weight), "m": lif(4)}
    edges = [("input", "a"), ("a", "n"), ("n", "m"), ("input_b", "b"), ("b", "m"), ("m", "output")]
    model = graph(nodes, edges, {"input": 4, "input_b": 4})
    (found,) = [f for f in read_model(model, "nir", dt=1e-3).findings if f.code == "lost-edge"]
    assert "lead to the output" not in found.message


def test_an_average_pool_of_snntorch_may_have_had_padding() -> None:
    pool = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    model = chain((1, 4, 4), pool, lif((1, 2, 2), r=full((1, 2, 2), 100.0)))
    found = read_model(model, "snntorch", reset="zero").findings
    assert [f.code for f in found] == ["maybe-lost-padding"]
    assert "if n0 had padding, it is lost" in found[0].message
    assert found[0].message.endswith("--accept maybe-lost-padding")
    settled = {"reset": "zero", "accept": ("maybe-lost-padding",)}
    assert read_model(model, "snntorch", **settled).findings == ()  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="there is no possible loss 'maybe-lost'") as caught:
        read_model(model, "snntorch", accept=("maybe-lost",))
    assert caught.value.code == "accept-unknown"


def test_the_tau_that_norse_multiplied_is_the_first_of_the_node() -> None:
    tau = np.array([5e-5, 6e-5, 7e-5], np.float32)
    found = read_model(chain(3, lif(3, tau=tau, r=1.0)), "norse", dt=1e-6).findings
    (told,) = (f for f in found if f.code == "norse-tau")
    assert told.message.startswith("tau is 5e-05: Norse's exporter multiplies tau by dt")


@pytest.mark.parametrize(
    ("count", "listed"), [(1, "n0"), (4, "n0, n1, n2, n3"), (5, "n0, n1, n2, n3 and 1 more")]
)
def test_what_may_have_lost_something_is_named(count: int, listed: str) -> None:
    """Neurons alone, and no more than four of them."""
    weight = nir.Linear(np.eye(3, dtype=np.float32))
    names = [f"n{i}" for i in range(count)]
    model = chain(3, weight, *[lif(3) for _ in names], names=("fc", *names))
    found = {f.code: f.message for f in read_model(model, "rockpool", dt=1e-3).findings}
    assert f"(w_rec): if {listed} had any" in found["maybe-lost-recurrence"]
    assert f"of its neurons: if {listed} had one" in found["maybe-lost-bias"]
    found = {f.code: f.message for f in read_model(model, "sinabs").findings}
    assert f"drops tau_syn: if {listed} had a synaptic" in found["maybe-lost-tau-syn"]
    found = {f.code: f.message for f in read_model(model, "norse", dt=1e-3).findings}
    assert f"if that of {listed} was not 0" in found["maybe-lost-v-reset"]
    assert "norse-tau" not in found


def rockpool(edges: list[tuple[str, str]], nodes: dict[str, object]) -> set[str]:
    ends = [("input", "fc"), ("fc", "n"), ("n", "output")]
    weight = nir.Linear(np.eye(3, dtype=np.float32))
    model = graph({"fc": weight, **nodes}, [*ends, *edges], 3)
    return {f.code for f in read_model(model, "rockpool", dt=1e-3).findings} & set(ABOUT_EXPORTERS)


def test_what_was_added_is_not_missing() -> None:
    """Rockpool's exporter writes no loop: who has one has written it, and the bias with it."""
    assert rockpool([], {"n": lif(3)}) == {"maybe-lost-recurrence", "maybe-lost-bias"}
    loop = {"n": lif(3), "w": nir.Linear(np.eye(3, dtype=np.float32))}
    assert rockpool([("n", "w"), ("w", "n")], loop) == set()
    neurons = nir.IF(r=full(3, 1.0), v_threshold=full(3, 1.0), v_reset=full(3, 0.0))
    assert rockpool([], {"n": neurons}) == set()


def test_a_reset_that_some_neurons_have_was_not_lost() -> None:
    some = np.array([0.0, 0.5, 0.0], np.float32)
    for v_reset, lost in ((full(3, 0.0), True), (some, False)):
        neuron = lif(3)
        neuron.v_reset = v_reset
        found = {f.code for f in read_model(chain(3, neuron), "norse", dt=1e-3).findings}
        assert ("maybe-lost-v-reset" in found) == lost


@pytest.mark.parametrize(
    ("tau", "told"),
    [((1e-4, 1e-4, 1e-4), True), ((5e-5, 5e-5, 1e-2), False), ((5e-5, 5e-5, 1.01e-4), False)],
)
def test_norse_multiplied_every_tau_of_a_node_or_none(tau: tuple[float, ...], told: bool) -> None:
    """Up to 1e-4 of a second, which is a tenth of one times a dt of 1e-3."""
    model = chain(3, lif(3, tau=np.array(tau), r=1.0))
    found = {f.code for f in read_model(model, "norse", dt=1e-6).findings}
    assert ("norse-tau" in found) == told
