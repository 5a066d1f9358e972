"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snndeploy.simulate.lava_env import LavaEnv, find_lava


@pytest.fixture(scope="session")
def lava() -> LavaEnv:
    """The interpreter that has Lava, or a reason to skip."""
    env = find_lava()
    if env is None:
        pytest.skip("no Python with lava-nc was found: run `snndeploy lava install`")
    return env


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real networks and data beside the project (or at $SNNDEPLOY_DATA), or a reason to skip."""
    folder = Path(os.environ.get("SNNDEPLOY_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data folder at {folder}: set SNNDEPLOY_DATA")
    return folder
