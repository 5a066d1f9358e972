"""Lava's `Delta`, `SigmaDelta` and `Sigma`, observed and windowed. The arithmetic is lava's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.proc.sdn.models import PyDeltaModelFixed, PySigmaDeltaModelFixed, PySigmaModelFixed
from lava.proc.sdn.process import Delta, Sigma, SigmaDelta

from .window import Log, Window


class WindowedDelta(Delta):
    """`Delta` that starts anew where its ``window`` opens, and sends nothing outside it.

    ``window`` are the arguments of `Window`, ``states`` the path of the file for what has arrived and
    what it comes to, or None.
    """

    def __init__(
        self, *, window: tuple[int, int, int], states: str | None, **parameters: Any
    ) -> None:
        super().__init__(**parameters)
        self.proc_params["window"], self.proc_params["states"] = window, states


class WindowedSigmaDelta(SigmaDelta):
    """`SigmaDelta`, likewise."""

    def __init__(
        self, *, window: tuple[int, int, int], states: str | None, **parameters: Any
    ) -> None:
        super().__init__(**parameters)
        self.proc_params["window"], self.proc_params["states"] = window, states


class WindowedSigma(Sigma):
    """`Sigma`, likewise."""

    def __init__(
        self, *, window: tuple[int, int, int], states: str | None, **parameters: Any
    ) -> None:
        super().__init__(**parameters)
        self.proc_params["window"], self.proc_params["states"] = window, states


class _Watched:
    """What the models of all three do beside lava's own step."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)  # type: ignore[call-arg]
        self.window = Window(*proc_params["window"])
        path = proc_params["states"]
        self.log_states = Log(path) if path else None

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
