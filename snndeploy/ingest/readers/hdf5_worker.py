"""Reads HDF5 files in a process of its own; run by its path, with nothing but numpy and h5py.

libhdf5 trusts what it reads: a flipped bit can make it loop without end, ask for the whole memory or
crash, and the file format has no checksum that would tell. So this process reads, within limits, and
whoever started it waits no longer than a deadline. One request per line (JSON: path, groups, limits);
each answer is a length, a JSON header, and the arrays that it refers to in numpy's own format.
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any, BinaryIO

if sys.path and os.path.realpath(sys.path[0]) == os.path.dirname(os.path.realpath(__file__)):
    sys.path.pop(0)  # this folder's modules are not top-level ones

import numpy as np

READY = b"\0" * 8
"""Said once the process can take requests: an answer of no length."""


class Refused(Exception):
    """The file holds what is not read: ``code``, message and place."""


class Reader:
    """Reads groups as nested dicts, within limits on size, depth and number of items."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.groups = request["groups"]
        self.max_bytes = self.bytes_left = int(request["max_bytes"])
        self.max_items = self.items_left = int(request["max_items"])
        self.max_depth = int(request["max_depth"])
        self.arrays: list[Any] = []

    def group(self, group: Any, place: str, depth: int) -> dict[str, Any]:
        """A group's content; arrays are references into ``arrays``."""
        import h5py

        if depth > self.max_depth:
            raise Refused("too-nested", "its groups are nested without end", place)
        content: dict[str, Any] = {}
        for key in group:
            if depth == 0 and key not in self.groups:
                continue
            here = f"{place}.{key}" if place else str(key)
            self.items_left -= 1
            if self.items_left < 0:
                raise Refused("too-large", f"it holds more than {self.max_items:,} items", here)
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise Refused("foreign-link", "it links to another place or file", here)
            item = group[key]
            if isinstance(item, h5py.Group):
                content[key] = {"group": self.group(item, here, depth + 1)}
            else:
                content[key] = self.dataset(item, here)
        return content

    def dataset(self, dataset: Any, place: str) -> dict[str, Any]:
        """Numbers as a reference to an array, text as (nested lists of) text."""
        import h5py

        # before anything else is asked of it: the shape of a virtual one may be that of other files
        stored = dataset.id.get_create_plist()
        if stored.get_layout() == h5py.h5d.VIRTUAL or (
            stored.get_layout() == h5py.h5d.CONTIGUOUS and stored.get_external_count()
        ):
            raise Refused("foreign-data", "its values are kept in other files", place)
        shape = dataset.shape
        if shape is None:
            return {"none": True}
        count = int(np.prod(shape, dtype=object))
        text = dataset.dtype.kind not in "biuf"
        if text and dataset.dtype.kind != "S" and h5py.check_string_dtype(dataset.dtype) is None:
            raise Refused("wrong-dtype", f"it holds {dataset.dtype}, not numbers or text", place)
        self.bytes_left -= count * max(1, dataset.dtype.itemsize)
        if self.bytes_left < 0 or (text and count > self.max_items):
            raise Refused(
                "too-large",
                f"it claims {dataset.dtype} values of shape {tuple(shape)}, past the "
                f"limits of {self.max_bytes >> 20} MiB and {self.max_items:,} names per file",
                place,
            )
        value = dataset[()]
        if text:
            plain = value.tolist() if isinstance(value, np.ndarray) else value
            return {"text": _decoded(plain)}
        self.arrays.append(np.asarray(value))
        return {"array": len(self.arrays) - 1, "scalar": not isinstance(value, np.ndarray)}


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(v) for v in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def answer(request: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """The header of an answer, and the arrays it refers to."""
    import h5py

    reader = Reader(request)
    # h5py reports damage as any of these, depending on where the damage is
    try:
        with h5py.File(request["path"], "r") as file:
            return {"tree": reader.group(file, "", 0)}, reader.arrays
    except Refused as refusal:
        code, message, place = refusal.args
        return {"refused": {"code": code, "message": message, "place": place}}, []
    except MemoryError:
        return {"damaged": "it asks for more memory than a model may take"}, []
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        text = (str(error).strip("'\"") or type(error).__name__).splitlines()[0]
        return {"damaged": text}, []


def packed(header: dict[str, Any], arrays: list[Any]) -> bytes:
    """One answer as bytes, its length in front."""
    buffer = io.BytesIO()
    text = json.dumps(header).encode()
    buffer.write(len(text).to_bytes(8, "little") + text)
    for array in arrays:
        np.save(buffer, array, allow_pickle=False)
    return buffer.getbuffer().nbytes.to_bytes(8, "little") + buffer.getvalue()


def unpacked(content: bytes) -> tuple[dict[str, Any], list[Any]]:
    """What `packed` wrote, without the length in front."""
    buffer = io.BytesIO(content)
    header = json.loads(buffer.read(int.from_bytes(buffer.read(8), "little")))
    arrays = []
    while buffer.tell() < len(content):
        arrays.append(np.load(buffer, allow_pickle=False))
    return header, arrays


def limit_memory(bytes_allowed: int) -> None:
    """Bound the address space, where the system can; the bound may be raised again."""
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = bytes_allowed if hard == resource.RLIM_INFINITY else min(bytes_allowed, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def main(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    import h5py  # noqa: F401  (before the first request is timed)

    answers.write(READY)
    answers.flush()
    for line in requests:
        request = json.loads(line)
        limit_memory(int(request["process_bytes"]))
        answers.write(packed(*answer(request)))
        answers.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
