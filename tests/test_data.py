"""Reading samples and encoding images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snndeploy.errors import InputError
from snndeploy.lower import encode_inputs
from snndeploy.simulate.data import load_samples
from snndeploy.simulate.encode import constant, latency, rate


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


@given(st.integers(0, 16), st.integers(1, 40))
def test_rate_code_spreads_its_spikes_evenly(k: int, steps: int) -> None:
    train = rate(np.array([[k / 16]]), steps)[:, 0, 0]
    assert train.sum() == steps * k // 16
    gaps = np.diff(np.flatnonzero(train))
    assert gaps.size == 0 or gaps.max() - gaps.min() <= 1


def test_latency_code_fires_once_and_the_stronger_the_earlier() -> None:
    train = latency(np.array([[1.0, 0.5, 0.01, 0.0]]), 9)[:, 0]
    assert train.sum(axis=0).tolist() == [1, 1, 1, 0]
    assert train.argmax(axis=0)[:3].tolist() == [0, 4, 7]


def test_a_single_array_stays_on_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((4, 3, 2), np.uint8))
    samples = load_samples(tmp_path / "x.npy", (2,))
    base = samples.inputs
    while not isinstance(base, np.memmap):
        assert base.base is not None
        base = base.base
    assert [b.inputs.shape for b in samples.batches(3)] == [(3, 3, 2), (3, 1, 2)]


def test_constant_repeats() -> None:
    np.testing.assert_array_equal(constant(np.array([[3.0, 4.0]]), 2), [[[3, 4]], [[3, 4]]])


def test_spike_trains_are_sample_by_sample_in_the_file(tmp_path: Path) -> None:
    x = np.arange(2 * 5 * 3).reshape(2, 5, 3)
    s = load_samples(save(tmp_path / "d.npz", x=x, y=np.array([1, 0])), (3,))
    assert s.inputs.shape == (5, 2, 3)
    np.testing.assert_array_equal(s.inputs[:, 1], x[1])
    assert (s.steps, len(s)) == (5, 2)
    assert s.labels is not None
    np.testing.assert_array_equal(s.first(1).labels, [1])
    assert [len(b) for b in s.batches(1)] == [1, 1]


def test_one_sample_in_an_npy_file(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros((10, 2, 4, 4), np.int16))
    s = load_samples(tmp_path / "one.npy", (2, 4, 4))
    assert s.inputs.shape == (10, 1, 2, 4, 4)
    assert s.labels is None


def test_images_without_a_channel_axis(tmp_path: Path) -> None:
    images = np.array([[[0, 16], [8, 4]]], np.uint8)
    path = save(tmp_path / "i.npz", images=images, labels=np.array([7]))
    s = load_samples(path, (1, 2, 2), encoding="rate", steps=4)
    assert s.inputs.shape == (4, 1, 1, 2, 2)
    np.testing.assert_array_equal(s.inputs.sum(0)[0, 0], [[0, 4], [2, 1]])
    direct = load_samples(path, (1, 2, 2), encoding="direct", steps=4)
    np.testing.assert_array_equal(direct.inputs[3, 0, 0], images[0])


def refusal(path: Path, shape: tuple[int, ...] = (3,), **options: object) -> str:
    with pytest.raises(InputError) as caught:
        load_samples(path, shape, **options)  # type: ignore[arg-type]
    return f"{caught.value.code}: {caught.value}".replace(str(path), "FILE")


def test_refusals(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone.npz") == "data-missing: FILE: there is no such file"
    (tmp_path / "text.npz").write_text("hello")
    assert refusal(tmp_path / "text.npz").startswith(
        "data-unreadable: FILE: not a readable .npy or .npz file ("
    )
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "Object arrays cannot be loaded" in refusal(tmp_path / "objects.npy")
    assert refusal(save(tmp_path / "z.npz", z=np.zeros(3))) == (
        "data-no-inputs: FILE: found arrays z, none is the input\n"
        "  next: name it one of x, inputs, input, spikes, images"
    )
    assert refusal(save(tmp_path / "s.npz", x=np.array(["a"]))) == "data-type: FILE: x is <U1"
    assert refusal(save(tmp_path / "w.npz", x=np.zeros((2, 5, 4)))) == (
        "data-shape: FILE: the data have shape (2, 5, 4), the network expects (samples, steps, 3)\n"
        "  next: images need --encode and --steps; spike trains are (samples, steps, ...)"
    )
    path = save(tmp_path / "l.npz", x=np.zeros((2, 5, 3)), y=np.zeros(3))
    assert refusal(path) == "data-labels: FILE: (3,) labels for 2 samples"
    assert refusal(path, (3,), encoding="rate") == (
        "data-steps: FILE: images need a number of steps\n  next: give --steps"
    )


def test_data_that_do_not_fit_the_coding() -> None:
    def text(data: np.ndarray, bits: int) -> str:
        with pytest.raises(InputError) as caught:
            encode_inputs(data, bits, 1.0, "input x")
        return f"{caught.value.code}: {caught.value}"

    assert text(np.array([0, 3]), 0) == (
        "input-not-binary: input x: the program takes binary spikes, the data hold values from 0 to 3\n"
        "  next: compile with --input graded"
    )
    assert text(np.array([0.5]), 4) == (
        "input-not-integer: input x: the program takes whole numbers, the data hold fractions\n"
        "  next: compile with --input analog"
    )
    np.testing.assert_array_equal(encode_inputs(np.array([0.5, -0.25]), 9, 4.0, ""), [2, -1])
