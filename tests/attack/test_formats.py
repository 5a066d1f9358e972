"""Broken files of every format end in nothing or in one clear error: no traceback, hang or flood.

The default suite and `make attack` try 500 of each, the slow test 5,000.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.attack.campaign import attack, tried
from tests.attack.formats import FORMATS

CORPUS = Path(__file__).parent / "corpus"
"""What once failed, by format; `python -m tests.attack --keep` adds to it."""


@pytest.mark.parametrize("name", FORMATS)
def test_broken_files(name: str, tmp_path: Path) -> None:
    done = attack(name, 500, tmp_path)
    assert done.failures == []
    assert len(done.endings) > 1  # they are broken in more than one way


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("first", range(1000, 6000, 500))
@pytest.mark.parametrize("name", FORMATS)
def test_many_broken_files(name: str, first: int, tmp_path: Path) -> None:
    assert attack(name, 500, tmp_path, first=first).failures == []


@pytest.mark.parametrize(
    "kept", sorted(CORPUS.glob("*/*")), ids=lambda p: f"{p.parent.name}-{p.name}"
)
def test_what_once_failed(kept: Path, tmp_path: Path) -> None:
    temporary, target = tmp_path / "tmp", tmp_path / "broken"
    temporary.mkdir()
    shutil.copytree(kept, target, symlinks=True)
    assert tried(kept.parent.name, kept.name, target, temporary).failures == []
