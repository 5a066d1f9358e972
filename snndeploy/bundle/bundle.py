"""Writing and reading a bundle directory (``NAME.snnb/``).

==================  =====================================================================
``manifest.json``   schema, versions, digests of the program and of every other file
``lock.toml``       what was asked for, every default spelled out
``program.npz``     the integer program
``placement.json``  slices on cores
``target.toml``     the target it was checked against, whole
``report.json``     what the compiler had to say
``golden.npz``      inputs and the spikes they must give: the bundle's self-test
``network.npz``     the network as trained and as compressed (missing where there was none)
==================  =====================================================================
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from ..chip import Target, dump_target, parse_target
from ..errors import InputError
from ..ir.arrays import Array
from ..ir.codec import decode, encode
from ..ir.network import Network
from ..ir.placement import Placement
from ..ir.program import Program

SCHEMA = 1


class Manifest(BaseModel):
    """What a bundle says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    schema_version: int
    snndeploy: str
    program: str
    files: dict[str, str]


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle's content: ``lock`` is TOML text, ``golden`` maps ``input.<group>`` and
    ``spikes.<group>`` to integer arrays ``(steps, samples, *shape)``.

    ``networks`` holds what the program was made from: ``float`` as it was trained, ``compressed`` after
    the passes. It is empty for programs that were read as integers, and in bundles of older versions.
    """

    program: Program
    placement: Placement
    target: Target
    lock: str
    report: Mapping[str, Any]
    golden: Mapping[str, Array]
    networks: Mapping[str, Network] = field(default_factory=dict)


def write_bundle(path: str | Path, bundle: Bundle, *, version: str, force: bool = False) -> Path:
    """Write ``bundle`` to the directory ``path``: complete, or not at all.

    Raises:
        InputError: the place exists (without ``force``), is no bundle, or cannot be written.
    """
    path = Path(path)
    refuse_existing(path, force)
    files = _files(bundle)
    manifest = Manifest(
        schema_version=SCHEMA,
        snndeploy=version,
        program=bundle.program.digest,
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    files["manifest.json"] = (manifest.model_dump_json(indent=2) + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        for name, content in files.items():
            (beside / name).write_bytes(content)
        os.chmod(beside, 0o755)
        _swap(beside, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return path


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        "output-unwritable",
        f"cannot write here ({error.strerror})",
        where=str(path),
        hint="choose another place with -o",
    )


def refuse_existing(path: Path, force: bool) -> None:
    """Refuse a place that is taken, as `write_bundle` would, before long work begins.

    Raises:
        InputError: the place exists (without ``force``), or is no bundle.
    """
    if not path.exists():
        return
    if not force:
        raise InputError(
            "output-exists",
            "there is something at this place already",
            where=str(path),
            hint="add --force to replace it, or choose another place with -o",
        )
    if not (path / "manifest.json").is_file():
        raise InputError(
            "output-not-bundle",
            "it exists and is not a bundle; it is not replaced",
            where=str(path),
            hint="choose another place with -o",
        )


def _swap(beside: Path, path: Path) -> None:
    """Put the finished directory in place; an old bundle is moved away first and then deleted."""
    if not path.exists():
        beside.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    path.rename(old / "bundle")
    beside.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _files(bundle: Bundle) -> dict[str, bytes]:
    files = {
        "program.npz": _encoded(bundle.program),
        "placement.json": _json(encode(bundle.placement, {})),
        "target.toml": dump_target(bundle.target).encode(),
        "lock.toml": bundle.lock.encode(),
        "report.json": _json(bundle.report),
        "golden.npz": _npz(bundle.golden),
    }
    if bundle.networks:
        files["network.npz"] = _encoded(bundle.networks)
    return files


def _encoded(value: object) -> bytes:
    """Frozen data as one .npz: their structure as JSON text, their arrays beside it."""
    arrays: dict[str, Array] = {}
    structure = encode(value, arrays)
    arrays["structure"] = np.frombuffer(json.dumps(structure).encode(), dtype=np.uint8)
    return _npz(arrays)


def _decoded(content: bytes) -> Any:
    arrays = _arrays(content)
    return decode(json.loads(arrays["structure"].tobytes()), arrays)


def _arrays(content: bytes) -> dict[str, Array]:
    with np.load(io.BytesIO(content), allow_pickle=False) as npz:
        return dict(npz)


def _json(data: Any) -> bytes:
    return (json.dumps(data, indent=2) + "\n").encode()


def _npz(arrays: Mapping[str, Array]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle and check every file against the manifest.

    Raises:
        InputError: not a bundle, written by a newer version, or a file was changed.
    """
    path = Path(path)
    manifest = _manifest(path)
    files = {name: _checked(path / name, digest) for name, digest in manifest.files.items()}
    try:
        bundle = Bundle(
            program=_decoded(files["program.npz"]),
            placement=decode(json.loads(files["placement.json"]), {}),
            target=parse_target(files["target.toml"].decode(), str(path / "target.toml")),
            lock=files["lock.toml"].decode(),
            report=json.loads(files["report.json"]),
            golden=_arrays(files["golden.npz"]),
            networks=_decoded(files["network.npz"]) if "network.npz" in files else {},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "bundle-content",
            f"cannot read its content ({error})",
            where=str(path),
            hint="compile again with this version",
        ) from error
    if bundle.program.digest != manifest.program:
        raise InputError(
            "bundle-damaged",
            f"its program is {bundle.program.digest[:16]}, the manifest says {manifest.program[:16]}",
            where=str(path),
            hint="compile again; do not edit bundles",
        )
    return bundle


def _manifest(path: Path) -> Manifest:
    file = path / "manifest.json"
    if not path.exists():
        raise InputError("file-not-found", "there is no such bundle", where=str(path))
    if not file.is_file():
        raise InputError(
            "not-a-bundle",
            "there is no manifest.json here",
            where=str(path),
            hint="make a bundle with: snndeploy compile MODEL.nir -o NAME.snnb",
        )
    try:
        raw = json.loads(file.read_bytes())
        newer = isinstance(raw, dict) and int(raw.get("schema_version", 0)) > SCHEMA
        if not newer:
            return Manifest.model_validate(raw)
    except (ValueError, TypeError, ValidationError) as error:
        raise InputError(
            "bundle-damaged", "its manifest cannot be read", where=str(file)
        ) from error
    raise InputError(
        "bundle-newer",
        f"written with schema {raw['schema_version']}, this version reads {SCHEMA}",
        where=str(path),
        hint="upgrade snndeploy",
    )


def _checked(file: Path, digest: str) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError("bundle-damaged", "the file is missing", where=str(file)) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError(
            "bundle-damaged",
            "the file differs from what the compiler wrote",
            where=str(file),
            hint="compile again; do not edit bundles",
        )
    return content
