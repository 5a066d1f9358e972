"""Recordings of events in files: one each in a folder, or many in one ``.npz``."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, UsageError
from ..files import Unreadable, nearest, read_bytes
from ..ir.arrays import Array, Shape
from ..limits import current
from .arrays import Rows, forget, open_arrays, whole
from .events import TIMES, Events, TimeUnit, check_columns, in_turn

SUFFIXES = (".bin", ".csv", ".npy", ".npz")
"""Files that may hold one recording."""
_LABELS_FILE = "labels.csv"
_DIGITS = 16
"""Digits that the number of a class may not have."""
_OFFSETS = ("offset", "offsets")
_LABELS = ("label", "labels", "target", "targets")
_COLUMNS = ("x", "y", "p", "polarity", *TIMES)


def is_events(arrays: Mapping[str, Rows]) -> bool:
    """Whether arrays of a file are columns of events (``x`` alone may as well be frames)."""
    if "x" not in arrays or len(arrays["x"].shape) != 1:
        return False
    return not {*(arrays["x"].dtype.names or arrays)}.isdisjoint(TIMES)


@dataclass(frozen=True, eq=False)
class EventFiles:
    """One recording per file, as `Recordings`."""

    files: Sequence[Path]
    labels: Array | None = None
    sensor: Shape | None = None
    unit: TimeUnit | None = None

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return str(self.files[index])

    def __getitem__(self, index: int, /) -> Events:
        return read_events(self.files[index], self.unit)


def read_events(file: Path, unit: TimeUnit | None = None) -> Events:
    """Read one recording, its times in ``unit`` where their column says none.

    ``.npz`` holds one array per column, ``.npy`` an array with named fields, ``.csv`` a line of names
    and then numbers, ``.bin`` the 40-bit records of N-MNIST and N-Caltech101 (Orchard et al. 2015: x, y,
    then polarity and microseconds in one and 23 bits, most significant first).

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    if file.suffix == ".bin":
        if unit is not None:
            raise UsageError(
                "data-option",
                "--time-unit says nothing about .bin files, which count microseconds",
                where=str(file),
                hint="leave --time-unit out",
            )
        return _read_bin(file)
    if file.suffix == ".csv":
        return Events.of(_read_csv(file), str(file), unit)
    arrays, where = open_arrays(file), str(file)
    fields = arrays["x"].dtype.names if "x" in arrays else None
    if fields:
        table = whole(arrays["x"], "x", where)
        return Events.of({n: table[n] for n in fields if n in _COLUMNS}, where, unit)
    columns = {n: a for n, a in arrays.items() if n in _COLUMNS}
    check_columns({n: a.shape for n, a in columns.items()}, where)
    return Events.of({n: whole(a, n, where) for n, a in columns.items()}, where, unit)


def _content(file: Path) -> bytes:
    """A file that is read at once.

    Raises:
        InputError: it is not there, no regular file, or larger than one file may be.
    """
    if not os.path.lexists(file):
        raise InputError(
            "data-missing", "there is no such file", where=str(file), hint=nearest(file)
        )
    try:
        return read_bytes(file, current().memory)
    except Unreadable as error:
        raise InputError(
            "data-unreadable", f"the file cannot be read: {error}", where=str(file)
        ) from error


def _read_bin(file: Path) -> Events:
    records = np.frombuffer(_content(file), np.uint8)
    if records.size % 5:
        raise InputError(
            "data-unreadable",
            f"{records.size} bytes are no whole number of 5-byte events",
            where=str(file),
            hint="a .bin file holds N-MNIST's 40-bit records",
        )
    x, y, high, middle, low = records.reshape(-1, 5).astype(np.int64).T
    # a record of row 240 is no event: the clock's 13 low bits had run over
    overflow = y == 240
    t = ((high & 127) << 16 | middle << 8 | low) + np.cumsum(overflow) * 2**13
    event = ~overflow
    return Events(x[event], y[event], high[event] >> 7, t[event])


def _read_csv(file: Path) -> dict[str, Array]:
    content = _content(file)
    try:
        lines = content.decode("utf-8-sig").splitlines()
        names = [name.strip() for name in next(csv.reader(lines[:1]), [])]
        rows = [line for line in lines[1:] if line.strip()]
        numbers = np.loadtxt(rows, delimiter=",", ndmin=2) if rows else np.zeros((0, len(names)))
    except (ValueError, OverflowError, csv.Error) as error:
        raise InputError(
            "data-unreadable",
            f"not numbers separated by commas ({error})",
            where=str(file),
            hint="the first line names the columns: x,y,p,t",
        ) from error
    return {n: column for n, column in zip(names, numbers.T, strict=False) if n in _COLUMNS}


@dataclass(frozen=True, eq=False)
class EventTable:
    """Recordings one after the other in columns, ``offset[i]:offset[i + 1]`` each, as `Recordings`."""

    path: Path
    columns: Mapping[str, Rows]
    offset: Array
    labels: Array | None
    sensor: Shape | None = None
    unit: TimeUnit | None = None

    @classmethod
    def of(cls, path: Path, arrays: Mapping[str, Rows], unit: TimeUnit | None = None) -> EventTable:
        """The recordings of a ``.npz``: one without ``offset``, else as many as it separates.

        Raises:
            InputError: offsets that do not separate the columns.
        """
        columns = {n: a for n, a in arrays.items() if n in _COLUMNS}
        events = min(a.shape[0] if a.shape else 0 for a in columns.values())
        given = _first_of(arrays, _OFFSETS, path)
        if given is None:
            given = np.array([0, events])
        numbered = given.size > 1 and given.dtype.kind in "iu"
        # compared, and not subtracted: unsigned differences are never below zero
        ordered = numbered and not (given[1:] < given[:-1]).any()
        if not ordered or given[0] < 0 or given[-1] > events:
            raise InputError(
                "events-offsets",
                f"offset does not divide {events} events into recordings",
                where=str(path),
                hint="recording i is offset[i]:offset[i + 1], so n recordings have n + 1 offsets",
            )
        labels = _first_of(arrays, _LABELS, path)
        return cls(path, columns, given.astype(np.int64), labels, unit=unit)

    def __len__(self) -> int:
        return len(self.offset) - 1

    def name(self, index: int) -> str:
        return f"{self.path}: recording {index}"

    def __getitem__(self, index: int, /) -> Events:
        part = slice(int(self.offset[index]), int(self.offset[index + 1]))
        rows = (part.stop - part.start,)
        shapes = {n: rows if len(a.shape) == 1 else a.shape for n, a in self.columns.items()}
        check_columns(shapes, self.name(index))
        most = current().memory // 8
        if part.stop - part.start > most:
            raise InputError(
                "data-too-large",
                f"it has {part.stop - part.start:,} events, past the limit of {most:,}",
                where=self.name(index),
                hint="give it more: snndeploy --max-memory MIB",
            )
        events = Events.of(
            {n: a[part] for n, a in self.columns.items()}, self.name(index), self.unit
        )
        for column in self.columns.values():
            forget(column)
        return events


def _first_of(arrays: Mapping[str, Rows], names: Sequence[str], path: Path) -> Array | None:
    """The first array that has one of these names, if there is one."""
    name = next((n for n in names if n in arrays), None)
    return None if name is None else whole(arrays[name], name, str(path))


def open_folder(folder: Path, unit: TimeUnit | None = None) -> EventFiles:
    """One recording per file: in one sub-folder per class, or side by side with a ``labels.csv``.

    Sub-folders are classes: their names where these are whole numbers, else their place in the
    alphabet. They are taken in turn, the first file of each, then the second of each, so that the
    first n samples hold all classes. ``labels.csv`` has lines ``file,label``; without it, samples have
    no labels.

    Raises:
        InputError: there are no event files, other files among them, or files without a label.
    """
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    folders = [p for p in entries if p.is_dir()]
    files = [p for p in entries if not p.is_dir() and p.name != _LABELS_FILE]
    if not entries:
        raise InputError("data-folder-empty", "the folder is empty", where=str(folder))
    if folders and files:
        raise InputError(
            "data-folder-mixed",
            f"{files[0].name} lies beside sub-folders",
            where=str(folder),
            hint="keep either one sub-folder per class, or files with a labels.csv",
        )
    if not folders:
        return EventFiles(_event_files(folder, files), _labels_of(folder, files), unit=unit)
    numbered = all(f.name.isdecimal() for f in folders)
    by_class = [
        _event_files(f, sorted(p for p in f.iterdir() if p.name[0] != ".")) for f in folders
    ]
    numbered = numbered and all(len(f.name) < _DIGITS for f in folders)
    classes = [int(f.name) if numbered else i for i, f in enumerate(folders)]
    labels = np.repeat(np.array(classes, np.int64), [len(group) for group in by_class])
    files = [file for group in by_class for file in group]
    order = in_turn(labels)
    return EventFiles([files[i] for i in order], labels[order], unit=unit)


def _event_files(folder: Path, files: Sequence[Path]) -> Sequence[Path]:
    strays = [f for f in files if f.suffix not in SUFFIXES or f.is_dir()]
    if strays:
        raise InputError(
            "data-folder-file",
            f"{strays[0].name} is not a recording of events",
            where=str(folder),
            hint=f"a recording is one of {', '.join(SUFFIXES)}; name the folder whose sub-folders are "
            "the classes",
        )
    if not files:
        raise InputError("data-folder-empty", "the folder holds no recordings", where=str(folder))
    return files


def _labels_of(folder: Path, files: Sequence[Path]) -> Array | None:
    listing = folder / _LABELS_FILE
    if not listing.exists():
        return None
    try:
        lines = _content(listing).decode("utf-8-sig").splitlines()
        rows = [row for row in csv.reader(lines) if row]
    except (ValueError, csv.Error) as error:
        raise InputError(
            "data-unreadable",
            f"not names and labels separated by commas ({error})",
            where=str(listing),
            hint="one line per recording: file,label",
        ) from error
    known = {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}
    for wanted in (f.name for f in files):
        label = known.get(wanted, "")
        if not label.isdecimal() or len(label) >= _DIGITS:
            found = repr(label[:80]) if wanted in known else "no label"
            raise InputError(
                "data-labels",
                f"{wanted} has {found} where a whole number is expected",
                where=str(listing),
                hint="one line per recording: file,label",
            )
    return np.array([int(known[f.name]) for f in files], np.int64)
