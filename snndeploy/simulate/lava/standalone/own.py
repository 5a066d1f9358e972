"""Source of the few processes that a script brings along, because none of Lava's is exact."""

from __future__ import annotations

from ....ir.step import NeuronRule
from .rules import HELPERS, step_source, told

STARTED = {
    "WindowedDelta": "StartedDelta",
    "WindowedSigmaDelta": "StartedSigmaDelta",
    "WindowedSigma": "StartedSigma",
}
"""What stands in a script for the processes that know their window."""

IMPORTS = {
    "NeuronProgram": (
        "from types import SimpleNamespace",
        "from lava.magma.core.decorator import implements, requires, tag",
        "from lava.magma.core.model.py.model import PyLoihiProcessModel",
        "from lava.magma.core.model.py.ports import PyInPort, PyOutPort",
        "from lava.magma.core.model.py.type import LavaPyType",
        "from lava.magma.core.process.ports.ports import InPort, OutPort",
        "from lava.magma.core.process.process import AbstractProcess",
        "from lava.magma.core.process.variable import Var",
        "from lava.magma.core.resources import CPU",
        "from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol",
    ),
    **{
        f"Started{name}": (
            f"from lava.proc.sdn.models import Py{name}ModelFixed",
            f"from lava.proc.sdn.process import {name}",
        )
        for name in ("Delta", "SigmaDelta", "Sigma")
    },
    "GatedLIFReset": (
        "from lava.proc.lif.models import PyLifResetModelBitAcc",
        "from lava.proc.lif.process import LIFReset",
    ),
    "MultiSparse": (
        "from lava.proc.sparse.models import PySparseModelBitAcc",
        "from lava.proc.sparse.process import Sparse",
    ),
    "MultiDelaySparse": (
        "from lava.proc.sparse.models import PyDelaySparseModelBitAcc",
        "from lava.proc.sparse.process import DelaySparse",
    ),
}
"""What each process needs."""

_STARTED = '''
class Started@@(@@):
    """Lava's `@@`, which starts anew with each sample, and sends nothing before the first."""

    def __init__(self, *, begins, interval, **parameters):
        super().__init__(**parameters)
        self.proc_params["begins"], self.proc_params["interval"] = begins, interval


class PyStarted@@(Py@@ModelFixed):
    implements_process = Started@@  # the decorator refuses models derived from Lava's

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.begins, self.interval = proc_params["begins"], proc_params["interval"]

    def run_spk(self):
        late = self.time_step - self.begins
        if late < 0:
            self.s_out.send(np.zeros_like(self.a_in.recv()))
            return
        if late % self.interval == 0:
            for name in ("sigma", "act", "residue", "error"):
                if hasattr(self, name):
                    setattr(self, name, np.zeros_like(getattr(self, name)))
        super().run_spk()
'''

SOURCES = {
    **{f"Started{n}": _STARTED.replace("@@", n) for n in ("Delta", "SigmaDelta", "Sigma")},
    "GatedLIFReset": '''
class GatedLIFReset(LIFReset):
    """Lava's `LIFReset`, whose neurons do not spike before chip step ``begins``."""

    def __init__(self, *, begins, **parameters):
        super().__init__(**parameters)
        self.proc_params["begins"] = begins


class PyGatedLIFReset(PyLifResetModelBitAcc):
    implements_process = GatedLIFReset  # the decorator refuses models derived from Lava's

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.begins = proc_params["begins"]

    def spiking_activation(self):
        return super().spiking_activation() & (self.time_step >= self.begins)
''',
    "MultiSparse": '''
class MultiSparse(Sparse):
    """Lava's `Sparse` where several synapses join the same two neurons: the sum is no legal weight."""


class PyMultiSparse(PySparseModelBitAcc):
    implements_process = MultiSparse  # the decorator refuses models derived from Lava's

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.weights_set = True  # as if Lava had clipped them already
''',
    "MultiDelaySparse": '''
class MultiDelaySparse(DelaySparse):
    """Lava's `DelaySparse` where several synapses join two neurons: the sum is no legal weight."""


class PyMultiDelaySparse(PyDelaySparseModelBitAcc):
    implements_process = MultiDelaySparse  # the decorator refuses models derived from Lava's

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.weights_set = True  # as if Lava had clipped them already
''',
}

_PROGRAM = '''
class NeuronProgram(AbstractProcess):
    """Neurons that step by one of the functions above; ``begins`` is their first chip step."""

    def __init__(self, *, shape, step, begins, interval, parameters):
        super().__init__(
            shape=shape, step=step, begins=begins, interval=interval, parameters=parameters
        )
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        self.u = Var(shape=shape, init=0)
        self.v = Var(shape=shape, init=0)
        self.fired = Var(shape=shape, init=0)


@implements(proc=NeuronProgram, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyNeuronProgram(PyLoihiProcessModel):
    a_in = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    s_out = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    u = LavaPyType(np.ndarray, np.int64)
    v = LavaPyType(np.ndarray, np.int64)
    fired = LavaPyType(np.ndarray, np.int64)

    def __init__(self, proc_params):
        super().__init__(proc_params)
        self.step = STEPS[proc_params["step"]]
        self.begins, self.interval = proc_params["begins"], proc_params["interval"]
        values = proc_params["parameters"].items()
        self.p = SimpleNamespace(**{name: np.asarray(value, np.int64) for name, value in values})

    def run_spk(self):
        a = self.a_in.recv().astype(np.int64)
        since = self.time_step - self.begins
        if since % self.interval == 0:  # a sample begins
            self.u[:], self.v[:], self.fired[:] = 0, 0, 0
        if since >= 0:
            self.u[:], self.v[:], self.fired[:] = self.step(self.p, self.u, self.v, self.fired, a)
        self.s_out.send(self.fired.astype(np.int32))
'''


def programs(rules: dict[tuple[NeuronRule, bool], str]) -> str:
    """Source of the neuron programs with the functions that ``rules`` (and floors) are named by."""
    functions = [step_source(rule, name, floor=floor) for (rule, floor), name in rules.items()]
    steps = ", ".join(f'"{name}": {name}' for name in rules.values())
    return "\n\n".join([HELPERS.rstrip(), *functions, f"STEPS = {{{steps}}}\n{_PROGRAM}"])


def why_program(rule: NeuronRule, *, floor: bool) -> str:
    """Why a board needs microcode for these neurons."""
    bounded = ", v with a lower bound" if floor else ""
    rules = f"{told(rule)}{bounded}"
    return f"its neurons need a program of their own ({rules}), and no public tool writes one"


WHY = {
    **dict.fromkeys(
        STARTED.values(), "it starts with a sample, and Lava's own process starts with the chip"
    ),
    "GatedLIFReset": "it could spike before a sample reaches it, and nothing of Lava's holds it back",
    "MultiSparse": "its connection joins two neurons several times, beyond what one weight holds",
    "MultiDelaySparse": "its connection joins two neurons several times, beyond what one weight holds",
}
