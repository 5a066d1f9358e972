"""Places that a command writes files to: refused before long work begins, and written after it."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from .write import refuse_taken, write_file


def refuse_place(path: Path, force: bool, *, option: str = "-o", suffix: str = "") -> None:
    """Refuse a place that cannot be written, or that readers would not take for what it is.

    Args:
        path: where to write.
        force: what is there may be replaced.
        option: how the user names the place.
        suffix: what the file's name has to end in ("": anything).

    Raises:
        UsageError: the name ends in something else.
        InputError: there is something at the place already (without ``force``), it is no file, or
            nothing can be written there.
    """
    if suffix and path.suffix != suffix:
        raise UsageError(
            "output-suffix",
            f"this file's name has to end in {suffix}",
            where=str(path),
            hint=f"{option} {path.with_suffix(suffix)}",
        )
    refuse_taken(path, force, option=option)


def write_text(path: Path, text: str, *, force: bool, option: str) -> None:
    """Write a text file: complete, or not at all.

    Raises:
        InputError: as `refuse_place`, or it cannot be written.
    """
    write_file(path, text, force=force, option=option)
