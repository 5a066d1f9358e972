"""Files and folders, written whole or not at all.

A writer makes its output beside the place it is for, syncs it, and puts it there by one rename (by one
exchange, where a directory is replaced and the system can). Whatever stops it, what was there before or
what is new stands complete. What a killed writer left beside is removed by the next one; a lock tells
it from what somebody is still writing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from ..errors import InputError
from .parts import beside, place, recover, remove_leftovers, sync_folder

_LONGEST_NAME = 225
"""Bytes of a name; what is written beside has a longer one, and file systems have 255."""


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
        with beside(target) as part:
            _fill(part, raw)
            os.chmod(part, _mode_of(target, 0o666))
            os.replace(part, target)
            sync_folder(target.parent)
    except OSError as error:
        raise unwritable(path, error, option) from error
    return path


def refuse_taken_folder(
    path: Path,
    force: bool,
    owned: Collection[str],
    sign: str,
    *,
    option: str = "-o",
    kind: str = "a bundle",
) -> None:
    """Refuse a place for a directory that `write_folder` would refuse, before long work begins.

    Args:
        path: where.
        force: a directory of the same kind may be replaced.
        owned: names of the files that such a directory holds; others are not deleted.
        sign: the one among them that tells its kind.
        option: how the user names the place.
        kind: what such a directory is called.

    Raises:
        InputError: it is taken (without ``force``), of another kind, or holds files of others, or
            nothing can be written there.
    """
    recover(path)
    if os.path.lexists(path):
        if not force:
            raise _taken(path, option)
        if path.is_symlink() or not (path / sign).is_file():
            raise InputError(
                "output-not-bundle",
                f"it exists and is not {kind}; it is not replaced",
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
    _probe_above(path, option)


def refuse_folder(
    folder: Path, names: Iterable[str] = (), *, force: bool, option: str = "-o"
) -> None:
    """Refuse a folder that files are added to, before long work begins; nothing is made there.

    Args:
        folder: where; whatever else is in it stays.
        names: those of the files, as far as they are known.
        force: files of these names may be replaced.
        option: how the user names the place.

    Raises:
        InputError: it is no folder, there are such files already (without ``force``), or nothing can
            be written there.
    """
    if not os.path.lexists(folder):
        _probe_above(folder, option)
        return
    if not folder.is_dir():
        raise _no_folder(folder, option)
    remove_leftovers(folder)  # of a probe that came before it was made
    _probe(folder / "probe", folder, folder, option)
    for name in names:
        refuse_taken(folder / name, force, option=option)


def make_folder(folder: Path, *, option: str = "-o") -> None:
    """Make a folder that files are added to, and those above it, where they are missing.

    Raises:
        InputError: it is something else, or cannot be made or written to.
    """
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError as error:
        raise _no_folder(folder, option) from error
    except (OSError, ValueError) as error:
        raise _untold(folder, error, option) from error
    refuse_folder(folder, force=True, option=option)


def write_files(
    folder: Path, files: Mapping[str, bytes | str], *, force: bool, option: str = "-o"
) -> list[Path]:
    """Write files into a folder, each complete or not at all, the last one last.

    Raises:
        InputError: as `refuse_folder`, or one cannot be written.
    """
    refuse_folder(folder, files, force=force, option=option)
    make_folder(folder, option=option)
    return [
        write_file(folder / name, content, force=force, option=option)
        for name, content in files.items()
    ]


def write_folder(
    path: Path,
    files: Mapping[str, bytes],
    *,
    force: bool,
    owned: Collection[str],
    sign: str,
    option: str = "-o",
    kind: str = "a bundle",
) -> Path:
    """Write a directory of files: complete, or not at all; see `refuse_taken_folder`.

    Raises:
        InputError: as `refuse_taken_folder`, or it cannot be written.
    """
    refuse_taken_folder(path, force, owned, sign, option=option, kind=kind)
    try:
        os.makedirs(path.parent, exist_ok=True)
        with beside(path, folder=True) as part:
            for name, content in files.items():
                _fill(part / name, content)
            os.chmod(part, 0o777 & ~_umask())
            sync_folder(part)
            place(part, path)
            sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error, option) from error
    return path


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


def _no_folder(path: Path, option: str) -> InputError:
    return InputError(
        "output-not-folder",
        "it exists and is no folder",
        where=str(path),
        hint=f"choose another place with {option}",
    )


def _untold(path: Path, error: OSError | ValueError, option: str) -> InputError:
    """`unwritable`, of names that no file can have, too."""
    told = error if isinstance(error, OSError) else OSError(errno.EINVAL, str(error))
    return unwritable(path, told, option)


def _probe_above(path: Path, option: str) -> None:
    """`_probe` for what may lie in folders that do not exist yet."""
    above = (p for p in path.absolute().parents if os.path.lexists(p))
    _probe(path, next(above, path.parent), path, option)


def _probe(target: Path, folder: Path, path: Path, option: str) -> None:
    """See whether a file can be made in ``folder``, which will hold ``target`` or its folders."""
    try:
        if len(os.fsencode(target.name)) > _LONGEST_NAME:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        with beside(folder / target.name):
            pass
    except (OSError, ValueError) as error:
        raise _untold(path, error, option) from error


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
