"""Writing nested dicts as HDF5 groups: complete, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError


def write_tree(path: str | Path, tree: Mapping[str, Any], *, force: bool) -> Path:
    """Write dicts as groups and everything else as datasets.

    Raises:
        InputError: the place exists (without ``force``), or cannot be written.
    """
    import h5py

    path = Path(path)
    if path.exists() and not force:
        raise InputError(
            "output-exists",
            "there is something at this place already",
            where=str(path),
            hint="add --force to replace it, or choose another place with -o",
        )
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        try:
            with h5py.File(name, "w") as file:
                _fill(file, tree)
            os.chmod(name, 0o644)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            "output-unwritable",
            f"cannot write here ({error.strerror})",
            where=str(path),
            hint="choose another place with -o",
        ) from error
    return path


def _fill(group: Any, tree: Mapping[str, Any]) -> None:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            _fill(group.create_group(key), value)
        else:
            group[key] = value
