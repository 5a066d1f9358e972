"""Arrays of ``.npy`` and ``.npz`` files that stay on disk until a part of them is asked for."""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from ..errors import InputError
from ..ir.arrays import Array, Shape, size

_UNREADABLE = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, struct.error)
_SKIPPED = 1 << 20
"""Bytes read at once on the way to a later row."""


class Rows(Protocol):
    """An array as far as readers need it: its type, its shape, and slices of its first axis."""

    @property
    def shape(self) -> Shape: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, rows: slice, /) -> Array: ...


def open_arrays(path: Path) -> dict[str, Rows]:
    """The arrays of a ``.npz`` by name, or that of a ``.npy`` as ``x``.

    What is stored plainly is memory-mapped. Compressed arrays are unpacked row by row as they are asked
    for: forward only, so that going back starts again at the front.

    Raises:
        InputError: there is no such file, or it is none of the two, damaged, or holds objects.
    """
    try:
        if not zipfile.is_zipfile(path):
            return {"x": _map_npy(path)}
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            return {
                m.filename.removesuffix(".npy"): _open_member(path, archive, m) for m in members
            }
    except FileNotFoundError as error:
        raise InputError("data-missing", "there is no such file", where=str(path)) from error
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def forget(array: object) -> None:
    """Let the system drop what has been read of a file; without it, memory grows with the samples."""
    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    mapped = getattr(base, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        "data-unreadable",
        f"not a readable .npy or .npz file ({error})",
        where=str(path),
        hint="save plain arrays with numpy.savez (no objects)",
    )


def _map_npy(path: Path) -> Array:
    with path.open("rb") as stream:
        shape, _, _ = _header(stream)
        if not shape or 0 in shape:
            stream.seek(0)
            return _whole(stream)
    mapped: Array = np.lib.format.open_memmap(path, mode="r")
    return mapped


def _open_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Rows:
    with archive.open(member) as stream:
        shape, fortran, dtype = _header(stream)
        begin = stream.tell()
        if not shape or 0 in shape or (fortran and member.compress_type != zipfile.ZIP_STORED):
            stream.seek(0)
            return _whole(stream)
    if member.compress_type != zipfile.ZIP_STORED:
        return _Packed(path, member.filename, shape, dtype, begin)
    with path.open("rb") as file:  # names in front of the data may differ from the directory's
        file.seek(member.header_offset + 26)
        names = sum(struct.unpack("<HH", file.read(4)))
    offset = member.header_offset + 30 + names + begin
    order: Any = "F" if fortran else "C"
    return np.memmap(path, dtype, "r", offset, shape, order)


def _whole(stream: IO[bytes]) -> Array:
    array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _header(stream: IO[bytes]) -> tuple[Shape, bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version[0]}.{version[1]} of the .npy format is not known")
    shape, fortran, dtype = readers[version](stream)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    return shape, fortran, dtype


class _Packed:
    """A compressed array of a ``.npz``, as `Rows`."""

    def __init__(
        self, path: Path, member: str, shape: Shape, dtype: np.dtype[Any], begin: int
    ) -> None:
        self.path, self.member = path, member
        self.shape, self.dtype = shape, dtype
        self._begin = begin
        self._row_bytes = size(shape[1:]) * dtype.itemsize
        self._stream: IO[bytes] | None = None
        self._archive: zipfile.ZipFile | None = None
        self._at = 0

    def __getitem__(self, rows: slice, /) -> Array:
        low, high, _ = rows.indices(self.shape[0])
        try:
            stream = self._stream_at(low)
            part = stream.read((high - low) * self._row_bytes)
            if len(part) != (high - low) * self._row_bytes:
                raise EOFError(f"{self.member} ends early")
            self._at = high
            return np.frombuffer(part, self.dtype).reshape(-1, *self.shape[1:])
        except _UNREADABLE as error:
            raise _unreadable(self.path, error) from error

    def _stream_at(self, row: int) -> IO[bytes]:
        if self._stream is None or row < self._at:
            self.close()
            self._archive = zipfile.ZipFile(self.path)
            self._stream = self._archive.open(self.member)
            self._stream.read(self._begin)
            self._at = 0
        behind = (row - self._at) * self._row_bytes
        while behind:
            behind -= len(self._stream.read(min(behind, _SKIPPED))) or behind
        return self._stream

    def close(self) -> None:
        """Close the file; the next access opens it again."""
        for opened in (self._stream, self._archive):
            if opened is not None:
                opened.close()
        self._stream = self._archive = None

    def __del__(self) -> None:
        self.close()
