"""Bundles of strangers, with digests that are right: each kind that once crashed or hung."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snndeploy.bundle import read_bundle
from snndeploy.errors import InputError
from snndeploy.limits import Limits, using
from snndeploy.pipeline import bundle_of, compile, save_bundle
from tests.support.builders import chain_net


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    network = chain_net([np.eye(3, 4, dtype=np.float32), np.ones((2, 3), np.float32)])
    path = save_bundle(
        tmp_path_factory.mktemp("whole") / "net.snnb", bundle_of(compile(network, recipe=None))
    )
    return {p.name: p.read_bytes() for p in path.iterdir()}


@pytest.fixture
def bundle(whole: dict[str, bytes], tmp_path: Path) -> Path:
    path = tmp_path / "net.snnb"
    path.mkdir()
    for name, content in whole.items():
        (path / name).write_bytes(content)
    return path


def put(bundle: Path, name: str, content: bytes) -> None:
    """Replace a file, and its digest."""
    (bundle / name).write_bytes(content)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def change(bundle: Path, edit: Callable[[Any], None], name: str = "program.npz") -> None:
    """Edit the structure of ``program.npz``, or of a JSON file."""
    content = (bundle / name).read_bytes()
    if name.endswith(".json"):
        data = json.loads(content)
        edit(data)
        put(bundle, name, json.dumps(data).encode())
        return
    with np.load(io.BytesIO(content)) as loaded:
        arrays = dict(loaded)
    structure = json.loads(arrays["structure"].tobytes())
    edit(structure)
    arrays["structure"] = np.frombuffer(json.dumps(structure).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    put(bundle, name, buffer.getvalue())


def refused(bundle: Path) -> tuple[str, str]:
    with pytest.raises(InputError) as caught:
        read_bundle(bundle)
    assert caught.value.exit_code == 3
    return caught.value.code, caught.value.message


def group(structure: Any, i: int = 1) -> Any:
    return structure["fields"]["groups"][i]["fields"]


def synapses(structure: Any) -> Any:
    return structure["fields"]["synapses"][0]["fields"]


EDITS: dict[str, tuple[Callable[[Any], None], str]] = {
    "text for a number": (lambda s: group(s).update(depth="1"), r"groups[1].depth is '1', not int"),
    "true for a number": (
        lambda s: group(s).update(depth=True),
        "groups[1].depth is True, not int",
    ),
    "unknown choice": (
        lambda s: group(s).update(kind="magic"),
        "groups[1].kind is 'magic', not one",
    ),
    "unknown field": (
        lambda s: group(s).update(colour=1),
        "a CompartmentGroup has no field 'colour'",
    ),
    "missing field": (lambda s: group(s).pop("shape"), "missing 1 required keyword-only argument"),
    "another class": (
        lambda s: s["fields"]["groups"][1].update(type="Neuron"),
        "groups[1] is 'Neuron', not a CompartmentGroup",
    ),
    "no array": (
        lambda s: group(s).update(vth={"array": "a99"}),
        "groups[1].vth is dict, not an array",
    ),
    "unhashable array": (lambda s: group(s).update(vth={"array": []}), "groups[1].vth is dict"),
    "list for an object": (lambda s: s["fields"].update(groups=[[1]]), "groups[0] is list, not a"),
    "empty shape": (lambda s: group(s).update(shape=[]), "has the shape ()"),
    "endless shape": (lambda s: group(s).update(shape=[1 << 40]), "has the shape (1099511627776,)"),
    "shift of a thousand bits": (lambda s: group(s).update(bias_exp=1000), "bias_exp is 1000, not"),
    "two of one name": (lambda s: group(s).update(name="input"), "two groups have the same name"),
    "nobody's synapses": (lambda s: synapses(s).update(target="x"), "there is no group 'x'"),
    "no source": (lambda s: synapses(s).update(sources=[]), "their sources have the shapes []"),
    "negative extents": (
        lambda s: synapses(s)["ops"][0]["fields"].update(out_features=-3),
        "out_features is -3, not 1",
    ),
}


def test_it_is_whole_before(bundle: Path) -> None:
    assert len(read_bundle(bundle).program.groups) == 3


@pytest.mark.parametrize("name", EDITS)
def test_a_program_that_is_none(name: str, bundle: Path) -> None:
    edit, message = EDITS[name]
    change(bundle, edit)
    code, said = refused(bundle)
    assert code == "bundle-content"
    assert message in said


def test_another_program_than_the_manifest_says(bundle: Path) -> None:
    change(bundle, lambda s: synapses(s).update(exponent=synapses(s)["exponent"] + 1))
    assert refused(bundle) == (
        "bundle-damaged",
        "its program is not the one that its manifest names",
    )


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "/dev/zero", "notes.txt", "\0"])
def test_names_are_those_of_a_bundle(name: str, bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = "0" * 64
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert refused(bundle) == ("bundle-damaged", "its manifest cannot be read")


@pytest.mark.parametrize("name", ["manifest.json", "golden.npz"])
@pytest.mark.parametrize("kind", ["pipe", "link", "device", "folder"])
def test_only_files_are_read(name: str, kind: str, bundle: Path, tmp_path: Path) -> None:
    file = bundle / name
    (tmp_path / "elsewhere").write_bytes(file.read_bytes())
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to(tmp_path / "elsewhere" if kind == "link" else "/dev/zero")
    assert refused(bundle)[0] == "bundle-damaged"


def test_sizes_are_bounded_before_unpacking(bundle: Path) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{"input.input": np.zeros(48 << 20, np.uint8)})
    put(bundle, "golden.npz", buffer.getvalue())
    with using(Limits(memory=32 << 20)):
        code, said = refused(bundle)
    assert code == "bundle-content"
    assert "its arrays claim 50,331,776 bytes, past the limit of 33,554,432" in said


@pytest.mark.parametrize("name", ["placement.json", "report.json"])
def test_json_nested_deeper_than_the_stack(name: str, bundle: Path) -> None:
    put(bundle, name, b"[" * 200_000 + b"]" * 200_000)
    assert refused(bundle)[0] == "bundle-content"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"x" * 100])
@pytest.mark.parametrize("name", ["program.npz", "golden.npz", "network.npz"])
def test_broken_archives(name: str, content: bytes, bundle: Path) -> None:
    put(bundle, name, content)
    assert refused(bundle)[0] == "bundle-content"


def test_a_golden_run_of_another_program(bundle: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **{"input.input": np.zeros((2, 1, 4), np.int64)})
    put(bundle, "golden.npz", buffer.getvalue())
    assert "the golden run and the program differ in 'spikes." in refused(bundle)[1]


def test_slices_outside_their_group(bundle: Path) -> None:
    def outside(placement: Any) -> None:
        placement["fields"]["slices"][0]["fields"]["bounds"] = [[0, 99]]

    change(bundle, outside, "placement.json")
    assert "a slice ((0, 99),) of h1 (3,) on core 0" in refused(bundle)[1]
