"""Events as data: every form they come in, how they become frames, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from snndeploy.cli import main
from snndeploy.data import load_samples
from snndeploy.data.events import in_turn
from snndeploy.errors import BackendMissing, InputError, SnnDeployError, UsageError

GRID = (2, 3, 4)
Columns = dict[str, np.ndarray]


def events(seed: int, n: int = 40, last: int = 9_999) -> Columns:
    """Random events on a 2x3x4 sensor, sorted in time, the last one at ``last`` microseconds."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, last + 1, n))
    t[-1] = last
    return {
        "x": rng.integers(0, 4, n),
        "y": rng.integers(0, 3, n),
        "p": rng.integers(0, 2, n),
        "t": t,
    }


def counted(e: Columns, steps: int, bin_us: int) -> np.ndarray:
    """Frames one event at a time, from the first event on."""
    frames = np.zeros((steps, *GRID), int)
    for x, y, p, t in zip(*(e[c].tolist() for c in "xypt"), strict=True):
        step = (t - int(e["t"].min())) // bin_us
        if step < steps:
            frames[step, p, y, x] += 1
    return frames


def in_bin_file(e: Columns) -> bytes:
    """The events as N-MNIST's records; a record of row 240 tells that 13 bits have run over."""
    out, epoch = bytearray(), 0
    for x, y, p, t in zip(*(e[c].tolist() for c in "xypt"), strict=True):
        while t >> 13 > epoch:
            out += bytes([0, 240, 0, 0, 0])
            epoch += 1
        clock = t & 0x1FFF
        out += bytes([x, y, p << 7 | clock >> 16, clock >> 8 & 255, clock & 255])
    return bytes(out)


def table(many: list[Columns], **more: np.ndarray) -> Columns:
    """Several recordings one after the other, with offsets."""
    joined = {c: np.concatenate([e[c] for e in many]) for c in "xypt"}
    return {**joined, "offset": np.cumsum([0, *(e["t"].size for e in many)]), **more}


def written(path: Path, e: Columns) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **e)
    elif path.suffix == ".npy":
        records = np.zeros(e["t"].size, [(c, np.int64) for c in "xypt"])
        for c in "xypt":
            records[c] = e[c]
        np.save(path, records)
    elif path.suffix == ".csv":
        rows = np.stack([e[c] for c in "xypt"], axis=1).tolist()
        path.write_text("x,y,p,t\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    else:
        path.write_bytes(in_bin_file(e))
    return path


@given(seed=st.integers(0, 10**6), bin_us=st.integers(1, 5000), steps=st.integers(1, 12))
@settings(max_examples=50)
def test_bins_are_half_open_and_end_with_the_last_step(
    tmp_path_factory: pytest.TempPathFactory, seed: int, bin_us: int, steps: int
) -> None:
    e = events(seed)
    path = written(tmp_path_factory.mktemp("d") / "e.npz", e)
    options: dict[str, Any] = {"bin_ms": bin_us / 1000, "steps": steps}
    expected = counted(e, steps, bin_us)
    np.testing.assert_array_equal(load_samples(path, GRID, **options).inputs[:, 0], expected)
    binary = load_samples(path, GRID, **options, frames="binary").inputs
    np.testing.assert_array_equal(binary[:, 0], expected > 0)
    assert binary.dtype == np.uint8


def test_borders(tmp_path: Path) -> None:
    """An event on a border belongs to the later step; time begins at the first event, or at zero."""
    e = {c: np.zeros(4, int) for c in "xyp"} | {"t": np.array([3999, 4000, 1000, 5000])}
    path = written(tmp_path / "e.npz", e)

    def steps(**options: Any) -> list[int]:
        return load_samples(path, GRID, **options).inputs[:, 0, 0, 0, 0].tolist()  # type: ignore[no-any-return]

    assert steps(bin_ms=1) == [1, 0, 1, 1, 1]
    assert steps(bin_ms=1, time_from="zero") == [0, 1, 0, 1, 1, 1]
    assert steps(bin_ms=1, steps=3) == [1, 0, 1]
    assert steps(bin_ms=2, steps=4) == [1, 2, 1, 0]
    assert steps(steps=2) == [1, 3]
    assert steps(steps=4) == [1, 0, 2, 1]
    assert steps(steps=1) == [4]
    assert steps(bin_ms=1, skip=0, samples=1) == [1, 0, 1, 1, 1]


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".csv", ".bin"])
def test_formats_agree(tmp_path: Path, suffix: str) -> None:
    e = events(1, last=30_000)  # the clock of .bin files runs over
    samples = load_samples(written(tmp_path / f"e{suffix}", e), GRID, bin_ms=2.5)
    assert samples.labels is None
    np.testing.assert_array_equal(samples.inputs[:, 0], counted(e, samples.steps, 2500))
    assert samples.steps == (30_000 - e["t"].min()) // 2500 + 1


@pytest.mark.parametrize(("unit", "factor"), [("t_us", 1), ("t_ms", 1e3), ("t_s", 1e6)])
def test_units_of_time_and_signed_polarity(tmp_path: Path, unit: str, factor: float) -> None:
    e = events(2)
    path = tmp_path / "e.npz"
    np.savez(path, x=e["x"], y=e["y"], polarity=e["p"] * 2 - 1, **{unit: e["t"] / factor})
    inputs = load_samples(path, GRID, bin_ms=1).inputs
    np.testing.assert_array_equal(inputs[:, 0], counted(e, len(inputs), 1000))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_many_recordings_in_one_file(tmp_path: Path, save: Callable[..., None]) -> None:
    many = [events(i, n=20 + i) for i in range(7)]
    save(tmp_path / "d.npz", **table(many, label=np.arange(7) % 3))
    samples = load_samples(tmp_path / "d.npz", GRID, bin_ms=2)
    expected = np.stack([counted(e, 5, 2000) for e in many], axis=1)
    for n in (1, 3, 7):
        parts = list(samples.batches(n))
        np.testing.assert_array_equal(np.concatenate([p.inputs for p in parts], 1), expected)
        assert np.concatenate([p.labels for p in parts]).tolist() == [0, 1, 2, 0, 1, 2, 0]
    later = load_samples(tmp_path / "d.npz", GRID, bin_ms=2, skip=4, samples=2)
    np.testing.assert_array_equal(later.inputs, expected[:, 4:6])
    assert later.labels is not None
    assert later.labels.tolist() == [1, 2]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_is_sent_to_other_processes_needs_no_file(
    tmp_path: Path, save: Callable[..., None]
) -> None:
    file = tmp_path / "many.npz"
    save(file, **table([events(i) for i in range(3)]))
    samples = load_samples(file, GRID, bin_ms=1.0, steps=10)
    first = next(iter(samples.batches(1)))  # so that the file is open
    sent = pickle.loads(pickle.dumps(samples))
    wanted = np.array(samples.inputs)
    del samples, first
    file.unlink()
    assert wanted.any()
    assert np.array_equal(sent.inputs, wanted)


def test_a_folder_of_classes_is_read_in_turn(tmp_path: Path) -> None:
    made = {(k, i): events(10 * k + i) for k in (2, 10) for i in range(3)}
    for (k, i), e in made.items():
        (tmp_path / str(k)).mkdir(exist_ok=True)
        written(tmp_path / str(k) / f"{i}{('.bin', '.npy', '.csv')[i]}", e)
    (tmp_path / ".DS_Store").touch()
    samples = load_samples(tmp_path, GRID, bin_ms=1)
    order = [(2, 0), (10, 0), (2, 1), (10, 1), (2, 2), (10, 2)]
    assert samples.labels is not None
    assert samples.labels.tolist() == [k for k, _ in order]
    for column, key in enumerate(order):
        expected = counted(made[key], samples.steps, 1000)
        np.testing.assert_array_equal(samples.inputs[:, column], expected)


def test_named_classes_are_numbered_by_the_alphabet(tmp_path: Path) -> None:
    for name in ("wave", "clap"):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "a.npz", events(3))
    labels = load_samples(tmp_path, GRID, steps=4).labels
    assert labels is not None
    assert labels.tolist() == [0, 1]


def test_a_flat_folder_takes_its_labels_from_a_list(tmp_path: Path) -> None:
    for i in range(3):
        written(tmp_path / f"{i}.npz", events(i))
    assert load_samples(tmp_path, GRID, steps=4).labels is None
    (tmp_path / "labels.csv").write_text("file,label\n2.npz,7\n0.npz, 5\n1.npz,6\n")
    labels = load_samples(tmp_path, GRID, steps=4).labels
    assert labels is not None
    assert labels.tolist() == [5, 6, 7]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_in_turn_takes_every_class_before_any_twice(labels: list[int]) -> None:
    order = in_turn(np.array(labels))
    assert sorted(order.tolist()) == list(range(len(labels)))
    nth = [labels[:i].count(labels[i]) for i in order]
    assert nth == sorted(nth)


def test_a_flat_input_needs_the_sensor(tmp_path: Path) -> None:
    path = written(tmp_path / "e.npz", events(4))
    flat = load_samples(path, (24,), bin_ms=1, sensor=GRID).inputs
    whole = load_samples(path, GRID, bin_ms=1).inputs
    np.testing.assert_array_equal(flat, whole.reshape(*whole.shape[:2], 24))
    merged = load_samples(path, (1, 3, 4), bin_ms=1).inputs
    np.testing.assert_array_equal(merged[:, :, 0], whole.sum(axis=2))


def test_a_cochlea_has_neither_rows_nor_polarities(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", x=np.array([699, 0, 0]), t_s=np.array([0.0, 0.1, 0.25]))
    inputs = load_samples(tmp_path / "e.npz", (700,), bin_ms=100).inputs
    assert np.argwhere(inputs[:, 0]).tolist() == [[0, 699], [1, 0], [2, 0]]
    channels = load_samples(tmp_path / "e.npz", (1, 700), bin_ms=100).inputs
    np.testing.assert_array_equal(channels[:, :, 0], inputs)


def test_a_recording_without_events_is_silent(tmp_path: Path) -> None:
    empty = {c: np.zeros(0, int) for c in "xypt"}
    np.savez(tmp_path / "d.npz", **table([empty, events(1)]))
    inputs = load_samples(tmp_path / "d.npz", GRID, bin_ms=1).inputs
    assert (inputs[:, 0].sum(), inputs[:, 1].sum()) == (0, 40)
    written(tmp_path / "e.csv", empty)
    assert load_samples(tmp_path / "e.csv", GRID, bin_ms=1).inputs.shape == (1, 1, *GRID)


def refusal(path: object, shape: tuple[int, ...] = GRID, **options: Any) -> str:
    options = {"bin_ms": 1} | options
    with pytest.raises(SnnDeployError) as caught:
        list(load_samples(str(path), shape, **options).batches(1))
    return f"{caught.value.code}: {caught.value}".replace(str(path), "DATA")


def test_refused_events(tmp_path: Path) -> None:
    path = tmp_path / "e.npz"

    def changed(**columns: Any) -> str:
        given = {**events(1), **columns}
        np.savez(path, **{c: a for c, a in given.items() if a is not None})
        return refusal(path)

    n = np.arange(40)
    assert changed(x=n % 4 + 1) == (
        "events-outside: DATA: recording 0: x runs from 1 to 4, the input is 2x3x4 "
        "(polarities x rows x columns)\n  next: crop or scale the events to the network's input first; "
        "--sensor names the grid of a flat input"
    )
    assert "p runs from 0 to 2" in changed(p=n % 3)
    assert changed(p=None) == (
        "events-columns: DATA: recording 0: the events have no p, the input is 2x3x4\n"
        "  next: the input is read as (polarities, rows, columns)"
    )
    assert "the events have no y" in changed(y=None)
    assert changed(t=np.full(40, np.nan)).startswith(
        "data-not-finite: DATA: recording 0: t holds NaN or infinity"
    )
    assert changed(y=n % 3 + 0.5).startswith(
        "events-not-whole: DATA: recording 0: y holds fractions"
    )
    assert changed(x=np.array(["a"] * 40)) == "data-type: DATA: recording 0: x is <U1"
    assert changed(y=n.reshape(2, 20)).startswith(
        "events-lengths: DATA: recording 0: columns differ in shape"
    )
    assert changed(offset=np.array([0, 50])) == (
        "events-offsets: DATA: offset does not divide 40 events into recordings\n"
        "  next: recording i is offset[i]:offset[i + 1], so n recordings have n + 1 offsets"
    )
    assert "events-offsets" in changed(offset=np.array([0, 30, 20, 40]))
    assert "events-offsets" in changed(offset=np.array([0.0, 40.0]))
    assert changed(label=np.array([1, 2])) == "data-labels: DATA: (2,) labels for 1 samples"
    np.savez(path, **{**events(1), "t": events(1)["t"] - 5000})
    assert refusal(path, time_from="zero").startswith(
        "events-before-zero: DATA: recording 0: an event"
    )


def test_frames_beside_a_time_axis_are_frames(tmp_path: Path) -> None:
    x = np.arange(2 * 5 * 24).reshape(2, 5, *GRID)
    np.savez(tmp_path / "d.npz", x=x, y=np.array([0, 1]), t=np.arange(5))
    np.testing.assert_array_equal(load_samples(tmp_path / "d.npz", GRID).inputs, x.swapaxes(0, 1))


def test_refused_options(tmp_path: Path) -> None:
    path = written(tmp_path / "e.npz", events(1))
    assert refusal(path, bin_ms=None) == (
        "data-bins: DATA: events need a length of time per step, or a number of steps\n"
        "  next: give --bin-ms, --steps or both"
    )
    for length in (0.0005, 0, -1.0, float("nan"), float("inf")):
        assert "is not a whole number of microseconds" in refusal(path, bin_ms=length)
    assert refusal(path, encoding="rate") == (
        "data-option: DATA: --encode says nothing about events\n  next: leave --encode out"
    )
    assert refusal(path, (24,), sensor=(2, 3, 5)) == (
        "events-sensor: DATA: a sensor of 2x3x5 does not fill the network's input (24,)\n"
        "  next: a sensor is polarities x rows x columns, e.g. --sensor 2,34,34"
    )
    assert refusal(path, skip=1) == (
        "data-no-samples: DATA: there are 1 samples, none is left after skipping 1\n"
        "  next: give a smaller --skip"
    )
    np.save(tmp_path / "x.npy", np.zeros((2, 5, *GRID)))
    assert refusal(tmp_path / "x.npy") == (
        "data-option: DATA: --bin-ms says nothing about spike trains and images\n"
        "  next: leave --bin-ms out"
    )


def test_refused_folders(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "data-folder-empty: DATA: the folder is empty"
    (tmp_path / "a").mkdir()
    assert refusal(tmp_path) == ("data-folder-empty: DATA/a: the folder holds no recordings")
    stray = tmp_path / "a" / "x.aedat"
    stray.touch()
    assert refusal(tmp_path).startswith(
        "data-folder-file: DATA/a: x.aedat is not a recording of events\n"
        "  next: a recording is one of .bin, .csv, .npy, .npz"
    )
    stray.unlink()
    written(tmp_path / "a" / "1.npz", events(1))
    written(tmp_path / "2.npz", events(1))
    assert refusal(tmp_path).startswith("data-folder-mixed: DATA: 2.npz lies beside sub-folders")
    (tmp_path / "a" / "labels.csv").write_text("2.npz,1\n")
    assert refusal(tmp_path / "a") == (
        "data-labels: DATA/labels.csv: 1.npz has no label where a whole number is expected\n"
        "  next: one line per recording: file,label"
    )
    (tmp_path / "a" / "labels.csv").write_text("1.npz,cat\n")
    assert "1.npz has 'cat' where a whole number" in refusal(tmp_path / "a")
    np.save(tmp_path / "a" / "1.npy", np.zeros((5, *GRID)))
    (tmp_path / "a" / "labels.csv").unlink()
    (tmp_path / "a" / "1.npz").unlink()
    assert refusal(tmp_path / "a").startswith(
        "events-columns: DATA/1.npy: events need x and t, found x"
    )


def test_refused_files(tmp_path: Path) -> None:
    (tmp_path / "e.bin").write_bytes(b"1234")
    assert refusal(tmp_path / "e.bin").startswith(
        "data-unreadable: DATA: 4 bytes are no whole number of 5-byte events"
    )
    (tmp_path / "e.csv").write_text("x,y,p,t\n1,2,0,abc\n")
    assert refusal(tmp_path / "e.csv").startswith("data-unreadable: DATA: not numbers separated by")
    (tmp_path / "n.csv").write_text("1,2,0,100\n")
    assert refusal(tmp_path / "n.csv").startswith("events-columns: DATA: events need x and t")
    for name in ("gone.bin", "gone.csv"):
        assert refusal(tmp_path / name).startswith(
            "data-missing: DATA: there is no such file\n  next"
        )


class FakeSet:
    """What tonic's data sets have in common (tonic 1.7)."""

    sensor_size = (4, 3, 2)

    def __init__(self, save_to: str, train: bool = True) -> None:
        sys.stdout.write(f"Downloading {save_to}")
        self.train = train
        self.targets = [0, 0, 1, 1, 2]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        e = events(index + 100 * self.train)
        records = np.zeros(40, [(c, np.int64) for c in "xytp"])
        for c in "xypt":
            records[c] = e[c]
        return records, self.targets[index]


@pytest.fixture
def tonic(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    class Raw(FakeSet):
        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return np.zeros(3), ["not a class"]

    class Broken(FakeSet):
        def __init__(self, save_to: str) -> None:
            raise RuntimeError("HTTP Error 403")

    package, datasets = types.ModuleType("tonic"), types.ModuleType("tonic.datasets")
    datasets.__all__ = ["NMNIST", "Raw", "Broken"]  # type: ignore[attr-defined]
    vars(datasets).update(NMNIST=FakeSet, Raw=Raw, Broken=Broken)
    package.datasets = datasets  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tonic", package)
    monkeypatch.setitem(sys.modules, "tonic.datasets", datasets)
    return datasets


@pytest.mark.parametrize(
    ("name", "shift"), [("NMNIST", 0), ("NMNIST:test", 0), ("NMNIST:train", 100)]
)
def test_tonic_data_sets_by_name(
    tonic: object, name: str, shift: int, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = load_samples(f"tonic:{name}", GRID, bin_ms=1, samples=4)
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1, 2, 0]
    for column, index in enumerate((0, 2, 4, 1)):
        e = events(index + shift)
        np.testing.assert_array_equal(samples.inputs[:, column], counted(e, samples.steps, 1000))
    flat = load_samples(f"tonic:{name}", (24,), bin_ms=1, samples=4)
    np.testing.assert_array_equal(flat.inputs.ravel(), samples.inputs.ravel())
    assert capsys.readouterr().out == ""


def test_refused_tonic_names(tonic: object) -> None:
    assert refusal("tonic:NMIST") == (
        "tonic-name: tonic:NMIST: tonic has no data set 'NMIST'\n  next: did you mean 'NMNIST'?"
    ).replace("tonic:NMIST", "DATA")
    assert refusal("tonic:NMNIST:tests").startswith(
        "tonic-split: tonic:NMNIST: there is no split 'tests'"
    )
    assert "no split 'valid'" in refusal("tonic:NMNIST:valid")
    assert refusal("tonic:Broken").startswith(
        "tonic-unavailable: DATA: tonic cannot load it: RuntimeError: HTTP Error 403\n  next: put its"
    )
    assert refusal("tonic:Raw").startswith(
        "tonic-not-events: DATA: its samples are no plain streams"
    )


def test_tonic_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tonic", None)
    with pytest.raises(BackendMissing) as caught:
        load_samples("tonic:NMNIST", GRID, bin_ms=1)
    assert (caught.value.code, caught.value.exit_code) == ("tonic-missing", 7)
    assert caught.value.hint == "pip install 'snndeploy[tonic]'"


def simulate(shared_data: Path, *options: object) -> dict[str, Any]:
    """The published N-MNIST network on real events, from the command line."""
    command = [
        "simulate",
        shared_data / "nir_models/paper/cnn_sinabs.nir",
        "--frontend",
        "sinabs",
        "--semantics",
        "v_floor=none",
        "--data",
        shared_data / "nmnist_small/nmnist_small.npz",
        "--skip",
        1000,
        "--json",
        *options,
    ]
    result = CliRunner().invoke(main, [str(word) for word in command])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_real_events_from_the_command_line(shared_data: Path) -> None:
    """Ten steps of 30 ms tell four digits apart."""
    report = simulate(shared_data, "-n", 4, "--bin-ms", 30, "--steps", 10, "--engine", "float")
    assert (report["samples"], report["steps"]) == (4, 10)
    assert report["accuracy"]["float"] >= 0.75


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("reset", "spikes", "right"),
    [("zero", "one", 100), ("subtract", "one", 98), ("subtract", "many", 100)],
)
def test_nmnist_in_milliseconds(shared_data: Path, reset: str, spikes: str, right: int) -> None:
    """All 100 test recordings in steps of 1 ms: the accuracies measured with another simulator."""
    report = simulate(
        shared_data,
        "--reset",
        reset,
        "--spikes-per-step",
        spikes,
        "--bin-ms",
        1,
        "--time-from",
        "zero",
        "--engine",
        "float,integer",
    )
    assert (report["samples"], report["steps"]) == (100, 337)
    assert round(report["accuracy"]["float"] * 100) == right
    assert abs(report["accuracy"]["integer"] * 100 - right) <= 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_tonic_itself(tmp_path: Path) -> None:
    """N-MNIST and SHD as tonic reads them, from small files in their formats."""
    import h5py

    packages = tmp_path / "packages"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(packages),
    ]
    needed = (
        "tonic==1.7.0",
        "tqdm",
        "importRosbag",
        "expelliarmus",
        "requests",
        "urllib3",
        "idna",
        "certifi",
        "charset-normalizer",
    )
    done = subprocess.run([*pip, *needed], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"tonic cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    digits = tmp_path / "NMNIST"
    e = events(5, last=30_000)
    for k in range(10):
        (digits / "Test" / str(k)).mkdir(parents=True)
        for i in range(1000):
            (digits / "Test" / str(k) / f"{i:05}.bin").write_bytes(
                in_bin_file(e) if i == k else b""
            )
    (digits / "test.zip").touch()
    (tmp_path / "SHD").mkdir()
    (tmp_path / "SHD" / "shd_test.h5.zip").touch()
    with h5py.File(tmp_path / "SHD" / "shd_test.h5", "w") as file:
        file["labels"] = np.array([3, 17])
        ragged = {
            "times": (np.float16, [[0.0, 0.25], [0.5]]),
            "units": (np.uint16, [[699, 1], [7]]),
        }
        for name, (kind, rows) in ragged.items():
            column = file.create_dataset(f"spikes/{name}", (2,), h5py.vlen_dtype(kind))
            for i, row in enumerate(rows):
                column[i] = row
        file["extra/keys"], file["extra/speaker"] = np.zeros(20), np.zeros(2)
    script = (
        "import numpy as np\n"
        "from snndeploy.data import load_samples\n"
        "d = load_samples('tonic:NMNIST', (2, 34, 34), bin_ms=2.5, steps=13, samples=35)\n"
        "np.savez('out.npz', digits=d.inputs, labels=d.labels)\n"
        "s = load_samples('tonic:SHD', (700,), bin_ms=250)\n"
        "print(np.argwhere(s.inputs).tolist(), s.labels.tolist())\n"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{root}:{packages}", "SNNDEPLOY_DATASETS": str(tmp_path)},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.strip() == "[[0, 0, 699], [0, 1, 7], [1, 0, 1]] [3, 17]"
    with np.load(tmp_path / "out.npz") as out:
        assert out["labels"].tolist() == [*range(10)] * 3 + [*range(5)]
        spiking = np.flatnonzero(out["digits"].any(axis=(0, 2, 3, 4)))
        assert spiking.tolist() == [0, 11, 22, 33]
        np.testing.assert_array_equal(out["digits"][:, 11, :, :3, :4], counted(e, 13, 2500))


@pytest.mark.parametrize("name", ["t", "timestamp"])
@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_times_in_fractions_need_a_unit(tmp_path: Path, name: str, kind: str) -> None:
    """1.5 s in 10 ms steps: events at 0, 0.75 and 1.4999 s are steps 0, 75 and 149."""
    t, x = np.array([0.0, 0.75, 1.4999]), np.array([0, 1, 2])
    path = tmp_path / f"seconds.{kind}"
    if kind == "npz":
        np.savez(path, x=x, **{name: t})
    else:
        rows = [f"{a},{b}" for a, b in zip(x, t, strict=True)]
        path.write_text("\n".join([f"x,{name}", *rows]))
    for options in ({"bin_ms": 10.0}, {"steps": 150}, {"bin_ms": 10.0, "steps": 150}):
        with pytest.raises(
            InputError, match=f"{name} runs from 0 to 1.4999 in fractions"
        ) as caught:
            load_samples(path, (3,), **options)  # type: ignore[arg-type]
        assert caught.value.code == "events-time-unit"
        assert "--time-unit s" in caught.value.hint
    found = load_samples(path, (3,), bin_ms=10.0, time_unit="s").inputs
    assert np.argwhere(found[:, 0]).tolist() == [[0, 0], [75, 1], [149, 2]]


def test_a_unit_where_there_is_one_already(tmp_path: Path) -> None:
    path = tmp_path / "named.npz"
    np.savez(path, x=np.array([0]), t_ms=np.array([1.5]))
    with pytest.raises(UsageError, match="--time-unit says nothing about t_ms") as caught:
        load_samples(path, (3,), steps=2, time_unit="s")
    assert caught.value.code == "data-option"
    trains = tmp_path / "trains.npz"
    np.savez(trains, x=np.zeros((1, 2, 3)))
    with pytest.raises(UsageError, match="--time-unit says nothing about spike trains"):
        load_samples(trains, (3,), time_unit="s")
