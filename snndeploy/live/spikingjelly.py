"""SpikingJelly: IFNode, LIFNode, ParametricLIFNode, CUBALIFNode and their simple and silent kin."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from ..ir.network import Network
from .layers import Framework, LayerModel, TimeForm, Told, Update, loops, neuron, refuse, sequences
from .read import Sample, library, read_module

if TYPE_CHECKING:
    from torch import Tensor, nn

_WHERE = "from_spikingjelly"


def from_spikingjelly(module: nn.Module, sample: Sample) -> Network:
    """Read what a SpikingJelly network does, and run it beside what was read.

    Args:
        module: with ``IFNode``, ``LIFNode``, ``ParametricLIFNode`` or ``CUBALIFNode`` neurons of
            ``spikingjelly.activation_based``, with hard or soft reset. It is not changed.
        sample: what one call takes: (samples, *shape) in step mode ``s``, (steps, samples, *shape) in
            step mode ``m``, or what a ``forward`` takes that goes through time itself. Several inputs
            are a tuple, or a dict by their names in ``forward``.

    Raises:
        BackendMissing: spikingjelly is not installed.
        InputError: what has no exact form: the tensor, the line of code, and what to write instead.
    """
    neurons = library("spikingjelly.activation_based.neuron")
    functional = library("spikingjelly.activation_based.functional")
    return read_module(_SpikingJelly(neurons, functional), module, sample)


class _SpikingJelly(Framework):
    where = _WHERE

    def __init__(self, neurons: Any, functional: Any) -> None:
        self.n, self.functional = neurons, functional

    @property
    def known(self) -> tuple[type, ...]:
        n = self.n
        return (
            n.IFNode,
            n.LIFNode,
            n.ParametricLIFNode,
            n.CUBALIFNode,
            n.SimpleIFNode,
            n.SimpleLIFNode,
        )

    @property
    def neurons(self) -> tuple[type, ...]:
        return (self.n.BaseNode, self.n.SimpleBaseNode)

    def forms(self, module: nn.Module, sample: Tensor, steps: int) -> Sequence[TimeForm]:
        if any(
            _steps_at_once(layer) for layer in module.modules() if isinstance(layer, self.known)
        ):
            return sequences(sample, steps, TimeForm(kind="sequence", time=0, batch=1))
        return loops(sample, steps, TimeForm(kind="steps"))

    def isolated(self, module: nn.Module) -> AbstractContextManager[object]:
        del module
        return nullcontext()

    def start(self, module: nn.Module) -> None:
        self.functional.reset_net(module)

    def told(self, layer: Any, returned: Any) -> Told:
        kept = _steps_at_once(layer) and getattr(layer, "store_v_seq", False)
        membrane = layer.v_seq if kept else layer.v
        return Told(emitted=returned, membrane=membrane if hasattr(membrane, "numel") else None)

    def leading(self, layer: Any, form: TimeForm) -> int:
        del form
        return 2 if _steps_at_once(layer) else 1

    def steps_axis(self, layer: Any) -> int | None:
        return 0 if _steps_at_once(layer) else None

    def model(self, name: str, layer: Any, shape: tuple[int, ...]) -> LayerModel:
        if getattr(layer, "_neuron_precision", None) is not None:
            raise refuse(
                _WHERE,
                name,
                "its states have another precision than its input",
                "let neurons compute in float32, as the layers around them",
            )
        hard = layer.v_reset is not None
        silent = float(layer.v_threshold) == float("inf")  # a readout: it never resets
        if type(layer) not in self.known:
            kinds = ", ".join(k.__name__ for k in self.known)
            raise refuse(
                _WHERE, name, f"{type(layer).__name__} updates in its own way", f"use {kinds}"
            )
        back = layer.v_reset if hard else 0.0
        leak, gain, rest, syn_leak = self._filter(layer, back)
        update = Update(
            leak=leak,
            gain=gain,
            syn_leak=syn_leak,
            threshold=layer.v_threshold,
            v_rest=rest,
            v_back=back,
            v_init=back,
            options={
                "compare": ">=",
                "reset": "none" if silent else "zero" if hard else "subtract",
            },
        )
        return LayerModel(neuron=neuron(shape, update))

    def _filter(self, layer: Any, back: float) -> tuple[Any, Any, Any, Any]:
        """Leak, factor on the input, what v leaks to, leak of the synapse."""
        if isinstance(layer, (self.n.IFNode, self.n.SimpleIFNode)):
            return 1.0, 1.0, 0.0, None
        if isinstance(layer, self.n.CUBALIFNode):
            return layer.v_decay, 1.0, 0.0, layer.c_decay
        if isinstance(layer, self.n.ParametricLIFNode):
            rate = layer.w.detach().double().sigmoid()
        else:
            rate = 1.0 / layer.tau
        return 1.0 - rate, rate if layer.decay_input else 1.0, back, None


def _steps_at_once(layer: Any) -> bool:
    return getattr(layer, "step_mode", "s") == "m"
