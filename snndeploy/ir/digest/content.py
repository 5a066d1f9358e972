"""Digests of values by what they hold: every field of a dataclass counts, unless it says otherwise."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ..arrays import Array

NOT_CONTENT: Mapping[str, Any] = {"content": False}
"""Metadata of a field that says where something came from or what is thought of it, not what it is."""


def digest_of(*parts: str | bytes) -> str:
    """SHA-256 of the parts, each with its length, so that no two lists of parts run together."""
    raw = [part.encode() if isinstance(part, str) else part for part in parts]
    return hashlib.sha256(b"".join([len(r).to_bytes(8, "little") + r for r in raw])).hexdigest()


@lru_cache(10_000)
def _plain_digest(kind: str, text: str) -> str:
    """Digest of a plain value: thousands of populations share few of them."""
    return digest_of(kind, text)


@lru_cache(1 << 8)
def _content_fields(kind: type) -> tuple[str, ...]:
    """Names of the fields that count."""
    return tuple(f.name for f in dataclasses.fields(kind) if f.metadata.get("content", True))


def content_digest(value: object, without: Collection[str] = ()) -> str:
    """Digest of ``value``: arrays, dataclasses (by their fields), sequences, mappings, plain values.

    Fields whose metadata say ``content=False`` are left out, and so are the fields of ``value`` itself
    that ``without`` names.

    Raises:
        TypeError: a value of a type that has no digest.
    """
    if isinstance(value, np.ndarray):
        return _array_digest(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [type(value).__name__]
        for name in _content_fields(type(value)):
            if name not in without:
                parts += [name, content_digest(getattr(value, name))]
        return digest_of("fields", *parts)
    if isinstance(value, (tuple, list)):
        return digest_of("sequence", *(content_digest(v) for v in value))
    if isinstance(value, Mapping):
        pairs = sorted((str(k), content_digest(v)) for k, v in value.items())
        return digest_of("mapping", *(part for pair in pairs for part in pair))
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return _plain_digest(type(value).__name__, repr(value))
    raise TypeError(f"{type(value).__name__} has no digest")


def _array_digest(array: Array) -> str:
    """Digest of dtype kind, shape and values (little-endian, canonical zero)."""
    values = array + 0 if array.dtype.kind == "f" else array  # -0.0 -> 0.0
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"))
    return digest_of("array", _named(little.dtype), str(array.shape), little.tobytes())


_named = lru_cache(100)(str)
