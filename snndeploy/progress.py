"""How long work tells how far it is: the one type for it, and the listener that does not listen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

Progress = Callable[[int, int], None]
"""Is told ``(units done, units in all)``; called again and again, with ``done`` never falling.

Passes have more to say (which pass, of what): they tell an `Observer` whole events, and
``functools.partial(context.progress, "layers")`` is a `Progress` that does.
"""

Scores = Callable[[Mapping[str, float]], None]
"""Is told the accuracy so far of each engine, after every batch; of none where there are no labels."""


def silent(*_told: object) -> None:
    """Hear everything and do nothing: the default of every `Progress` and every observer."""


class StopWatch:
    """Measures work, as what a search finds must not depend on what else the machine does."""

    def __init__(self) -> None:
        self._wall, self._worked = time.monotonic(), time.process_time()

    @property
    def seconds(self) -> float:
        """Since it was made: by the clock, or the processor's time where that is less."""
        return min(time.monotonic() - self._wall, time.process_time() - self._worked)
