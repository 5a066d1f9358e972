"""Reading samples and encoding images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snndeploy.data import Samples, load_samples
from snndeploy.data.arrays import open_arrays
from snndeploy.data.encode import constant, delta, latency, rate
from snndeploy.errors import InputError, SnnDeployError
from snndeploy.ir.arrays import frozen
from snndeploy.ir.program import CompartmentGroup
from snndeploy.lower import encode_inputs


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


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_are_read_batch_by_batch(tmp_path: Path, save: Callable[..., None]) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (23, 4, 2, 3, 3)).astype(np.uint8)
    save(tmp_path / "d.npz", first=np.zeros(3), x=x, y=np.arange(23))
    samples = load_samples(tmp_path / "d.npz", (2, 3, 3))
    for n in (1, 5, 23, 30):  # again from the front each time
        parts = list(samples.batches(n))
        np.testing.assert_array_equal(
            np.concatenate([p.inputs for p in parts], axis=1), x.swapaxes(0, 1)
        )
        assert np.concatenate([p.labels for p in parts]).tolist() == list(range(23))
    later = load_samples(tmp_path / "d.npz", (2, 3, 3), skip=20, samples=2)
    np.testing.assert_array_equal(later.inputs, x[20:22].swapaxes(0, 1))
    np.testing.assert_array_equal(samples.first(3).inputs, x[:3].swapaxes(0, 1))
    images = load_samples(tmp_path / "d.npz", (4, 2, 3, 3), encoding="rate", steps=4)
    np.testing.assert_array_equal(images.part(7, 2).inputs, rate(x[7:9] / 2, 4))


def test_what_is_stored_plainly_is_mapped(tmp_path: Path) -> None:
    """Names longer in the file than in its directory, other orders of axes, and no dimension at all."""
    x = np.asfortranarray(np.arange(24, dtype=np.uint16).reshape(4, 3, 2))
    save(tmp_path / "d.npz", x=x, empty=np.zeros((0, 2)), scalar=np.array(7))
    arrays = open_arrays(tmp_path / "d.npz")
    assert isinstance(arrays["x"], np.memmap)
    np.testing.assert_array_equal(arrays["x"][1:3], x[1:3])
    assert (arrays["empty"].shape, arrays["scalar"].shape) == ((0, 2), ())
    np.savez_compressed(tmp_path / "c.npz", x=x)
    np.testing.assert_array_equal(open_arrays(tmp_path / "c.npz")["x"][1:3], x[1:3])


def test_a_damaged_archive_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "d.npz"
    np.savez_compressed(path, x=rng.integers(0, 256, (50, 40, 30), np.uint8))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    samples = load_samples(path, (30,))
    with pytest.raises(InputError) as caught:
        list(samples.batches(10))
    assert caught.value.code == "data-unreadable"
    path.write_bytes(data[: len(data) // 2])
    assert refusal(path).startswith("data-unreadable: FILE: not a readable")


@given(st.lists(st.integers(-8, 8), min_size=1, max_size=20), st.sampled_from([0.5, 1.0, 2.5]))
def test_delta_code_compares_with_the_step_before(values: list[int], threshold: float) -> None:
    series = np.array(values, np.int8).reshape(-1, 1, 1)
    spikes = delta(series, threshold)[:, 0, 0].tolist()
    before = [0, *values[:-1]]
    changes = [v - b for v, b in zip(values, before, strict=True)]
    assert spikes == [(c >= threshold) - (c <= -threshold) for c in changes]
    pair = delta(series, threshold, channels=True)[:, 0]
    assert pair.tolist() == [[int(s > 0), int(s < 0)] for s in spikes]


def test_delta_is_snntorchs() -> None:
    """The examples of its documentation (snntorch 1.0.0, ``spikegen.delta``, ``off_spike=True``)."""
    series = np.array([1, 2, 0, 2, 2.9]).reshape(-1, 1, 1)
    assert delta(series, 1.0)[:, 0, 0].tolist() == [1, 1, -1, 1, 0]


def test_signals_become_signed_spikes_or_two_channels(tmp_path: Path) -> None:
    series = np.random.default_rng(0).normal(size=(3, 9, 4))
    path = save(tmp_path / "s.npz", x=series, y=np.arange(3))
    signed = load_samples(path, (4,), encoding="delta").inputs
    np.testing.assert_array_equal(signed, delta(series.swapaxes(0, 1), 0.1))
    pairs = load_samples(path, (8,), encoding="delta", delta_threshold=1.5).inputs
    wide = delta(series.swapaxes(0, 1), 1.5)
    np.testing.assert_array_equal(pairs, np.concatenate([wide > 0, wide < 0], axis=2))
    assert refusal(path, (4,), encoding="delta", delta_threshold=0.0) == (
        "data-threshold: --delta-threshold: 0 is not above 0"
    )


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
    with pytest.raises(SnnDeployError) as caught:
        load_samples(path, shape, **options)  # type: ignore[arg-type]
    return f"{caught.value.code}: {caught.value}".replace(str(path), "FILE")


def test_refusals(tmp_path: Path) -> None:
    gone = "data-missing: FILE: there is no such file\n  next: "
    assert refusal(tmp_path / "gone.npz").startswith(gone + "check the path; ")
    assert refusal(tmp_path / "no" / "x.npz") == f"{gone}there is no folder '{tmp_path}/no' either"
    save(tmp_path / "val.npz", x=np.zeros(3))
    assert refusal(tmp_path / "vall.npz") == f"{gone}did you mean '{tmp_path}/val.npz'?"
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
    for shape in ((0, 5, 3), (2, 0, 3)):
        assert refusal(save(tmp_path / "e.npz", x=np.zeros(shape))).startswith(
            f"data-empty: FILE: the data have shape {shape}: there is nothing in it"
        )
    path = save(tmp_path / "l.npz", x=np.zeros((2, 5, 3)), y=np.zeros(3))
    assert refusal(path) == (
        "data-labels: FILE: (3,) labels for 2 samples\n"
        "  next: spike trains are (samples, steps, ...); images need --encode and --steps; "
        "labels are (samples,), or (samples, steps)"
    )
    path = save(tmp_path / "h.npz", x=np.zeros((2, 5, 3)), y=np.eye(3)[:2])
    assert "  next: where they are one-hot, store y.argmax(axis=1); " in refusal(path)
    assert refusal(path, (3,), encoding="rate") == (
        "data-steps: FILE: images need a number of steps\n  next: give --steps"
    )


def test_refused_images(tmp_path: Path) -> None:
    def text(images: np.ndarray, **options: object) -> str:
        return refusal(save(tmp_path / "i.npz", x=images), **{"steps": 4, **options})  # type: ignore[arg-type]

    assert text(np.array([[-0.42, 0, 2.8]]), encoding="rate") == (
        "data-negative: FILE: the images hold values from -0.42 to 2.8; rate has no code for "
        "negative ones\n  next: undo the normalisation, or feed them as they are with --encode direct"
    )
    assert text(np.array([[np.nan, 0, 1]]), encoding="latency") == (
        "data-not-finite: FILE: sample 0 holds NaN or infinity\n"
        "  next: mend the file, or leave the sample out: --samples N, --skip N"
    )
    path = save(tmp_path / "n.npz", x=np.zeros((4, 2, 3)))
    trains = np.zeros((4, 2, 3))
    trains[2, 1, 0] = np.inf
    for save_as in (np.savez, np.savez_compressed):
        save_as(path, x=trains)
        with pytest.raises(InputError, match=r"n\.npz: sample 2 holds NaN or infinity"):
            list(load_samples(path, (3,)).batches(3))
    assert text(np.zeros((2, 5, 3))) == (
        "data-option: FILE: --steps says nothing about these data, which have 5 steps\n"
        "  next: leave --steps out"
    )
    assert "--delta-threshold says nothing about other encodings" in text(
        np.zeros((2, 3)), encoding="rate", delta_threshold=0.2
    )
    path = save(tmp_path / "l.npz", x=np.zeros((2, 5, 3)), y=np.array([0.5, 1]))
    assert refusal(path).startswith("data-labels: FILE: labels are not whole numbers")


def entry(bits: int, scale: float = 1.0) -> CompartmentGroup:
    return CompartmentGroup(
        name="x",
        shape=(1,),
        role="input",
        kind="input",
        depth=0,
        scale=frozen(scale),
        message_bits=bits,
    )


def test_data_that_do_not_fit_the_coding() -> None:
    def text(data: np.ndarray, bits: int) -> str:
        with pytest.raises(InputError) as caught:
            encode_inputs(data, entry(bits))
        return f"{caught.value.code}: {caught.value}"

    assert text(np.array([0, 3]), 0) == (
        "input-not-binary: input x: the program takes binary spikes, the data hold values from 0 to 3\n"
        "  next: compile with --input graded"
    )
    assert text(np.array([0.5]), 4) == (
        "input-not-integer: input x: the program takes whole numbers, the data hold fractions\n"
        "  next: compile with --input analog"
    )
    for bits, scale in ((0, 1.0), (9, 4.0)):
        with pytest.raises(InputError, match="input x: the data hold NaN or infinity") as caught:
            encode_inputs(np.array([0.5, np.nan]), entry(bits, scale))
        assert caught.value.code == "input-not-finite"
    np.testing.assert_array_equal(encode_inputs(np.array([0.5, -0.25]), entry(9, 4.0)), [2, -1])


@pytest.mark.parametrize("beside", ["labels", "targets"])
def test_labels_and_targets_are_of_the_samples(beside: str) -> None:
    x = np.zeros((7, 5, 3), np.uint8)
    right = {"labels": np.zeros((5, 7), np.int64), "targets": np.zeros((5, 2))}[beside]
    assert len(Samples(x, **{beside: right})) == 5  # type: ignore[arg-type]
    for source in (x, {"a": x}):
        with pytest.raises(InputError, match=f"{beside} for 7 samples beside 5") as found:
            Samples(source, **{beside: right[:1].repeat(7, 0)})  # type: ignore[arg-type]
        assert found.value.code == "data-labels"
