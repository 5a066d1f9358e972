"""A bundle that somebody else wrote is refused in bounded time and memory, with one clear line."""

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
import pytest

from snndeploy.certify import BundleRefused, certify
from tests.support.miscompiled import Files, taken_apart


@pytest.fixture(scope="module")
def made() -> Files:
    return taken_apart("convolutional", "loihi2")


@pytest.fixture
def place(made: Files, tmp_path: Path) -> Path:
    return made.copy().write(tmp_path / "net.snnb")


def refusal(place: Path) -> str:
    with pytest.raises(BundleRefused) as caught:
        certify(place)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def manifest(place: Path, **changes: Any) -> None:
    data = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(json.dumps({**data, **changes}))


def test_nothing_there(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none")
    assert "No such file" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "more.npz", "program.npz/x"])
def test_names_that_are_not_a_bundles(place: Path, name: str) -> None:
    files = json.loads((place / "manifest.json").read_text())["files"]
    manifest(place, files={**files, name: "0" * 64})
    assert "manifest.json that lists" in refusal(place)


def test_a_missing_file(place: Path) -> None:
    (place / "golden.npz").unlink()
    assert "golden.npz" in refusal(place)


def test_a_fifo_is_not_waited_for(place: Path) -> None:
    (place / "golden.npz").unlink()
    os.mkfifo(place / "golden.npz")
    assert "golden.npz that is no regular file" in refusal(place)


def test_links_are_not_followed(place: Path, tmp_path: Path) -> None:
    (place / "lock.toml").rename(tmp_path / "lock.toml")
    (place / "lock.toml").symlink_to(tmp_path / "lock.toml")
    assert "lock.toml" in refusal(place)


def test_a_folder_instead_of_a_file(place: Path) -> None:
    (place / "report.json").unlink()
    (place / "report.json").mkdir()
    assert "report.json" in refusal(place)


def test_another_schema(place: Path) -> None:
    manifest(place, schema_version=2)
    assert "schema" in refusal(place)


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, '{"a":' * 65 + "1" + "}" * 65])
def test_deep_json(place: Path, text: str) -> None:
    (place / "manifest.json").write_text(text)
    assert refusal(place).startswith("cannot be read as a bundle")


@pytest.mark.parametrize("text", ["", "7", "null", "[]", "{}", "\xff", '{"schema_version": 1}'])
def test_a_manifest_that_is_none(place: Path, text: str) -> None:
    (place / "manifest.json").write_text(text)
    refusal(place)


def npy(header: str, data: bytes) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def signed(place: Path, name: str, content: bytes) -> Path:
    """Put a file into a bundle, with its digest."""
    import hashlib

    (place / name).write_bytes(content)
    files = json.loads((place / "manifest.json").read_text())["files"]
    manifest(place, files={**files, name: hashlib.sha256(content).hexdigest()})
    return place


HEADER = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}"


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("<i8", "(-1,)"),
        ("<i8", "(1000000000000,)"),
        ("<i8", "(2,)"),
        ("|O", "(1,)"),
        ("<U4", "(1,)"),
        ("<i8", "(0,)"),
        ("<c16", "(1,)"),
        ("|V8", "(1,)"),
        ("<i8", "1"),
        ("<i8", "(1.0,)"),
        ("<i8", "(1, 1, 1, 1, 1, 1, 1, 1, 1)"),
    ],
)
def test_arrays_that_are_not_what_they_say(place: Path, dtype: str, shape: str) -> None:
    member = npy(HEADER.format(dtype, shape), bytes(8))
    refusal(signed(place, "golden.npz", zipped(**{"input.input": member})))


def test_arrays_of_another_size_than_their_bytes(place: Path) -> None:
    member = npy(HEADER.format("<i8", "(2,)"), bytes(8))
    told = refusal(signed(place, "golden.npz", zipped(**{"input.input": member})))
    assert told == "has an array of int64 and shape (2,) in 8 bytes"


@pytest.mark.parametrize("shape", ["(0, 3)", "(3, 0)"])
def test_arrays_of_nothing(place: Path, shape: str) -> None:
    member = npy(HEADER.format("<i8", shape), b"")
    assert "has an array of int64" in refusal(
        signed(place, "golden.npz", zipped(**{"input.input": member}))
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place_of", [0, 1])
def test_not_a_number(place: Path, value: float, place_of: int) -> None:
    """One that is among others is found, too."""
    values = [1.0, 2.0]
    values[place_of] = value
    member = npy(HEADER.format("<f8", "(2,)"), struct.pack("<2d", *values))
    assert "NaN" in refusal(signed(place, "golden.npz", zipped(**{"input.input": member})))


def test_a_bomb_is_weighed_before_it_is_unpacked(place: Path) -> None:
    buffer = io.BytesIO()
    archive = zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open("a.npy", "w", force_zip64=True) as member:
        for _ in range(65):
            member.write(bytes(1 << 24))
    assert "unpacks to more than" in refusal(signed(place, "golden.npz", buffer.getvalue()))


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + bytes(40), b"x" * 100])
def test_archives_that_are_none(place: Path, content: bytes) -> None:
    refusal(signed(place, "golden.npz", content))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_of_packing_that_cannot_be_bounded(place: Path, method: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.npy", npy(HEADER.format("<i8", "(1,)"), bytes(8)))
    assert "packs a oddly" in refusal(signed(place, "golden.npz", buffer.getvalue()))


def test_an_archive_that_wants_a_password(place: Path) -> None:
    content = bytearray(zipped(**{"input.input": npy(HEADER.format("<i8", "(1,)"), bytes(8))}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert "password" in refusal(signed(place, "golden.npz", bytes(content)))


def test_a_name_twice(place: Path) -> None:
    member = npy(HEADER.format("<i8", "(1,)"), bytes(8))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", member)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", member)
    assert "twice" in refusal(signed(place, "golden.npz", buffer.getvalue()))


def test_deep_toml(place: Path) -> None:
    refusal(signed(place, "target.toml", b"a = " + b"[" * 100_000))


Change = Callable[[Files], object]
CHANGES: dict[str, Change] = {
    "a group of 10^12 neurons": lambda f: f.groups[1].update(shape=[10**6, 10**6]),
    "a negative shape": lambda f: f.groups[1].update(shape=[-3]),
    "no shape": lambda f: f.groups[1].update(shape=[]),
    "a shape of truth": lambda f: f.groups[1].update(shape=[True]),
    "a number for a name": lambda f: f.groups[1].update(name=7),
    "a name for a number": lambda f: f.groups[1].update(depth="1"),
    "a fraction for a number": lambda f: f.groups[1].update(depth=1.0),
    "a huge number": lambda f: f.groups[1].update(depth=10**400),
    "a huge exponent": lambda f: f.synapses[0].update(exponent=10**6),
    "no such word": lambda f: f.groups[1].update(kind="spike"),
    "an unknown field": lambda f: f.groups[1].update(refractory=3),
    "a missing field": lambda f: f.groups[1].pop("vth"),
    "an unknown record": lambda f: f.program["groups"][0].update(type="Group"),
    "a list for a record": lambda f: f.program["groups"].append([]),
    "a record for a list": lambda f: f.program.update(groups={}),
    "null": lambda f: f.program.update(groups=None),
    "an array that is not there": lambda f: f.groups[1].update(vth={"array": "none"}),
    "no groups": lambda f: f.program.update(groups=[]),
    "no synapses": lambda f: f.program.update(synapses=[]),
    "no operators": lambda f: f.synapses[0].update(ops=[]),
    "operators twice": lambda f: f.synapses[0].update(ops=f.synapses[0]["ops"] * 2),
    "no sources": lambda f: f.synapses[0].update(sources=[]),
    "a source that is not there": lambda f: f.synapses[0]["sources"][0]["fields"].update(group="x"),
    "a target that is not there": lambda f: f.synapses[0].update(target="x"),
    "a kernel of 10^8 taps": lambda f: f.synapses[0]["ops"][0]["fields"].update(kernel=[9999] * 2),
    "a stride of 0": lambda f: f.synapses[0]["ops"][0]["fields"].update(stride=[0, 0]),
    "padding without end": lambda f: f.synapses[0]["ops"][0]["fields"].update(
        padding=[[9999, 9999]] * 2
    ),
    "latencies of 10^9": lambda f: f.put(
        f.synapses[0]["sources"][0]["fields"]["latency"], np.int64(10**9)
    ),
    "weights that are fractions": lambda f: f.put(
        f.synapses[0]["mantissa"], f.array(f.synapses[0]["mantissa"]) * 1.0
    ),
    "weights of another shape": lambda f: f.put(f.synapses[0]["mantissa"], np.zeros(3, np.int64)),
    "a million slices": lambda f: f.placement["fields"].update(
        slices=f.placement["fields"]["slices"] * 200_000
    ),
    "bounds of another rank": lambda f: f.slices[0].update(bounds=[[0, 1]]),
    "no slices": lambda f: f.placement["fields"].update(slices=[]),
    "a board that is not there": lambda f: f.report.update(board="none"),
    "a report that is a list": lambda f: setattr(f, "report", []),
    "a target without cores": lambda f: f.target.update(core={}),
    "limits that are words": lambda f: f.target["core"].update(neurons={"limit": "many"}),
    "no golden run": lambda f: setattr(f, "golden", {"a": np.zeros(1)}),
    "another family": lambda f: f.target.update(family=["loihi2"]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_not_a_program_is_never_certified(made: Files, tmp_path: Path, what: str) -> None:
    files = made.copy()
    CHANGES[what](files)
    try:
        told = certify(files.write(tmp_path / "net.snnb"))
    except BundleRefused:
        return
    assert not told["certified"] or told["not_checked"][3:], told["proved"]


def test_an_unknown_family_is_said_and_not_certified_silently(made: Files, tmp_path: Path) -> None:
    files = made.copy()
    files.target["family"] = "truenorth"
    told = certify(files.write(tmp_path / "net.snnb"))
    assert "cores and registers: how chips of family truenorth count" in told["not_checked"]
    assert not any(line.startswith(("memory", "registers")) for line in told["proved"])
