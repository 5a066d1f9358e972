"""snnTorch: Leaky, Synaptic, RLeaky, RSynaptic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ir.network import Network
from .common import (
    agreed,
    exported,
    framework,
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
    """Read a snnTorch network.

    Args:
        module: with ``Leaky``, ``Synaptic``, ``RLeaky`` or ``RSynaptic`` neurons. It is not changed.
        sample: what one time step takes, (samples, *shape).

    Raises:
        BackendMissing: snntorch is not installed.
        InputError: a layer or an option that has no exact form.
    """
    snn = framework("snntorch")
    export = framework("snntorch.export_nir").export_to_nir
    reset = framework("snntorch.utils").reset
    kinds = (snn.Leaky, snn.Synaptic, snn.RLeaky, snn.RSynaptic)
    net = prepared(module, _WHERE)
    layers = layers_of(net, kinds)
    answers = agreed({name: _answers(name, layer) for name, layer in layers.items()}, _WHERE)
    reset(net)
    shapes = output_shapes(net, sample, kinds, _WHERE)
    for name, layer in layers.items():
        if type(layer) in (snn.Leaky, snn.Synaptic):
            _expand(layer, shapes[name][1:])
    reset(net)
    graph = exported(lambda: export(net, sample, ignore_dims=[0]), _WHERE)
    return read_live(graph, "snntorch", answers)


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
