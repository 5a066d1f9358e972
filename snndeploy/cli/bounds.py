"""Bounds on a whole command: ``--timeout`` and ``--max-memory``, and what a termination signal does."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import FrameType

from ..limits import Limits, using

_GRACE_S = 10.0
"""Time to clean up in after --timeout, before the process is ended from outside the computation."""

_AGAIN_S = 0.002
"""Time until --timeout is tried again where nothing came of it: a library was being loaded, for one."""


class TimeUp(BaseException):
    """The time of --timeout is over; no handler of ordinary errors takes it for one."""


class Terminated(BaseException):
    """The process was asked to end."""


def terminate(number: int, frame: FrameType | None) -> None:
    """A signal handler: unwind, so that everything temporary is removed; a second signal kills."""
    del frame
    signal.signal(number, signal.SIG_DFL)
    raise Terminated


@contextmanager
def bounded(
    max_memory: int | None, timeout: float | None, lava_timeout: float | None
) -> Iterator[None]:
    """Put a command's bounds in force for the body.

    Args:
        max_memory: MiB that reading a file, and the process beside its libraries, may take.
        timeout: seconds that all of it may take.
        lava_timeout: seconds that Lava may take for its next steps.

    Raises:
        TimeUp: the time is over.
    """
    given: dict[str, float | int] = {}
    if max_memory is not None:
        given["memory"] = given["held"] = max_memory << 20
    if lava_timeout is not None:
        given["lava_s"] = lava_timeout
    if timeout is not None:
        given["model_s"] = min(timeout, Limits().model_s)
    with _data_limit(max_memory), _alarm(timeout), using(Limits(**given)):  # type: ignore[arg-type]
        yield


@contextmanager
def _data_limit(mebibytes: int | None) -> Iterator[None]:
    """Bound the memory that the process can write to, its libraries apart, where the system can.

    Libraries are loaded first: some of them crash or wait for ever where there is no memory to load in.
    """
    if mebibytes is None:
        yield
        return
    try:
        import resource
    except ImportError:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _taken_by_libraries() + (mebibytes << 20)
    resource.setrlimit(
        resource.RLIMIT_DATA,
        (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard),
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _taken_by_libraries() -> int:
    """Bytes that the process can write to once everything is loaded that commands compute with."""
    for name in ("torch", "numba", "h5py", "networkx"):
        with suppress(ImportError):
            import_module(name)
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    kibibytes = next((line.split()[1] for line in lines if line.startswith("VmData:")), "0")
    return int(kibibytes) << 10


def _loading(frame: FrameType | None) -> bool:
    """Whether a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def _alarm(seconds: float | None) -> Iterator[None]:
    """Raise `TimeUp` in the main thread; end the process if that does not come to it."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(_number: int, frame: FrameType | None) -> None:
        if _loading(frame):  # some libraries end the process where their loading is interrupted
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
            return
        raise TimeUp

    told = sys.unraisablehook

    def lost(found: sys.UnraisableHookArgs) -> None:
        """What is raised in a destructor or a callback goes no further: then it comes again."""
        if found.exc_type is TimeUp:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        else:
            told(found)

    def give_up() -> None:
        sys.stderr.write(f"error[time-limit]: it took longer than {seconds:g} s\n")
        sys.stderr.flush()
        os._exit(3)

    watchdog = threading.Timer(seconds + _GRACE_S, give_up)
    watchdog.daemon = True
    watchdog.start()
    before = signal.signal(signal.SIGALRM, ring)
    sys.unraisablehook = lost
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.unraisablehook = told
        watchdog.cancel()
