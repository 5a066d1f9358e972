"""Reads HDF5 files in a process of its own; run by its path, with nothing but numpy and h5py.

libhdf5 trusts what it reads: a flipped bit can make it loop without end, ask for the whole memory or
crash, and the file format has no checksum that would tell. So this process reads, within limits, and
whoever started it waits no longer than a deadline. One request per line (JSON: path, groups, limits);
each answer is a length, a JSON header that has the types and shapes of arrays, and their bytes.
"""

from __future__ import annotations

import io
import json
import math
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
        """A group's content; arrays are references into ``arrays``.

        Groups and datasets are libhdf5's own identifiers: h5py's objects would take half a millisecond
        each, and a file of a thousand layers holds ten thousand.
        """
        from h5py import h5d, h5g, h5l, h5o

        if depth > self.max_depth:
            raise Refused("too-nested", "its groups are nested without end", place)
        content: dict[str, Any] = {}
        for name in group:
            key = name.decode("utf-8", "backslashreplace")
            if depth == 0 and key not in self.groups:
                continue
            here = f"{place}.{key}" if place else str(key)
            self.items_left -= 1
            if self.items_left < 0:
                raise Refused("too-large", f"it holds more than {self.max_items:,} items", here)
            if group.links.get_info(name).type != h5l.TYPE_HARD:
                raise Refused("foreign-link", "it links to another place or file", here)
            item = h5o.open(group, name)
            if isinstance(item, h5g.GroupID):
                content[key] = {"group": self.group(item, here, depth + 1)}
            elif isinstance(item, h5d.DatasetID):
                content[key] = self.dataset(item, here)
            else:
                raise Refused("wrong-dtype", "it holds a named type, not numbers or text", here)
        return content

    def dataset(self, dataset: Any, place: str) -> dict[str, Any]:
        """Numbers as a reference to an array, text as (nested lists of) text."""
        import h5py
        from h5py import h5s

        # before anything else is asked of it: the shape of a virtual one may be that of other files
        stored = dataset.get_create_plist()
        if stored.get_layout() == h5py.h5d.VIRTUAL or (
            stored.get_layout() == h5py.h5d.CONTIGUOUS and stored.get_external_count()
        ):
            raise Refused("foreign-data", "its values are kept in other files", place)
        kind, shape = dataset.dtype, dataset.shape
        if not shape and dataset.get_space().get_simple_extent_type() == h5s.NULL:
            return {"none": True}
        count = math.prod(shape)
        text = kind.kind not in "biuf"
        if text and kind.kind != "S" and h5py.check_string_dtype(kind) is None:
            raise Refused("wrong-dtype", f"it holds {kind}, not numbers or text", place)
        self.bytes_left -= count * max(1, kind.itemsize)
        if self.bytes_left < 0 or (text and count > self.max_items):
            raise Refused(
                "too-large",
                f"it claims {kind} values of shape {tuple(shape)}, past the "
                f"limits of {self.max_bytes >> 20} MiB and {self.max_items:,} names per file",
                place,
            )
        array = np.zeros(shape, kind)
        if count:
            dataset.read(h5s.ALL, h5s.ALL, array)
        if text:
            return {"text": _decoded(array.tolist())}
        self.arrays.append(array)
        return {"array": len(self.arrays) - 1, "scalar": not shape}


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
            return {"tree": reader.group(file["/"].id, "", 0)}, reader.arrays
    except Refused as refusal:
        code, message, place = refusal.args
        return {"refused": {"code": code, "message": message, "place": place}}, []
    except MemoryError:
        return {"damaged": "it asks for more memory than a model may take"}, []
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        text = (str(error).strip("'\"") or type(error).__name__).splitlines()[0]
        return {"damaged": text}, []


def told(header: dict[str, Any], arrays: list[Any], answers: BinaryIO) -> None:
    """Write one answer: how long its header is, that, and the bytes of each array.

    Arrays are written from where they were read to, so that a file's content is here once.
    """
    text = json.dumps({**header, "arrays": [(a.dtype.str, a.shape) for a in arrays]}).encode()
    answers.write(len(text).to_bytes(8, "little") + text)
    for array in arrays:
        answers.write(_bytes_of(array))


def heard(answer: io.BufferedIOBase) -> tuple[dict[str, Any], list[Any]]:
    """The header and the arrays that `told` wrote; these are read-only, and own their memory.

    Raises:
        EOFError: the answer ends before.
    """
    header = json.loads(_exactly(answer, int.from_bytes(_exactly(answer, 8), "little")))
    arrays = []
    for dtype, shape in header["arrays"]:
        array = np.empty(shape, dtype)
        if answer.readinto(_bytes_of(array)) != array.nbytes:
            raise EOFError
        array.setflags(write=False)
        arrays.append(array)
    return header, arrays


def _bytes_of(array: Any) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8))


def _exactly(answer: io.BufferedIOBase, count: int) -> bytes:
    content = answer.read(count)
    if len(content) != count:
        raise EOFError
    return content


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
        header, arrays = answer(request)
        told({**header, "request": request}, arrays, answers)
        answers.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
