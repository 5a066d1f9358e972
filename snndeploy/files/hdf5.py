"""Any HDF5 file as nested dicts of arrays, within limits, and without trusting it.

The file is read by `hdf5_worker` in a process that lives as long as this one and is started anew where
a damaged file has stopped it. Who knows early what will be read says so (`begin_reading`), and does
something else meanwhile.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..limits import current
from .hdf5_worker import READY, heard
from .read import is_regular

NIR = ("node", "layer")
"""Top groups of a NIR file, and the one that tells what is none."""
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_BUSY = "try again; if that takes as long, the file is damaged: copy or export it again"
_START_S = 60.0
"""Longest time that the reading process may take to start."""
_PIPE = 1 << 20
"""Bytes that the reading process may be ahead, where the system lets it."""
_SCRIPT = Path(__file__).with_name("hdf5_worker.py")

Tree = dict[str, object]


class _Stopped(Exception):
    """The reading process ended, or had to be ended; why."""


class _Late(_Stopped):
    """It had to be ended, as it took too long."""


class _Pipe(io.RawIOBase):
    """What a process writes, for as long as it is given."""

    def __init__(self, handle: int) -> None:
        self.handle, self.until, self.late = handle, 0.0, ""

    def give(self, seconds: float, what: str) -> None:
        """Have patience for so long from now on, with a process that is to do ``what``."""
        self.until, self.late = (
            time.monotonic() + seconds,
            f"HDF5 did not {what} within {seconds:g} s",
        )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with selectors.DefaultSelector() as selector:
            selector.register(self.handle, selectors.EVENT_READ)
            if not selector.select(max(0.0, self.until - time.monotonic())):
                raise TimeoutError(self.late)
        return os.readv(self.handle, [buffer])


class _Worker:
    """The reading process."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, str(_SCRIPT)],
            env={
                **os.environ,
                "OPENBLAS_NUM_THREADS": "1",  # each thread would reserve memory
                "HDF5_PLUGIN_PRELOAD": "::",  # no file makes it load a library
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pipesize=_PIPE,
        )
        assert self.process.stdout is not None
        self.pipe = _Pipe(self.process.stdout.fileno())
        self.answers = io.BufferedReader(self.pipe, _PIPE)
        self.ready = False
        self.begun: dict[str, Any] = {}

    def begin(self, request: dict[str, Any]) -> None:
        """Have it prepare the answer to what will be asked next."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        self.begun = request

    def ask(self, request: dict[str, Any], seconds: float) -> tuple[dict[str, Any], list[Any]]:
        """The worker's answer: its header, and the arrays that it refers to.

        Raises:
            _Late: it did not answer within ``seconds``, its start not counted.
            _Stopped: it crashed.
        """
        try:
            if not self.ready:
                self.pipe.give(_START_S, "start")
                if self.answers.read(len(READY)) != READY:
                    raise EOFError
                self.ready = True
            if not self.begun:
                self.begin(request)
            self.pipe.give(seconds, "finish")
            header, arrays = heard(self.answers)
            if header["request"] != request:  # of all mistakes, another network is the worst
                raise OSError("answer to another request")
            self.begun = {}
            return header, arrays
        except (OSError, EOFError) as error:
            if isinstance(error, EOFError):
                self.process.wait()
            ended = self.process.poll()
            self.close()
            if isinstance(error, TimeoutError) and ended is None:
                raise _Late(str(error)) from error
            raise _Stopped(f"HDF5 crashed on it ({_ending(self.process.returncode)})") from error

    def close(self) -> None:
        """End the process, if it is ours and still there."""
        if self.owner != os.getpid():
            return
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit {code}"


_lock = threading.Lock()
_workers: list[_Worker] = []


def _worker() -> _Worker:
    """The one worker of this process, started where there is none."""
    if not _workers or _workers[0].owner != os.getpid():
        _workers[:] = [_Worker()]
    return _workers[0]


def _asked(request: dict[str, Any], seconds: float) -> tuple[dict[str, Any], list[Any]]:
    """The worker's answer; where it cannot answer, it is ended."""
    with _lock:
        if _workers and _workers[0].begun not in ({}, request):  # it would answer that first
            _end_worker()
        try:
            return _worker().ask(request, seconds)
        except BaseException:
            for worker in _workers:  # an interrupted answer would be read by the next request
                worker.close()
            _workers.clear()
            raise


@atexit.register
def _end_worker() -> None:
    for worker in _workers:
        worker.close()
    _workers.clear()


def read_tree(path: Path, groups: Collection[str]) -> Tree:
    """The top ``groups`` of a file as dicts, with datasets as arrays or text (empty ones as None).

    Raises:
        InputError: the file is missing, not HDF5, damaged, larger than the limits, or links to others.
    """
    _check_signature(path)
    seconds = current().reading_s(path.stat().st_size)
    try:
        header, arrays = _asked(_request(path, groups), seconds)
    except _Late as error:
        raise _damaged(path, str(error), _BUSY) from error
    except _Stopped as error:
        raise _damaged(path, str(error)) from error
    if "damaged" in header:
        raise _damaged(path, f"HDF5 cannot read it: {header['damaged']}")
    if "refused" in header:
        refused = header["refused"]
        place = refused["place"].removeprefix("node.")
        named = re.sub(r"(^|\.)nodes\.", r"\1", place)  # the file's groups are not the user's words
        hint = "give it more: snndeploy --max-memory MIB" if refused["code"] == "too-large" else ""
        raise InputError(refused["code"], refused["message"], where=f"{path}:{named}", hint=hint)
    return _tree(header["tree"], arrays)


def begin_reading(path: Path, groups: Collection[str]) -> None:
    """Have a file read in the background if it is HDF5; `read_tree` is told then what it holds."""
    try:
        if not is_regular(path) or not _signed(path):
            return
        request = _request(path, groups)
    except OSError:
        return  # what is wrong is found, and said, when it is read
    with _lock:
        try:
            if not _worker().begun:
                _worker().begin(request)
        except OSError:
            _end_worker()
        except BaseException:  # an interrupt: nobody knows what it has been asked
            _end_worker()
            raise


def _request(path: Path, groups: Collection[str]) -> dict[str, Any]:
    limits, now = current(), path.stat()
    return {
        "path": str(path.resolve()),
        "version": [now.st_ino, now.st_size, now.st_mtime_ns],
        "groups": list(groups),
        "max_bytes": limits.model_bytes,
        "max_items": limits.model_items,
        "max_depth": 3 * limits.model_depth,
        "process_bytes": limits.model_process_bytes,
    }


def _check_signature(path: Path) -> None:
    if not path.exists():
        raise InputError("file-not-found", "there is no such file", where=str(path))
    if not path.is_file():
        what = "directory" if path.is_dir() else "device or a pipe"
        raise InputError("not-a-file", f"it is a {what}, not a model file", where=str(path))
    if not os.access(path, os.R_OK):
        raise InputError("file-unreadable", "reading it is not permitted", where=str(path))
    if _signed(path):
        return
    raise InputError(
        "not-hdf5",
        "the file is not HDF5, the format that NIR uses",
        where=str(path),
        hint="write it with nir.write, or check that the download is complete",
    )


def _signed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def _tree(content: dict[str, Any], arrays: list[Any]) -> Tree:
    def value(item: dict[str, Any]) -> object:
        if "group" in item:
            return _tree(item["group"], arrays)
        if "text" in item:
            return item["text"]
        if "none" in item:
            return None
        array = arrays[item["array"]]
        return array[()] if item["scalar"] else array

    return {key: value(item) for key, item in content.items()}


def _damaged(path: Path, message: str, hint: str = "") -> InputError:
    hint = hint or "the file is truncated or damaged; copy or export it again"
    return InputError("damaged-file", message, where=str(path), hint=hint)
