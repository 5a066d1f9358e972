"""Samples made up of others."""

from __future__ import annotations

import numpy as np
import pytest

from snndeploy.calibrate.made_up import _warps, filled, made_up


def test_trains_are_moved_thinned_and_spliced() -> None:
    steps, samples = 100, 64
    x = np.zeros((steps, samples, 3), np.uint8)
    x[20:80, :, 0] = 1
    x[:, ::2, 1] = 1
    found = made_up({"input": x}, np.random.default_rng(0))["input"]
    assert found.dtype == np.uint8
    assert set(np.unique(found)) == {0, 1}
    starts = found[:, :, 0].argmax(0)
    assert starts.min() >= 10
    assert starts.max() <= 35
    assert len(np.unique(starts)) > 10
    kept = found[:, :, 0].sum(0) / 60
    assert 0.7 < kept.min() < 0.9
    assert kept.max() > 0.97
    mixed = (found[:30, :, 1].mean(0) > 0.5) != (found[70:, :, 1].mean(0) > 0.5)
    assert 0.05 < mixed.mean() < 0.5


def test_all_inputs_of_a_sample_are_treated_alike() -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 9, (40, 8, 5)) + 1.0  # no silence, so that what is dropped shows
    found = made_up({"a": x, "b": x}, np.random.default_rng(0))
    both = (found["a"] != 0) & (found["b"] != 0)
    assert (found["a"][both] == found["b"][both]).all()
    assert (found["a"] != found["b"]).any()  # each drops its own events


def test_values_are_mixed_and_constant_input_stays_so() -> None:
    image = np.random.default_rng(0).random((1, 6, 1, 4, 4), dtype=np.float32)
    constant = np.broadcast_to(image, (8, *image.shape[1:]))
    found = made_up({"input": constant}, np.random.default_rng(1))["input"]
    assert found.shape == constant.shape
    assert found.strides[0] == 0
    assert image.min() <= found.min() < found.max() <= image.max()
    assert not np.array_equal(found, constant)
    pixels = np.broadcast_to((255 * image).astype(np.uint8), constant.shape)
    halves = made_up({"input": pixels}, np.random.default_rng(1))["input"]
    assert (halves != np.rint(halves)).any()  # whole numbers that are constant are no events


def test_maps_move_by_pixels() -> None:
    x = np.zeros((2, 30, 1, 7, 7), np.float32)
    x[:, :, 0, 3, 3] = 0.5
    found = made_up({"input": x}, np.random.default_rng(2), shift=2)["input"][0, :, 0]
    where = found.reshape(30, -1).argmax(1)
    assert (found.sum((1, 2)) == 0.5).all()
    assert set(where // 7) == set(where % 7) == {1, 2, 3, 4, 5}
    edge = np.zeros((2, 30, 1, 3, 3), np.float32)
    edge[:, :, 0, 0, 0] = 0.5
    gone = made_up({"input": edge}, np.random.default_rng(2), shift=1)["input"]
    assert set(gone.sum((0, 2, 3, 4))) == {0.0, 1.0}  # it does not come in again on the other side


def test_maps_are_turned_stretched_and_slanted() -> None:
    """A cross of four arms around the centre: it stays one, all channels, inputs and steps alike."""
    image = np.zeros((9, 9), np.uint8)
    image[4, 1:8] = image[1:8, 4] = 1
    x = np.broadcast_to(image, (4, 40, 2, 9, 9)).copy()
    gone = np.random.default_rng(0).random((4, 40)) < 0.5  # steps that say nothing
    x[gone] = 0
    both = {"a": x, "b": 2 * x[:, :, :1]}
    found = made_up(both, np.random.default_rng(3), warp=1.0)
    plain = made_up(both, np.random.default_rng(3))
    a, b = found["a"], found["b"]
    assert a.shape == x.shape
    assert a.dtype == x.dtype
    assert set(np.unique(a)) == {0, 1}
    assert set(np.unique(b)) == {0, 2}
    seen = [a[:, i].any(axis=(0, 1)) for i in range(40)]
    assert sum(not np.array_equal(s, image > 0) for s in seen if s.any()) > 30
    middle = sum(bool(s[3:6, 3:6].any()) for s in seen if s.any())
    assert middle == sum(bool(s.any()) for s in seen)
    sizes = [int(s.sum()) for s in seen if s.sum() > 5]
    assert min(sizes) < 13 < max(sizes)
    assert not np.array_equal(plain["a"], a)


@pytest.mark.parametrize("warp", [0.0, 0.5, 2.0])
def test_a_warp_is_as_strong_as_asked(warp: float) -> None:
    """Angles, factors and slants of many samples have the spread that is stated."""
    matrices = _warps(4000, warp, np.random.default_rng(0))
    columns = np.linalg.norm(matrices[:, :, 0], axis=1)
    assert np.std(np.log(columns)) == pytest.approx(0.2 * warp, rel=0.05)
    angles = np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0])
    assert np.std(angles) == pytest.approx(0.35 * warp, rel=0.05)
    first = matrices[:, :, 0] / columns[:, None]
    along = (first * matrices[:, :, 1]).sum(axis=1)
    across = first[:, 0] * matrices[:, 1, 1] - first[:, 1] * matrices[:, 0, 1]
    assert np.std(along / across) == pytest.approx(0.3 * warp, rel=0.05)
    assert np.std(np.log(across)) == pytest.approx(0.2 * warp, rel=0.05)


def test_filling_up_keeps_the_samples_and_adds_what_is_missing() -> None:
    x = np.random.default_rng(0).integers(0, 2, (10, 3, 4)).astype(np.uint8)
    found = filled({"i": x}, 8, np.random.default_rng(0))["i"]
    assert found.shape == (10, 8, 4)
    assert np.array_equal(found[:, :3], x)
    assert np.array_equal(filled({"i": x}, 2, np.random.default_rng(0))["i"], x)
