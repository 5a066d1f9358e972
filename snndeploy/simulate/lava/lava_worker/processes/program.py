"""A neuron program: compartments whose comparison, reset or spike count differs from LIF."""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from ..rule import load_step
from .window import Log, Window

step = load_step()


class NeuronProgram(AbstractProcess):
    """Compartments with their own threshold, reset and spike count.

    Args:
        shape: of the compartments, ``(N,)``.
        window: arguments of `Window`: state is cleared where it opens, nothing spikes outside it.
        states: path of the file for u and v of every step, or None.
        rule: the fields of `snndeploy.ir.step.NeuronRule`.
        arithmetic: the fields of `snndeploy.ir.step.Arithmetic`.
        parameters: the fields of `snndeploy.ir.step.IntegerParameters`, as integers or arrays.
    """

    def __init__(self, *, shape: tuple[int, ...], **options: Any) -> None:
        super().__init__(shape=shape, **options)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.u = Var(shape=shape, init=0)
        self.v = Var(shape=shape, init=0)
        self.fired = Var(shape=shape, init=0)


@implements(proc=NeuronProgram, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyNeuronProgram(PyLoihiProcessModel):
    """Integer model: `snndeploy.ir.step.step_integer`, as every integer engine runs it."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    u: Any = LavaPyType(np.ndarray, np.int64)
    v: Any = LavaPyType(np.ndarray, np.int64)
    fired: Any = LavaPyType(np.ndarray, np.int64)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.window = Window(*proc_params["window"])
        path = proc_params["states"]
        self.log_states = Log(path) if path else None
        self.rule = step.NeuronRule(**proc_params["rule"])
        self.arithmetic = step.Arithmetic(**proc_params["arithmetic"])
        self.parameters = step.IntegerParameters(
            **{
                name: None if value is None else np.asarray(value, np.int64)
                for name, value in proc_params["parameters"].items()
            }
        )

    def run_spk(self) -> None:
        """One chip step."""
        a = self.a_in.recv().astype(np.int64)
        if self.window.opens(self.time_step):
            self.u[:], self.v[:], self.fired[:] = 0, 0, 0
        if self.window.holds(self.time_step):
            state = step.IntegerState(self.u, self.v, self.fired)
            fired = step.step_integer(self.rule, self.arithmetic, self.parameters, state, a)
            self.u[:], self.v[:], self.fired[:] = state.u, state.v, fired
        else:
            self.fired[:] = 0
        self.s_out.send(self.fired.astype(np.int32))
        if self.log_states:
            self.log_states.write(self.time_step, self.u, self.v)
