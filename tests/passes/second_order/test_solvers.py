"""Second-order solvers against closed forms, brute force and the published algorithms step by step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snndeploy.ir.arrays import Array
from snndeploy.passes.second_order.solve import eliminate as eliminate_module
from snndeploy.passes.second_order.solve import rounding as rounding_module
from snndeploy.passes.second_order.solve.eliminate import eliminate, eliminate_in_rounds
from snndeploy.passes.second_order.solve.least_squares import masked_weights, quadratic
from snndeploy.passes.second_order.solve.rounding import CodeRounding
from snndeploy.passes.second_order.solve.sweep import column_order, descend, sweep
from snndeploy.simulate.jit import has_numba
from tests.support.second_order_references import (
    constrained,
    gptq_rank_one,
    nearest,
    obq_row,
    obs_row,
)


def problem(seed: int, rows: int = 4, d: int = 20) -> tuple[Array, Array]:
    """Weights and the Hessian of correlated positive inputs, damped enough to be inverted."""
    rng = np.random.default_rng(seed)
    x = rng.random((5 * d, d)) @ (np.eye(d) + 0.3 * rng.random((d, d)))
    h = 2 * x.T @ x / len(x)
    return rng.normal(size=(rows, d)), h + 0.01 * h.diagonal().mean() * np.eye(d)


@pytest.fixture(params=[True, False], ids=["compiled", "torch"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether eliminations run in compiled loops."""
    if request.param and not has_numba():
        pytest.skip("numba is not installed")
    monkeypatch.setattr(eliminate_module, "has_numba", lambda: request.param)
    return bool(request.param)


@pytest.mark.usefixtures("loops")
def test_elimination_is_the_published_algorithm() -> None:
    w, h = problem(0)
    q = quadratic(h, w, damp=0)
    for block in (1, 3, 5, 64):
        found = eliminate(q.best, q.inverse, block=block)
        for row in range(len(w)):
            order, losses, _ = obs_row(w[row], h, w.shape[1])
            assert found.columns[row].tolist() == order
            np.testing.assert_allclose(found.losses[row], losses, rtol=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 20))
def test_an_elimination_ends_at_the_least_squares_solution(
    seed: int, block: int, steps: int
) -> None:
    w, h = problem(seed)
    q = quadratic(h, w, damp=0)
    found = eliminate(q.best, q.inverse, steps=steps, block=block)
    for row in range(len(w)):
        mask = np.ones(w.shape[1], bool)
        mask[found.columns[row]] = False
        expected = constrained(w[row], h, mask)
        np.testing.assert_allclose(found.values[row], expected, rtol=1e-9, atol=1e-9)
    # What the steps recorded adds up to what was lost.
    np.testing.assert_allclose(found.losses.sum(1), q.loss(found.values), rtol=1e-9)


def test_every_step_takes_the_weight_that_costs_least() -> None:
    w, h = problem(1, rows=1, d=6)
    q = quadratic(h, w, damp=0)
    columns = eliminate(q.best, q.inverse).columns[0].tolist()
    gone: list[int] = []
    for p in columns:

        def loss(candidate: int) -> float:
            mask = ~np.isin(np.arange(6), [*gone, candidate])
            e = constrained(w[0], h, mask) - w[0]
            return float(e @ h @ e)

        left = [c for c in range(6) if c not in gone]
        assert p == min(left, key=loss)
        gone.append(p)


def test_rows_do_not_know_of_each_other() -> None:
    w, h = problem(2)
    q = quadratic(h, w)
    together = eliminate(q.best, q.inverse)
    for row in range(len(w)):
        alone = eliminate(q.best[row : row + 1], q.inverse)
        assert alone.columns[0].tolist() == together.columns[row].tolist()


def test_scaling_a_row_scales_its_losses() -> None:
    w, h = problem(3, rows=1)
    both = np.concatenate([w, 3 * w])
    found = eliminate(*(lambda q: (q.best, q.inverse))(quadratic(h, both)))
    assert found.columns[0].tolist() == found.columns[1].tolist()
    np.testing.assert_allclose(found.losses[1], 9 * found.losses[0], rtol=1e-9)


def test_permuted_inputs_permute_the_result() -> None:
    w, h = problem(4)
    turn = np.random.default_rng(0).permutation(w.shape[1])
    q, p = quadratic(h, w), quadratic(h[turn][:, turn], w[:, turn])
    a, b = eliminate(q.best, q.inverse, steps=9), eliminate(p.best, p.inverse, steps=9)
    np.testing.assert_array_equal(a.columns, torch.tensor(turn)[b.columns])
    np.testing.assert_allclose(a.values[:, turn], b.values, atol=1e-12)


@pytest.mark.skipif(not has_numba(), reason="numba is not installed")
@pytest.mark.parametrize("before", [0, 70])
def test_compiled_loops_take_the_weights_that_torch_takes(
    before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a layer of several blocks, and of several bands in its triangle."""
    w, h = problem(14, rows=3, d=300)
    q = quadratic(h, w)
    first = torch.zeros(w.shape, dtype=torch.bool)
    first[:, torch.randperm(300, generator=torch.Generator().manual_seed(0))[:before]] = True
    fast = eliminate(q.best, q.inverse, first=first, steps=270)
    monkeypatch.setattr(eliminate_module, "has_numba", lambda: False)
    slow = eliminate(q.best, q.inverse, first=first, steps=270)
    assert torch.equal(fast.columns, slow.columns)
    np.testing.assert_allclose(fast.losses, slow.losses, rtol=1e-12)
    np.testing.assert_allclose(fast.values, slow.values, rtol=0, atol=2e-14)
    assert (fast.values == 0).sum(dim=1).tolist() == [270] * 3


@pytest.mark.usefixtures("loops")
def test_what_was_pruned_before_goes_first() -> None:
    w, h = problem(5)
    first = torch.zeros(w.shape, dtype=torch.bool)
    first[:, [3, 7]] = True
    q = quadratic(h, np.where(first, 0, w))
    found = eliminate(q.best, q.inverse, first=first)
    assert {*found.columns[0, :2].tolist()} == {3, 7}


@pytest.mark.parametrize("pattern", [(2, 4), (1, 2), (3, 5)])
def test_n_of_m_columns(pattern: tuple[int, int]) -> None:
    w, h = problem(6, d=20)
    q = quadratic(h, w)
    n, m = pattern
    found = eliminate(q.best, q.inverse, steps=20 // m * n, per_group=pattern)
    zeros = (found.values == 0).reshape(len(w), -1, m).sum(dim=2)
    assert (zeros == n).all()
    swept, _ = sweep(q, None, per_group=pattern)
    assert ((swept == 0).reshape(len(w), -1, m).sum(dim=2) == n).all()
    magnitude = np.ones(w.shape, bool)
    smallest = np.argsort(np.abs(w).reshape(len(w), -1, m), axis=2)[..., :n]
    np.put_along_axis(magnitude.reshape(len(w), -1, m), smallest, False, axis=2)
    assert q.loss(found.values).sum() < q.loss(masked_weights(q, torch.tensor(magnitude))).sum()


@pytest.mark.parametrize("counts", [[15, 12, 10, 8], [35, 10]])
def test_rounds_are_exact_for_their_mask_and_near_the_greedy_loss(counts: list[int]) -> None:
    w, h = problem(7, rows=8, d=60)
    q = quadratic(h, w)
    rounds = eliminate_in_rounds(q.best, q.hessian, q.inverse, counts)
    assert rounds.columns.shape == (8, 45)
    np.testing.assert_allclose(rounds.values, masked_weights(q, rounds.values != 0), atol=1e-9)
    greedy = eliminate(q.best, q.inverse, steps=45)
    fine = eliminate_in_rounds(q.best, q.hessian, q.inverse, [1] * 45)
    assert fine.columns.tolist() == greedy.columns.tolist()
    assert q.loss(rounds.values).sum() < 1.3 * q.loss(greedy.values).sum()


def test_runs_of_columns_go_together() -> None:
    w, h = problem(8, rows=3, d=12)
    q = quadratic(h, w, damp=0)
    found = eliminate_in_rounds(q.best, q.hessian, q.inverse, [3], span=3)
    for row in range(3):
        losses = []
        for run in range(4):
            mask = np.arange(12) // 3 != run
            e = constrained(w[row], h, mask) - w[row]
            losses.append(float(e @ h @ e) / 2)
        gone = sorted(found.columns[row].tolist())
        assert gone == [3 * int(np.argmin(losses)) + i for i in range(3)]
        assert float(found.losses[row].sum()) == pytest.approx(min(losses), rel=1e-9)


# --- weights for a mask -----------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.floats(0.02, 0.98))
def test_masked_weights_are_the_least_squares_solution(seed: int, density: float) -> None:
    w, h = problem(seed, rows=6)
    mask = np.random.default_rng(seed).random(w.shape) < density
    mask[0], mask[1] = True, False
    q = quadratic(h, w, damp=0)
    found = masked_weights(q, torch.tensor(mask), max_bytes=10_000).numpy()
    expected = np.stack([constrained(w[i], h, mask[i]) for i in range(len(w))])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert (found[~mask] == 0).all()
    # Karush, Kuhn and Tucker: no kept weight can improve.
    np.testing.assert_allclose(((found - w) @ h)[mask], 0, atol=1e-9)


def test_a_reference_asks_for_what_makes_up_for_other_inputs() -> None:
    rng = np.random.default_rng(0)
    x0 = rng.random((200, 6))
    x = x0 @ (np.eye(6) + 0.2 * rng.normal(size=(6, 6)))
    w = rng.normal(size=(3, 6))
    h, cross = 2 * x.T @ x / 200, 2 * x.T @ x0 / 200
    q = quadratic(h, w, damp=0, cross=cross, asymmetry=1.0)
    np.testing.assert_allclose(x @ q.best.numpy().T, x0 @ w.T, atol=1e-9)
    half = quadratic(h, w, damp=0, cross=cross, asymmetry=0.5)
    np.testing.assert_allclose(half.best, (q.best + torch.tensor(w)) / 2, atol=1e-9)
    same = quadratic(h, w, cross=h, asymmetry=1.0)
    np.testing.assert_allclose(same.best, w, atol=1e-9)


@pytest.mark.usefixtures("loops")
def test_singular_and_dead_inputs_survive() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((30, 8))
    x[:, 2] = 0  # never arrives
    x[:, 5] = x[:, 4]  # arrives twice
    h = 2 * x.T @ x / 30
    w = rng.normal(size=(4, 8))
    for damp in (0.0, 0.01):
        q = quadratic(h, w, damp=damp)
        assert q.dead.tolist() == [False, False, True, *[False] * 5]
        assert bool((torch.linalg.eigvalsh(q.hessian) > 0).all())
        found = eliminate(q.best, q.inverse)
        assert bool(torch.isfinite(found.values).all())
        mask = torch.ones((4, 8), dtype=torch.bool)
        mask[:, 2] = False
        lost = masked_weights(q, mask).numpy() - w
        # Without an input that never arrives nothing else changes.
        np.testing.assert_allclose(np.delete(lost, 2, axis=1), 0, atol=1e-8)
    everything = quadratic(np.zeros((3, 3)), np.ones((2, 3)))
    assert bool(everything.dead.all())
    np.testing.assert_array_equal(everything.best, 1)


def test_one_of_two_equal_inputs_takes_over() -> None:
    x = np.random.default_rng(0).random((50, 1))
    h = 2 * (x @ np.ones((1, 2))).T @ (x @ np.ones((1, 2))) / 50
    q = quadratic(h, np.array([[1.0, 0.5]]), damp=0)
    mask = torch.tensor([[True, False]])
    assert float(masked_weights(q, mask)[0, 0]) == pytest.approx(1.5, rel=1e-6)


# --- sweeps -----------------------------------------------------------------------------------------


def grid(scale: Array, limit: int):  # type: ignore[no-untyped-def]
    s = torch.tensor(scale)[:, None]
    return lambda v, columns: (v / s).round().clamp(-limit, limit) * s


@pytest.mark.skipif(not has_numba(), reason="numba is not installed")
@pytest.mark.parametrize(("low", "high", "signs"), [(-8, 7, False), (-1, 1, False), (-1, 1, True)])
@pytest.mark.parametrize("masked", [False, True])
def test_compiled_loops_give_the_codes_of_torch_to_the_last_bit(
    low: int, high: int, signs: bool, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    w, h = problem(15, rows=5, d=150)
    q = quadratic(h, w)
    scale = torch.tensor(np.abs(w).max(axis=1, keepdims=True) / high).expand(5, 150).contiguous()
    rounding = CodeRounding(scale, low, high, signs)
    mask = torch.tensor(np.random.default_rng(0).random(w.shape) < 0.4) if masked else None
    both = []
    for fast in (True, False):
        monkeypatch.setattr(rounding_module, "has_numba", lambda fast=fast: fast)
        found, loss = sweep(q, rounding, order="inverse", mask=mask, block=64)
        start = rounding(q.best, torch.arange(150)) * (1 if mask is None else mask)
        better = descend(q, start, rounding, mask=mask, block=64)
        both.append((found, loss, better))
        assert not torch.equal(start, better)
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("order", ["natural", "inverse", "activity"])
@pytest.mark.parametrize("block", [1, 7, 128])
def test_gptq_is_the_rank_one_downdate(bits: int, order: str, block: int) -> None:
    w, h = problem(9, rows=5, d=24)
    q = quadratic(h, w)
    limit = 2 ** (bits - 1) - 1
    scale = np.abs(w).max(axis=1) / limit
    found, loss = sweep(q, grid(scale, limit), order=order, block=block)
    turn = column_order(q, order).numpy()
    expected = gptq_rank_one(w, q.hessian.numpy(), scale, limit, turn)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    np.testing.assert_allclose(loss, q.loss(found), rtol=1e-8)
    rounded = torch.tensor(nearest(w, scale, limit))
    assert q.loss(found).sum() < q.loss(rounded).sum()


def test_a_sweep_keeps_the_mask_and_accounts_for_it() -> None:
    w, h = problem(10, rows=5, d=24)
    q = quadratic(h, w)
    mask = np.random.default_rng(0).random(w.shape) < 0.4
    scale = np.abs(w).max(axis=1) / 7
    found, loss = sweep(q, grid(scale, 7), mask=torch.tensor(mask))
    assert (found.numpy()[~mask] == 0).all()
    np.testing.assert_allclose(loss, q.loss(found), rtol=1e-8)
    expected = gptq_rank_one(w, q.hessian.numpy(), scale, 7, np.arange(24), mask)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    better = descend(q, found, grid(scale, 7), mask=torch.tensor(mask))
    assert (better.numpy()[~mask] == 0).all()
    assert bool((q.loss(better) <= q.loss(found) + 1e-12).all())
    assert q.loss(better).sum() < q.loss(found).sum()


def test_descent_ends_where_no_single_code_improves() -> None:
    w, h = problem(11, rows=2, d=6)
    q = quadratic(h, w)
    scale = np.abs(w).max(axis=1) / 3
    start = torch.tensor(nearest(w, scale, 3))
    found = descend(q, start, grid(scale, 3), passes=50)
    for block in (1, 4):
        assert torch.equal(descend(q, start, grid(scale, 3), passes=50, block=block), found)
    best = q.loss(found)
    for j, code in itertools.product(range(6), range(-3, 4)):
        other = found.clone()
        other[:, j] = code * torch.tensor(scale)
        assert bool((q.loss(other) >= best - 1e-12).all())


def test_sparsegpt_prunes_the_share_of_every_block() -> None:
    w, h = problem(12, rows=6, d=32)
    q = quadratic(h, w)
    found, loss = sweep(q, None, sparsity=0.5, block=8)
    zeros = (found == 0).reshape(6, 4, 8).sum(dim=(0, 2))
    assert zeros.tolist() == [24, 24, 24, 24]
    np.testing.assert_allclose(loss, q.loss(found), rtol=1e-9)
    greedy = eliminate(q.best, q.inverse, steps=16)
    assert q.loss(greedy.values).sum() < q.loss(found).sum()


def test_obq_is_the_published_algorithm() -> None:
    w, h = problem(13, rows=4, d=16)
    q = quadratic(h, w, damp=0)
    scale = np.abs(w).max(axis=1) / 3
    s = torch.tensor(scale)[:, None]
    found = eliminate(
        q.best,
        q.inverse,
        target=lambda v, columns: (v / s).round().clamp(-3, 3) * s,
        tolerance=s / 2 * (1 + 1e-9),
        block=5,
    )
    expected = np.stack([obq_row(w[i], h, float(scale[i]), 3) for i in range(4)])
    np.testing.assert_allclose(found.values, expected, atol=1e-9)
    np.testing.assert_allclose(found.losses.sum(1), q.loss(found.values), rtol=1e-6)
