"""Digests of values by what they hold: every field of a dataclass counts, unless it says otherwise."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ..arrays import Array
from ..fields import PLAIN

NOT_CONTENT: Mapping[str, Any] = {"content": False}
"""Metadata of a field that says where something came from or what is thought of it, not what it is."""

_PIECE = 1 << 20
"""Values of an array that are hashed in one go."""
_LENGTH = struct.Struct("<Q").pack


def digest_of(*parts: str) -> str:
    """SHA-256 of the parts, each with its length, so that no two lists of parts run together."""
    return hashlib.sha256(_framed(parts)).hexdigest()


def _framed(parts: Iterable[str]) -> bytes:
    return b"".join([_LENGTH(len(raw)) + raw for raw in map(str.encode, parts)])


@lru_cache(10_000)
def _plain_digest(kind: str, text: str) -> str:
    """Digest of a plain value: thousands of populations share few of them."""
    return digest_of(kind, text)


@lru_cache(1 << 8)
def _content_fields(kind: type) -> tuple[str, ...] | None:
    """Names of the fields that count (None: no dataclass)."""
    if not dataclasses.is_dataclass(kind):
        return None
    return tuple(f.name for f in dataclasses.fields(kind) if f.metadata.get("content", True))


def content_digest(value: object, without: Collection[str] = ()) -> str:
    """Digest of ``value``: arrays, dataclasses (by their fields), sequences, mappings, plain values.

    Fields whose metadata say ``content=False`` are left out, and so are the fields of ``value`` itself
    that ``without`` names.

    Raises:
        TypeError: a value of a type that has no digest.
    """
    kind = type(value)
    if kind in PLAIN:  # most values are
        return _plain_digest(kind.__name__, repr(value))
    if isinstance(value, np.ndarray):
        return _array_digest(value)
    if (names := _content_fields(kind)) is not None:  # type: ignore[arg-type]
        parts = [kind.__name__]
        for name in names:
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
    if isinstance(value, PLAIN):
        return _plain_digest(type(value).__name__, repr(value))
    raise TypeError(f"{type(value).__name__} has no digest")


def _array_digest(array: Array) -> str:
    """Digest of dtype kind, shape and values (little-endian, canonical zero).

    It is that of four parts; values are taken piece by piece, so that large weights are not copied.
    """
    little = array.dtype.newbyteorder("<")
    found = hashlib.sha256(_framed(("array", _named(little), str(array.shape))))
    found.update((array.size * array.itemsize).to_bytes(8, "little"))
    flat = np.ascontiguousarray(array).reshape(-1)
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        values = piece + 0 if array.dtype.kind == "f" else piece  # -0.0 -> 0.0
        found.update(values.astype(little, copy=False).data)
    return found.hexdigest()


_named = lru_cache(100)(str)
