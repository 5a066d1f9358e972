"""Bundles: what is written is what is read, whole or not at all, and damage is noticed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from snndeploy.bundle import Bundle, read_bundle, write_bundle
from snndeploy.chip import load_target
from snndeploy.errors import InputError
from snndeploy.ir.placement import Placement, Slice
from snndeploy.lower import lower
from snndeploy.pipeline.bundles import golden_of
from tests.support.builders import conv_net

LOIHI2 = load_target("loihi2")
FILES = (
    "program.npz",
    "placement.json",
    "target.toml",
    "lock.toml",
    "report.json",
    "golden.npz",
    "network.npz",
)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    program = lower(conv_net(), LOIHI2)
    slices = tuple(
        Slice(group=g.name, bounds=tuple((0, n) for n in g.shape), core=i, resources={"neurons": 3})
        for i, g in enumerate(program.on_chip)
    )
    return Bundle(
        program=program,
        placement=Placement(target="loihi2", cores_per_chip=128, slices=slices),
        target=LOIHI2,
        lock='target = "loihi2"\n',
        report={"fits": True, "layers": []},
        golden=golden_of(program, None),
        networks={"float": conv_net(seed=1), "compressed": conv_net()},
    )


@pytest.fixture
def written(bundle: Bundle, tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "net.snnb", bundle, version="0.1.0")


def failure(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_bundle(path)
    return caught.value


def test_what_is_written_is_read(bundle: Bundle, written: Path) -> None:
    back = read_bundle(written)
    assert back.program.digest == bundle.program.digest
    assert back.program.headroom == bundle.program.headroom
    assert back.program.rounding == bundle.program.rounding
    assert back.program.findings == bundle.program.findings
    assert back.placement == bundle.placement
    assert back.target == bundle.target
    assert (back.lock, back.report) == (bundle.lock, bundle.report)
    for name, array in bundle.golden.items():
        np.testing.assert_array_equal(back.golden[name], array)
    assert list(back.networks) == ["float", "compressed"]
    for stage, network in bundle.networks.items():
        assert back.networks[stage].verify().digest == network.digest
        assert back.networks[stage].notes == network.notes


def test_a_bundle_of_an_older_version_holds_no_networks(bundle: Bundle, tmp_path: Path) -> None:
    old = dataclasses.replace(bundle, networks={})
    written = write_bundle(tmp_path / "old.snnb", old, version="0.1.0")
    assert not (written / "network.npz").exists()
    assert read_bundle(written).networks == {}


def test_the_same_bundle_twice_is_the_same_bytes(bundle: Bundle, tmp_path: Path) -> None:
    a, b = (write_bundle(tmp_path / name, bundle, version="0.1.0") for name in ("a.snnb", "b.snnb"))
    for name in (*FILES, "manifest.json"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_noticed(written: Path, name: str) -> None:
    content = bytearray((written / name).read_bytes())
    content[len(content) // 2] ^= 1
    (written / name).write_bytes(content)
    error = failure(written)
    assert error.code == "bundle-damaged"
    assert str(error) == (
        f"{written / name}: the file differs from what the compiler wrote\n"
        "  next: compile again; do not edit bundles"
    )


def test_a_missing_file_is_named(written: Path) -> None:
    (written / "golden.npz").unlink()
    assert str(failure(written)) == f"{written / 'golden.npz'}: the file is missing"


def test_a_newer_schema_is_refused(written: Path) -> None:
    manifest = json.loads((written / "manifest.json").read_text())
    manifest["schema_version"] = 2
    (written / "manifest.json").write_text(json.dumps(manifest))
    error = failure(written)
    assert error.code == "bundle-newer"
    assert (
        str(error)
        == f"{written}: written with schema 2, this version reads 1\n  next: upgrade snndeploy"
    )


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"schema_version": 1}', '{"schema_version": "x"}']
)
def test_a_broken_manifest(written: Path, text: str) -> None:
    (written / "manifest.json").write_text(text)
    error = failure(written)
    assert (error.code, error.message) == ("bundle-damaged", "its manifest cannot be read")


def test_a_directory_that_is_no_bundle(tmp_path: Path) -> None:
    missing = tmp_path / "missing.snnb"
    assert str(failure(missing)) == f"{missing}: there is no such bundle"
    assert failure(tmp_path).code == "not-a-bundle"
    assert str(failure(tmp_path)) == (
        f"{tmp_path}: there is no manifest.json here\n"
        "  next: make a bundle with: snndeploy compile MODEL.nir -o NAME.snnb"
    )


def test_existing_places_are_not_overwritten(bundle: Bundle, written: Path, tmp_path: Path) -> None:
    before = (written / "manifest.json").read_bytes()
    with pytest.raises(InputError) as caught:
        write_bundle(written, bundle, version="0.2.0")
    assert caught.value.code == "output-exists"
    assert str(caught.value) == (
        f"{written}: there is something at this place already\n"
        "  next: add --force to replace it, or choose another place with -o"
    )
    assert (written / "manifest.json").read_bytes() == before
    write_bundle(written, bundle, version="0.2.0", force=True)
    assert json.loads((written / "manifest.json").read_text())["snndeploy"] == "0.2.0"
    assert [p.name for p in tmp_path.iterdir()] == ["net.snnb"]


def test_force_does_not_replace_what_is_no_bundle(bundle: Bundle, tmp_path: Path) -> None:
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years")
    with pytest.raises(InputError) as caught:
        write_bundle(precious, bundle, version="0.1.0", force=True)
    assert caught.value.code == "output-not-bundle"
    assert (precious / "thesis.tex").read_text() == "years"


def test_an_unwritable_place(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError) as caught:
        write_bundle(file / "net.snnb", bundle, version="0.1.0")
    assert caught.value.code == "output-unwritable"
    assert caught.value.hint == "choose another place with -o"


def test_an_interrupted_write_leaves_nothing(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("snndeploy.files.write.place", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path / "net.snnb", bundle, version="0.1.0")
    assert list(tmp_path.iterdir()) == []


def test_content_of_another_version(written: Path) -> None:
    """A bundle whose digests are right and whose content this version does not know."""
    content = b'{"type": "Hologram", "fields": {}}'
    (written / "placement.json").write_bytes(content)
    manifest = json.loads((written / "manifest.json").read_text())
    manifest["files"]["placement.json"] = hashlib.sha256(content).hexdigest()
    (written / "manifest.json").write_text(json.dumps(manifest))
    error = failure(written)
    assert error.code == "bundle-content"
    assert str(error) == (
        f"{written}: cannot read its content (it is 'Hologram', not a Placement)\n"
        "  next: compile again with this version"
    )
