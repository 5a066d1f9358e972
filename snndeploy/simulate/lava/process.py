"""Run the Lava worker on one job: in its own session, with a deadline, leaving nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ...errors import BackendMissing
from ...progress import silent
from .env import LavaEnv, lava_environ

_PACKAGE = Path(__file__).parent / "lava_worker"
_POLL_S = 0.02
_GRACE_S = 2.0
_LOST_S = 1.5
"""How long a process may be dead or stopped before the run is given up; nothing is for that long."""
_LOOK_S = 0.25
STOPPING = "stopping"
"""The file that the worker writes when all steps are done: then its processes end, one by one."""
_LONGEST_TMPDIR = 72
"""Longest name of a folder for sockets, whose paths have at most 107 bytes."""
SCRATCH = "snndeploy-lava-"
"""How the names of job folders begin; the worker removes its own if nobody else can."""
_SHARED = "/dev/shm/psm_"


def run_worker(
    job: Path, lava: LavaEnv, *, timeout_s: float, progress: Callable[[int], None] = silent
) -> dict[str, float | str]:
    """Run the job in folder ``job`` to its end.

    Args:
        job: folder with ``job.json`` and ``arrays.npz``; what the worker writes appears in it.
        lava: the interpreter.
        timeout_s: longest wait for the next steps to be done, the start included.
        progress: called with the number of chip steps done.

    Returns:
        What the worker says about the run: its Python, seconds to start and to run.

    Raises:
        BackendMissing: ``lava-timeout``, ``lava-lost`` where one of its processes was killed or
            stopped, or ``lava-failed`` with the worker's traceback.
    """
    environ = {**lava_environ(), "PYTHONPATH": str(_PACKAGE.parent), "OMP_NUM_THREADS": "1"}
    if len(str(job)) <= _LONGEST_TMPDIR:
        environ["TMPDIR"] = str(job)  # what multiprocessing leaves there goes with the job
    try:
        with (job / "worker.log").open("wb") as log:
            worker = subprocess.Popen(
                [str(lava.python), "-m", f"{_PACKAGE.name}.worker", str(job)],
                cwd=job,
                env=environ,
                stdin=subprocess.PIPE,  # never written to: it closes when we are gone
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:  # its environment was removed since it was found
        raise BackendMissing(
            "lava-failed",
            f"its worker cannot be started: {error.strerror}",
            where=str(lava.python),
            hint="check the installation with `snndeploy doctor`",
        ) from error
    try:
        _wait(worker, job, timeout_s, progress)
    finally:
        _end(worker)
    if worker.returncode == 0 and (job / "result.json").exists():
        return dict(json.loads((job / "result.json").read_text()))
    raise _failure(worker, job)


def _wait(
    worker: subprocess.Popen[bytes], job: Path, timeout_s: float, progress: Callable[[int], None]
) -> None:
    """Return when the worker has ended or has reported an error."""
    done, deadline = 0, time.monotonic() + timeout_s
    watch = _Watch(worker)
    while True:
        try:
            worker.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            ended = (job / "error.json").exists()
        else:
            ended = True
        if (job / "progress").exists() and (now := int((job / "progress").read_text())) > done:
            done, deadline = now, time.monotonic() + timeout_s
            progress(done)
        if ended:
            return
        if not (job / STOPPING).exists() and (lost := watch.lost()):
            raise BackendMissing(
                "lava-lost",
                f"one of Lava's processes {lost} ({done} steps were done)",
                hint="run it again; if memory is short, with fewer samples",
            )
        if time.monotonic() > deadline:
            raise BackendMissing(
                "lava-timeout",
                f"Lava finished no further step within {timeout_s:g} s ({done} steps were done)",
                hint="give it more time (snndeploy --lava-timeout SECONDS), or fewer samples",
            )


class _Watch:
    """Notices when one of the worker's processes was killed or stopped: the others wait for ever."""

    def __init__(self, worker: subprocess.Popen[bytes]) -> None:
        self._worker = worker
        self._since: dict[tuple[int, str], float] = {}
        self._looked = 0.0

    def lost(self) -> str:
        """What happened to a process, or nothing."""
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return ""
        self._looked = now
        states = _session(self._worker)
        bad = {
            (pid, told)
            for pid, state in states.items()
            if (told := _LOST.get(state)) and (pid != self._worker.pid or state != "Z")
        }
        self._since = {key: self._since.get(key, now) for key in bad}
        for (pid, told), since in self._since.items():
            if now - since > _LOST_S:
                return f"{told} (process {pid})"
        return ""


_LOST = {"Z": "was killed", "X": "was killed", "T": "was stopped", "t": "was stopped"}


def _failure(worker: subprocess.Popen[bytes], job: Path) -> BackendMissing:
    """What is known about a worker that did not deliver."""
    if (job / "error.json").exists():
        reason = json.loads((job / "error.json").read_text())["traceback"].strip()
    else:
        lines = (job / "worker.log").read_text(errors="replace").strip().splitlines()
        reason = "\n".join([f"its process ended with code {worker.returncode}", *lines[-20:]])
    return BackendMissing(
        "lava-failed",
        f"Lava stopped with an error:\n{reason}",
        hint="check the installation with `snndeploy doctor`",
    )


def _end(worker: subprocess.Popen[bytes]) -> None:
    """End every process of the worker's session and free what it left in shared memory.

    SIGTERM first: Python's resource tracker survives it, and frees the segments of the others. The
    worker's id cannot have become somebody else's while a member of its session lives.
    """
    segments = set()
    deadline = time.monotonic() + _GRACE_S
    signal_now = signal.SIGTERM
    while members := _members(worker):
        for pid in members:
            segments |= _segments(pid)
        try:
            os.killpg(worker.pid, signal_now)
            os.killpg(
                worker.pid, signal.SIGCONT
            )  # a stopped process gets its signals when it goes on
        except ProcessLookupError:
            break
        if time.monotonic() > deadline:
            signal_now = signal.SIGKILL
        time.sleep(_POLL_S)
    if worker.stdin:
        worker.stdin.close()
    worker.wait()
    for segment in segments:
        Path(segment).unlink(missing_ok=True)


def _members(worker: subprocess.Popen[bytes]) -> list[int]:
    """Living processes of the worker's session; without /proc, its id if there are any."""
    worker.poll()
    if not Path("/proc/self/stat").exists():
        try:
            os.killpg(worker.pid, 0)
        except OSError:
            return []
        return [worker.pid]
    return [pid for pid, state in _session(worker).items() if state not in "ZX"]


def _session(worker: subprocess.Popen[bytes]) -> dict[int, str]:
    """All processes of the worker's session with the state that each is in (none without /proc)."""
    found: dict[int, str] = {}
    if not Path("/proc/self/stat").exists():
        return found
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                # pid (name) state ppid pgrp session …; the name may hold anything.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended
            if int(fields[3]) == worker.pid:
                found[int(entry.name)] = fields[0]
    return found


def _segments(pid: int) -> set[str]:
    """Lava's shared memory that a process has mapped."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    paths = {line.split(maxsplit=5)[-1] for line in lines if _SHARED in line}
    return {path.removesuffix(" (deleted)") for path in paths}
