"""What is beside an output while it is written: hidden, locked, and removed if its writer was killed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = "snndeploy-part"
"""Last part of the names of what is being written."""
_OLD = "snndeploy-keep"
"""Last part of the name that a directory has while another takes its place."""
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A folder among the system's temporary ones, removed at the end.

    Those that killed processes left under the same prefix are removed first.
    """
    root = Path(tempfile.gettempdir())
    for old in root.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # of another user
            lock = _locked(old)
            if lock is not None and lock >= 0:
                shutil.rmtree(old, ignore_errors=True)
                _unlock(lock)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
        lock = _locked(folder)
        if lock is not None:
            break  # else it was taken for an old one before it was locked
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _unlock(lock)


def hidden(path: Path, mark: str) -> Path:
    """A free name beside ``path``."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{mark}")


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` last, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(
            OSError
        ):  # some file systems cannot; the rename stands all the same
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def beside(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """A locked place to write to, beside ``path``; what is there at the end is removed."""
    remove_leftovers(path)
    part, lock = hidden(path, PART), None
    try:  # a signal may fall anywhere: from here on there may be something to remove
        while lock is None:  # if it is, another writer took it for a leftover before it was locked
            try:
                if folder:
                    os.mkdir(part, 0o700)
                else:
                    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                lock = _locked(part)
            except FileExistsError:  # of another writer
                part = hidden(path, PART)
        yield part
    finally:
        _remove(part)
        _unlock(-1 if lock is None else lock)


def _locked(part: Path) -> int | None:
    """A handle that locks ``part``; None if somebody else has it, or removed it; -1 without locks."""
    try:
        import fcntl
    except ImportError:
        return -1
    try:
        handle = os.open(part, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if part.stat().st_ino == os.fstat(handle).st_ino:
            return handle
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.ENOENT):
            return handle  # a file system without locks
    os.close(handle)
    return None


def _unlock(handle: int) -> None:
    if handle >= 0:
        os.close(handle)


def _leftovers(path: Path, mark: str) -> list[Path]:
    """What writers of ``path`` have left or are using."""
    before, after = f".{path.name}.", f".{mark}"
    try:
        names = os.listdir(path.parent)
    except OSError:
        return []
    found = [n for n in names if n.startswith(before) and n.endswith(after)]
    return [path.parent / n for n in found if len(n) == len(before) + 8 + len(after)]


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of ``path`` left beside it."""
    marks = (PART, _OLD) if os.path.lexists(path) else (PART,)
    for part in (p for mark in marks for p in _leftovers(path, mark)):
        try:
            lock = _locked(part)
        except OSError:
            continue  # of another user
        if lock is not None and lock >= 0:  # without locks nothing is taken for a leftover
            _remove(part)
            _unlock(lock)


def _remove(part: Path) -> None:
    """Remove a file or a directory of files that is ours; what cannot be removed stays."""
    with contextlib.suppress(OSError):
        if not part.is_dir() or part.is_symlink():
            os.unlink(part)
            return
        for name in os.listdir(part):
            os.unlink(part / name)
        os.rmdir(part)


def place(part: Path, path: Path) -> None:
    """Put a finished directory in place; an old one ends where the new one was."""
    if not path.exists():
        os.rename(part, path)
    elif not _exchanged(part, path):
        old = hidden(path, _OLD)
        os.rename(path, old)
        try:
            os.rename(part, path)
        except BaseException:
            os.rename(old, path)
            raise
        _remove(old)


def _exchanged(a: Path, b: Path) -> bool:
    """Let two directories change places in one step; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    done = rename(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE)
    if done == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code))


def recover(path: Path) -> None:
    """Put an old directory back that a writer had moved away when it was killed.

    Only systems without an exchange can leave that: nothing at the place, and both copies beside it.
    """
    if not os.path.lexists(path):
        for old in _leftovers(path, _OLD)[:1]:
            os.rename(old, path)
