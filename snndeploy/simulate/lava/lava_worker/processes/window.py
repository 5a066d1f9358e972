"""Where in a stream of samples a step lies, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Window:
    """A group's steps of each sample: ``steps`` of every ``interval``, after chip step ``start``.

    Chip steps count from 1, so its first step of the first sample is chip step ``start + 1``.
    """

    start: int
    steps: int
    interval: int

    def phase(self, time_step: int) -> int:
        """Step of the sample at chip step ``time_step``; ``steps`` or more lies between samples."""
        return (time_step - 1 - self.start) % self.interval

    def opens(self, time_step: int) -> bool:
        """Whether this is the first step of a sample."""
        return self.phase(time_step) == 0

    def holds(self, time_step: int) -> bool:
        """Whether this is a step of a sample."""
        return self.phase(time_step) < self.steps


class Windowed:
    """A process that starts anew where its ``window`` opens, and sends nothing outside it.

    ``window`` are the arguments of `Window`, ``states`` is the path of the file for its states, or None.
    """

    def __init__(
        self: Any, *, window: tuple[int, int, int], states: str | None, **parameters: Any
    ) -> None:
        super().__init__(**parameters)
        self.proc_params["window"], self.proc_params["states"] = window, states


class Watched:
    """The model of a `Windowed` process: its window, and the log of its states."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)  # type: ignore[call-arg]
        self.window = Window(*proc_params["window"])
        path = proc_params["states"]
        self.log_states = Log(path) if path else None


class Log:
    """Rows of an ``.npy`` file that exists already, written step by step.

    Mapped memory rather than Lava's ring buffers: reading those back moves one number per message.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._rows: Any = None

    def write(self, time_step: int, *rows: Any) -> None:
        """Write what each log holds at chip step ``time_step``."""
        if self._rows is None:  # opened here, in the process that writes
            self._rows = np.lib.format.open_memmap(self._path, mode="r+")
        for index, row in enumerate(rows):
            self._rows[index, time_step - 1] = row
