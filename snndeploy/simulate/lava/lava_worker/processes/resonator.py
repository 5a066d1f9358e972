"""Lava's `RF` and `RF_IZ`, observed and windowed. The arithmetic is lava's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.process.variable import Var
from lava.proc.rf.models import PyRFModelFixed
from lava.proc.rf.process import RF
from lava.proc.rf_iz.models import PyRF_IZModelFixed
from lava.proc.rf_iz.process import RF_IZ

from .window import Watched, Windowed


class _Resonating(Windowed):
    """Both processes: ``factors`` are sine and cosine, ``vth`` the threshold, as registers hold them.

    Lava's own arguments are a period and a decay that it rounds, so integers go in afterwards. The
    states are both parts of the complex one.
    """

    def __init__(self: Any, *, factors: tuple[int, int], vth: int, **parameters: Any) -> None:
        super().__init__(period=4.0, alpha=0.0, **parameters)
        for name, value in (("sin_decay", factors[0]), ("cos_decay", factors[1]), ("vth", vth)):
            shape = getattr(self, name).shape
            setattr(self, name, Var(shape=shape, init=np.int32(value)))


class WindowedRF(_Resonating, RF):
    """`RF`."""


class WindowedRFIZ(_Resonating, RF_IZ):
    """`RF_IZ`, likewise."""


class _Seen(Watched):
    """What both models do beside lava's own step."""

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
