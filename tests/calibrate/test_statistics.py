"""Figures of channels: ranks, norms and dimensions against closed forms, potentials against a loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snndeploy.calibrate.statistics import (
    observe,
    pivot_order,
    rank,
    significant_dimensions,
    singular_values,
)
from snndeploy.ir.arrays import Array
from snndeploy.ir.network import Network, Population
from snndeploy.ir.ops import Dense
from snndeploy.simulate.float.engine import run_float
from tests.support.builders import ZOO, conv_net, inputs, lif, project, residual_net, spikes

RNG = np.random.default_rng


def ranks(maps: Array) -> Array:
    """Rank of each map of (samples, C, h, w)."""
    return rank(singular_values(maps), lif("a", maps.shape[1:]))


# --- rank of spike maps -----------------------------------------------------------------------


def test_ranks_of_known_maps() -> None:
    maps = np.zeros((1, 5, 14, 14))
    maps[0, 1] = 4  # constantly on
    maps[0, 2, 3, 5] = 1  # one fixed pixel
    maps[0, 3] = np.arange(14) % 3  # identical rows
    maps[0, 4] = RNG(0).integers(0, 5, (14, 14))
    assert ranks(maps).tolist() == [[0, 1, 1, 1, 14]]


@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99), st.floats(0, 1))
def test_rank_is_bounded_permutes_and_transposes(
    channels: int, h: int, w: int, seed: int, density: float
) -> None:
    rng = RNG(seed)
    maps = (rng.random((3, channels, h, w)) < density) * rng.integers(1, 5, (3, channels, h, w))
    found = ranks(maps)
    assert (found <= min(h, w)).all()
    order = rng.permutation(channels)
    assert np.array_equal(ranks(maps[:, order]), found[:, order])
    assert np.array_equal(ranks(maps.swapaxes(2, 3)), found)
    for sample in range(3):
        for channel in range(channels):
            assert found[sample, channel] == np.linalg.matrix_rank(
                maps[sample, channel].astype(float)
            )


def rank_one(extent: int) -> Array:
    """Eight maps of counts up to 4 whose rank is exactly 1."""
    rng = RNG(1)
    maps = [np.outer(rng.integers(1, 5, extent), np.arange(extent) % 2) for _ in range(8)]
    return np.stack(maps).astype(np.float64)


@pytest.mark.parametrize("extent", [4, 16, 32, 56, 112])
def test_exact_rank_one_is_one_at_every_size(extent: int) -> None:
    assert ranks(rank_one(extent)[None]).tolist() == [[1] * 8]


def test_float32_and_a_fixed_threshold_take_rounding_for_rank() -> None:
    """What goes wrong otherwise (eps = 1e-6 on float32 maps, as torch computes them)."""
    import torch

    maps = torch.tensor(rank_one(56) / 4, dtype=torch.float32)
    assert float((torch.linalg.svdvals(maps) > 1e-6).sum(dim=-1).float().mean()) > 1.4


# --- principal components ---------------------------------------------------------------------


def low_rank(r: int, noise: float = 0.0, rows: int = 5000, channels: int = 64) -> Array:
    rng = RNG(r)
    values = rng.normal(size=(rows, r)) @ np.linalg.qr(rng.normal(size=(channels, r)))[0].T
    return np.asarray(values + noise * rng.normal(size=(rows, channels)))


def covariance(values: Array) -> Array:
    centred = values - values.mean(axis=0)
    return np.asarray(centred.T @ centred / len(values))


@pytest.mark.parametrize("r", [1, 3, 7, 20])
def test_dimensions_of_rank_r_data(r: int) -> None:
    found = covariance(low_rank(r))
    assert significant_dimensions(found, 5000, 0.999) == r
    # the convention that stops before the threshold would say one less
    share = np.cumsum(np.linalg.eigvalsh(found)[::-1]) / np.trace(found)
    assert (share < 0.999).sum() == r - 1


def test_dimensions_in_noise() -> None:
    assert significant_dimensions(covariance(low_rank(7, noise=1e-3)), 5000, 0.999) == 7


@given(st.integers(2, 30), st.integers(1, 8), st.integers(0, 99))
@settings(max_examples=30)
def test_dimensions_are_monotone_bounded_and_invariant(rows: int, channels: int, seed: int) -> None:
    rng = RNG(seed)
    values = rng.normal(size=(rows, channels)) * np.geomspace(1, 0.05, channels)
    levels = (0.5, 0.9, 0.99, 0.999, 1.0)
    found = [significant_dimensions(covariance(values), rows, v) for v in levels]
    assert found == sorted(found)
    assert 1 <= found[-1] <= max(1, min(rows - 1, channels))
    mixing = np.linalg.qr(rng.normal(size=(channels, channels)))[0]
    mixed = [significant_dimensions(covariance(values @ mixing + 3), rows, v) for v in levels[:3]]
    assert mixed == found[:3]


def test_silence_has_one_dimension() -> None:
    assert significant_dimensions(np.zeros((4, 4)), 100) == 1


def test_pivots_span_the_data() -> None:
    """Four channels are mixtures of three: three picks explain everything, the copies come last."""
    base = RNG(0).normal(size=(500, 3)) * [1, 2, 3]
    values = np.concatenate([base, base[:, :1] * 0.5, base.sum(axis=1, keepdims=True)], axis=1)
    order = pivot_order(covariance(values))
    assert sorted(order.tolist()) == list(range(5))
    picked = values[:, order[:3]]
    left = values - picked @ np.linalg.lstsq(picked, values, rcond=None)[0]
    assert np.abs(left).max() < 1e-10
    assert order[0] == 4  # the sum varies most


# --- the calibration run ----------------------------------------------------------------------


@pytest.mark.parametrize("factory", ZOO)
def test_chunks_change_nothing(factory) -> None:  # type: ignore[no-untyped-def]
    net = factory(0)
    names = [p.name for p in net.populations if p.role == "hidden"]
    data = spikes(net, samples=6)
    whole, parts = observe(net, data, names), observe(net, data, names, max_memory=1)
    for name in names:
        for figure, value in vars(whole[name]).items():
            assert np.allclose(value, getattr(parts[name], figure), rtol=1e-9), (name, figure)


@pytest.mark.parametrize("factory", ZOO)
def test_repeating_the_samples_changes_nothing(factory) -> None:  # type: ignore[no-untyped-def]
    net = factory(1)
    names = [p.name for p in net.populations if p.role == "hidden"]
    data = spikes(net, samples=3)
    again = np.concatenate([data, data], axis=1)
    once, twice = observe(net, data, names), observe(net, again, names)
    for name in names:
        for figure in ("rate", "rank", "nuclear", "magnitude", "covariance"):
            assert np.allclose(getattr(once[name], figure), getattr(twice[name], figure)), figure


def test_figures_are_those_of_the_recording() -> None:
    net, data = conv_net(), spikes(conv_net(), samples=4)
    run = run_float(net, data, record=["s1", "s2"])
    found = observe(net, data, ["s1", "s2"])
    for name in ("s1", "s2"):
        train = run.spikes[name].astype(float)
        steps = len(train)
        assert np.allclose(found[name].rate, train.mean(axis=(0, 1, 3, 4)))
        svd = np.linalg.svd(train.mean(axis=0), compute_uv=False)
        assert np.allclose(found[name].nuclear, svd.sum(axis=-1).mean(axis=0))
        average = run.u[name].astype(float) - np.broadcast_to(
            net.population(name).neuron.bias,
            net.population(name).shape,  # type: ignore[union-attr]
        )
        rows = np.moveaxis(average.sum(axis=0) / steps, 1, -1).reshape(-1, train.shape[2])
        assert np.allclose(found[name].covariance, covariance(rows))
        assert np.allclose(found[name].mean, rows.mean(axis=0))
        assert found[name].rows == len(rows)


def slow_potentials(neuron_fields: dict[str, object], x: Array) -> tuple[Array, Array, Array]:
    """One neuron by hand: the potential that its threshold sees, the summed input, its spikes."""
    leak, syn, theta = 0.75, neuron_fields.get("syn_leak"), 1.0
    timing = neuron_fields.get("reset_timing", "immediate")
    u, v, fired = 0.0, 0.0, 0.0
    seen, spikes_out = [], []
    for value in x:
        u = value + 0.125 + (0 if syn is None else float(syn) * u)  # type: ignore[arg-type]
        late = float(v > theta) if timing == "snntorch-immediate" else 0.0
        v = leak * v + u
        if timing == "next-step":
            v -= fired * theta
        v -= late * theta
        seen.append(v)
        fired = float(v > theta)
        if timing == "immediate":
            v = v - fired * theta if neuron_fields.get("reset") == "subtract" else v * (1 - fired)
        if timing == "snntorch-immediate":
            v -= (fired - late) * theta
        spikes_out.append(fired)
    return np.array(seen), np.array(x.sum()), np.array(spikes_out)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"reset": "subtract"},
        {"syn_leak": 0.5},
        {"reset": "subtract", "syn_leak": 0.25},
        {"reset": "subtract", "reset_timing": "next-step"},
        {"reset": "subtract", "reset_timing": "snntorch-immediate"},
    ],
)
def test_potentials_before_the_reset(fields: dict[str, object]) -> None:
    weight = np.array([[0.75]], dtype=np.float32)
    net = Network(
        (inputs((1,)), lif("a", (1,), "output", leak=0.75, bias=0.125, **fields)),
        (project("fc", "input", "a", Dense(1, 1), weight),),
    ).verify()
    data = RNG(0).integers(0, 3, (12, 5, 1)).astype(np.float32)
    by_hand = [slow_potentials(fields, data[:, i, 0] * 0.75) for i in range(5)]
    run = run_float(net, data)
    assert np.array_equal(run.spikes["a"][:, :, 0], np.stack([h[2] for h in by_hand], axis=1))
    found = observe(net, data, ["a"])["a"]
    assert found.magnitude is not None
    assert found.mean is not None
    assert found.covariance is not None
    magnitude = np.mean([np.abs(h[0]).mean() for h in by_hand])
    assert float(found.magnitude[0]) == pytest.approx(magnitude, rel=1e-6)
    accumulated = np.array([h[1] / 12 for h in by_hand])
    assert float(found.mean[0]) == pytest.approx(accumulated.mean(), rel=1e-6)
    assert float(found.covariance[0, 0]) == pytest.approx(accumulated.var(), rel=1e-5)
    compared = observe(net, data, ["a"], potential="compared")["a"]
    assert compared.mean is not None
    seen = np.array([h[0].mean() for h in by_hand])
    assert float(compared.mean[0]) == pytest.approx(seen.mean(), rel=1e-6)


def test_covariance_does_not_cancel() -> None:
    """Activity that varies little around a large mean keeps its dimensions."""
    rng = RNG(3)
    weight = rng.normal(size=(6, 2)).astype(np.float32)
    neuron = lif("a", (6,), leak=0.5, threshold=1e9)
    output = lif("output", (1,), "output")
    net = Network(
        (inputs((2,)), neuron, output),
        (
            project("fc", "input", "a", Dense(6, 2), weight),
            project("out", "a", "output", Dense(1, 6), np.ones((1, 6), np.float32)),
        ),
    ).verify()
    data = (1000 + rng.integers(0, 2, (4, 64, 2))).astype(np.float32)
    found = observe(net, data, ["a"], ["covariance"])["a"]
    assert found.covariance is not None
    assert significant_dimensions(found.covariance, found.rows, 0.999) == 2


def test_progress_and_choice_of_figures() -> None:
    net, told = residual_net(), []
    found = observe(
        net,
        spikes(net, samples=5),
        ["a"],
        ["rate"],
        max_memory=1,
        progress=lambda done, of: told.append((done, of)),
    )["a"]
    assert told == [(i, 5) for i in range(1, 6)]
    assert found.rank is None
    assert found.covariance is None
    assert isinstance(net.population("a"), Population)
