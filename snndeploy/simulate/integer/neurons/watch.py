"""Looking at registers while they are stepped: how full they get, and how often they overflow."""

from __future__ import annotations

import threading
from typing import Any

from ....ir.program import STATE_MAX
from ...recording import RegisterUse


class Watch:
    """Adds up, per group, what u and v would hold if they were wide enough; threads may tell it."""

    def __init__(self) -> None:
        self.use: dict[str, RegisterUse] = {}
        self._lock = threading.Lock()

    def see(self, group: str, u: Any, v: Any) -> None:
        """Take in one step of a tile: u before it wraps, v before it clips."""
        here = RegisterUse(
            u_peak=int(abs(u).max()),
            v_peak=int(abs(v).max()),
            wraps=int(((u > STATE_MAX + 1) | (u <= -STATE_MAX - 1)).sum()),
            clips=int((abs(v) > STATE_MAX).sum()),
        )
        with self._lock:
            self.use[group] = self.use[group] + here if group in self.use else here
