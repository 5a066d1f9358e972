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
``worst.npz``       the worst inputs found where head-room is not proved (missing where it is)
==================  =====================================================================
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ..brief import brief, brief_html
from ..chip import Target, dump_target, parse_target
from ..errors import InputError
from ..files import Unreadable, read_bytes, refuse_taken_folder, write_folder
from ..ir.arrays import Array
from ..ir.codec import SharedArrays, encode, npz, packed
from ..ir.decoding import decode, unpacked
from ..ir.network import Network
from ..ir.placement import Placement
from ..ir.program import Program
from ..limits import current
from ..npz import read_arrays
from .content import check_golden, check_placement, check_program, check_worst

SCHEMA = 1
_MANIFEST = "manifest.json"
_REQUIRED = (
    "program.npz",
    "placement.json",
    "target.toml",
    "lock.toml",
    "report.json",
    "golden.npz",
)
_NETWORKS, _WORST = "network.npz", "worst.npz"
FILES = frozenset({_MANIFEST, *_REQUIRED, _NETWORKS, _WORST})
"""Names of all files that a bundle may hold."""
_READ = 1 << 18
"""Characters of a JSON file that somebody may read."""


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

    ``worst`` holds inputs that take registers as far as a search could whose head-room is not proved:
    ``input.<group>`` as ``(steps, runs, *shape)``, and by register ``u.<group>`` or ``v.<group>``, the
    run, the step and how large it becomes.
    """

    program: Program
    placement: Placement
    target: Target
    lock: str
    report: Mapping[str, Any]
    golden: Mapping[str, Array]
    networks: Mapping[str, Network] = field(default_factory=dict)
    worst: Mapping[str, Array] = field(default_factory=dict)

    __repr__ = brief
    _repr_html_ = brief_html


def write_bundle(path: str | Path, bundle: Bundle, *, version: str, force: bool = False) -> Path:
    """Write ``bundle`` to the directory ``path``: complete, or not at all.

    Raises:
        InputError: the place exists (without ``force``), is no bundle, or cannot be written.
    """
    path = Path(path)
    files = _files(bundle)
    manifest = Manifest(
        schema_version=SCHEMA,
        snndeploy=version,
        program=bundle.program.digest,
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    files[_MANIFEST] = (manifest.model_dump_json(indent=2) + "\n").encode()
    return write_folder(path, files, force=force, owned=FILES, sign=_MANIFEST)


def refuse_existing(path: Path, force: bool) -> None:
    """Refuse a place that `write_bundle` would refuse, before long work begins.

    Raises:
        InputError: the place exists (without ``force``), is no bundle, holds files of others, or
            nothing can be written there.
    """
    refuse_taken_folder(path, force, FILES, _MANIFEST)


def _files(bundle: Bundle) -> dict[str, bytes]:
    files = {
        "program.npz": packed(bundle.program),
        "placement.json": _json(encode(bundle.placement, SharedArrays())),
        "target.toml": dump_target(bundle.target).encode(),
        "lock.toml": bundle.lock.encode(),
        "report.json": _json(bundle.report),
        "golden.npz": npz(bundle.golden),
    }
    if bundle.networks:
        files[_NETWORKS] = packed(bundle.networks)
    if bundle.worst:
        files[_WORST] = npz(bundle.worst)
    return files


def _json(data: Any) -> bytes:
    """JSON, indented unless it is longer than anyone reads."""
    text = json.dumps(data)
    return f"{text if len(text) > _READ else json.dumps(data, indent=2)}\n".encode()


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle; check every file against the manifest, and all content for what it has to be.

    Raises:
        InputError: not a bundle, written by a newer version, or a file was changed.
    """
    path = Path(path)
    manifest = _manifest(path)
    files = {name: _checked(path / name, digest) for name, digest in manifest.files.items()}
    target = parse_target(
        files["target.toml"].decode("utf-8", "replace"), str(path / "target.toml")
    )
    try:
        bundle = Bundle(
            program=unpacked(files["program.npz"], Program),
            placement=decode(json.loads(files["placement.json"]), {}, Placement),
            target=target,
            lock=files["lock.toml"].decode(),
            report=_report(files["report.json"]),
            golden=read_arrays(files["golden.npz"], current().memory),
            networks=_networks(files),
            worst=read_arrays(files[_WORST], current().memory) if _WORST in files else {},
        )
        check_program(bundle.program)
        check_placement(bundle.placement, bundle.program)
        check_golden(bundle.golden, bundle.program)
        check_worst(bundle.worst, bundle.program)
        digest = bundle.program.digest
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _content(path, str(error)) from error
    except (ArithmeticError, RecursionError, InputError) as error:
        raise _content(path, str(error).splitlines()[0]) from error
    if digest != manifest.program:
        raise InputError(
            "bundle-damaged",
            "its program is not the one that its manifest names",
            where=str(path),
            hint="compile again; do not edit bundles",
        )
    return bundle


def _content(path: Path, what: str) -> InputError:
    return InputError(
        "bundle-content",
        f"cannot read its content ({what})",
        where=str(path),
        hint="compile again with this version",
    )


def _report(content: bytes) -> dict[str, Any]:
    report = json.loads(content)
    if not isinstance(report, dict):
        raise ValueError(f"its report is a {type(report).__name__}")
    return report


def _networks(files: Mapping[str, bytes]) -> dict[str, Network]:
    if _NETWORKS not in files:
        return {}
    networks = unpacked(files[_NETWORKS], dict[str, Network])
    return {stage: network.verify() for stage, network in networks.items()}


def _manifest(path: Path) -> Manifest:
    file = path / _MANIFEST
    if not os.path.lexists(path):
        raise InputError("file-not-found", "there is no such bundle", where=str(path))
    if not os.path.lexists(file):
        raise InputError(
            "not-a-bundle",
            "there is no manifest.json here",
            where=str(path),
            hint="make a bundle with: snndeploy compile MODEL.nir -o NAME.snnb",
        )
    try:
        raw = json.loads(read_bytes(file, follow=False))
        newer = isinstance(raw, dict) and int(raw.get("schema_version", 0)) > SCHEMA
        if not newer:
            manifest = Manifest.model_validate(raw)
            if not manifest.files.keys() < FILES or not manifest.files.keys() >= set(_REQUIRED):
                raise ValueError("it names other files than a bundle has")
            return manifest
    except (ValueError, TypeError, RecursionError, OverflowError, Unreadable) as error:
        raise InputError(
            "bundle-damaged", "its manifest cannot be read", where=str(file)
        ) from error
    raise InputError(
        "bundle-newer",
        f"written with schema {int(raw['schema_version'])}, this version reads {SCHEMA}",
        where=str(path),
        hint="upgrade snndeploy",
    )


def _checked(file: Path, digest: str) -> bytes:
    if not os.path.lexists(file):
        raise InputError("bundle-damaged", "the file is missing", where=str(file))
    try:
        content = read_bytes(file, current().memory, follow=False)
    except Unreadable as error:
        raise InputError(
            "bundle-damaged", f"the file cannot be read: {error}", where=str(file)
        ) from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError(
            "bundle-damaged",
            "the file differs from what the compiler wrote",
            where=str(file),
            hint="compile again; do not edit bundles",
        )
    return content
