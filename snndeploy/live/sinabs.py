"""Sinabs: IAF, LIF, ExpLeak, their squeezing and recurrent forms."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from ..ir.network import Network
from .layers import Framework, LayerModel, TimeForm, Told, Update, neuron, refuse, sequences
from .read import Sample, library, read_module

if TYPE_CHECKING:
    from torch import Tensor, nn

_WHERE = "from_sinabs"


def from_sinabs(module: nn.Module, sample: Sample) -> Network:
    """Read what a Sinabs network does, and run it beside what was read.

    Args:
        module: with ``IAF``, ``LIF`` or ``ExpLeak`` neurons, also in their ``Squeeze`` and
            ``Recurrent`` forms. It is not changed.
        sample: what one call of the module takes: (samples, steps, *shape), or with squeezing layers
            (samples * steps, *shape). Several inputs are a tuple, or a dict by their names in
            ``forward``.

    Raises:
        BackendMissing: sinabs is not installed.
        InputError: what has no exact form: the tensor, the line of code, and what to write instead.
    """
    layers = library("sinabs.layers")
    return read_module(_Sinabs(layers), module, sample)


class _Sinabs(Framework):
    where = _WHERE

    def __init__(self, layers: Any) -> None:
        self.s = layers

    @property
    def known(self) -> tuple[type, ...]:
        s = self.s
        plain = (s.IAF, s.IAFSqueeze, s.LIF, s.LIFSqueeze, s.ExpLeak, s.ExpLeakSqueeze)
        return (*plain, s.IAFRecurrent, s.LIFRecurrent)

    @property
    def neurons(self) -> tuple[type, ...]:
        return (self.s.StatefulLayer,)

    def _squeezes(self, layer: Any) -> bool:
        return isinstance(layer, self.s.SqueezeMixin)

    def forms(self, module: nn.Module, sample: Tensor, steps: int) -> Sequence[TimeForm]:
        first = next(m for m in module.modules() if isinstance(m, self.known))
        flat = TimeForm(kind="sequence", time=0, batch=None)
        apart = TimeForm(kind="sequence", time=1, batch=0)
        likeliest, other = (flat, apart) if self._squeezes(first) else (apart, flat)
        return [*sequences(sample, steps, likeliest), other]

    def isolated(self, module: nn.Module) -> AbstractContextManager[object]:
        layers: list[Any] = list(module.modules())
        for layer in layers:
            if self._squeezes(layer):
                layer.batch_size, layer.num_timesteps = 1, -1
        return nullcontext()

    def start(self, module: nn.Module) -> None:
        import torch

        for layer in module.modules():
            if isinstance(layer, self.known):
                for name, state in layer.named_buffers(recurse=False):
                    layer.register_buffer(name, torch.zeros(0, device=state.device))

    def told(self, layer: Any, returned: Any) -> Told:
        return Told(emitted=returned, membrane=layer.v_mem)

    def leading(self, layer: Any, form: TimeForm) -> int:
        del form
        return 1 if self._squeezes(layer) else 2

    def steps_axis(self, layer: Any) -> int | None:
        return 0 if self._squeezes(layer) else 1

    def model(self, name: str, layer: Any, shape: tuple[int, ...]) -> LayerModel:
        leak = layer.alpha_mem_calculated
        syn_leak = layer.alpha_syn_calculated
        gain = 1.0 - leak.double() if layer.norm_input else 1.0
        if syn_leak is not None:
            gain = gain * syn_leak.double()  # i = alpha (i + x): the input decays once at once
        update = Update(
            leak=leak,
            syn_leak=syn_leak,
            gain=gain,
            threshold=layer.spike_threshold,
            v_floor=layer.min_v_mem,
            options=_options(name, layer) if layer.spike_fn is not None else {},
        )
        if layer.spike_fn is None and layer.min_v_mem is not None:
            raise refuse(
                _WHERE,
                name,
                "a floor of v that acts behind what is emitted",
                "use min_v_mem=None in a layer that does not spike",
            )
        connect = getattr(layer, "rec_connect", None)
        back = None if connect is None else _behind_time(connect)
        return LayerModel(neuron=neuron(shape, update), back=back, back_starts=False)


def _behind_time(connect: Any) -> Any:
    def back(emitted: Tensor) -> Tensor:
        result: Tensor = connect(emitted[:, 0])
        return result

    return back


def _options(name: str, layer: Any) -> dict[str, object]:
    spike, reset = (_name(getattr(layer, f)) for f in ("spike_fn", "reset_fn"))
    if spike not in ("MultiSpike", "SingleSpike", "MaxSpike"):
        raise refuse(
            _WHERE,
            name,
            f"its spike function {spike} is not known",
            "use MultiSpike, MaxSpike or SingleSpike",
        )
    if reset not in ("MembraneSubtract", "MembraneReset"):
        raise refuse(
            _WHERE,
            name,
            f"its reset function {reset} is not known",
            "use MembraneSubtract or MembraneReset",
        )
    if getattr(layer.reset_fn, "subtract_value", None) is not None:
        raise refuse(
            _WHERE,
            name,
            "its reset subtracts another value than the threshold",
            "use MembraneSubtract() without a value",
        )
    if (value := getattr(layer.reset_fn, "reset_value", 0.0)) != 0:
        raise refuse(
            _WHERE,
            name,
            f"its reset adds {value:g} in every step, spike or not",
            "use MembraneReset() and train with it",
        )
    return {
        "compare": ">=",
        "spikes_per_step": "one" if spike == "SingleSpike" else "many",
        "max_spikes": int(layer.spike_fn.max_num_spikes_per_bin) if spike == "MaxSpike" else None,
        "reset": "subtract" if reset == "MembraneSubtract" else "zero",
    }


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)
