"""``load_samples`` of an array is what it is of a file that holds the array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snndeploy
from snndeploy.errors import UsageError

X = (np.arange(3 * 5 * 4).reshape(3, 5, 4) % 3 == 0).astype(np.uint8)
Y = np.array([2, 0, 1])


def test_an_array_is_read_as_its_file_is(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    one = snndeploy.load_samples(X, (4,), labels=Y)
    other = snndeploy.load_samples(tmp_path / "data.npz", (4,))
    assert one.inputs.shape == (5, 3, 4)  # steps first
    np.testing.assert_array_equal(one.inputs, other.inputs)
    np.testing.assert_array_equal(one.labels, Y)
    assert snndeploy.load_samples(X, (4,)).labels is None
    assert len(snndeploy.load_samples(X, (4,), labels=Y, skip=1, samples=1)) == 1


def test_images_in_an_array_are_encoded() -> None:
    images = np.linspace(0, 1, 12).reshape(3, 4)
    found = snndeploy.load_samples(images, (4,), encoding="rate", steps=8)
    assert found.inputs[:, 2, 3].sum() == 8


def test_labels_stand_beside_arrays_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=X)
    with pytest.raises(UsageError) as caught:
        snndeploy.load_samples(tmp_path / "data.npz", (4,), labels=Y)
    assert caught.value.code == "data-option"
