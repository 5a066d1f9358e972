"""Checkpoints: plain tensors and numbers in a file, read without running any code from it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from ....errors import InputError
from ....files import is_regular, make_folder, refuse_taken, write_file

_SCHEMA = 2


class Checkpoint:
    """One file that is replaced after each epoch.

    Args:
        path: the file.
        key: identifies the run; only a file of the same run is gone on from.
        resume: whether to look for one at all.

    Raises:
        InputError: the folder cannot be written to.
    """

    def __init__(self, path: Path, key: str, *, resume: bool) -> None:
        self._path = path
        self._key = key
        self._resume = resume
        try:
            make_folder(path.parent)
            refuse_taken(path, force=True)
        except InputError as error:
            raise self._unwritable(error) from error

    def save(self, **state: Any) -> None:
        """Write ``state``: complete, or not at all.

        Raises:
            InputError: the folder cannot be written to.
        """
        content = io.BytesIO()  # torch itself would report a full disk as a bug
        torch.save({"schema": _SCHEMA, "key": self._key, **state}, content)
        try:
            write_file(self._path, content.getvalue(), force=True)
        except InputError as error:
            raise self._unwritable(error) from error

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The saved state, or None where there is none or none was asked for.

        Raises:
            InputError: the file is damaged, or of another run.
        """
        if not self._resume or not self._path.exists():
            return None
        try:
            if not is_regular(self._path):
                raise ValueError("not a regular file")
            state = torch.load(self._path, map_location=device, weights_only=True)
            schema, key = state.pop("schema"), state.pop("key")
        except Exception as error:  # whatever a damaged archive makes torch raise
            raise self.damaged() from error
        if (schema, key) != (_SCHEMA, self._key):
            raise InputError(
                "checkpoint-other-run",
                "the checkpoint is of another run (network, data, recipe or version differ)",
                where=str(self._path),
                hint="use the same inputs, another folder, or no --resume",
            )
        return dict(state)

    def damaged(self) -> InputError:
        """The error of a file that does not hold what `save` wrote."""
        return InputError(
            "checkpoint-damaged",
            "the checkpoint cannot be read",
            where=str(self._path),
            hint="delete it, or train without --resume",
        )

    def _unwritable(self, error: InputError) -> InputError:
        return InputError(
            "checkpoint-unwritable",
            f"the checkpoint cannot be written: {error.message}",
            where=str(self._path),
            hint="choose another folder with --checkpoints",
        )
