"""Arrays of ``.npy`` and ``.npz`` files that stay on disk until a part of them is asked for."""

from __future__ import annotations

import mmap
import os
import struct
import zipfile
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from ..errors import InputError
from ..files import is_regular, nearest
from ..ir.arrays import Array, Shape, size
from ..limits import current
from ..npz import Damaged, damage, members, read_header, read_member

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
    if not os.path.lexists(path):
        raise InputError(
            "data-missing", "there is no such file", where=str(path), hint=nearest(path)
        )
    if not is_regular(path):  # asking a pipe what it holds would wait for ever
        raise _unreadable(path, "it is not a regular file")
    try:
        with damage():
            if not zipfile.is_zipfile(path):
                return {"x": _map_npy(path)}
            with zipfile.ZipFile(path) as archive:
                found = members(archive)
                return {name: _open_member(path, archive, m) for name, m in found.items()}
    except (Damaged, OSError) as error:
        raise _unreadable(path, str(error)) from error


def whole(rows: Rows, name: str, where: str, limit: int | None = None) -> Array:
    """All values of an array with one axis, which labels and columns of events are.

    Args:
        rows: the array.
        name: what it is called in the file.
        where: the file, for errors.
        limit: values that it may have (None: as many as fit the memory for one file).

    Raises:
        InputError: it has another number of axes, or more values.
    """
    if len(rows.shape) != 1:
        raise InputError("data-shape", f"{name} has shape {rows.shape}, not one axis", where=where)
    return bounded(rows, name, where, limit)


def bounded(rows: Rows, name: str, where: str, limit: int | None = None) -> Array:
    """All values of an array, whatever its axes; arguments are those of `whole`.

    Raises:
        InputError: it has more values than it may.
    """
    most = current().memory // rows.dtype.itemsize if limit is None else limit
    if size(rows.shape) > most:
        raise InputError(
            "data-too-large",
            f"{name} has {size(rows.shape):,} values, past the limit of {most:,}",
            where=where,
            hint="give it more: snndeploy --max-memory MIB",
        )
    return rows[:]


def forget(array: object) -> None:
    """Let the system drop what has been read of a file; without it, memory grows with the samples."""
    base: Any = array
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    mapped = getattr(base, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _unreadable(path: Path, why: str) -> InputError:
    return InputError(
        "data-unreadable",
        f"not a readable .npy or .npz file ({why})",
        where=str(path),
        hint="save plain arrays with numpy.savez (no objects)",
    )


def _map_npy(path: Path) -> Array:
    with path.open("rb") as stream:
        shape, fortran, dtype = header = read_header(stream)
        begin = stream.tell()
        if begin + header.nbytes > path.stat().st_size:
            raise Damaged(f"it ends before its {header.nbytes:,} bytes of values")
        if not shape or 0 in shape:
            return np.frombuffer(stream.read(header.nbytes), dtype).reshape(shape)
    order: Any = "F" if fortran else "C"
    return np.memmap(path, dtype, "r", begin, shape, order)


def _open_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Rows:
    with archive.open(member) as stream:
        shape, fortran, dtype = header = read_header(stream)
        begin = stream.tell()
    if begin + header.nbytes != member.file_size:
        raise Damaged(f"{member.filename} is not as long as its shape {shape} says")
    packed = member.compress_type != zipfile.ZIP_STORED
    if not shape or 0 in shape or (fortran and packed and len(shape) > 1):
        return read_member(archive, member, current().memory)
    if packed:
        return _Packed(path, member.filename, shape, dtype, begin)
    with path.open("rb") as file:  # names in front of the data may differ from the directory's
        file.seek(member.header_offset + 26)
        names = sum(struct.unpack("<HH", file.read(4)))
    offset = member.header_offset + 30 + names + begin
    order: Any = "F" if fortran else "C"
    return np.memmap(path, dtype, "r", offset, shape, order)


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
            with damage():
                stream = self._stream_at(low)
                part = stream.read((high - low) * self._row_bytes)
                if len(part) != (high - low) * self._row_bytes:
                    raise Damaged(f"{self.member} ends early")
                self._at = high
                return np.frombuffer(part, self.dtype).reshape(-1, *self.shape[1:])
        except (Damaged, OSError) as error:
            raise _unreadable(self.path, str(error)) from error

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

    def __reduce__(self) -> tuple[Any, ...]:
        """What is sent to other processes is what the file holds (as of a mapped array): they may not
        reach it, and an open file cannot be sent."""
        return np.array, (self[:],)
