"""ADMM and its projections."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from snndeploy.chip import load_target
from snndeploy.ir.arrays import Array
from snndeploy.ir.weights import Levels, levels_of
from snndeploy.lower import lower
from snndeploy.passes.base import PassContext, PassEvent
from snndeploy.passes.prune import Prune, budget
from snndeploy.passes.training.admm import Admm
from snndeploy.passes.training.loop.penalties import Pull
from snndeploy.passes.training.projections import alternate, largest, nearest, on_levels
from tests.support.labelled import accuracy, context, digits_mlp, flat

GRIDS: list[tuple[Levels, int]] = [("symmetric", 2), ("symmetric", 4), ("powers", 4), ("odd", 2)]
VALUES = arrays(np.float64, st.integers(1, 40), elements=st.floats(-4, 4, width=16))


@given(VALUES, st.floats(0, 0.99), st.integers(0, 2**31))
def test_largest_keeps_exactly_k_and_is_the_nearest(
    values: Array, sparsity: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    everything = np.ones(values.shape, bool)
    (mask,) = largest([values], sparsity, [everything])
    kept = values.size - budget(sparsity, values.size)
    assert mask.sum() == kept  # ties do not keep more
    assert np.array_equal(largest([values * mask], sparsity, [mask])[0], mask)
    other = np.zeros(values.size)
    chosen = rng.permutation(values.size)[:kept]
    other[chosen] = rng.choice([0.5, 1.0], kept) * values[chosen]
    assert np.linalg.norm(values - values * mask) <= np.linalg.norm(values - other) + 1e-12


@given(
    VALUES,
    st.sampled_from(
        [
            levels_of("symmetric", 2),
            levels_of("symmetric", 4),
            levels_of("powers", 4),
            levels_of("odd", 2),
        ]
    ),
    st.floats(0.05, 3),
)
def test_alternation_never_raises_the_error(values: Array, levels: Array, start: float) -> None:
    rows, alive = values[None], np.ones((1, values.size), bool)
    scale, before = np.array([start]), np.inf
    for _ in range(6):
        codes = nearest(rows, levels, scale[:, None])
        error = float(np.square(rows - codes * scale).sum())
        assert error <= before * (1 + 1e-12) + 1e-12
        _, scale = alternate(rows, alive, levels, scale)
        before = error


@given(VALUES)
def test_one_bit_has_the_mean_magnitude_as_scale(values: Array) -> None:
    if not values.any():
        return
    codes, scale = on_levels(
        values[None], np.ones((1, values.size), bool), levels_of("symmetric", 1)
    )
    assert scale[0] == pytest.approx(np.abs(values).mean())
    assert np.array_equal(codes[0] > 0, values > 0)


@settings(max_examples=30)
@given(
    arrays(np.float64, st.integers(2, 60), elements=st.floats(-4, 4, width=16)),
    st.sampled_from(
        [
            levels_of("symmetric", 2),
            levels_of("symmetric", 4),
            levels_of("powers", 4),
            levels_of("odd", 2),
        ]
    ),
)
def test_on_levels_is_hardly_worse_than_the_best_of_many_scales(
    values: Array, levels: Array
) -> None:
    if not values.any():
        return
    codes, scale = on_levels(values[None], np.ones((1, values.size), bool), levels)
    assert np.array_equal(codes, nearest(values[None], levels, scale[:, None]))
    tried = np.abs(values).max() / levels[-1] * np.geomspace(0.01, 1.5, 3000)[:, None]
    errors = np.square(values - nearest(values, levels, tried) * tried).sum(axis=1)
    assert np.square(values - codes[0] * scale[0]).sum() <= 1.1 * errors.min() + 1e-9


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (levels_of("symmetric", 1), 1 - 2 / np.pi),
        (levels_of("symmetric", 2), 0.190),
        (levels_of("powers", 4), 0.048),
        (levels_of("symmetric", 4), 0.013),
    ],
)
def test_error_on_gaussian_weights(levels: Array, expected: float) -> None:
    values = np.random.default_rng(0).standard_normal((1, 20_000))
    codes, scale = on_levels(values, np.ones(values.shape, bool), levels)
    error = np.square(values - codes * scale).sum() / np.square(values).sum()
    assert error == pytest.approx(expected, abs=0.012)


def test_projections_leave_pruned_weights_dead() -> None:
    rows = np.array([[3.0, -2.0, 1.0, 0.5]])
    alive = np.array([[True, False, True, True]])
    codes, _ = on_levels(rows, alive, levels_of("symmetric", 1))
    assert codes.tolist() == [[1, 0, 1, 1]]
    assert largest([rows], 0.5, [alive])[0].tolist() == [[True, False, True, False]]


class Toy:
    """One weight, as `Pull` sees a module."""

    def __init__(self, w: Array) -> None:
        self.w = torch.tensor(w)

    def latent(self, name: str) -> torch.Tensor:
        del name
        return self.w


def keep(values: Array, k: int) -> Array:
    return largest([values], 1 - k / values.size, [np.ones(values.shape, bool)])[0]


def top(k: int) -> Any:
    def project(values: dict[str, Array]) -> dict[str, Array]:
        return {name: v * keep(v, k) for name, v in values.items()}

    return project


def quadratic(rho: float, rounds: int = 300) -> tuple[float, Array, Array]:
    """ADMM on 1/2 |W - A|^2 with 5 non-zeros: residual, result, A."""
    a = np.random.default_rng(0).standard_normal(40)
    toy = Toy(a)
    pull = Pull(toy, ["w"], top(5), rho=rho, growth=1.0)  # type: ignore[arg-type]
    for _ in range(rounds):
        toy.w = (torch.tensor(a) + rho * (pull.z["w"] - pull.u["w"])) / (1 + rho)
        pull.after_epoch(toy)  # type: ignore[arg-type]
    return pull.residual(toy), pull.z["w"].numpy(), a  # type: ignore[arg-type]


@pytest.mark.parametrize("rho", [1.0, 2.0, 10.0])
def test_admm_settles_where_rho_exceeds_the_curvature(rho: float) -> None:
    residual, z, a = quadratic(rho)
    assert residual < 1e-12
    assert np.array_equal(z != 0, keep(a, 5))


def test_admm_does_not_settle_where_rho_is_too_small() -> None:
    assert quadratic(0.1)[0] > 0.5


@pytest.mark.parametrize("seed", [1, 2])
def test_admm_finds_a_better_support_than_magnitude(seed: int) -> None:
    """Correlated least squares: what magnitude pruning keeps is not what matters."""
    rng = np.random.default_rng(seed)
    n, k, samples = 200, 20, 210
    covariance = 0.9 ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    x = rng.standard_normal((samples, n)) @ np.linalg.cholesky(covariance).T
    truth = np.zeros(n)
    truth[rng.permutation(n)[:k]] = rng.choice([-1, 1], k) * rng.uniform(0.5, 1.5, k)
    y = x @ truth + 0.5 * rng.standard_normal(samples)
    gram, moment = x.T @ x / samples, x.T @ y / samples

    def debiased(w: Array) -> float:
        kept = x[:, keep(w, k)]
        return float(np.square(kept @ np.linalg.lstsq(kept, y, rcond=None)[0] - y).mean())

    dense = np.linalg.lstsq(x, y, rcond=None)[0]
    toy = Toy(dense)
    pull = Pull(toy, ["w"], top(k), rho=0.1, growth=1.03)  # type: ignore[arg-type]
    for _ in range(200):
        wanted = moment + pull.rho * (pull.z["w"] - pull.u["w"]).numpy()
        toy.w = torch.tensor(np.linalg.solve(gram + pull.rho * np.eye(n), wanted))
        pull.after_epoch(toy)  # type: ignore[arg-type]
    assert debiased(toy.w.numpy()) < 0.5 * debiased(dense)
    assert debiased(toy.w.numpy()) < 0.25  # the noise itself


def test_the_pull_is_a_proximal_step() -> None:
    """W ends where lr rho (W - Z + U) and the distance moved balance, for any rho."""
    for rho in (0.5, 1e6):
        toy = Toy(np.array([3.0, -1.0, 0.5, 2.0]))
        pull = Pull(toy, ["w"], top(2), rho=rho, growth=1.0)  # type: ignore[arg-type]
        pull.u["w"] = torch.tensor([0.1, 0.2, -0.1, 0.0], dtype=torch.float64)
        before, goal = toy.w.clone(), pull.z["w"] - pull.u["w"]
        pull.after_step(toy, 0.01)  # type: ignore[arg-type]
        assert torch.allclose(toy.w - before, -0.01 * rho * (toy.w - goal))


def test_z_moves_so_often_within_an_epoch_and_once_at_its_end() -> None:
    moved: list[int] = []
    step = 0

    def project(values: dict[str, Array]) -> dict[str, Array]:
        moved.append(step)
        return dict(values)

    toy = Toy(np.ones(3))
    pull = Pull(toy, ["w"], project, rho=2.0, growth=8.0, within=3, steps=10)  # type: ignore[arg-type]
    for _epoch in range(2):
        for _ in range(10):
            step += 1
            pull.after_step(toy, 0.1)  # type: ignore[arg-type]
        pull.after_epoch(toy)  # type: ignore[arg-type]
    assert moved == [0, 3, 7, 10, 13, 17, 20]
    assert pull.rho == pytest.approx(2.0 * 8.0**2)


def test_growing_rho_makes_the_residual_fall_and_exactly_k_weights_stay() -> None:
    told: list[PassEvent] = []
    ctx = dataclasses.replace(context(flat=True), observer=told.append)
    network = digits_mlp()
    how = Admm(sparsity=0.9, epochs=1, epochs_per_iteration=2, lr=5e-3, batch=16)
    result = how.apply(network, ctx)
    notes = [e.status for e in told if "prune" in e.what and "residual" in e.status]
    residuals = [float(n.split("residual ")[1].split()[0]) for n in notes][1::2]
    assert len(residuals) == 5
    assert residuals == sorted(residuals, reverse=True)
    assert result.metrics["training"]["pruning_residual"] < 0.05
    for p in result.network.projections:
        assert (
            p.weight.nonzero
            == p.weight.alive
            == p.weight.data.size - budget(0.9, p.weight.data.size)
        )


def test_layers_compete_where_admm_is_asked_to_prune_globally() -> None:
    how = Admm(sparsity=0.8, scope="global", iterations=1, epochs=1)
    after = how.apply(digits_mlp(), context(flat=True)).network
    alive = [p.weight.alive / p.weight.data.size for p in after.projections]
    total = sum(p.weight.data.size for p in after.projections)
    assert sum(p.weight.alive for p in after.projections) == total - budget(0.8, total)
    assert abs(alive[0] - alive[1]) > 0.05


def test_lamp_shares_sparsity_out_as_it_does_for_prune() -> None:
    network = digits_mlp()
    how = Admm(sparsity=0.8, scope="lamp", iterations=1, epochs=1, lr=1e-9)
    after = how.apply(network, context(flat=True)).network
    one_shot = Prune(sparsity=0.8, scope="lamp").apply(network, PassContext()).network
    for p, q in zip(after.projections, one_shot.projections, strict=True):
        assert np.array_equal(p.weight.mask, q.weight.mask)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("levels", "bits"), [("uniform", 2), ("uniform", 1), ("odd", 2), ("power-of-two", 3)]
)
def test_admm_quantises_what_survives_of_pruning(levels: Any, bits: int) -> None:
    network = digits_mlp()
    how = Admm(sparsity=0.5, bits=bits, levels=levels, per="channel", iterations=2, epochs=1)
    after = how.apply(network, context(flat=True)).network
    kinds: dict[Any, Levels] = {"odd": "odd", "power-of-two": "powers"}
    width = 4 if levels == "power-of-two" else bits
    allowed = levels_of(kinds.get(levels, "symmetric"), width)
    for p in after.projections:
        assert p.weight.mask is not None
        assert p.weight.alive == p.weight.data.size - budget(0.5, p.weight.data.size)
        assert set(np.unique(p.weight.data[p.weight.mask])) <= set(allowed.tolist())
        assert p.weight.scale is not None
        assert p.weight.scale.shape == (p.weight.shape[0], 1)
    assert accuracy(after, flat(350, 450)) > 0.5
    assert lower(after, load_target("loihi2")).rounding["h1"].weight == 0
    aware = dataclasses.replace(how, aware="loihi2").apply(network, context(flat=True)).network
    assert [p.weight.bits for p in aware.projections] == [p.weight.bits for p in after.projections]
