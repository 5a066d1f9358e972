"""Places that a command writes text to: refused before long work begins, and written after it."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError, UsageError


def refuse_place(path: Path, force: bool, *, option: str, suffix: str) -> None:
    """Refuse a file that is taken, or that its readers would not take for what it is.

    Args:
        path: where to write.
        force: what is there may be replaced.
        option: how the user names the place.
        suffix: what the file's name has to end in.

    Raises:
        UsageError: the name ends in something else.
        InputError: there is something at the place already (without ``force``).
    """
    if path.suffix != suffix:
        raise UsageError(
            "output-suffix",
            f"this file's name has to end in {suffix}",
            where=str(path),
            hint=f"{option} {path.with_suffix(suffix)}",
        )
    if path.exists() and not force:
        raise InputError(
            "output-exists",
            "there is something at this place already",
            where=str(path),
            hint=f"add --force to replace it, or choose another place with {option}",
        )


def write_text(path: Path, text: str, *, option: str) -> None:
    """Write a text file.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            "output-unwritable",
            f"cannot write here ({error.strerror})",
            where=str(path),
            hint=f"choose another place with {option}",
        ) from error
