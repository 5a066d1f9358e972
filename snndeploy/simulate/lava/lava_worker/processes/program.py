"""A neuron program: compartments whose comparison, reset or spike count differs from LIF."""

from __future__ import annotations

import dataclasses
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

STATES = tuple(f.name for f in dataclasses.fields(step.IntegerState))
"""Variables of a process: u, v, and whatever a step leaves to the next one besides."""


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
        for name in STATES:
            setattr(self, name, Var(shape=shape, init=0))


def with_states(model: type) -> type:
    """``model`` with a variable of Lava for each of `STATES`."""
    for name in STATES:
        setattr(model, name, LavaPyType(np.ndarray, np.int64))
    return model


@with_states
@implements(proc=NeuronProgram, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyNeuronProgram(PyLoihiProcessModel):
    """Integer model: `snndeploy.ir.step.step_integer`, as every integer engine runs it."""

    a_in: Any = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out: Any = LavaPyType(PyOutPort.VEC_DENSE, np.int32)

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
        held = {name: getattr(self, name) for name in STATES}
        if self.window.opens(self.time_step):
            for register in held.values():
                register[:] = 0
        sent = np.zeros(a.shape, np.int32)
        if self.window.holds(self.time_step):
            state = step.IntegerState(**held)
            sent[:] = step.step_integer(self.rule, self.arithmetic, self.parameters, state, a)
            for name, register in held.items():
                register[:] = getattr(state, name)
        self.s_out.send(sent)
        if self.log_states:
            self.log_states.write(self.time_step, held["u"], held["v"])
