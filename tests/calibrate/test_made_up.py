"""Samples made up of others."""

from __future__ import annotations

import numpy as np

from snndeploy.calibrate.made_up import filled, made_up


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


def test_filling_up_keeps_the_samples_and_adds_what_is_missing() -> None:
    x = np.random.default_rng(0).integers(0, 2, (10, 3, 4)).astype(np.uint8)
    found = filled({"i": x}, 8, np.random.default_rng(0))["i"]
    assert found.shape == (10, 8, 4)
    assert np.array_equal(found[:, :3], x)
    assert np.array_equal(filled({"i": x}, 2, np.random.default_rng(0))["i"], x)
