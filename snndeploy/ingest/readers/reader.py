"""Read a NIR graph from an HDF5 file or a `nir.NIRGraph`, without trusting either.

The file is read with h5py and not with ``nir.read``: nir 1.0.8 types non-square and grouped
convolutions wrongly, invents inputs and outputs, and reports damage as an assertion.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...files.hdf5 import NIR, Tree, read_tree
from ...limits import current
from .flatten import flattened
from .raw import RawGraph, checked_edges


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
            "not-nir",
            f"a {type(model).__name__} is neither a path nor a nir.NIRGraph",
            hint="give the path of a .nir file, or a nir.NIRGraph",
        )
    return flattened(_from_memory(model, 0), "graph")


def _from_memory(node: Any, depth: int) -> Tree:
    """Fields of an in-memory node under the names that they have in files."""
    kind = type(node).__name__
    deepest = current().model_depth
    if depth > deepest:
        raise InputError("too-nested", f"subgraphs are nested deeper than {deepest}")
    fields: Tree = {k: _plain(v) for k, v in vars(node).items()}
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
    """Torch tensors (which in-memory graphs hold) as arrays; bfloat16, which numpy lacks, is widened."""
    if not hasattr(value, "detach"):
        return value
    tensor = value.detach().cpu()
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()


def _read_file(path: Path) -> Tree:
    """The root node of the file, which must be a graph."""
    tree = read_tree(path, NIR)
    root = tree.get("node")
    if not isinstance(root, dict):
        netx = isinstance(tree.get("layer"), dict)
        raise InputError(
            "not-nir",
            "it is HDF5 but holds no NIR graph (no group 'node')",
            where=str(path),
            hint="it looks like a lava-dl .net file: name it .net"
            if netx
            else "write the model with nir.write",
        )
    kind = root.get("type", "group")
    kind = kind if isinstance(kind, str) else "node without a type"
    if kind != "NIRGraph" or not isinstance(root.get("nodes"), dict):
        raise InputError(
            "not-nir",
            f"its root is a {kind}, not a NIRGraph",
            where=str(path),
            hint="wrap the node in a nir.NIRGraph with input and output",
        )
    return root
