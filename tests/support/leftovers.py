"""What a test may not leave: processes, files among the temporary ones, and shared memory.

Every process that runs tests gets a temporary folder of its own, and adopts what its children leave, so
looking takes microseconds, and what others leave is not blamed on it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

_ADOPT = 36
"""``PR_SET_CHILD_SUBREAPER`` of Linux."""
_PATIENCE_S = 3.0
"""How long what is about to end or to be removed may take…"""
_PATIENCE_SHARED_S = 20.0
"""…and shared memory that nobody has mapped: it may belong to somebody who is about to."""
_SHARED = Path("/dev/shm")
KEPT = ("torchinductor_", "pytest-of-")
"""Caches of libraries, which are theirs for longer than a test."""


class Leftovers:
    """Looks after each test. There is one per process."""

    def __init__(self) -> None:
        self.before = tempfile.gettempdir()
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", self.before)  # pytest's folders are its own
        self.folder = Path(tempfile.mkdtemp(prefix="t-"))  # short: sockets are put below it
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.folder)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_ADOPT, 1)
        self.segments = _segments()

    def close(self) -> None:
        """The temporary folder goes."""
        os.environ["TMPDIR"] = tempfile.tempdir = self.before
        shutil.rmtree(self.folder, ignore_errors=True)

    def begin(self) -> None:
        """A test begins: shared memory of others that is there now is not its own."""
        self.segments = _segments()

    def found(self) -> list[str]:
        """What the test has left, after some patience; it is ended and removed."""
        began = time.monotonic()
        while True:
            own, shared = [*self._processes(), *self._files()], self._shared()
            waited = time.monotonic() - began
            if not own and not shared:
                return []
            if (own and waited > _PATIENCE_S) or waited > _PATIENCE_SHARED_S:
                self._remove()
                return [*own, *shared]
            time.sleep(0.02)

    def _processes(self) -> list[str]:
        return [f"process {pid}: {line}" for pid, line in children().items()]

    def _files(self) -> list[str]:
        return [f"temporary {p.name}" for p in self.folder.iterdir() if not _kept(p)]

    def _shared(self) -> list[str]:
        new = _segments() - self.segments
        return [f"shared memory {name}" for name in sorted(_idle(new))] if new else []

    def _remove(self) -> None:
        for pid in children():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        for path in (p for p in self.folder.iterdir() if not _kept(p)):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def children() -> dict[int, str]:
    """Living children with their command lines, but for those that live as long as this process."""
    pids: set[int] = set()
    if sys.platform != "linux":
        return {}
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            pids |= {int(pid) for pid in (thread / "children").read_text().split()}
    living = {}
    for pid in sorted(pids - readers()):
        line = _line(pid)
        if not line:  # it has ended, and nobody has asked how
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
        elif "resource_tracker" not in line:
            living[pid] = line
    return living


def _kept(path: Path) -> bool:
    return path.name.startswith(KEPT)


def readers() -> set[int]:
    """The process that reads HDF5 for this one is started once."""
    hdf5 = sys.modules.get("snndeploy.files.hdf5")
    return set() if hdf5 is None else {worker.process.pid for worker in hdf5._workers}


def _line(pid: int) -> str:
    """The command line of a living process; of an ended one, nothing."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return ""
    return text.decode(errors="replace").strip()


def _segments() -> set[str]:
    try:
        return set(os.listdir(_SHARED))
    except OSError:
        return set()


def _idle(names: set[str]) -> set[str]:
    """Those that no living process has mapped; others' tests may be using theirs."""
    used = set()
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                maps = (process / "maps").read_text()
                used |= {name for name in names if f"{_SHARED}/{name}" in maps}
    return names - used
