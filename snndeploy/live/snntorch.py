"""snnTorch: Leaky, Synaptic, RLeaky, RSynaptic."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..ir.network import Network
from .beside import STEPS, Calls, Module, refuse_other
from .common import (
    agreed,
    exported,
    framework,
    known_only,
    layers_of,
    output_shapes,
    prepared,
    read_live,
    refuse,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

_WHERE = "from_snntorch"


def from_snntorch(module: nn.Module, sample: Tensor) -> Network:
    """Read a snnTorch network, and run it beside what was read.

    Args:
        module: with ``Leaky``, ``Synaptic``, ``RLeaky`` or ``RSynaptic`` neurons. It is not changed.
        sample: what one time step takes, (samples, *shape).

    Raises:
        BackendMissing: snntorch is not installed.
        InputError: a layer or an option that has no exact form, or a module that is not what its
            layers are in a row (residual additions, layers used twice).
    """
    snn = framework("snntorch")
    export = framework("snntorch.export_nir").export_to_nir
    kinds = (snn.Leaky, snn.Synaptic, snn.RLeaky, snn.RSynaptic)
    net = prepared(module, _WHERE)
    known_only(net, (snn.SpikingNeuron,), kinds, _WHERE)
    layers = layers_of(net, kinds)
    answers, local = agreed({name: _answers(name, x) for name, x in layers.items()}, _WHERE)
    _reset(layers)
    shapes = output_shapes(net, sample, kinds, _WHERE)
    for name, layer in layers.items():
        if type(layer) in (snn.Leaky, snn.Synaptic):
            _expand(layer, shapes[name][1:])
        elif not layer.all_to_all:
            _expand_recurrent(layer, shapes[name][1:])
    _reset(layers)
    graph = exported(lambda: export(net, sample, ignore_dims=[0]), _WHERE)
    network = read_live(graph, "snntorch", answers, local, _WHERE)

    def calls(inputs: Tensor) -> Calls:
        _reset(layers)
        return (partial(net, frame) for frame in inputs)

    def unpack(outputs: Any) -> Tensor:
        import torch

        return torch.stack(list(outputs))

    # without hidden states, a module may begin anew with every call
    hidden = all(layer.init_hidden for layer in layers.values())
    live = Module(
        layers=layers,
        calls=calls,
        unpack=unpack,
        steps=STEPS if hidden else 1,
        samples=1 if hidden else STEPS,
    )
    return refuse_other(live, network, sample, _WHERE)


def _reset(layers: Mapping[str, Any]) -> None:
    """The initial state; snntorch.utils.reset knows nothing of copied layers."""
    for layer in layers.values():
        layer.reset_mem()


def _answers(name: str, layer: Any) -> dict[str, Any]:
    if getattr(layer, "inhibition", False):
        raise refuse(_WHERE, name, "inhibition lets one neuron of the layer fire at a time")
    if getattr(layer, "state_quant", False):
        raise refuse(_WHERE, name, "state_quant rounds its states while it runs")
    if float(getattr(layer, "graded_spikes_factor", 1.0)) != 1.0:
        raise refuse(
            _WHERE, name, "graded_spikes_factor scales its spikes; fold it into the weights"
        )
    reset = layer.reset_mechanism
    timing = "snntorch-delayed" if getattr(layer, "reset_delay", True) else "snntorch-immediate"
    return {"reset": reset, "reset_timing": "immediate" if reset == "none" else timing}


def _expand(layer: Any, shape: tuple[int, ...]) -> None:
    """One value per neuron, which is what the exporter can write."""
    import torch

    for name in ("alpha", "beta", "threshold"):
        if hasattr(layer, name):
            value = torch.as_tensor(getattr(layer, name)).detach()
            value = value.clamp(0, 1) if name != "threshold" else value
            delattr(layer, name)
            layer.register_buffer(name, value.expand(shape).clone())


def _expand_recurrent(layer: Any, shape: tuple[int, ...]) -> None:
    """One recurrent weight per neuron, where one serves all."""
    import torch

    value = torch.as_tensor(layer.recurrent.V).detach().expand(shape).clone()
    del layer.recurrent.V
    layer.recurrent.register_buffer("V", value)
