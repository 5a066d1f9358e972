"""NeuroBench's metrics of networks small enough to count by hand, and the CMOS proxy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from snndeploy.chip import arithmetic_models
from snndeploy.errors import InputError
from snndeploy.ir.network import Network, Role
from snndeploy.ir.ops import Dense, Reshape, SumPool
from snndeploy.measure.energy import Meter, estimate_arithmetic
from snndeploy.measure.neurobench import NeuroBenchMeter, neurobench
from snndeploy.simulate.float.engine import run_float
from snndeploy.simulate.recording import Recording
from tests.support.builders import conv, conv_net, inputs, lif, project, spikes
from tests.support.counted import small


def dense_net() -> Network:
    w = np.array([[0.5, 0, 1], [0, 0, 2.0]], np.float32)
    return Network(
        (inputs((3,)), lif("output", (2,), "output")),
        (project("fc", "input", "output", Dense(2, 3), w),),
    ).verify()


def recorded(x: list[list[int]], y: list[list[int]], v: list[list[float]]) -> Recording:
    def one_sample(values: list[list[float]] | list[list[int]]) -> np.ndarray:
        return np.array(values)[:, np.newaxis]

    return Recording(
        engine="hand",
        spikes={"input": one_sample(x), "output": one_sample(y)},
        v={"output": one_sample(v)},
    )


def test_a_dense_network_by_hand() -> None:
    run = recorded([[1, 1, 0], [0, 0, 1]], [[0, 1], [0, 0]], [[0.5, 0.0], [0.5, 0.0]])
    m = neurobench(dense_net(), run)
    assert m.connection_sparsity == 0.5
    assert m.activation_sparsity == 0.75
    assert m.dense == 2 * 6
    # input 0 has one weight that is not zero, input 1 none, input 2 two
    assert (m.effective_acs, m.effective_macs) == (1 + 0 + 2, 0)
    # both neurons in the first step; in the second neither changes
    assert m.membrane_updates == 2
    values = recorded([[3, 1, 0], [0, 0, 1]], [[0, 1], [0, 1]], [[0.5, 0.0], [0.25, 0.0]])
    m = neurobench(dense_net(), values)
    assert (m.effective_acs, m.effective_macs) == (0, 3)
    assert m.membrane_updates == 3


def test_batches_give_what_the_whole_run_gives() -> None:
    """Also where one batch makes a projection's inputs values for all of them."""
    net = conv_net()
    x = spikes(net, samples=7)
    x[:, 5] *= 2
    names = [p.name for p in net.populations if p.neuron is not None]
    meter = NeuroBenchMeter(net)
    for low in (0, 3, 6):
        meter.add(run_float(net, x[:, low : low + 3], record=names))
    whole = neurobench(net, run_float(net, x, record=names))
    assert meter.metrics() == whole
    assert whole.effective_macs > 0


def test_padding_and_pools_count_as_what_they_pass_on() -> None:
    op = conv(1, 1)
    net = Network(
        (inputs((1, 6, 6)), lif("output", (9,), "output")),
        (
            project(
                "c",
                "input",
                "output",
                [SumPool((2, 2), (2, 2)), op, Reshape((9,))],
                np.ones((1, 1, 3, 3), np.float32),
            ),
        ),
    ).verify()
    x = np.zeros((1, 1, 1, 6, 6), np.float32)
    x[..., 0, 0] = x[..., 2, 2] = 1  # a corner of the pooled 3x3 reaches 4 outputs, the centre 9
    m = neurobench(net, run_float(net, x))
    assert m.dense == 4 * 4 + 4 * 6 + 9
    assert (m.effective_acs, m.effective_macs) == (13, 0)
    x[..., 1, 1] = 1  # the corner's pool now holds 2: no longer binary
    m = neurobench(net, run_float(net, x))
    assert (m.effective_acs, m.effective_macs) == (0, 13)
    assert m.membrane_updates is None


def test_the_footprint_counts_zeros() -> None:
    net = dense_net()
    neuron = net.population("output").neuron
    assert neuron is not None
    parameters = sum(a.size for a in neuron.parameters().values())
    run = run_float(net, np.ones((1, 1, 3), np.float32))
    assert neurobench(net, run).footprint == 4 * (6 + parameters)


def test_an_incomplete_recording_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        neurobench(dense_net(), Recording(engine="x", spikes={"input": np.zeros((1, 1, 3))}))
    assert caught.value.code == "recording-incomplete"
    assert "output was not recorded\n  next: record all populations" in str(caught.value)


def test_the_cmos_proxy_adds_for_spikes_and_multiplies_for_the_conventional_network() -> None:
    program, _, recording = small()
    (model,) = arithmetic_models()
    estimate = estimate_arithmetic(program, Meter(program).measure(recording), model)
    assert estimate["45nm-cmos"].low == pytest.approx(11 * 0.9e-3)
    assert estimate["45nm-cmos-ann"].low == pytest.approx((6 + 6) * 4.6e-3)
    for one in estimate.values():
        assert one.certainty == "paper"
        assert any("memory" in text for text in one.not_counted)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("sizes", [(5, 4), (20, 12, 3), (9, 30, 30, 4)])
def test_the_neurobench_package_counts_the_same(sizes: tuple[int, ...]) -> None:
    """Every shared metric, from the package's own hooks on the same network in snnTorch."""
    pytest.importorskip("snntorch", reason="needs snntorch")
    workload = pytest.importorskip("neurobench.metrics.workload", reason="needs neurobench")
    import snntorch
    import torch
    from neurobench.metrics.static import ConnectionSparsity
    from neurobench.models import SNNTorchModel

    rng = np.random.default_rng(len(sizes))
    shapes = [(m, n) for n, m in pairwise(sizes)]
    weights = [(rng.integers(-4, 5, shape) / 8).astype(np.float32) for shape in shapes]
    populations = [inputs((sizes[0],))]
    projections, modules = [], []
    for i, w in enumerate(weights):
        name = "output" if w is weights[-1] else f"h{i}"
        role: Role = "output" if name == "output" else "hidden"
        projections.append(project(f"p{i}", populations[-1].name, name, Dense(*w.shape), w))
        populations.append(lif(name, (len(w),), role, leak=0.875, threshold=0.5, reset="none"))
        layer = torch.nn.Linear(w.shape[1], w.shape[0], bias=False)
        layer.weight.data = torch.tensor(w)
        modules += [
            layer,
            snntorch.Leaky(
                beta=0.875,
                threshold=0.5,
                init_hidden=True,
                reset_mechanism="none",
                output=name == "output",
            ),
        ]
    net = Network(tuple(populations), tuple(projections)).verify()
    x = (rng.random((6, 4, sizes[0])) < 0.4).astype(np.float32)
    ours = neurobench(net, run_float(net, x, record=[p.name for p in populations[1:]]))
    model = SNNTorchModel(torch.nn.Sequential(*modules))
    model.register_hooks()
    data = torch.tensor(x).transpose(0, 1)
    with torch.no_grad():
        answer = model(data)
    operations = workload.SynapticOperations()(model, answer, (data, None))
    assert operations == {
        "Effective_MACs": ours.effective_macs,
        "Effective_ACs": ours.effective_acs,
        "Dense": ours.dense,
    }
    sparsity = workload.ActivationSparsity()(model, answer, (data, None))
    assert sparsity == pytest.approx(ours.activation_sparsity)
    assert ConnectionSparsity()(model) == pytest.approx(ours.connection_sparsity, abs=1e-3)
    updates = workload.MembraneUpdates()(model, answer, (data, None))
    assert updates == pytest.approx(ours.membrane_updates)
