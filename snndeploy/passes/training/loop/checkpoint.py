"""Checkpoints: plain tensors and numbers in a file, read without running any code from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from ....errors import InputError

_SCHEMA = 1


class Checkpoint:
    """One file that is replaced after each epoch.

    Args:
        path: the file.
        key: identifies the run; only a file of the same run is gone on from.
        resume: whether to look for one at all.
    """

    def __init__(self, path: Path, key: str, *, resume: bool) -> None:
        self._path = path
        self._key = key
        self._resume = resume

    def save(self, **state: Any) -> None:
        """Write ``state``: complete, or not at all.

        Raises:
            InputError: the folder cannot be written to.
        """
        beside = self._path.with_suffix(".partial")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"schema": _SCHEMA, "key": self._key, **state}, beside)
            os.replace(beside, self._path)
        except OSError as error:
            raise InputError(
                "checkpoint-unwritable",
                f"the checkpoint cannot be written: {error.strerror}",
                where=str(self._path),
                hint="choose another folder with --checkpoints",
            ) from error

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The saved state, or None where there is none or none was asked for.

        Raises:
            InputError: the file is damaged, or of another run.
        """
        if not self._resume or not self._path.exists():
            return None
        where = str(self._path)
        try:
            state = torch.load(self._path, map_location=device, weights_only=True)
            schema, key = state.pop("schema"), state.pop("key")
        except Exception as error:  # whatever a damaged archive makes torch raise
            raise InputError(
                "checkpoint-damaged",
                "the checkpoint cannot be read",
                where=where,
                hint="delete it, or train without --resume",
            ) from error
        if (schema, key) != (_SCHEMA, self._key):
            raise InputError(
                "checkpoint-other-run",
                "the checkpoint is of another run (network, data, recipe or version differ)",
                where=where,
                hint="use the same inputs, another folder, or no --resume",
            )
        return dict(state)
