"""Frozen dataclasses of the IR to JSON plus named arrays. No pickles; `decoding` is the way back."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from .arrays import Array
from .fields import PLAIN

_LARGE = 1 << 30
"""Bytes of an array from which its sizes may take more than 32 bits."""
_COMPARED = 1 << 16
"""Bytes up to which arrays are compared: larger ones are seldom equal unless they are one."""


class SharedArrays(dict[str, Array]):
    """Arrays by key; what stands in several places is held once, as constants of layers often are."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: dict[object, str] = {}

    def add(self, array: Array) -> str:
        """The key of ``array``, or of one of the same type, shape and bits."""
        content: object = id(array)
        if array.nbytes <= _COMPARED:
            content = array.dtype, array.shape, array.tobytes()
        key = self._keys.setdefault(content, f"a{len(self)}")
        self.setdefault(key, array)
        return key


def encode(value: object, arrays: SharedArrays) -> Any:
    """Return ``value`` as JSON-compatible data; arrays are added to ``arrays`` and referred to."""
    kind = type(value)
    if kind in PLAIN:  # most values are
        return value
    if isinstance(value, np.ndarray):
        return {"array": arrays.add(value)}
    if (names := _fields(kind)) is not None:  # type: ignore[arg-type]
        return {
            "type": kind.__name__,
            "fields": {n: encode(getattr(value, n), arrays) for n in names},
        }
    if isinstance(value, Mapping):
        return {"map": {str(k): encode(v, arrays) for k, v in value.items()}}
    if isinstance(value, (tuple, list)):
        return [encode(v, arrays) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


@lru_cache(1 << 8)
def _fields(kind: type) -> tuple[str, ...] | None:
    """Names of the fields (None: no dataclass)."""
    if not dataclasses.is_dataclass(kind):
        return None
    return tuple(f.name for f in dataclasses.fields(kind))


def packed(value: object) -> bytes:
    """Frozen data as one .npz: their structure as JSON text, their arrays beside it."""
    arrays = SharedArrays()
    structure = encode(value, arrays)
    arrays["structure"] = np.frombuffer(json.dumps(structure).encode(), dtype=np.uint8)
    return npz(arrays)


def npz(arrays: Mapping[str, Array]) -> bytes:
    """Arrays as the bytes of a .npz."""
    # what np.savez_compressed writes, which makes the header of each of ten thousand arrays anew
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            fortran = array.flags.f_contiguous and not array.flags.c_contiguous
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=array.nbytes > _LARGE) as file:
                file.write(_header(array.dtype, array.shape, fortran))
                file.write(array.ravel("F" if fortran else "C").data)
    return buffer.getvalue()


@lru_cache(10_000)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool) -> bytes:
    """The start of a .npy file."""
    described = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": fortran,
        "shape": shape,
    }
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue()
