"""Arrays of ``.npy`` and ``.npz`` files from strangers: every size is checked before it is allocated.

numpy believes a header's shape, and zipfile raises whatever the damage leads to; here a file is either
arrays of numbers of a known size, or `Damaged`.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]

_STORED_OR_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_MEMBERS = 100_000
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Damaged(ValueError):
    """A file that holds no arrays that can be read, and why."""


class Header(NamedTuple):
    """What an array's header says, in order of numpy's own readers."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of the array, a Python integer that cannot overflow."""
        return math.prod(self.shape) * self.dtype.itemsize


@contextmanager
def damage() -> Iterator[None]:
    """Turn whatever numpy and zipfile raise on broken content into `Damaged`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers of Python 2 are read, with a warning
            yield
    except Damaged:
        raise
    except (
        ValueError,  # JSON, Unicode and numpy's own
        TypeError,
        LookupError,
        AttributeError,
        OverflowError,
        EOFError,
        RuntimeError,  # encrypted members; RecursionError and NotImplementedError are among them
        SyntaxError,
        MemoryError,  # of the parser: sizes have been checked
        tokenize.TokenError,
        struct.error,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise Damaged(str(error) or type(error).__name__) from error


def read_header(stream: IO[bytes]) -> Header:
    """The header of a ``.npy``; the stream is left at its first value.

    Raises:
        Damaged: it is none, or describes no array of numbers that can exist.
    """
    with damage():
        version = np.lib.format.read_magic(stream)
        if version not in _READERS:
            raise Damaged(f"version {version[0]}.{version[1]} of the .npy format is not known")
        shape, fortran, dtype = _READERS[version](stream)
        if dtype.hasobject:
            raise Damaged("Object arrays cannot be loaded when allow_pickle=False")
        if any(isinstance(n, bool) or n < 0 for n in shape) or len(shape) > 32:
            raise Damaged(f"there is no array of shape {shape}")
        header = Header(tuple(map(int, shape)), bool(fortran), dtype)
        if header.nbytes >= 1 << 62:
            raise Damaged(f"there is no memory for an array of shape {shape}")
        return header


def members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The arrays of a ``.npz`` by name.

    Raises:
        Damaged: one of them is encrypted, packed in a way that numpy does not write, or there twice.
    """
    infos = archive.infolist()
    if len(infos) > _MEMBERS:
        raise Damaged(f"it holds more than {_MEMBERS:,} files")
    found: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if not info.filename.endswith(".npy"):
            continue
        name = info.filename.removesuffix(".npy")
        if info.flag_bits & _ENCRYPTED:
            raise Damaged(f"{name[:80]} is encrypted")
        if info.compress_type not in _STORED_OR_PACKED:
            raise Damaged(
                f"{name[:80]} is packed by method {info.compress_type}, which is not read"
            )
        if name in found:
            raise Damaged(f"there are two arrays {name[:80]!r}")
        found[name] = info
    return found


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> AnyArray:
    """One array of a ``.npz``, in memory.

    Raises:
        Damaged: it is no array, is not as long as its header says, or has more than ``limit`` bytes.
    """
    with damage(), archive.open(info) as stream:
        header = read_header(stream)
        name = info.filename.removesuffix(".npy")[:80]
        if max(header.nbytes, info.file_size) > limit:
            raise Damaged(f"{name} has {header.nbytes:,} bytes, past the limit of {limit:,}")
        raw = stream.read(header.nbytes)
        if len(raw) != header.nbytes or stream.read(1):
            raise Damaged(f"{name} is not as long as its shape {header.shape} says")
        order: Any = "F" if header.fortran else "C"
        array = np.frombuffer(raw, header.dtype).reshape(header.shape, order=order)
        return array.astype(
            header.dtype.newbyteorder("="), copy=False
        )  # torch takes no other order


def read_arrays(content: bytes, limit: int) -> dict[str, AnyArray]:
    """All arrays of a ``.npz``, of at most ``limit`` bytes together.

    Raises:
        Damaged: it is no ``.npz``, is broken, or holds more.
    """
    with damage(), zipfile.ZipFile(io.BytesIO(content)) as archive:
        found = members(archive)
        total = sum(info.file_size for info in found.values())
        if total > limit:
            raise Damaged(f"its arrays claim {total:,} bytes, past the limit of {limit:,}")
        return {name: read_member(archive, info, limit) for name, info in found.items()}
