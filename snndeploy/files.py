"""The one door to disk: files are read whole and within limits, and written whole or not at all.

A writer makes its output beside the place it is for, syncs it, and puts it there by one rename (by one
exchange, where a directory is replaced and the system can). Whatever stops it, what was there before or
what is new stands complete. What a killed writer left beside is removed by the next one; a lock tells
it from what somebody is still writing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError
from .limits import current

_PART = "snndeploy-part"
"""Last part of the names of what is being written."""
_OLD = "snndeploy-keep"
"""Last part of the name that a directory has while another takes its place."""
_LONGEST_NAME = 225
"""Bytes of a name; what is written beside has a longer one, and file systems have 255."""
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class Unreadable(Exception):
    """A file that is not read, and why in one clause; what it is for is known to the caller."""


def read_bytes(path: Path, limit: int | None = None, *, follow: bool = True) -> bytes:
    """The content of a regular file.

    Args:
        path: of the file; a device or a pipe is refused without waiting for it.
        limit: bytes that it may have (None: those of a text).
        follow: whether a symbolic link may stand for the file.

    Raises:
        Unreadable: there is no such file, it is none, it is too large, or it cannot be read.
    """
    limit = current().text if limit is None else limit
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    flags |= getattr(os, "O_NONBLOCK", 0)
    if not follow:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    try:
        handle = os.open(path, flags)
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            os.close(handle)
            raise Unreadable("it is not a regular file")
        with open(handle, "rb") as file:
            content = file.read(limit + 1) if found.st_size <= limit else b""
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise Unreadable("it is a symbolic link") from error
        raise Unreadable(error.strerror or str(error)) from error
    except ValueError as error:  # a name with a NUL in it
        raise Unreadable(str(error)) from error
    if max(found.st_size, len(content)) > limit:
        raise Unreadable(f"it is larger than {limit:,} bytes")
    return content


def read_text(path: Path, limit: int | None = None) -> str:
    """The content of a regular file of UTF-8 text; see `read_bytes`.

    Raises:
        Unreadable: it cannot be read, or is not UTF-8.
    """
    try:
        return read_bytes(path, limit).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise Unreadable(str(error)) from error


def is_regular(path: Path) -> bool:
    """Whether there is a regular file (or a link to one) of this name; never an error."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def refuse_taken(path: Path, force: bool, *, option: str = "-o") -> None:
    """Refuse a place for a file that `write_file` would refuse, before long work begins.

    Raises:
        InputError: it is taken (without ``force``), no file, or nothing can be written there.
    """
    if os.path.lexists(path) and not path.is_dir() and not force:
        raise _taken(path, option)
    target = _target(path, option)
    if target.exists() and not target.is_file():
        raise InputError(
            "output-not-file",
            "it exists and is not a file; it is not replaced",
            where=str(path),
            hint=f"choose another place with {option}",
        )
    _probe(target, target.parent, path, option)


def write_file(path: Path, content: bytes | str, *, force: bool, option: str = "-o") -> Path:
    """Write a file: complete, or not at all; what it replaces stays until then.

    Args:
        path: where; the file that a symbolic link names is the one that is replaced.
        content: all of it; text becomes UTF-8.
        force: what is there may be replaced.
        option: how the user names the place, for errors.

    Raises:
        InputError: the place is taken (without ``force``), no file, or cannot be written.
    """
    refuse_taken(path, force, option=option)
    target = _target(path, option)
    raw = content.encode("utf-8") if isinstance(content, str) else content
    try:
        with _beside(target) as part:
            _fill(part, raw)
            os.chmod(part, _mode_of(target, 0o666))
            os.replace(part, target)
            _sync_folder(target.parent)
    except OSError as error:
        raise unwritable(path, error, option) from error
    return path


def refuse_taken_folder(
    path: Path, force: bool, owned: Collection[str], sign: str, *, option: str = "-o"
) -> None:
    """Refuse a place for a directory that `write_folder` would refuse, before long work begins.

    Args:
        path: where.
        force: a directory of the same kind may be replaced.
        owned: names of the files that such a directory holds; others are not deleted.
        sign: the one among them that tells its kind.
        option: how the user names the place.

    Raises:
        InputError: it is taken (without ``force``), of another kind, or holds files of others, or
            nothing can be written there.
    """
    _recover(path)
    if os.path.lexists(path):
        if not force:
            raise _taken(path, option)
        if path.is_symlink() or not (path / sign).is_file():
            raise InputError(
                "output-not-bundle",
                "it exists and is not a bundle; it is not replaced",
                where=str(path),
                hint=f"choose another place with {option}",
            )
        others = sorted(p.name for p in path.iterdir() if p.name not in owned or p.is_dir())
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            raise InputError(
                "output-foreign-files",
                f"it holds {others[0]!r}{more}, which snndeploy did not write; nothing is replaced",
                where=str(path),
                hint=f"move what is yours out of it, or choose another place with {option}",
            )
    above = (p for p in path.absolute().parents if os.path.lexists(p))
    _probe(path, next(above, path.parent), path, option)


def write_folder(
    path: Path,
    files: Mapping[str, bytes],
    *,
    force: bool,
    owned: Collection[str],
    sign: str,
    option: str = "-o",
) -> Path:
    """Write a directory of files: complete, or not at all; see `refuse_taken_folder`.

    Raises:
        InputError: as `refuse_taken_folder`, or it cannot be written.
    """
    refuse_taken_folder(path, force, owned, sign, option=option)
    try:
        os.makedirs(path.parent, exist_ok=True)
        with _beside(path, folder=True) as part:
            for name, content in files.items():
                _fill(part / name, content)
            os.chmod(part, 0o777 & ~_umask())
            _sync_folder(part)
            _place(part, path)
            _sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error, option) from error
    return path


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


def unwritable(path: Path, error: OSError, option: str = "-o") -> InputError:
    """The error of a place where nothing can be written."""
    return InputError(
        "output-unwritable",
        f"cannot write here ({error.strerror or error})",
        where=str(path),
        hint=f"choose another place with {option}",
    )


def _taken(path: Path, option: str) -> InputError:
    return InputError(
        "output-exists",
        "there is something at this place already",
        where=str(path),
        hint=f"add --force to replace it, or choose another place with {option}",
    )


def _target(path: Path, option: str) -> Path:
    """What is really replaced: the end of a chain of links."""
    try:
        return path.resolve() if path.is_symlink() else path
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
        told = error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))
        raise unwritable(path, told, option) from error


def _probe(target: Path, folder: Path, path: Path, option: str) -> None:
    """See whether a file can be made in ``folder``, which will hold ``target`` or its folders."""
    try:
        if len(os.fsencode(target.name)) > _LONGEST_NAME:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        name = _hidden(folder / target.name, _PART)
        try:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
    except (OSError, ValueError) as error:
        told = error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))
        raise unwritable(path, told, option) from error


def _hidden(path: Path, mark: str) -> Path:
    """A free name beside ``path``."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{mark}")


def _fill(path: Path, content: bytes) -> None:
    """Write and sync a file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _mode_of(path: Path, new: int) -> int:
    """Permissions of what is replaced, or those that a new one gets."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return new & ~_umask()


@contextmanager
def _beside(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """A locked place to write to, beside ``path``; what is there at the end is removed."""
    _remove_leftovers(path)
    while True:
        part = _hidden(path, _PART)
        try:
            if folder:
                os.mkdir(part, 0o700)
            else:
                os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            lock = _locked(part)
        except FileExistsError:
            continue
        if lock is not None:
            break  # else another writer took it for a leftover before it was locked
    try:
        yield part
    finally:
        _remove(part)
        _unlock(lock)


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


def _remove_leftovers(path: Path) -> None:
    """Remove what killed writers of ``path`` left beside it."""
    marks = (_PART, _OLD) if os.path.lexists(path) else (_PART,)
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


def _place(part: Path, path: Path) -> None:
    """Put a finished directory in place; an old one ends where the new one was."""
    if not path.exists():
        os.rename(part, path)
    elif not _exchanged(part, path):
        old = _hidden(path, _OLD)
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


def _recover(path: Path) -> None:
    """Put an old directory back that a writer had moved away when it was killed.

    Only systems without an exchange can leave that: nothing at the place, and both copies beside it.
    """
    if not os.path.lexists(path):
        for old in _leftovers(path, _OLD)[:1]:
            os.rename(old, path)
