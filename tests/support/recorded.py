"""What was computed once, line by line in a text file, and is compared with what is computed now.

A line tells one thing: a layer, its synapses, a bound, a finding. Where something has changed on
purpose, ``python -m tests.support.recorded`` writes the files anew, and the difference is to be read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

FEW = 6
"""Values of an array that are written out; of more there are least, most and a digest."""


def text(value: Any) -> str:
    """One value; numbers with nine digits."""
    if isinstance(value, np.ndarray) and value.ndim:
        if value.size <= FEW:
            return "[" + " ".join(text(x) for x in value.reshape(-1).tolist()) + "]"
        told = f"{text(value.min().item())}..{text(value.max().item())}"
        if (value == value.flat[0]).all():
            told = text(value.flat[0].item())
        some = " ".join(text(x) for x in value.reshape(-1).tolist())
        digest = hashlib.sha256(some.encode()).hexdigest()[:8]
        return f"{value.shape}:{told}:{digest}".replace(" ", "")
    if isinstance(value, np.generic | np.ndarray):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, tuple | list):
        return "(" + " ".join(map(text, value)) + ")"
    if isinstance(value, Mapping):
        return "{" + " ".join(f"{k}:{text(x)}" for k, x in sorted(value.items())) + "}"
    if isinstance(value, SimpleNamespace) or dataclasses.is_dataclass(value):
        return type(value).__name__ + "(" + fields(value) + ")"
    return str(value)


def fields(thing: Any, without: Iterable[str] = ()) -> str:
    """What the fields of a record hold, but for those that hold nothing."""
    names = vars(thing)
    if dataclasses.is_dataclass(thing):
        names = {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing)}
    told = {k: text(v) for k, v in names.items() if k not in without and v is not None}
    return " ".join(f"{k}={v}" for k, v in told.items() if v not in ("", "()", "{}"))


class Record:
    """Sections of a text file, by name."""

    def __init__(self, path: Path, cases: Mapping[str, Callable[[], Iterable[str]]]) -> None:
        self.path, self.cases = path, cases
        self.sections: dict[str, list[str]] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for line in lines:
            if line.startswith("## "):
                self.sections[line[3:]] = []
            elif line:
                self.sections[list(self.sections)[-1]].append(line)

    def check(self, name: str) -> None:
        """Compare one case with what was recorded."""
        found, wanted = self._lines(name), self.sections[name]
        gone = [f"- {line}" for line in wanted if line not in found]
        new = [f"+ {line}" for line in found if line not in wanted]
        assert found == wanted, "\n".join(["recorded otherwise:", *gone, *new])

    def write(self) -> None:
        """Record all cases anew."""
        text = "\n".join(line for name in self.cases for line in self._section(name))
        self.path.write_text(text, encoding="utf-8")

    def _section(self, name: str) -> Iterator[str]:
        yield f"## {name}"
        yield from self._lines(name)
        yield ""

    def _lines(self, name: str) -> list[str]:
        """What a case says now; nothing is said twice."""
        return list(dict.fromkeys(self.cases[name]()))


def main() -> None:
    """Write all files anew."""
    from tests.certify import test_grids as certify_grids
    from tests.certify import test_recorded as certify
    from tests.lower import test_grids as lower_grids
    from tests.lower import test_recorded as lower
    from tests.mapping import test_recorded as mapping

    for module in (certify, certify_grids, lower, lower_grids, mapping):
        record = module.RECORD
        record.write()
        sys.stdout.write(f"{record.path}: {len(record.cases)} cases\n")


if __name__ == "__main__":
    main()
