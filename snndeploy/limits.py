"""What reading may take: every limit on files of strangers, in one place.

A limit is asked for where it is obeyed, by `current`, so that a command (or a caller, by `using`) can
set it for all that it reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds in bytes, seconds and numbers of items; what is above them is refused with an error.

    Attributes:
        memory: bytes that the content of one file may take in memory; for data, of one sample. What is
            larger than that on disk is not read at all, except for data, which are read in parts.
        model_items: groups and arrays of one model file.
        model_depth: nesting of subgraphs in a model.
        model_s: seconds that reading a model file of 256 MiB may take, which takes a second; larger
            ones, where they are allowed, may take as much longer.
        text: bytes of a recipe, target or lock file.
        depth: nesting of tables, lists and dotted keys in TOML.
        lava_s: seconds that Lava may take for its next steps, its start included.
        held: bytes that passes may hold at once for one layer; None: what the machine has free.
    """

    memory: int = 1 << 30
    model_items: int = 100_000
    model_depth: int = 32
    model_s: float = 20.0
    text: int = 1 << 20
    depth: int = 64
    lava_s: float = 300.0
    held: int | None = None

    def room(self) -> int | None:
        """Bytes that may be taken, as far as somebody has said or the system tells; else None."""
        if self.held is not None:
            return self.held
        try:
            with open("/proc/meminfo", encoding="ascii") as file:
                lines = dict(line.split(":", 1) for line in file)
            return int(lines["MemAvailable"].split()[0]) << 10
        except (OSError, KeyError, ValueError):
            return None

    @property
    def model_bytes(self) -> int:
        """Bytes of all arrays of one model file; reading it takes some copies of them."""
        return self.memory // 4

    @property
    def model_process_bytes(self) -> int:
        """Address space of the process that reads model files, its libraries included."""
        return self.memory + (512 << 20)

    def reading_s(self, size: int) -> float:
        """Seconds that reading a model file of ``size`` bytes may take."""
        return self.model_s * max(1.0, min(size, self.model_bytes) / Limits().model_bytes)


_in_force = [Limits()]


def current() -> Limits:
    """The limits in force, in every thread."""
    return _in_force[-1]


@contextmanager
def using(limits: Limits) -> Iterator[None]:
    """Put ``limits`` in force for the body."""
    _in_force.append(limits)
    try:
        yield
    finally:
        _in_force.remove(limits)
