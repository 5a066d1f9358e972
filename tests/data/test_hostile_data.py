"""Data of strangers: each kind that once crashed or filled the memory, by name."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy.data import load_samples
from snndeploy.errors import InputError
from snndeploy.limits import Limits, using
from snndeploy.verify.trace import read_trace

SHAPE = (2, 3, 4)
X = np.zeros((2, 5, *SHAPE), np.uint8)
N = np.arange(40)
EVENTS = {"x": N % 4, "y": N % 3, "p": N % 2, "t": N * 50}


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def patched(path: Path, field: int, value: bytes) -> Path:
    """The first entry of an archive's directory with other bytes at ``field``."""
    raw = bytearray(saved(path, x=X, y=np.arange(2)).read_bytes())
    at = raw.find(b"PK\x01\x02") + field
    raw[at : at + len(value)] = value
    path.write_bytes(raw)
    return path


def headed(path: Path, shape: str) -> Path:
    """Five bytes that claim to be an array of another shape."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117)
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + text + b"\nabcde")
    return path


def packed_zeros(path: Path, name: str, mebibytes: int) -> Path:
    """A valid array of zeros, a thousandth of its size on disk."""
    header = io.BytesIO()
    count = mebibytes << 20
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (count,)}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(X))
        with archive.open(f"{name}.npy", "w") as member:
            member.write(header.getvalue())
            for _ in range(mebibytes):
                member.write(bytes(1 << 20))
    return path


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


Case = tuple[Callable[[Path], Path], str, str]
ARRAYS: dict[str, Case] = {
    "encrypted": (lambda d: patched(d / "a.npz", 8, b"\x01"), "data-unreadable", "x is encrypted"),
    "unknown method": (
        lambda d: patched(d / "a.npz", 10, b"\x63\x00"),
        "data-unreadable",
        "packed by method 99",
    ),
    "negative shape": (
        lambda d: headed(d / "a.npy", "(-2, 5)"),
        "data-unreadable",
        r"no array of shape \(-2, 5\)",
    ),
    "claimed shape": (
        lambda d: headed(d / "a.npy", "(1099511627776,)"),
        "data-unreadable",
        "it ends before its 1,099,511,627,776 bytes",
    ),
    "overflowing shape": (
        lambda d: headed(d / "a.npy", f"({2**62}, 4)"),
        "data-unreadable",
        "no memory for",
    ),
    "nested header": (
        lambda d: headed(d / "a.npy", "(" * 40),
        "data-unreadable",
        "not a readable .npy",
    ),
    "label without axis": (
        lambda d: saved(d / "a.npz", x=X, y=np.array(3)),
        "data-labels",
        r"\(\) labels for 2 samples",
    ),
    "huge label": (
        lambda d: saved(d / "a.npz", x=X, y=np.array([1e300, 1.0])),
        "data-labels",
        "not whole numbers",
    ),
    "labels without end": (
        lambda d: packed_zeros(d / "a.npz", "y", 64),
        "data-labels",
        r"\(67108864,\) labels for 2 samples",
    ),
    "pipe": (lambda d: pipe(d / "a.npz"), "data-unreadable", "not a regular file"),
    "sample without end": (
        lambda d: saved(d / "a.npz", x=np.broadcast_to(np.uint8(0), (1, 1 << 21, *SHAPE))[:, :, :]),
        "data-too-large",
        "a sample of 2,097,152 steps",
    ),
}
RECORDINGS: dict[str, Case] = {
    "offset without axis": (
        lambda d: saved(d / "e.npz", **EVENTS, offset=np.array(3)),
        "data-shape",
        "offset has shape",
    ),
    "time without axis": (
        lambda d: saved(d / "e.npz", **{**EVENTS, "t": np.array(3)}),
        "events-lengths",
        "columns differ in shape",
    ),
    "time of 2**62": (
        lambda d: saved(d / "e.npz", **{**EVENTS, "t": N + 2**62}),
        "events-too-large",
        r"past 2\*\*53",
    ),
    "seconds of 2**40": (
        lambda d: saved(d / "e.npz", x=N % 4, y=N % 3, p=N % 2, t_s=N + 2**40),
        "events-too-large",
        r"past 2\*\*53",
    ),
    "huge address": (
        lambda d: saved(d / "e.npz", **{**EVENTS, "x": np.full(40, 1e300)}),
        "events-too-large",
        "x runs from 1e",
    ),
    "unsigned offsets that go back": (
        lambda d: saved(d / "e.npz", **EVENTS, offset=np.array([0, 30, 20, 40], np.uint64)),
        "events-offsets",
        "does not divide",
    ),
    "huge field": (
        lambda d: text(d / "e.csv", "x" * 200_000 + ",y,p,t\n1,1,1,1\n"),
        "data-unreadable",
        "field larger than field limit",
    ),
    "number of 5,000 digits": (
        lambda d: text(d / "e.csv", f"x,y,p,t\n1,1,1,{'9' * 5000}\n"),
        "data-not-finite",
        "t holds NaN or infinity",
    ),
    "pipe of records": (lambda d: pipe(d / "e.bin"), "data-unreadable", "not a regular file"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name: str, tmp_path: Path) -> None:
    build, code, message = ARRAYS[name]
    path = build(tmp_path)
    small = using(Limits(memory=32 << 20))
    with small, pytest.raises(InputError, match=message) as caught:
        load_samples(path, SHAPE)
    assert caught.value.code == code


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings(name: str, tmp_path: Path) -> None:
    build, code, message = RECORDINGS[name]
    path = build(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        load_samples(path, SHAPE, steps=5).inputs  # noqa: B018 (read when it is asked for)
    assert caught.value.code == code


def test_too_long_a_recording_for_the_number_of_steps(tmp_path: Path) -> None:
    path = saved(tmp_path / "e.npz", **{**EVENTS, "t": N * 0 + 2**52})
    with pytest.raises(InputError, match="cannot be divided into 5,000 steps") as caught:
        load_samples(path, SHAPE, steps=5000, time_from="zero").inputs  # noqa: B018
    assert caught.value.code == "events-too-large"


def test_steps_without_end(tmp_path: Path) -> None:
    path = saved(tmp_path / "e.npz", **{**EVENTS, "t": N * 10**12})
    with pytest.raises(InputError, match="a sample of 39,000,000,001 steps") as caught:
        load_samples(path, SHAPE, bin_ms=1.0)
    assert caught.value.code == "data-too-large"


def test_classes_with_long_numbers_are_names(tmp_path: Path) -> None:
    for name in ("9" * 200, "1"):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "a.npz", **EVENTS)
    samples = load_samples(tmp_path, SHAPE, steps=5)
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1]  # the place in the alphabet


@pytest.mark.parametrize("name", ["encrypted", "unknown method", "pipe"])
def test_traces(name: str, tmp_path: Path) -> None:
    path = ARRAYS[name][0](tmp_path)
    with pytest.raises(InputError) as caught:
        read_trace(path)
    assert caught.value.code in ("trace-unreadable", "trace-missing")


def test_a_trace_without_end(tmp_path: Path) -> None:
    path = packed_zeros(tmp_path / "a.npz", "output", 64)
    with (
        using(Limits(memory=32 << 20)),
        pytest.raises(InputError, match="past the limit") as caught,
    ):
        read_trace(path)
    assert caught.value.code == "trace-unreadable"


def test_labels_and_target_values_are_measured_before_they_are_read(tmp_path: Path) -> None:
    x = np.zeros((40, 5, *SHAPE), np.uint8)  # a sample is smaller than what goes with all
    arrays = {"y": np.zeros((40, 5), np.int8), "target": np.zeros((40, 3))}
    for name, values in arrays.items():
        path = saved(tmp_path / f"{name}.npz", x=x, **{name: values})
        load_samples(path, SHAPE)
        with using(Limits(memory=values.nbytes - 1)), pytest.raises(InputError) as caught:
            load_samples(path, SHAPE)
        assert caught.value.code == "data-too-large"
        most = (values.nbytes - 1) // values.itemsize
        assert caught.value.message.startswith(f"{name} has {values.size:,} values, past the limit")
        assert caught.value.message.endswith(f"of {most:,}")
