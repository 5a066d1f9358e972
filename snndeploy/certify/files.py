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

from .form import Refused, shaped

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_FILE, LARGEST_TEXT, LARGEST_TOTAL = 1 << 29, 1 << 26, 1 << 30
"""Bytes of one file, of one JSON text, and of all arrays together once unpacked."""
DEEPEST, MOST_MEMBERS = 64, 100_000
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
        self.record = {
            "file": file,
            "where": where,
            "what": what,
            "stated": str(stated)[:200],
            "found": str(found)[:200],
        }
        r = self.record
        super().__init__(f"{file}: {where}: {what}: stated {r['stated']}, found {r['found']}")


def need(holds: object, file: str, where: str, what: str, stated: object, found: object) -> None:
    """Raise the contradiction unless ``holds``."""
    if not holds:
        raise Contradiction(file, where, what, stated, found)


def read(folder: str | Path) -> SimpleNamespace:
    """Read all files of a bundle; `Refused` where it is none, `Contradiction` where a digest differs."""
    try:
        return _read(Path(folder))
    except (OSError, EOFError, struct.error, zipfile.BadZipFile, zlib.error) as error:
        raise Refused(f"cannot be read ({error})") from None
    except (KeyError, TypeError, ValueError, RecursionError, AttributeError) as error:
        raise Refused(f"does not have the form of a bundle ({error!r})"[:300]) from None


def _read(folder: Path) -> SimpleNamespace:
    manifest = _json(_content(folder / "manifest.json", 1 << 20))
    if not isinstance(manifest, dict) or manifest.get("schema_version") != 1:
        raise Refused("manifest.json is not of schema 1")
    files = manifest["files"]
    unknown = set(files) - {*REQUIRED, "network.npz"}
    if unknown or not set(REQUIRED) <= set(files):
        raise Refused(f"manifest.json lists {sorted(files)}"[:300])
    raw = {name: _content(folder / name, LARGEST_FILE) for name in files}
    for name, content in raw.items():
        found = hashlib.sha256(content).hexdigest()
        need(found == files[name], name, "file", "SHA-256", files[name], found)
    budget = [LARGEST_TOTAL]
    program, golden = (_arrays(raw[f"{n}.npz"], n, budget) for n in ("program", "golden"))
    networks = _arrays(raw["network.npz"], "network", budget) if "network.npz" in raw else {}
    digest = content_digest(program)
    stated = manifest.get("content")
    need(stated in (None, digest), "manifest.json", "program", "content digest", stated, digest)
    return SimpleNamespace(
        manifest=manifest,
        program=shaped(_structure(program), "Program", program),
        networks=shaped(_structure(networks), "{Network}", networks) if networks else {},
        placement=shaped(_json(raw["placement.json"]), "Placement", {}),
        target=_toml(raw["target.toml"]),
        lock=_toml(raw["lock.toml"]),
        report=_json(raw["report.json"]),
        golden=golden,
    )


def content_digest(arrays: dict[str, Any]) -> str:
    """SHA-256 of what an .npz holds, however it is packed: its arrays by name, each with its dtype."""
    h = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"))
        for part in (name, little.dtype.str, str(arrays[name].shape)):
            h.update(f"{len(part.encode())}:{part}".encode())
        h.update(little.tobytes())
    return h.hexdigest()


def _content(file: Path, largest: int) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(file, flags | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as opened:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Refused(f"{file.name} is not a regular file")
        content = opened.read(largest + 1)
    if len(content) > largest:
        raise Refused(f"{file.name} is larger than {largest:,} bytes")
    return content


def _json(content: bytes) -> Any:
    if len(content) > LARGEST_TEXT:
        raise Refused(f"a JSON text is larger than {LARGEST_TEXT:,} bytes")
    plain = np.frombuffer(re.sub(rb'"(?:[^"\\]|\\.)*"', b"", content), np.uint8)
    steps = np.isin(plain, list(b"[{")).astype(np.int8) - np.isin(plain, list(b"]}"))
    if np.cumsum(steps, dtype=np.int32).max(initial=0) > DEEPEST:
        raise Refused(f"a JSON text is nested deeper than {DEEPEST}")
    return json.loads(content)


def _toml(content: bytes) -> dict[str, Any]:
    if len(content) > 1 << 20:
        raise Refused("a TOML text is larger than 1 MiB")
    return tomllib.loads(content.decode())


def _arrays(content: bytes, name: str, budget: list[int]) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        budget[0] -= sum(m.file_size for m in members)
        if budget[0] < 0 or len(members) > MOST_MEMBERS:
            raise Refused(f"{name}.npz unpacks to more than {LARGEST_TOTAL:,} bytes")
        if len({m.filename for m in members}) < len(members):
            raise Refused(f"{name}.npz holds a name twice")
        for m in members:
            with archive.open(m) as opened:
                arrays[m.filename.removesuffix(".npy")] = _array(opened.read(m.file_size))
    return arrays


def _array(content: bytes) -> Any:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise Refused(f"an array is of .npy version {version}")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    data = content[file.tell() :]
    if dtype.kind not in "biuf" or min(shape, default=1) < 1 or len(shape) > 8:
        raise Refused(f"an array has dtype {dtype} and shape {shape}"[:300])
    if prod(shape) * dtype.itemsize != len(data):
        raise Refused(f"an array of shape {shape} has {len(data)} bytes"[:300])
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    if dtype.kind == "f" and not np.isfinite(array).all():
        raise Refused("an array holds NaN or infinity")
    return array


def _structure(arrays: dict[str, Any]) -> Any:
    return _json(arrays["structure"].astype(np.uint8).tobytes())
