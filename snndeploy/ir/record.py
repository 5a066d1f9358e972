"""A `Network` as text plus named arrays, and back: what an exported file carries along.

The text is JSON with references to the arrays; nothing in it is executed, and unknown content is an
error. `content_digest` ties the record to the file's own nodes: once they were edited, the record no
longer speaks for them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

import numpy as np

from ..errors import InputError
from .codec import SharedArrays, encode
from .decoding import decode
from .finding import Finding
from .network import Network, Population, Projection

KEY = "snndeploy"
"""Key of the record in a graph's metadata."""
SCHEMA = 1


def to_record(network: Network, content: str) -> dict[str, object]:
    """The network as one text and its arrays, for the metadata of a graph.

    Args:
        network: what to record.
        content: digest of the nodes that are written beside it, see `content_digest`.
    """
    arrays = SharedArrays()
    structure = {
        "schema": SCHEMA,
        "content": content,
        "notes": dict(network.notes),
        "findings": encode(network.findings, arrays),
        "populations": encode(network.populations, arrays),
        "projections": encode(network.projections, arrays),
    }
    return {"structure": json.dumps(structure), **arrays}


def from_record(record: Mapping[str, object], content: str) -> Network | None:
    """The recorded network; None where the record is not about nodes of this ``content``.

    Raises:
        InputError: it was written by a newer version, or is damaged.
    """
    text = record.get("structure")
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    try:
        structure = json.loads(text) if isinstance(text, str) else None
        if structure is None or int(structure["schema"]) > SCHEMA:
            raise InputError(
                "record-newer",
                "its metadata were written by another version of snndeploy",
                hint="upgrade snndeploy, or give --frontend nir to read the nodes alone",
            )
        if structure["content"] != content:
            return None
        network = Network(
            decode(structure["populations"], record, tuple[Population, ...]),
            decode(structure["projections"], record, tuple[Projection, ...]),
            notes={str(k): str(v) for k, v in structure["notes"].items()},
            findings=decode(structure.get("findings", []), record, tuple[Finding, ...]),
        )
        return network.verify()
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise InputError(
            "record-damaged",
            f"its snndeploy metadata cannot be read ({error})",
            hint="give --frontend nir to read the nodes alone",
        ) from error


def content_digest(
    nodes: Mapping[str, Mapping[str, object]], edges: Iterable[tuple[str, str]]
) -> str:
    """SHA-256 over nodes (name -> fields, arrays or text) and edges, whatever their order."""
    h = hashlib.sha256()
    for name in sorted(nodes):
        for key in sorted(nodes[name]):
            value = nodes[name][key]
            if isinstance(value, str):
                told, raw = "str", value.encode()
            else:
                array = np.asarray(value)
                little = array.astype(array.dtype.newbyteorder("<"))
                told, raw = f"{little.dtype.str}{array.shape}", little.tobytes()
            h.update(f"{name}\0{key}\0{told}\0{len(raw)}\0".encode() + raw)
    for a, b in sorted(edges):
        h.update(f"{a}\0{b}\0".encode())
    return h.hexdigest()
