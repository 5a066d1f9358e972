"""Regular files, read at once and within limits."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from pathlib import Path

from ..errors import nearest_name
from ..limits import current

_LOOKED_AT = 1000
"""Names of a folder, at most, that one is compared with that is not there."""


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


def nearest(path: Path) -> str:
    """A next step for who named a file that is not there: one beside it with nearly that name."""
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in itertools.islice(entries, _LOOKED_AT)]
    except (OSError, ValueError):
        return f"there is no folder {str(path.parent)[:200]!r} either"
    near = nearest_name(path.name, names)
    if near is not None:
        return f"did you mean {str(path.with_name(near))!r}?"
    return "check the path; names without a folder are looked for where the command runs"


def is_regular(path: Path) -> bool:
    """Whether there is a regular file (or a link to one) of this name; never an error."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
