"""Tasks for workers, which find them here by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from snndeploy.errors import PassRefused
from snndeploy.ir.arrays import Array


def times(factor: int, number: int) -> int:
    """The product; 13 is refused."""
    if number == 13:
        raise PassRefused("unlucky", "13 is not taken", where="here", hint="take 14")
    return factor * number


def dying_once(folder: str, number: int) -> int:
    """The square; the first time that 3 is asked for, whoever does it is killed."""
    died = Path(folder) / "died"
    if number == 3 and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def dying(_shared: int, _number: int) -> int:
    """Kills whoever does it."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still there")


def slowly_times(factor: int, numbers: Array) -> Array:
    """The products, after a moment."""
    time.sleep(0.1)
    return np.asarray(factor * numbers)
