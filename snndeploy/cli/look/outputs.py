"""Files that a command adds to a folder beside what it prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ...files import refuse_folder, write_files
from ..show.telling import say


class AddedFiles:
    """Files for one folder: refused before the work, made during it, and written after it.

    Args:
        folder: that they are for, made if there is none; None where none were asked for.
        option: how the user names it.
        force: whether files of their names may be replaced.

    Raises:
        InputError: nothing can be written there.
    """

    def __init__(self, folder: Path | None, option: str, *, force: bool) -> None:
        self._folder, self._option, self._force = folder, option, force
        self._files: dict[str, bytes | str] = {}
        if folder is not None:
            refuse_folder(folder, force=force, option=option)

    def make(self, files: Mapping[str, Callable[[], bytes | str]]) -> None:
        """Make files by name; none, where one of them could not be written.

        Raises:
            InputError: there is such a file already, and it may not be replaced.
        """
        if self._folder is None:
            return
        refuse_folder(self._folder, files, force=self._force, option=self._option)
        self._files = {name: make() for name, make in files.items()}

    def write(self) -> None:
        """Write what was made.

        Raises:
            InputError: a file cannot be written.
        """
        if self._folder is None:
            return
        for path in write_files(self._folder, self._files, force=self._force, option=self._option):
            say(f"wrote {path}", err=True)
