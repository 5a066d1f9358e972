"""Looking at registers while they are stepped: how full they get, and how often they overflow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ....ir.graded.delta import BITS
from ....ir.graded.resonator import MOST
from ....ir.step import Arithmetic, overflows
from ...recording import RegisterUse


class Watch:
    """Adds up, per group, what u and v would hold if they were wide enough; threads may tell it."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        self.arithmetic = arithmetic
        self.use: dict[str, RegisterUse] = {}
        self._lock = threading.Lock()

    def of(self, group: str) -> Callable[[Any, Any], None]:
        """Takes in one step of a tile of ``group``: u and v before they enter their registers."""

        def see(u: Any, v: Any) -> None:
            chip = self.arithmetic
            here = RegisterUse(
                limit=chip.state_max,
                u_peak=int(abs(u).max()),
                v_peak=int(abs(v).max()),
                wraps=int(overflows(u, chip.u_overflow, chip).sum()),
                clips=int(overflows(v, chip.v_overflow, chip).sum()),
            )
            self.tell(group, here)

        return see

    def of_deltas(self, group: str) -> Callable[[Any, Any], None]:
        """Likewise of a group of sigma-delta neurons: their sums and activations, which wrap."""

        def see(sums: Any, x: Any) -> None:
            most = (1 << (BITS - 1)) - 1
            beyond = [((wide > most) | (wide < -most - 1)).sum() for wide in (sums, x)]
            here = RegisterUse(
                limit=most,
                u_peak=int(abs(sums).max()),
                v_peak=int(abs(x).max()),
                wraps=int(beyond[0]),
                clips=int(beyond[1]),
            )
            self.tell(group, here)

        return see

    def of_resonators(self, group: str) -> Callable[[Any, Any], None]:
        """Likewise of a group of resonators: the real and the imaginary part, which saturate."""

        def see(re: Any, im: Any) -> None:
            here = RegisterUse(
                limit=MOST,
                u_peak=int(abs(re).max()),
                v_peak=int(abs(im).max()),
                wraps=0,
                clips=int(((abs(re) > MOST) | (abs(im) > MOST)).sum()),
            )
            self.tell(group, here)

        return see

    def tell(self, group: str, here: RegisterUse) -> None:
        """Take in what some steps of ``group`` used."""
        with self._lock:
            self.use[group] = self.use[group] + here if group in self.use else here
