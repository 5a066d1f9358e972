"""snnTorch: Leaky, Synaptic, RLeaky, RSynaptic, Lapicque, Alpha."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.network import Network
from .layers import Framework, Heard, LayerModel, TimeForm, Told, Update, loops, neuron, refuse
from .read import Sample, library, read_module

if TYPE_CHECKING:
    from torch import Tensor, nn

_WHERE = "from_snntorch"
_STATES = ("spk", "syn", "syn_exc", "syn_inh", "mem")


def from_snntorch(module: nn.Module, sample: Sample) -> Network:
    """Read what a snnTorch network does, and run it beside what was read.

    Args:
        module: with ``Leaky``, ``Synaptic``, ``RLeaky``, ``RSynaptic``, ``Lapicque`` or ``Alpha``
            neurons, with hidden states or with states that ``forward`` hands on. It is not changed,
            nor is any other network.
        sample: what one call takes: (samples, *shape) where a call is one time step, or what a
            ``forward`` that goes through time itself takes, such as (steps, samples, *shape),
            (samples, steps, *shape), or (samples, *shape) for one frame in all steps. Several inputs
            are a tuple, or a dict by their names in ``forward``.

    Raises:
        BackendMissing: snntorch is not installed.
        InputError: what has no exact form: the tensor, the line of code, and what to write instead.
    """
    return read_module(_SnnTorch(library("snntorch")), module, sample)


class _SnnTorch(Framework):
    where = _WHERE

    def __init__(self, snn: Any) -> None:
        self.snn = snn

    @property
    def known(self) -> tuple[type, ...]:
        s = self.snn
        return (s.Leaky, s.Synaptic, s.RLeaky, s.RSynaptic, s.Lapicque, s.Alpha)

    @property
    def neurons(self) -> tuple[type, ...]:
        return (self.snn.SpikingNeuron,)

    def forms(self, module: nn.Module, sample: Tensor, steps: int) -> Sequence[TimeForm]:
        del module
        return loops(sample, steps, TimeForm(kind="steps"))

    @contextmanager
    def isolated(self, module: nn.Module) -> Iterator[None]:
        """utils.reset() works on the classes' list of all layers: here it finds those of the copy."""
        base = self.snn.SpikingNeuron
        others, base.instances = (
            base.instances,
            [m for m in module.modules() if isinstance(m, base)],
        )
        try:
            yield
        finally:
            base.instances = others

    def start(self, module: nn.Module) -> None:
        import torch

        for layer in module.modules():
            for name in _STATES if isinstance(layer, self.known) else ():
                if hasattr(layer, name):
                    setattr(layer, name, torch.zeros(0))

    def heard(self, layer: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Heard:
        names = [n for n in _STATES if hasattr(layer, n)]
        given = {**dict(zip(["input_", *names], args, strict=False)), **kwargs}
        states = [given[n] for n in names if given.get(n) is not None]
        membrane = given.get("mem")
        if any(s.numel() == 0 for s in states):  # what init_leaky() makes: not shaped yet
            return Heard(given=given["input_"], fresh=True)
        return Heard(given=given["input_"], states=tuple(states), membrane=membrane)

    def told(self, layer: Any, returned: Any) -> Told:
        if not isinstance(returned, tuple):
            return Told(emitted=returned, membrane=layer.mem)
        return Told(emitted=returned[0], membrane=returned[-1], states=returned)

    def leading(self, layer: Any, form: TimeForm) -> int:
        del layer, form
        return 1

    def model(self, name: str, layer: Any, shape: tuple[int, ...]) -> LayerModel:
        kind = type(layer)
        _check(name, layer)
        reset = layer.reset_mechanism
        options = {"compare": ">", "reset": reset, "reset_timing": self._timing(layer)}
        alpha, beta = (
            getattr(layer, n).clamp(0, 1) if hasattr(layer, n) else None for n in ("alpha", "beta")
        )
        update = Update(leak=beta, threshold=layer.threshold, options=options)
        if kind is self.snn.Lapicque:
            leak = 1 - layer.time_step / (layer.R * layer.C)
            gain = layer.R * (1 / (layer.R * layer.C)) * layer.time_step
            update = Update(leak=leak, gain=gain, threshold=layer.threshold, options=options)
        elif kind is self.snn.Alpha:
            return LayerModel(neuron=neuron(shape, _alpha(name, layer, alpha, beta)), late=1)
        elif alpha is not None:
            update = Update(leak=beta, syn_leak=alpha, threshold=layer.threshold, options=options)
        return LayerModel(neuron=neuron(shape, update), back=getattr(layer, "recurrent", None))

    def _timing(self, layer: Any) -> str:
        reset, delayed = layer.reset_mechanism, getattr(layer, "reset_delay", True)
        if reset == "none":
            return "immediate"
        if reset == "zero":
            # Leaky zeroes v before it leaks, which is at once; others lose the step's input, too
            return "immediate" if type(layer) is self.snn.Leaky or not delayed else "next-step"
        return "next-step" if delayed else "snntorch-immediate"


def _check(name: str, layer: Any) -> None:
    if getattr(layer, "inhibition", False):
        raise refuse(
            _WHERE,
            name,
            "inhibition lets one neuron of the layer fire at a time",
            "use inhibition=False; an RLeaky layer with negative weights inhibits a step later",
        )
    if getattr(layer, "state_quant", False):
        raise refuse(
            _WHERE,
            name,
            "state_quant rounds its states while it runs",
            "use state_quant=False: the chip's own rounding is found when the network is compiled",
        )
    if float(getattr(layer, "graded_spikes_factor", 1.0)) != 1.0:
        raise refuse(
            _WHERE,
            name,
            "graded_spikes_factor scales its spikes",
            "use graded_spikes_factor=1 and multiply the weights behind the layer by it",
        )


def _alpha(name: str, layer: Any, alpha: Any, beta: Any) -> Update:
    """Two exponentials, one subtracted from the other: a synapse and a membrane in a row, a step later.

    ``tau (alpha^k - beta^k)`` is ``tau (alpha - beta)`` times what a CUBA neuron of these leaks answers
    to a spike k - 1 steps ago.
    """
    import torch

    if layer.reset_mechanism != "none":
        raise refuse(
            _WHERE,
            name,
            f"reset {layer.reset_mechanism!r} of an Alpha layer sets its synapses, too",
            "use reset_mechanism='none', or a Synaptic layer",
        )
    if np.any(alpha.numpy() == 0) or np.any(beta.numpy() == 0):
        raise refuse(
            _WHERE,
            name,
            "a leak of 0 has no alpha function",
            "use a Synaptic layer (alpha=0 is no synapse), or Leaky",
        )
    tau = torch.log(alpha) / (torch.log(beta) - torch.log(alpha)) + 1
    return Update(
        leak=beta,
        syn_leak=alpha,
        gain=tau.double() * (alpha.double() - beta.double()),
        threshold=layer.threshold,
        options={"compare": ">", "reset": "none", "reset_timing": "immediate"},
    )
