"""Read a NIR graph from an HDF5 file or a `nir.NIRGraph`, without trusting either.

The file is read with h5py and not with ``nir.read``: nir 1.0.8 types non-square and grouped
convolutions wrongly, invents inputs and outputs, and reports damage as an assertion.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .flatten import flattened
from .raw import RawGraph, checked_edges

MAX_BYTES = 4 << 30
"""Largest total size of arrays that is read from one file."""
_MAX_DEPTH = 32
_MAX_ITEMS = 100_000


def read_raw(model: str | os.PathLike[str] | Any) -> RawGraph:
    """Read a ``.nir`` file, or take a `nir.NIRGraph`, as a flat checked graph.

    Raises:
        InputError: the file is missing, damaged, not NIR, or its graph is malformed.
    """
    if isinstance(model, (str, os.PathLike)):
        path = Path(model)
        return flattened(_read_file(path), str(path))
    if type(model).__name__ != "NIRGraph":
        raise InputError(
            "not-nir", f"a {type(model).__name__} is neither a path nor a nir.NIRGraph",
            hint="give the path of a .nir file, or a nir.NIRGraph",
        )  # fmt: skip
    return flattened(_from_memory(model, 0), "graph")


def _from_memory(node: Any, depth: int) -> dict[str, object]:
    """Fields of an in-memory node under the names that they have in files."""
    kind = type(node).__name__
    if depth > _MAX_DEPTH:
        raise InputError("too-nested", f"subgraphs are nested deeper than {_MAX_DEPTH}")
    fields: dict[str, object] = {k: _plain(v) for k, v in vars(node).items()}
    if kind == "NIRGraph":
        nodes = {str(name): _from_memory(n, depth + 1) for name, n in node.nodes.items()}
        fields = {
            "nodes": nodes,
            "edges": checked_edges(node.edges, "graph"),
            "metadata": node.metadata,
        }
    for owner, attribute, key in (
        ("Input", "input_type", "input"),
        ("Output", "output_type", "output"),
        ("Flatten", "input_type", "input"),
    ):
        if kind == owner:
            types = getattr(node, attribute, None)
            name = "input_type" if kind == "Flatten" else "shape"
            fields[name] = _plain(types.get(key)) if isinstance(types, Mapping) else None
    return {**fields, "type": kind}


def _plain(value: Any) -> Any:
    """Torch tensors (which in-memory graphs hold) as arrays."""
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _read_file(path: Path) -> dict[str, object]:
    import h5py

    if not path.exists():
        raise InputError("file-not-found", "there is no such file", where=str(path))
    if not path.is_file():
        raise InputError("not-a-file", "it is a directory, not a .nir file", where=str(path))
    if not os.access(path, os.R_OK):
        raise InputError("file-unreadable", "reading it is not permitted", where=str(path))
    if not h5py.is_hdf5(path):
        raise InputError(
            "not-hdf5", "the file is not HDF5, the format that NIR uses", where=str(path),
            hint="write it with nir.write, or check that the download is complete",
        )  # fmt: skip
    # h5py reports damage as any of these, depending on where the damage is
    try:
        with h5py.File(path, "r") as file:
            return _Reader(path).graph(file)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            "damaged-file", f"HDF5 cannot read it: {_first_line(error)}", where=str(path),
            hint="the file is truncated or damaged; copy or export it again",
        ) from error  # fmt: skip


def _first_line(error: Exception) -> str:
    return (str(error).strip("'\"") or type(error).__name__).splitlines()[0]


class _Reader:
    """Reads groups as nested dicts, within limits on size, depth and number of items."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_left = MAX_BYTES
        self.items_left = _MAX_ITEMS

    def graph(self, file: Any) -> dict[str, object]:
        """The root node of the file, which must be a graph."""
        if "node" not in file or not hasattr(file["node"], "keys"):
            raise InputError(
                "not-nir", "it is HDF5 but holds no NIR graph (no group 'node')",
                where=str(self.path), hint="write the model with nir.write",
            )  # fmt: skip
        root = self.group(file["node"], "", 0)
        if root.get("type") != "NIRGraph" or not isinstance(root.get("nodes"), dict):
            raise InputError(
                "not-nir", f"its root is a {root.get('type', 'group')!s}, not a NIRGraph",
                where=str(self.path), hint="wrap the node in a nir.NIRGraph with input and output",
            )  # fmt: skip
        return root

    def group(self, group: Any, place: str, depth: int) -> dict[str, object]:
        import h5py

        if depth > 3 * _MAX_DEPTH:
            raise self._error("too-nested", "its groups are nested without end", place)
        content: dict[str, object] = {}
        for key in group:
            here = f"{place}.{key}" if place else str(key)
            self.items_left -= 1
            if self.items_left < 0:
                raise self._error("too-large", f"it holds more than {_MAX_ITEMS:,} items", here)
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise self._error("foreign-link", "it links to another place or file", here)
            item = group[key]
            content[key] = (
                self.group(item, here, depth + 1)
                if isinstance(item, h5py.Group)
                else self.dataset(item, here)
            )
        return content

    def dataset(self, dataset: Any, place: str) -> object:
        import h5py

        shape = dataset.shape
        if shape is None:
            return None
        count = int(np.prod(shape, dtype=object))
        text = dataset.dtype.kind not in "biuf"
        if text and dataset.dtype.kind != "S" and h5py.check_string_dtype(dataset.dtype) is None:
            raise self._error(
                "wrong-dtype", f"it holds {dataset.dtype}, not numbers or text", place
            )
        self.bytes_left -= count * max(1, dataset.dtype.itemsize)
        if self.bytes_left < 0 or (text and count > _MAX_ITEMS):
            raise self._error(
                "too-large", f"it claims {dataset.dtype} values of shape {tuple(shape)}, past the "
                f"limits of {MAX_BYTES >> 30} GiB and {_MAX_ITEMS:,} names per file", place,
            )  # fmt: skip
        value = dataset[()]
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return value

    def _error(self, code: str, message: str, place: str) -> InputError:
        named = re.sub(r"(^|\.)nodes\.", r"\1", place)  # the file's groups are not the user's words
        return InputError(code, message, where=f"{self.path}:{named}")
