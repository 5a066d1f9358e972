"""Mutations that know the structure of what they break: bytes, JSON, arrays, archives, TOML, tables."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Rng = np.random.Generator

JUNK: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1 << 62,
    1 << 200,
    1e308,
    -0.5,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\x1b[31m\x00",
    "[bold]" + "n" * 5000,
    [],
    [[]],
    {},
    {"array": "a0"},
    {"array": "nobody"},
    {"array": ["a0"]},
    {"map": {}},
    {"map": {"x": 1}},
    {"type": "Program", "fields": {}},
    {"type": "Dense", "fields": {"out_features": 0, "in_features": -3}},
    [1, 2, 3],
    ["a", None],
)


def one_of(rng: Rng, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def bytes_of(content: bytes, rng: Rng) -> bytes:
    """Flip bits, cut, double, or overwrite a part."""
    raw = bytearray(content)
    if not raw:
        return b"\0"
    kind = int(rng.integers(5))
    at = int(rng.integers(len(raw)))
    if kind == 0:
        for _ in range(int(rng.integers(1, 9))):
            raw[int(rng.integers(len(raw)))] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del raw[at:]
    elif kind == 2:
        raw[at:at] = raw[: int(rng.integers(1, 200))]
    elif kind == 3:
        raw[at : at + 8] = struct.pack("<q", int(rng.integers(-(2**62), 2**62)))
    else:
        del raw[at : at + int(rng.integers(1, 40))]
    return bytes(raw)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every value in JSON-like data."""
    items: Any = ()
    if isinstance(data, dict):
        items = data.items()
    elif isinstance(data, list):
        items = enumerate(data)
    found = [path] if path else []
    for key, value in items:
        found += places(value, (*path, key))
    return found


def json_of(data: Any, rng: Rng) -> Any:
    """Replace, delete, add or exchange a value anywhere."""
    data = json.loads(json.dumps(data))
    paths = places(data)
    if not paths:
        return one_of(rng, JUNK)
    path = one_of(rng, paths)
    parent = data
    for key in path[:-1]:
        parent = parent[key]
    kind = int(rng.integers(6))
    if kind <= 2:
        parent[path[-1]] = one_of(rng, JUNK)
    elif kind == 3:
        del parent[path[-1]]
    elif kind == 4 and isinstance(parent, dict):
        parent["extra"] = one_of(rng, JUNK)
    else:
        other = data
        for key in one_of(rng, paths):
            other = other[key]
        parent[path[-1]] = json.loads(json.dumps(other))
    return data


def nested(depth: int) -> str:
    """JSON that is nested deeper than a stack."""
    return "[" * depth + "]" * depth


ARRAYS: tuple[Callable[[Any], Any], ...] = (
    lambda a: a.reshape(-1),
    lambda a: a[..., np.newaxis],
    lambda a: np.zeros((), a.dtype),
    lambda a: a.reshape(-1)[:0],
    lambda a: a.astype(np.float64) + 0.5,
    lambda a: np.full(a.shape, np.nan),
    lambda a: np.full(a.shape, np.inf),
    lambda a: np.full(a.shape, 1 << 62, np.int64),
    lambda a: np.full(a.shape, -(1 << 62), np.int64),
    lambda a: np.full(a.shape, (1 << 64) - 1, np.uint64),
    lambda a: np.full(a.shape, 1e300),
    lambda a: a.astype(bool),
    lambda a: a.astype(">i4"),
    lambda a: a.astype("U3"),
    lambda a: a.astype("S2"),
    lambda a: a.astype(complex),
    lambda a: np.asfortranarray(a),
    lambda a: -a.astype(np.int64),
    lambda a: np.zeros((3,) * 5, np.uint8),
    lambda a: np.zeros(a.shape, [("x", "i4"), ("t", "f8")]),
    lambda a: np.zeros(a.shape, "M8[us]"),
    lambda a: a.reshape(-1)[:1],
    lambda a: np.concatenate([a, a]) if a.ndim else a,
)

SHAPES = (
    "(-1,)",
    "(-3, 4)",
    "(1099511627776,)",
    "(4611686018427387904, 4)",
    "()",
    "(True,)",
    "(" + "1, " * 40 + ")",
    "(0,)",
    "(99999999999999999999999999,)",
    "(1.5,)",
    "((2,),)",
    "'x'",
    "(2**3,)",
)
DESCRS = ("'O'", "'|V8'", "'<U9'", "'<f16'", "'>i8'", "'x'", "[('a', '<i4')]", "5", "'<i99'", "''")


def header_of(content: bytes, rng: Rng) -> bytes:
    """Another header before the same values of a ``.npy``."""
    array = np.load(io.BytesIO(content), allow_pickle=False)
    shape, descr = str(array.shape), f"'{array.dtype.str}'"
    if rng.random() < 0.6:
        shape = one_of(rng, SHAPES)
    else:
        descr = one_of(rng, DESCRS)
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    if rng.random() < 0.15:
        text = one_of(rng, ("(" * 9000, "{" * 300, "{'descr'}", "", "\0", "1L", "{'shape': (1L,)}"))
    head = text.encode().ljust(117) + b"\n"
    version = one_of(rng, (b"\x01\x00", b"\x01\x00", b"\x01\x00", b"\x03\x00", b"\x09\x07"))
    return b"\x93NUMPY" + version + struct.pack("<H", len(head)) + head + array.tobytes()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def npz_of(members: dict[str, bytes], rng: Rng) -> bytes:
    """An archive of mutated ``.npy`` members, or a mutated archive of whole ones."""
    members = dict(members)
    name = one_of(rng, sorted(members))
    kind = int(rng.integers(8))
    packed = one_of(rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    if kind <= 1:
        array = np.load(io.BytesIO(members[name]), allow_pickle=False)
        members[name] = npy(one_of(rng, ARRAYS)(array))
    elif kind == 2:
        members[name] = header_of(members[name], rng)
    elif kind == 3:
        members[name] = bytes_of(members[name], rng)
    elif kind == 4:
        del members[name]
    elif kind == 5:
        packed = one_of(rng, (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packed) as archive:
        for key, content in members.items():
            archive.writestr(f"{key}.npy", content)
        if kind == 6:
            archive.writestr(one_of(rng, ("../x.npy", "/x.npy", "\x1b.npy", "x.txt")), b"\x93NUMPY")
    raw = bytearray(buffer.getvalue())
    if kind == 7:  # flags, methods and sizes of the central directory
        at = raw.find(b"PK\x01\x02")
        field, value = one_of(
            rng,
            (
                (8, b"\x01\x00"),
                (8, b"\x00\x08"),
                (10, b"\x63\x00"),
                (10, b"\x0e\x00"),
                (24, b"\xff\xff\xff\x7f"),
                (20, b"\xff\xff\xff\x7f"),
                (24, b"\x00\x00\x00\x00"),
                (42, b"\xff\xff\xff\x00"),
                (28, b"\xff\x7f"),
            ),
        )
        raw[at + field : at + field + len(value)] = value
    return bytes(raw)


def bomb(name: str, mebibytes: int, head: bytes = b"") -> bytes:
    """An archive whose one member unpacks to zeros without end."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{name}.npy", "w") as member,
    ):
        member.write(head)
        for _ in range(mebibytes):
            member.write(bytes(1 << 20))
    return buffer.getvalue()


TOML_VALUES = (
    "1" * 5000,
    "0x" + "f" * 5000,
    "-1",
    "1e400",
    "nan",
    "true",
    '""',
    '"\\u0000"',
    '"\\u001b[2J"',
    f'"{"a" * 3000}"',
    "[]",
    "[" * 3000,
    "[" * 50 + "]" * 50,
    "{a = 1}",
    "{}",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    '["a", "b"]',
    "[1, 2]",
    "[[1], [2]]",
    "'''x\ny'''",
    "9223372036854775807",
    "9223372036854775808",
)


def toml_of(text: str, rng: Rng) -> bytes:
    """Other values, keys and tables; lines lost, doubled or moved; and characters that TOML has not."""
    lines = text.splitlines()
    at = int(rng.integers(len(lines)))
    kind = int(rng.integers(9))
    keyed = [i for i, line in enumerate(lines) if "=" in line and not line.startswith("#")]
    if kind <= 3 and keyed:
        at = one_of(rng, keyed)
        lines[at] = f"{lines[at].partition('=')[0]}= {one_of(rng, TOML_VALUES)}"
    elif kind == 4:
        dots = ".".join(["a"] * one_of(rng, (2, 60, 3000, 200_000)))
        lines.insert(at, one_of(rng, (f"{dots} = 1", f"[{dots}]", f"[[{dots}]]", "pass.name = 1")))
    elif kind == 5:
        del lines[at]
    elif kind == 6:
        lines.insert(at, one_of(rng, lines))
    elif kind == 7:
        junk = ("inherits = 'x'", "inherits = ['a']", "inherits = '../../../etc/passwd'", "\0", "]")
        lines.insert(
            at, one_of(rng, (*junk, 'inherits = "a\\u0000.toml"', "pass = 3", "a" * 70_000))
        )
    else:
        return bytes_of(text.encode(), rng)
    return "\n".join(lines).encode()


def special(path: Path, rng: Rng) -> None:
    """Something that is not a file where one is expected."""
    path.unlink(missing_ok=True)
    kind = int(rng.integers(4))
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.symlink_to("/dev/zero")
    elif kind == 2:
        path.symlink_to(path)
    else:
        path.mkdir()
