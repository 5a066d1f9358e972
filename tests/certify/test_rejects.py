"""What a compiler with a bug would write is rejected: 1,000 of 1,000, and each for what is wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from snndeploy.certify import BundleRefused, certify
from tests.support.miscompiled import KINDS, Files, bases, miscompile


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Files]:
    return bases(tmp_path_factory.mktemp("bases"))


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
    assert len(slipped) == min(len(KINDS), len(numbers))
    return +slipped


def test_what_the_compiler_wrote_is_certified_before_and_after_it_is_written_again(
    made: list[Files], tmp_path: Path
) -> None:
    for number, files in enumerate(made):
        told = certify(files.write(tmp_path / f"{number}"))
        assert told["contradiction"] is None


def test_a_hundred_miscompilations_are_rejected(made: list[Files], tmp_path: Path) -> None:
    assert accepted(made, range(100), tmp_path) == Counter()


@pytest.mark.slow
def test_a_thousand_miscompilations_are_rejected(made: list[Files], tmp_path: Path) -> None:
    assert accepted(made, range(100, 1100), tmp_path) == Counter()


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
