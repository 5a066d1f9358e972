"""Frozen dataclasses of the IR to JSON plus named arrays. No pickles; `decoding` is the way back."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from .arrays import Array


def encode(value: object, arrays: dict[str, Array]) -> Any:
    """Return ``value`` as JSON-compatible data; arrays are added to ``arrays`` and referred to."""
    if isinstance(value, np.ndarray):
        key = f"a{len(arrays)}"
        arrays[key] = value
        return {"array": key}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            "type": type(value).__name__,
            "fields": {n: encode(getattr(value, n), arrays) for n in _fields(type(value))},
        }
    if isinstance(value, Mapping):
        return {"map": {str(k): encode(v, arrays) for k, v in value.items()}}
    if isinstance(value, (tuple, list)):
        return [encode(v, arrays) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


@lru_cache(1 << 8)
def _fields(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(kind))


def packed(value: object) -> bytes:
    """Frozen data as one .npz: their structure as JSON text, their arrays beside it."""
    arrays: dict[str, Array] = {}
    structure = encode(value, arrays)
    arrays["structure"] = np.frombuffer(json.dumps(structure).encode(), dtype=np.uint8)
    return npz(arrays)


def npz(arrays: Mapping[str, Array]) -> bytes:
    """Arrays as the bytes of a .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
