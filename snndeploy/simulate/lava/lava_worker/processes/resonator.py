"""Lava's `RF` and `RF_IZ`, observed and windowed. The arithmetic is lava's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.process.variable import Var
from lava.proc.rf.models import PyRFModelFixed
from lava.proc.rf.process import RF
from lava.proc.rf_iz.models import PyRF_IZModelFixed
from lava.proc.rf_iz.process import RF_IZ

from .window import Log, Window


def _held(process: Any, factors: tuple[int, int], vth: int) -> None:
    """Put integers into the registers; Lava's own arguments are a period and a decay that it rounds."""
    for name, value in (("sin_decay", factors[0]), ("cos_decay", factors[1]), ("vth", vth)):
        old = getattr(process, name)
        setattr(process, name, Var(shape=old.shape, init=np.int32(value)))


class WindowedRF(RF):
    """`RF` that starts anew where its ``window`` opens, and spikes nowhere outside it.

    ``factors`` are sine and cosine, ``vth`` the threshold, as registers hold them; ``window`` are the
    arguments of `Window`, ``states`` the path of the file for both parts of the state, or None.
    """

    def __init__(
        self,
        *,
        window: tuple[int, int, int],
        states: str | None,
        factors: tuple[int, int],
        vth: int,
        **parameters: Any,
    ) -> None:
        super().__init__(period=4.0, alpha=0.0, **parameters)
        _held(self, factors, vth)
        self.proc_params["window"], self.proc_params["states"] = window, states


class WindowedRFIZ(RF_IZ):
    """`RF_IZ`, likewise."""

    def __init__(
        self,
        *,
        window: tuple[int, int, int],
        states: str | None,
        factors: tuple[int, int],
        vth: int,
        **parameters: Any,
    ) -> None:
        super().__init__(period=4.0, alpha=0.0, **parameters)
        _held(self, factors, vth)
        self.proc_params["window"], self.proc_params["states"] = window, states


class _Seen:
    """What both models do beside lava's own step."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)  # type: ignore[call-arg]
        self.window = Window(*proc_params["window"])
        path = proc_params["states"]
        self.log_states = Log(path) if path else None

    def run_spk(self: Any) -> None:
        """One chip step."""
        if self.window.opens(self.time_step):
            self.real[:], self.imag[:] = 0, 0
        if self.window.holds(self.time_step):
            super().run_spk()  # type: ignore[misc]
        else:
            self.a_real_in.recv()
            self.s_out.send(np.zeros_like(self.a_imag_in.recv()))
        if self.log_states:
            self.log_states.write(self.time_step, self.real, self.imag)


class PyWindowedRF(_Seen, PyRFModelFixed):
    """Model of `WindowedRF`."""

    # Set by hand: the decorator refuses to derive from a model that implements another process.
    implements_process = WindowedRF


class PyWindowedRFIZ(_Seen, PyRF_IZModelFixed):
    """Model of `WindowedRFIZ`."""

    implements_process = WindowedRFIZ
