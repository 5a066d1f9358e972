"""What a compiler with a bug would write is rejected: 1,000 of 1,000, and each for what is wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from snndeploy.certify import BundleRefused, certify
from tests.support.miscompiled import KINDS, Files, bases, miscompile


@pytest.fixture(scope="module")
def made() -> list[Files]:
    return bases()


def rejected(files: Files, folder: Path) -> bool:
    try:
        return not certify(files.write(folder))["certified"]
    except BundleRefused:
        return True


def accepted(made: list[Files], numbers: range, folder: Path) -> Counter[str]:
    """Kinds of the miscompilations that were not noticed."""
    slipped: Counter[str] = Counter()
    for number in numbers:
        kind, files = miscompile(made, number)
        slipped[kind] += not rejected(files, folder / "wrong.snnb")
    return +slipped


@pytest.mark.parametrize("number", range(19))
def test_what_the_compiler_wrote_is_certified_when_it_is_written_again(
    made: list[Files], number: int, tmp_path: Path
) -> None:
    told = certify(made[number].write(tmp_path / "again"))
    assert told["contradiction"] is None


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_a_miscompilation_of_each_kind_is_rejected(
    made: list[Files], kind: int, tmp_path: Path
) -> None:
    assert miscompile(made, kind)[0] == list(KINDS)[kind]
    assert accepted(made, range(kind, 143, len(KINDS)), tmp_path) == Counter()


@pytest.mark.slow
def test_a_thousand_miscompilations_are_rejected(made: list[Files], tmp_path: Path) -> None:
    assert accepted(made, range(143, 1143), tmp_path) == Counter()


def test_what_was_changed_without_signing_is_found_by_its_digest(
    made: list[Files], tmp_path: Path
) -> None:
    """Digests are the first thing that is looked at, and each file has one."""
    place = made[0].copy().write(tmp_path / "net.snnb")
    for name in made[0].manifest["files"]:
        content = (place / name).read_bytes()
        (place / name).write_bytes(content + b"\n")
        found = certify(place)["contradiction"]
        assert (found["file"], found["what"]) == (name, "SHA-256")
        (place / name).write_bytes(content)
    assert certify(place)["certified"]


def test_the_digest_of_the_program_is_computed_from_its_content(
    made: list[Files], tmp_path: Path
) -> None:
    files = made[0].copy()
    files.digest = "0" * 64
    found = certify(files.write(tmp_path / "net.snnb"))["contradiction"]
    assert (found["file"], found["what"], found["stated"]) == ("manifest.json", "digest", "0" * 64)
    assert found["found"] == made[0].manifest["program"]
