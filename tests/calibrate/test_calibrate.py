"""Calibration: moments against enumeration, simulation and autograd; chunks change nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from snndeploy.calibrate.maps import read_places
from snndeploy.calibrate.moments import (
    Moments,
    filtered,
    gather,
    gather_joint,
    moments_of_trains,
    rows,
)
from snndeploy.calibrate.stream import prefix, stream
from snndeploy.errors import InputError
from snndeploy.ir.arrays import Array
from snndeploy.ir.linear.float_chain import float_chain
from snndeploy.ir.network import Network, Projection
from snndeploy.ir.ops import Conv, Dense, Pointwise, Reshape, SumPool
from snndeploy.ir.weights import Weight
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import (
    ZOO,
    chain_net,
    conv,
    conv_net,
    grouped_net,
    inputs,
    lif,
    project,
    recurrent_net,
    spikes,
    weights,
)

KERNELS = ("current", "membrane", "long", "double", "integrator")


def response_matrix(steps: int, leak: float, syn_leak: float | None, kernel: str) -> Array:
    """M written out, entry by entry, from the step equations."""

    def one(a: float) -> Array:
        t = np.arange(steps)
        return np.where(t[:, None] >= t, a ** np.maximum(t[:, None] - t, 0.0), 0.0)

    if kernel == "current":
        return np.eye(steps)
    if kernel == "integrator":
        return np.tril(np.ones((steps, steps)))
    m = one(1 - (1 - leak) / 4 if kernel == "long" else leak)
    if syn_leak is not None:
        m = m @ one(syn_leak)
    return m @ m if kernel == "double" else m


def measured_loss(
    net: Network, p: Projection, change: Array, x: dict[str, Array], kernel: str = "membrane"
) -> float:
    """Σ |M (dW x)|² over everything: delays by indexing, operators by torch, M as matrices."""
    target = net.population(p.target)
    neuron = target.neuron
    assert neuron is not None
    steps, samples = next(iter(x.values())).shape[:2]
    arriving = np.zeros((steps, samples, *net.source_shape(p)))
    for source in p.sources:
        delay = np.broadcast_to(source.delay, net.source_shape(p))
        for t in range(steps):
            for index in np.ndindex(*delay.shape):
                if t >= delay[index]:
                    arriving[(t, slice(None), *index)] += x[source.population][
                        (t - delay[index], slice(None), *index)
                    ]
    flat = torch.tensor(arriving.reshape(-1, *net.source_shape(p)))
    current = float_chain(p.ops, torch.tensor(change), flat).numpy()
    current = current.reshape(steps, samples, *target.shape)
    leak = np.broadcast_to(neuron.leak, target.shape)
    syn = None if neuron.syn_leak is None else np.broadcast_to(neuron.syn_leak, target.shape)
    total = 0.0
    for index in np.ndindex(*target.shape):
        m = response_matrix(
            steps, float(leak[index]), None if syn is None else float(syn[index]), kernel
        )
        total += float(np.square(m @ current[(slice(None), slice(None), *index)]).sum())
    return total


def predicted_loss(p: Projection, change: Array, m: Moments) -> float:
    """1/2 tr dW H dW^T, times the samples and positions."""
    d = rows(p, change)
    h = m.hessian[m.group]
    return float(np.einsum("ri,rij,rj->", d, h, d)) / 2 * m.count


# --- M ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leak", [0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("syn_leak", [None, 0.0, 0.75])
def test_filtered_current_is_the_membrane_without_reset(
    leak: float, syn_leak: float | None
) -> None:
    rng = np.random.default_rng(1)
    net = chain_net([rng.normal(size=(5, 7))])
    population = lif("output", (5,), "output", leak=leak, syn_leak=syn_leak, reset="none")
    net = net.replace(populations=[population])
    x = rng.integers(0, 3, (12, 4, 7))
    run = run_float(net, x, dtype="float64", record=["output"])
    v = filtered(x, leak, syn_leak) @ net.projections[0].weight.data.T
    np.testing.assert_allclose(v, run.v["output"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("syn_leak", [None, 0.6])
def test_every_kernel_is_its_matrix(kernel: str, syn_leak: float | None) -> None:
    x = np.random.default_rng(0).normal(size=(9, 2, 3))
    m = response_matrix(9, 0.7, syn_leak, kernel)
    expected = np.einsum("ts,sij->tij", m, x)
    np.testing.assert_allclose(filtered(x, 0.7, syn_leak, kernel), expected, atol=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("kernel", KERNELS)
def test_hessian_is_autograds_on_the_network_without_reset(kernel: str) -> None:
    rng = np.random.default_rng(3)
    net = chain_net([rng.normal(size=(1, 4))])
    net = net.replace(populations=[lif("output", (1,), "output", syn_leak=0.5)])
    x = rng.integers(0, 2, (6, 5, 4)).astype(np.float64)
    m = torch.tensor(response_matrix(6, 0.875, 0.5, kernel))
    target = torch.einsum(
        "ts,sbi,i->tb", m, torch.tensor(x), torch.tensor(net.projections[0].weight.data[0])
    )

    def loss(w: torch.Tensor) -> torch.Tensor:
        out = torch.einsum("ts,sbi,i->tb", m, torch.tensor(x), w)
        return (out - target).square().sum() / x.shape[1]

    expected = torch.autograd.functional.hessian(loss, torch.zeros(4, dtype=torch.float64))
    found = gather(net, x, kernel=kernel)["fc1"]  # type: ignore[arg-type]
    np.testing.assert_allclose(found.hessian[0], expected.numpy(), rtol=1e-12)


# --- the quadratic form, for every structure ------------------------------------------------------


@pytest.mark.parametrize("factory", ZOO)
def test_predicted_loss_is_the_measured_one(factory: Callable[..., Network]) -> None:
    net = factory()
    x = spikes(net, steps=6, samples=2)
    run = run_float(net, x, dtype="float32").spikes
    rng = np.random.default_rng(0)
    found = gather(net, x)
    for p in net.projections:
        change = rng.normal(size=p.weight.shape)
        measured = measured_loss(net, p, change, dict(run))
        assert predicted_loss(p, change, found[p.name]) == pytest.approx(measured, rel=1e-10)


def test_a_pool_after_the_convolution_is_part_of_it() -> None:
    rng = np.random.default_rng(0)
    op = conv(2, 3)
    net = Network(
        (inputs((2, 6, 6)), lif("output", (3, 3, 3), "output")),
        (
            project(
                "c", "input", "output", [op, SumPool((2, 2), (2, 2))], weights(rng, (3, 2, 3, 3))
            ),
        ),
    ).verify()
    x = spikes(net, steps=5, samples=2)
    change = rng.normal(size=(3, 2, 3, 3))
    found = gather(net, x)["c"]
    assert found.count == 2 * 9
    measured = measured_loss(net, net.projections[0], change, {"input": x})
    assert predicted_loss(net.projections[0], change, found) == pytest.approx(measured, rel=1e-10)


def test_one_dimensional_dilated_convolution() -> None:
    rng = np.random.default_rng(0)
    op = Conv(3, 2, (3,), (2,), ((1, 2),), (2,))
    length = op.out_shape((2, 11))[1]
    net = Network(
        (inputs((2, 11)), lif("output", (3, length), "output")),
        (project("c", "input", "output", op, rng.normal(size=(3, 2, 3))),),
    ).verify()
    x = spikes(net, steps=5, samples=3)
    change = rng.normal(size=(3, 2, 3))
    measured = measured_loss(net, net.projections[0], change, {"input": x})
    found = gather(net, x)["c"]
    assert predicted_loss(net.projections[0], change, found) == pytest.approx(measured, rel=1e-10)


def test_groups_follow_grouped_convolutions_and_leaks() -> None:
    net = grouped_net()
    found = gather(net, spikes(net))
    assert found["dw"].hessian.shape == (4, 9, 9)
    assert found["dw"].group.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert found["gr"].hessian.shape == (2, 36, 36)
    assert found["wire"].hessian.shape == (1, 1, 1)
    loop = recurrent_net()
    leaks = np.unique(np.asarray(loop.population("h").neuron.leak))  # type: ignore[union-attr]
    assert gather(loop, spikes(loop))["loop"].hessian.shape[0] == len(leaks)


def test_many_different_leaks_are_binned() -> None:
    net = chain_net([np.ones((40, 3)), np.ones((2, 40))])
    leaks = np.linspace(0.5, 0.99, 40)
    net = net.replace(populations=[lif("h1", (40,), leak=leaks)])
    found = gather(net, spikes(net), ["fc1"])["fc1"]
    assert found.hessian.shape == (8, 3, 3)
    # Longer memory, larger moments, bin by bin.
    assert (np.diff(found.hessian[:, 0, 0]) > 0).all()
    assert (np.diff(found.group) >= 0).all()


# --- chunks, positions, references ----------------------------------------------------------------


def test_results_do_not_depend_on_chunks_and_blocks() -> None:
    net = conv_net()
    x = spikes(net, steps=7, samples=5)
    whole = gather(net, x, positions=9)
    for max_memory in (1, 1 << 16):
        parts = gather(net, x, positions=9, max_memory=max_memory)
        for name, m in whole.items():
            assert parts[name].count == m.count
            np.testing.assert_allclose(parts[name].hessian, m.hessian, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(parts[name].mean, m.mean, rtol=1e-12, atol=1e-12)


def test_all_positions_drawn_is_no_draw() -> None:
    net = conv_net()
    x = spikes(net)
    some, every = gather(net, x, positions=10), gather(net, x)
    assert some["conv1"].count == 30
    assert every["conv1"].count == 3 * 64
    scale = np.trace(some["conv1"].hessian[0]) / np.trace(every["conv1"].hessian[0])
    assert 0.7 < scale < 1.4
    full = gather(net, x, positions=64)["conv1"]
    np.testing.assert_array_equal(full.hessian, every["conv1"].hessian)


def test_the_same_reference_gives_the_hessian_again() -> None:
    net = conv_net()
    found = gather(net, spikes(net), reference=net)
    for m in found.values():
        np.testing.assert_allclose(m.cross, m.hessian, rtol=1e-12, atol=1e-12)


def test_cross_moment_pairs_both_networks() -> None:
    net = chain_net([np.full((4, 3), 0.5), np.ones((2, 4))])
    other = net.map_projections(
        lambda p: dataclasses.replace(p, weight=Weight(p.weight.data * 0.6))
    )
    x = spikes(net, steps=6, samples=2)
    m = gather(other, x, ["fc2"], reference=net)["fc2"]
    mine = filtered(run_float(other, x).spikes["h1"], 0.875, None).reshape(-1, 4)
    dense = filtered(run_float(net, x).spikes["h1"], 0.875, None).reshape(-1, 4)
    assert (mine != dense).any()
    assert m.cross is not None
    np.testing.assert_allclose(m.cross[0], 2 * mine.T @ dense / 2, rtol=1e-12)
    np.testing.assert_allclose(m.hessian[0], 2 * mine.T @ mine / 2, rtol=1e-12)
    np.testing.assert_allclose(m.mean[0], mine.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize(("padding", "silent"), [(0, 0), (1, 0), (0, 2), (1, 3)])
def test_moments_by_way_of_the_map_are_those_of_its_windows(
    padding: int, silent: int, loops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overlapping windows on a small map: the same numbers both ways, in chunks and with a reference.

    Some places of the map never spike, in one of the networks or in both.
    """
    rng = np.random.default_rng(padding)
    op = Conv(5, 2, (4, 4), (1, 1), ((padding, padding), (0, 0)), (1, 1), 1)
    shape = op.out_shape((2, 6, 6))
    net = Network(
        (inputs((2, 6, 6)), lif("a", (2, 6, 6)), lif("output", shape, "output", leak=0.7)),
        (
            project("pass", "input", "a", Pointwise((2, 6, 6), (2, 6, 6)), np.ones((2, 6, 6))),
            project("conv", "a", "output", op, rng.normal(size=op.weight_shape)),
        ),
    ).verify()
    weaker = 0.6 * np.ones((2, 6, 6))
    weaker[1, :2] = 0  # silent in one of both networks
    other = net.replace(
        projections=[dataclasses.replace(net.projections[0], weight=Weight(weaker))]
    )
    x = {"input": spikes(net, padding, 5, 7)}
    x["input"][:, :, 0, :, :silent] = 0
    if not loops:
        monkeypatch.setattr("snndeploy.calibrate.maps.has_numba", lambda: False)
    places = read_places(net.projections[1], (2, 6, 6))
    assert places is not None
    assert (places.max() == 72) == bool(padding)
    short = gather(net, x, ["conv"], reference=other)["conv"]
    pieces = gather(net, x, ["conv"], reference=other, max_memory=1 << 20)["conv"]
    monkeypatch.setattr("snndeploy.calibrate.sums.read_places", lambda *_: None)
    long = gather(net, x, ["conv"], reference=other)["conv"]
    assert short.cross is not None
    assert long.cross is not None
    assert np.abs(long.cross - long.hessian).max() > 0.1
    for found in (short, pieces):
        np.testing.assert_allclose(found.hessian, long.hessian, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found.cross, long.cross, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found.mean, long.mean, rtol=1e-12, atol=1e-12)
        assert found.count == long.count


@pytest.mark.parametrize(("side", "copies"), [(2, 1), (11, 1), (12, 1), (8, 3), (16, 200)])
def test_pools_of_full_bytes_are_counted_without_an_overflow(side: int, copies: int) -> None:
    """Sums that pass a byte, and those that pass two of them."""
    shape = (1, side, side)
    ops = (SumPool((side, side), (side, side)), Reshape((1,)), Dense(1, 1))
    net = Network(
        (inputs(shape), lif("output", (1,), "output")),
        (project("w", "input", "output", ops, np.ones((1, 1))),),
    )
    p = net.projections[0]
    net = net.replace(projections=[dataclasses.replace(p, sources=p.sources * copies)])
    full = np.full((1, 1, *shape), 255, np.uint8)
    found = moments_of_trains(net, {"input": full}, "w", kernel="current")
    assert found.mean.tolist() == [[255 * side * side * copies]]


def test_joint_moments_hold_both_projections() -> None:
    net = recurrent_net()
    flat = lif("h", (8,), leak=0.75, syn_leak=0.5)
    net = net.replace(populations=[flat])
    x = spikes(net)
    joint = gather_joint(net, x, ["fc_in", "loop"])
    alone = gather(net, x, ["fc_in", "loop"])
    assert joint.hessian.shape == (1, 14, 14)
    np.testing.assert_allclose(joint.hessian[0, :6, :6], alone["fc_in"].hessian[0], rtol=1e-12)
    np.testing.assert_allclose(joint.hessian[0, 6:, 6:], alone["loop"].hessian[0], rtol=1e-12)
    assert np.abs(joint.hessian[0, :6, 6:]).max() > 0


def test_the_stream_is_the_run_in_pieces() -> None:
    net = conv_net()
    x = spikes(net, samples=5)
    whole = run_float(net, x, record=["s2"])
    chunks = list(stream(net, x, record=["s2"], max_memory=1))
    assert [(c.start, c.stop) for c in chunks] == [(i, i + 1) for i in range(5)]
    for name, train in whole.spikes.items():
        parts = [c.recording.spikes[name] for c in chunks]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), train)
    v = np.concatenate([c.recording.v["s2"] for c in chunks], axis=1)
    np.testing.assert_allclose(v, whole.v["s2"], rtol=1e-6)


def test_a_prefix_runs_only_what_matters() -> None:
    net = conv_net()
    part = prefix(net, ["s2"])
    assert [p.name for p in part.populations] == ["input", "s1", "s2"]
    assert [p.name for p in part.projections] == ["conv1", "conv2"]
    loop = prefix(recurrent_net(), ["h"])
    assert [p.name for p in loop.projections] == ["fc_in", "loop", "self"]


def test_inputs_that_do_not_fit_are_refused() -> None:
    net = conv_net()
    with pytest.raises(InputError) as caught:
        gather(net, np.zeros((4, 2, 9)))
    assert caught.value.code == "input-shape"


def test_progress_counts_samples() -> None:
    net = conv_net()
    told: list[tuple[int, int]] = []
    gather(net, spikes(net), ["fc2"], max_memory=1, progress=lambda a, b: told.append((a, b)))
    assert told == [(1, 3), (2, 3), (3, 3)]


# --- what M does to the statistics ----------------------------------------------------------------


def test_white_inputs_weigh_the_mean_by_the_memory() -> None:
    rng = np.random.default_rng(0)
    tau, steps, d = 4.0, 400, 5
    rate = rng.uniform(0.1, 0.6, d)
    x = (rng.random((steps, 60, d)) < rate).astype(np.float64)
    y = filtered(x, 1 - 1 / tau, None)[50:].reshape(-1, d) / tau
    measured = y.T @ y / len(y)
    # (2 tau - 1) (H_smp) = (2 tau - 1) mu mu^T + Sigma in the steady state
    expected = np.outer(rate, rate) + np.diag(rate * (1 - rate)) / (2 * tau - 1)
    np.testing.assert_allclose(measured, expected, atol=0.01)


def test_constant_inputs_make_every_kernel_proportional() -> None:
    net = chain_net([np.ones((2, 6))])
    image = np.random.default_rng(0).random((1, 7, 6))
    x = np.repeat(image, 5, axis=0)
    plain = gather(net, x, kernel="current")["fc1"].hessian
    own = gather(net, x)["fc1"].hessian
    ratio = own / plain
    np.testing.assert_allclose(ratio, ratio[0, 0, 0], rtol=1e-10)


def test_one_to_one_elements_are_groups() -> None:
    net = Network(
        (inputs((2, 3, 3)), lif("output", (2, 3, 3), "output")),
        (project("w", "input", "output", Pointwise((2, 3, 3), (2, 1, 1)), np.ones((2, 1, 1))),),
    ).verify()
    x = spikes(net)
    found = gather(net, x)["w"]
    assert found.hessian.shape == (2, 1, 1)
    assert found.count == 3 * 9
    change = np.array([0.5, -2.0]).reshape(2, 1, 1)
    measured = measured_loss(net, net.projections[0], change, {"input": x})
    assert predicted_loss(net.projections[0], change, found) == pytest.approx(measured, rel=1e-10)


def test_dense_into_a_reshaped_population() -> None:
    rng = np.random.default_rng(0)
    net = Network(
        (
            inputs((5,)),
            lif("output", (2, 2, 3), "output", leak=np.array([0.5, 0.75]).reshape(2, 1, 1)),
        ),
        (
            project(
                "w", "input", "output", [Dense(12, 5), Reshape((2, 2, 3))], rng.normal(size=(12, 5))
            ),
        ),
    ).verify()
    x = spikes(net)
    found = gather(net, x)["w"]
    assert found.group.tolist() == [0] * 6 + [1] * 6
    change = rng.normal(size=(12, 5))
    measured = measured_loss(net, net.projections[0], change, {"input": x})
    assert predicted_loss(net.projections[0], change, found) == pytest.approx(measured, rel=1e-10)
