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
_GRACE_S = 3.0
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
        BackendMissing: ``lava-timeout``, or ``lava-failed`` with the worker's traceback.
    """
    with (job / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [str(lava.python), "-m", f"{_PACKAGE.name}.worker", str(job)],
            cwd=job,
            env={**lava_environ(), "PYTHONPATH": str(_PACKAGE.parent), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,  # never written to: it closes when we are gone
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
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
        if time.monotonic() > deadline:
            raise BackendMissing(
                "lava-timeout",
                f"Lava finished no further step within {timeout_s:g} s ({done} steps were done)",
                hint="give it more time (timeout_s), or fewer samples at a lower load",
            )


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
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                # pid (name) state ppid pgrp session …; the name may hold anything.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended
            if int(fields[3]) == worker.pid and fields[0] not in "ZX":
                found.append(int(entry.name))
    return found


def _segments(pid: int) -> set[str]:
    """Lava's shared memory that a process has mapped."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    paths = {line.split(maxsplit=5)[-1] for line in lines if _SHARED in line}
    return {path.removesuffix(" (deleted)") for path in paths}
