"""Which processes are workers of a cluster on this machine."""

from __future__ import annotations

import psutil


def works(process: psutil.Process) -> bool:
    """Whether a process is one that Dask has started."""
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False
