"""A sink that writes spikes to a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from .window import Log


class Recorder(AbstractProcess):
    """Writes what arrives at ``a_in`` to the file ``path``, or nowhere if that is None.

    ``tick`` takes anything: lava runs only what is connected, so parts of a program that have
    nothing to do with each other are tied together here.
    """

    def __init__(self, *, shape: tuple[int, ...], path: str | None) -> None:
        super().__init__(path=path)
        self.a_in = InPort(shape=shape)
        self.tick = InPort(shape=(1,))


@implements(proc=Recorder, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyRecorder(PyLoihiProcessModel):
    """Model of `Recorder`."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    tick: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.spikes = Log(proc_params["path"]) if proc_params["path"] else None

    def run_spk(self) -> None:
        """One chip step."""
        self.tick.recv()
        arrived = self.a_in.recv()
        if self.spikes:
            self.spikes.write(self.time_step, arrived)
