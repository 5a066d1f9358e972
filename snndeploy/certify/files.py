"""Reading a bundle that a stranger may have written: bounded time and memory, or one clear refusal.

Nothing is allocated before its size is known and small enough, nothing is read that is not a regular
file of a known name in the folder itself, and every field of the program has a known name and type.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import struct
import sys
import zipfile
import zlib
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from .form import BundleRefused, shaped

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_FILE, LARGEST_TEXT, LARGEST_TOTAL = 1 << 29, 1 << 26, 1 << 30
"""Bytes of one file, of one JSON text, and of all arrays together once unpacked."""
DEEPEST, MOST_MEMBERS = 64, 100_000
NOT_CONTENT = ("headroom", "rounding", "findings", "differing", "route")
"""Fields that say what is thought of a program, and are not part of its digest."""
REQUIRED = (
    "program.npz",
    "placement.json",
    "target.toml",
    "lock.toml",
    "report.json",
    "golden.npz",
)


class Contradiction(Exception):
    """Two things in the bundle cannot both be true: file, layer, what, stated and found."""

    def __init__(self, file: str, where: str, what: str, stated: object, found: object) -> None:
        told = {"stated": str(stated)[:200], "found": str(found)[:200]}
        self.record = {"file": file, "where": where, "what": what, **told}
        super().__init__(f"{file}: {where}: {what}: stated {told['stated']}, found {told['found']}")


class At:
    """A layer of a file, of which things must hold."""

    def __init__(self, file: str, where: str) -> None:
        self.file, self.where = file, where

    def need(self, holds: object, what: str, stated: object, found: object) -> None:
        """Raise the contradiction unless ``holds``."""
        if not holds:
            raise Contradiction(self.file, self.where, what, stated, found)

    def same(self, what: str, stated: object, found: object) -> None:
        """Raise the contradiction unless what is stated is what is found."""
        self.need(stated == found, what, stated, found)


def read(folder: str | Path) -> SimpleNamespace:
    """Read all files of a bundle; refuse what is none, and contradict a digest that differs."""
    try:
        return _read(Path(folder))
    except (OSError, EOFError, struct.error, zipfile.BadZipFile, zlib.error) as error:
        raise BundleRefused(f"cannot be read ({error})".replace("\n", " ")) from None
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise BundleRefused(f"does not have the form of a bundle ({error!r})"[:300]) from None


def _read(folder: Path) -> SimpleNamespace:
    manifest = _json(_content(folder / "manifest.json", 1 << 20))
    if not isinstance(manifest, dict) or manifest.get("schema_version") != 1:
        raise BundleRefused("has no manifest.json of schema 1")
    files, known = manifest["files"], {*REQUIRED, "network.npz"}
    if not set(REQUIRED) <= set(files) <= known:
        raise BundleRefused(f"has a manifest.json that lists {sorted(files)}"[:300])
    raw = {name: _content(folder / name, LARGEST_FILE) for name in files}
    for name, content in raw.items():
        At(name, "file").same("SHA-256", files[name], hashlib.sha256(content).hexdigest())
    budget = [LARGEST_TOTAL]
    program, golden = (_arrays(raw[f"{n}.npz"], n, budget) for n in ("program", "golden"))
    networks = _arrays(raw["network.npz"], "network", budget) if "network.npz" in raw else {}
    trees = [_json(x["structure"].tobytes()) if x else {"map": {}} for x in (program, networks)]
    digest = content_digest(trees[0], program)
    At("manifest.json", "program").same("digest", manifest["program"], digest)
    return SimpleNamespace(
        manifest=manifest,
        program=shaped(trees[0], "Program", program),
        networks=shaped(trees[1], "{Network}", networks),
        placement=shaped(_json(raw["placement.json"]), "Placement", {}),
        target=_toml(raw["target.toml"]),
        lock=_toml(raw["lock.toml"]),
        report=_json(raw["report.json"]),
        golden=golden,
    )


def content_digest(data: Any, arrays: dict[str, Any]) -> str:
    """SHA-256 of what a structure describes: names and values of all fields, in their order."""
    if isinstance(data, list):
        return _sha("sequence", *(content_digest(item, arrays) for item in data))
    if not isinstance(data, dict):
        return _sha(type(data).__name__, repr(data))
    if "array" in data:
        array = arrays[data["array"]]
        array = array + 0 if array.dtype.kind == "f" else array  # there is one zero
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
        return _sha("array", str(little.dtype), str(array.shape), little.tobytes())
    if "map" in data:
        pairs = sorted((k, content_digest(v, arrays)) for k, v in data["map"].items())
        return _sha("mapping", *(part for pair in pairs for part in pair))
    fields = [(k, v) for k, v in data["fields"].items() if k not in NOT_CONTENT]
    parts = [part for k, v in fields for part in (k, content_digest(v, arrays))]
    return _sha("fields", data["type"], *parts)


def _sha(*parts: str | bytes) -> str:
    h = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        h.update(len(raw).to_bytes(8, "little") + raw)
    return h.hexdigest()


def _content(file: Path, largest: int) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(file, flags | getattr(os, "O_BINARY", 0))
    try:
        size = os.fstat(handle).st_size
        if not stat.S_ISREG(os.fstat(handle).st_mode) or size > largest:
            raise BundleRefused(f"has a {file.name} that is no regular file of {largest:,} bytes")
        with os.fdopen(handle, "rb", closefd=False) as opened:
            return opened.read(size)
    finally:
        os.close(handle)


def _json(content: bytes) -> Any:
    if len(content) > LARGEST_TEXT:
        raise BundleRefused(f"has a JSON text of more than {LARGEST_TEXT:,} bytes")
    plain = np.frombuffer(re.sub(rb'"(?:[^"\\]|\\.)*"', b"", content), np.uint8)
    steps = np.isin(plain, list(b"[{")).astype(np.int8) - np.isin(plain, list(b"]}"))
    if np.cumsum(steps, dtype=np.int32).max(initial=0) > DEEPEST:
        raise BundleRefused(f"has a JSON text that is nested deeper than {DEEPEST}")
    return json.loads(content)


def _toml(content: bytes) -> dict[str, Any]:
    if len(content) > 1 << 20:
        raise BundleRefused("has a TOML text of more than 1 MiB")
    return tomllib.loads(content.decode())


def _arrays(content: bytes, name: str, budget: list[int]) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        budget[0] -= sum(m.file_size for m in members)
        if budget[0] < 0 or len(members) > MOST_MEMBERS:
            raise BundleRefused(
                f"has a {name}.npz that unpacks to more than {LARGEST_TOTAL:,} bytes"
            )
        if len({m.filename for m in members}) < len(members):
            raise BundleRefused(f"has a {name}.npz that holds a name twice")
        for m in members:
            with archive.open(m) as opened:
                arrays[m.filename.removesuffix(".npy")] = _array(opened.read(m.file_size))
    return arrays


def _array(content: bytes) -> Any:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    data, size = content[file.tell() :], prod(shape) * dtype.itemsize
    sound = version == (1, 0) and dtype.kind in "biuf" and min(shape, default=1) > 0
    if not sound or len(shape) > 8 or size != len(data):
        raise BundleRefused(f"has an array of {dtype} and shape {shape} in {len(data)} bytes"[:300])
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise BundleRefused("has an array with NaN or infinity")
    return array
