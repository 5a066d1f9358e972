"""Lava's `Delta`, `SigmaDelta` and `Sigma`, observed and windowed. The arithmetic is lava's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.proc.sdn.models import PyDeltaModelFixed, PySigmaDeltaModelFixed, PySigmaModelFixed
from lava.proc.sdn.process import Delta, Sigma, SigmaDelta

from .window import Watched, Windowed


class WindowedDelta(Windowed, Delta):
    """`Delta`; its states are what has arrived and what it comes to."""


class WindowedSigmaDelta(Windowed, SigmaDelta):
    """`SigmaDelta`, likewise."""


class WindowedSigma(Windowed, Sigma):
    """`Sigma`, likewise."""


class _Watched(Watched):
    """What the models of all three do beside lava's own step."""

    def run_spk(self: Any) -> None:
        """One chip step."""
        if self.window.opens(self.time_step):
            for name in ("sigma", "act", "residue", "error"):
                if hasattr(self, name):
                    setattr(self, name, np.zeros_like(getattr(self, name)))
        if self.window.holds(self.time_step):
            super().run_spk()  # type: ignore[misc]
        else:
            self.s_out.send(np.zeros_like(self.a_in.recv()))
        if self.log_states:
            told = self.act if hasattr(self, "act") else self.sigma
            self.log_states.write(self.time_step, self.sigma, told)


class PyWindowedDelta(_Watched, PyDeltaModelFixed):
    """Model of `WindowedDelta`."""

    # Set by hand: the decorator refuses to derive from a model that implements another process.
    implements_process = WindowedDelta


class PyWindowedSigmaDelta(_Watched, PySigmaDeltaModelFixed):
    """Model of `WindowedSigmaDelta`."""

    implements_process = WindowedSigmaDelta


class PyWindowedSigma(_Watched, PySigmaModelFixed):
    """Model of `WindowedSigma`."""

    implements_process = WindowedSigma
