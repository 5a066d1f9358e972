"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from snndeploy.simulate.lava.env import LavaEnv, find_lava
from tests.support.leftovers import Leftovers

# A shell that starts us in the background has interrupts ignored, and every program that a test starts
# and interrupts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines are shared and noisy: how long an example takes says nothing about the code. On CI a change
# is judged by the same examples every time; everywhere else, new ones are drawn.
hypothesis.settings.register_profile("snndeploy", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("snndeploy")

_WATCHED = pytest.StashKey[Leftovers]()


def pytest_configure(config: pytest.Config) -> None:
    """Whoever runs tests watches what they leave; where workers do, each of them."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", 0):
        config.stash[_WATCHED] = watched = Leftovers()
        config.add_cleanup(watched.close)


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that leaves a process, a temporary file or shared memory behind."""
    watched = request.config.stash[_WATCHED]
    watched.begin()
    yield
    left = watched.found()
    assert left == [], "left behind"


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
