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

from .window import Log, Window

_HALF = 2**23
_V_MAX = 2**23 - 1


class NeuronProgram(AbstractProcess):
    """Compartments with their own threshold, reset and spike count.

    Args:
        shape: of the compartments, ``(N,)``.
        window: arguments of `Window`: state is cleared where it opens, nothing spikes outside it.
        states: path of the file for u and v of every step, or None.
        du, dv, vth, bias: integers, one or one per compartment; the bias is already shifted.
        compare: ``>`` or ``>=``.
        reset: ``zero``, ``subtract`` or ``none``.
        reset_timing: ``immediate``, ``next-step`` or ``snntorch-immediate``.
        many: floor(v / threshold) spikes instead of one, at most ``max_spikes`` where that is set.
        v_floor: lower limit of v after the reset, or None.
    """

    def __init__(self, *, shape: tuple[int, ...], **parameters: Any) -> None:
        super().__init__(shape=shape, **parameters)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.u = Var(shape=shape, init=0)
        self.v = Var(shape=shape, init=0)
        self.fired = Var(shape=shape, init=0)


@implements(proc=NeuronProgram, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyNeuronProgram(PyLoihiProcessModel):
    """Integer model: the registers of lava's LIF, the order of the network's neuron model."""

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
        for name in ("du", "dv", "bias", "compare", "reset", "reset_timing", "many", "max_spikes"):
            setattr(self, name, proc_params[name])
        self.v_floor = proc_params["v_floor"]
        self.threshold = np.asarray(proc_params["vth"], np.int64) << 6

    def run_spk(self) -> None:
        """One chip step."""
        a = self.a_in.recv().astype(np.int64)
        if self.window.opens(self.time_step):
            self.u[:], self.v[:], self.fired[:] = 0, 0, 0
        if self.window.holds(self.time_step):
            self._step(a)
        else:
            self.fired[:] = 0
        self.s_out.send(self.fired.astype(np.int32))
        if self.log_states:
            self.log_states.write(self.time_step, self.u, self.v)

    def _step(self, a: Any) -> None:
        """One update; ``fired`` holds the spikes of the step before, then those of this one."""
        subtract, zero = self.reset == "subtract", self.reset == "zero"
        late, torch = self.reset_timing != "immediate", self.reset_timing == "snntorch-immediate"
        before = self._above(self.v).astype(np.int64) if torch else self.fired.copy()
        self.u[:] = _wrap24(_wrap32(_decay(self.u, self.du + 1) + _wrap32(a << 6)))
        x = _decay(self.v, self.dv) + self.u + self.bias
        if late and subtract:
            x = x - before * self.threshold
        v = np.clip(_wrap32(x), -_V_MAX, _V_MAX)
        if late and zero:
            v = np.where(before > 0, 0, v)
        n = self._count(v)
        if torch:
            v = v - (n - before) * self.threshold
        elif not late and subtract:
            v = v - n * self.threshold
        elif not late and zero:
            v = np.where(n > 0, 0, v)
        self.v[:] = v if self.v_floor is None else np.maximum(v, self.v_floor)
        self.fired[:] = n

    def _above(self, v: Any) -> Any:
        return v > self.threshold if self.compare == ">" else v >= self.threshold

    def _count(self, v: Any) -> Any:
        above = self._above(v).astype(np.int64)
        if not self.many:
            return above
        n = np.where(above > 0, v // np.maximum(self.threshold, 1), 0)
        return n if self.max_spikes is None else np.minimum(n, self.max_spikes)


def _decay(x: Any, d: Any) -> Any:
    """Rounds toward zero."""
    return np.sign(x) * ((np.abs(x) * (4096 - d)) >> 12)


def _wrap32(x: Any) -> Any:
    return np.asarray(x, np.int64).astype(np.int32).astype(np.int64)


def _wrap24(x: Any) -> Any:
    """Lava's single wrap of u: asymmetric, and no modulo."""
    return np.where(x > _HALF, x - 2 * _HALF, np.where(x <= -_HALF, x + 2 * _HALF, x))
