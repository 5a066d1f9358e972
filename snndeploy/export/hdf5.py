"""Writing nested dicts as HDF5 groups: made in memory, then written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_file


def write_tree(path: str | Path, tree: Mapping[str, Any], *, force: bool) -> Path:
    """Write dicts as groups and everything else as datasets.

    libhdf5 never writes to disk itself: where that fails half-way, it may crash.

    Raises:
        InputError: the place exists (without ``force``), or cannot be written.
    """
    return write_file(Path(path), tree_bytes(tree), force=force)


def tree_bytes(tree: Mapping[str, Any]) -> bytes:
    """The HDF5 file that `write_tree` writes."""
    import h5py

    with h5py.File("in memory", "w", driver="core", backing_store=False) as file:
        _fill(file, tree)
        file.flush()
        return bytes(file.id.get_file_image())


def _fill(group: Any, tree: Mapping[str, Any]) -> None:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            _fill(group.create_group(key), value)
        else:
            group[key] = value
