"""Frozen dataclasses of the IR from what `encode` wrote, each field checked against its annotation.

What a field may hold is said once, by the dataclass; content of any other type, with other fields or of
another class is refused before anything computes with it.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, Union

import numpy as np

from ..limits import current
from ..npz import read_arrays
from .arrays import Array, frozen

T = TypeVar("T")

_LARGEST = 1 << 127
"""Magnitude of whole numbers; sizes and registers are far below, head-room may be above 64 bits."""
_SHOWN = 60


def decode(data: object, arrays: Mapping[str, object], kind: type[T]) -> T:
    """Rebuild a value of type ``kind``: lists come back as tuples, arrays read-only.

    Args:
        data: what `encode` returned, through JSON or not.
        arrays: what it referred to, by key.
        kind: a dataclass of the IR, or ``tuple[…, ...]`` or ``dict[str, …]`` of such.

    Raises:
        ValueError: the content is not of that type.
    """
    value: T = _decoded(data, arrays, kind, "")
    return value


def unpacked(content: bytes, kind: type[T]) -> T:
    """The value of type ``kind`` that `packed` made a .npz of.

    Raises:
        ValueError: it is no .npz, holds more than the limits allow, or something else.
        LookupError: it holds no structure.
        RecursionError: its structure is nested without end.
    """
    arrays = read_arrays(content, current().memory)
    structure = arrays.pop("structure")
    return decode(json.loads(structure.tobytes()), arrays, kind)


def _decoded(data: object, arrays: Mapping[str, object], kind: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if hasattr(origin, "__value__"):  # numpy's NDArray is a type alias where Python has such
        origin = typing.get_origin(origin.__value__)
    if origin in (Union, types.UnionType):
        return _one_of(data, arrays, typing.get_args(kind), where)
    if origin is Literal:
        if isinstance(data, str) and data in typing.get_args(kind):
            return data
        raise _wrong(data, f"one of {', '.join(map(str, typing.get_args(kind)))}", where)
    if origin is np.ndarray:
        return _array(data, arrays, where)
    if origin is tuple:
        return _tuple(data, arrays, typing.get_args(kind), where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(data, arrays, typing.get_args(kind)[1], where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _object(data, arrays, kind, where)
    if kind in _PLAIN and _PLAIN[kind](data):
        return float(typing.cast(float, data)) if kind is float else data
    raise _wrong(data, getattr(kind, "__name__", str(kind)), where)


def _is_int(data: object) -> bool:
    return isinstance(data, int) and not isinstance(data, bool) and abs(data) < _LARGEST


_PLAIN: dict[Any, Callable[[object], bool]] = {
    str: lambda data: isinstance(data, str),
    bool: lambda data: isinstance(data, bool),
    int: _is_int,
    float: lambda data: isinstance(data, float) or _is_int(data),
    type(None): lambda data: data is None,
}


def _one_of(
    data: object, arrays: Mapping[str, object], kinds: tuple[Any, ...], where: str
) -> object:
    """The first kind that fits; an object is of the kind that it names."""
    if isinstance(data, dict) and "type" in data:
        named = [k for k in kinds if getattr(k, "__name__", None) == data["type"]]
        if named:
            return _decoded(data, arrays, named[0], where)
    for kind in kinds:
        if kind is float and isinstance(data, int):
            continue  # a whole number is one where both are allowed
        try:
            return _decoded(data, arrays, kind, where)
        except ValueError:
            continue
    if float in kinds:
        return _decoded(data, arrays, float, where)
    names = ", ".join(getattr(k, "__name__", str(k)) for k in kinds)
    raise _wrong(data, f"one of {names}", where)


def _array(data: object, arrays: Mapping[str, object], where: str) -> Array:
    key = data.get("array") if isinstance(data, dict) and len(data) == 1 else None
    if not isinstance(key, str) or key not in arrays:
        raise _wrong(data, "an array of the file", where)
    array = np.asarray(arrays[key])
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{where or 'it'} is an array of {array.dtype}, not of numbers")
    return frozen(array, array.dtype.newbyteorder("="))


def _tuple(
    data: object, arrays: Mapping[str, object], kinds: tuple[Any, ...], where: str
) -> tuple[Any, ...]:
    if not isinstance(data, (list, tuple)):
        raise _wrong(data, "a list", where)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(data)
    if len(data) != len(kinds):
        raise _wrong(data, f"a list of {len(kinds)}", where)
    pairs = enumerate(zip(data, kinds, strict=True))
    return tuple(_decoded(value, arrays, kind, f"{where}[{i}]") for i, (value, kind) in pairs)


def _mapping(
    data: object, arrays: Mapping[str, object], kind: Any, where: str
) -> dict[str, object]:
    content = data.get("map") if isinstance(data, dict) and len(data) == 1 else None
    if not isinstance(content, dict):
        raise _wrong(data, "a table", where)
    return {
        key: _decoded(value, arrays, kind, f"{where}[{key[:_SHOWN]!r}]")
        for key, value in content.items()
    }


def _object(data: object, arrays: Mapping[str, object], kind: type[Any], where: str) -> object:
    if not isinstance(data, dict) or data.keys() != {"type", "fields"}:
        raise _wrong(data, f"a {kind.__name__}", where)
    content = data["fields"]
    if data["type"] != kind.__name__ or not isinstance(content, dict):
        raise _wrong(data["type"], f"a {kind.__name__}", where)
    hints = _hints(kind)
    known = {f.name for f in dataclasses.fields(kind)}
    for key in content:
        if key not in known:
            raise ValueError(f"a {kind.__name__} has no field {key[:_SHOWN]!r}")
    head = f"{where}." if where else ""
    values = {k: _decoded(v, arrays, hints[k], f"{head}{k}") for k, v in content.items()}
    try:
        return kind(**values)
    except TypeError as error:  # a field without a default is missing
        raise ValueError(str(error)) from error


_HINTS: dict[type[Any], dict[str, Any]] = {}


def _hints(kind: type[Any]) -> dict[str, Any]:
    """The types of a dataclass's fields, worked out once."""
    if kind not in _HINTS:
        _HINTS[kind] = typing.get_type_hints(kind)
    return _HINTS[kind]


def _wrong(data: object, expected: str, where: str) -> ValueError:
    shown = repr(data)[:_SHOWN] if isinstance(data, (str, int, float)) else type(data).__name__
    return ValueError(f"{where or 'it'} is {shown}, not {expected}")
