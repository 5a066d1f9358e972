"""Broken files of every format end in nothing or in one clear error: no traceback, hang or flood.

The default suite tries 60 of each (20 where each trains), `make attack` 500, the slow test 5,000.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.campaign import attack
from tests.attack.formats import FORMATS


@pytest.mark.parametrize("name", FORMATS)
def test_broken_files(name: str, tmp_path: Path) -> None:
    done = attack(name, 20 if FORMATS[name].costly else 60, tmp_path)
    assert done.failures == []
    assert len(done.endings) > 1  # they are broken in more than one way


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", FORMATS)
def test_many_broken_files(name: str, tmp_path: Path) -> None:
    done = attack(name, 500 if FORMATS[name].costly else 5000, tmp_path, first=1000)
    assert done.failures == []
