"""A directory that becomes an environment of its own: claimed, made on a Python, signed at the end.

Only the stamp makes a directory ours. It is written first, so that what an interruption leaves is known
for what it is, says that the environment is complete once it has been seen to work, and goes last.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .env import FAILURES, dotted, reason_of, run_python

_BUILDING = "building"

BasePython = tuple[Path, tuple[int, int]]
"""An interpreter that an environment can be built on, and its version."""


@dataclass(frozen=True)
class EnvironmentPlace:
    """Where an environment is made.

    Attributes:
        directory: that becomes it.
        stamp: name of the file that says that it is ours.
    """

    directory: Path
    stamp: str

    @property
    def signed(self) -> Path:
        """The stamp."""
        return self.directory / self.stamp

    @property
    def _staged(self) -> Path:
        """The stamp before it is in its place."""
        return self.directory / f"{self.stamp}.new"

    @property
    def complete(self) -> bool:
        """Whether an environment was finished here."""
        return self.signed.is_file() and self.signed.read_text() != _BUILDING

    def claim(self) -> bool:
        """Empty it for an environment; False, and untouched, where it holds anything else."""
        self.discard()
        if self.directory.exists() and any(self.directory.iterdir()):
            return False
        self.directory.mkdir(parents=True, exist_ok=True)
        self.sign(_BUILDING)
        return True

    def discard(self) -> None:
        """Remove an environment that was made or begun here, and nothing else."""
        if self._staged.is_file():  # it was interrupted while it was signed
            self._staged.unlink()
            with suppress(OSError):  # something else is in it
                self.directory.rmdir()
        if not self.signed.is_file():
            return
        # The stamp goes last: an interrupted removal is recognised and taken up again.
        for entry in self.directory.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry != self.signed:
                entry.unlink()
        self.signed.unlink()
        self.directory.rmdir()

    def sign(self, text: str) -> None:
        """Say what it holds, all at once."""
        self._staged.write_text(text)
        self._staged.replace(self.signed)

    def made_on(
        self, bases: Iterable[BasePython], progress: Callable[[str], None]
    ) -> tuple[tuple[int, int] | None, str]:
        """Create a virtual environment on the first base that can.

        Some systems ship Python without what ``venv`` needs, hence the next one is tried.

        Returns:
            Its version, None where no base can; and what the last one said that could not.
        """
        failure = ""
        for python, version in bases:
            progress(f"creating an environment on {python} (Python {dotted(version)})")
            try:
                run_python(python, "-m", "venv", str(self.directory))
            except FAILURES as error:
                failure = f"; {python} cannot create an environment: {reason_of(error)}"
            else:
                return version, failure
        return None, failure
