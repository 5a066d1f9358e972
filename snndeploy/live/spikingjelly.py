"""SpikingJelly: IFNode, LIFNode, ParametricLIFNode, CUBALIFNode."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..ir.network import Network
from .beside import Calls, Module, refuse_other
from .common import agreed, exported, framework, known_only, layers_of, prepared, read_live

if TYPE_CHECKING:
    from torch import Tensor, nn

_WHERE = "from_spikingjelly"
_DT = 1e-4


def from_spikingjelly(module: nn.Module, sample: Tensor) -> Network:
    """Read a SpikingJelly network, and run it beside what was read.

    Args:
        module: with neurons of ``spikingjelly.activation_based``, with hard or soft reset. It is not
            changed.
        sample: what one call of the module takes: (samples, *shape) in step mode ``s``,
            (steps, samples, *shape) in step mode ``m``.

    Raises:
        BackendMissing: spikingjelly is not installed.
        InputError: a layer or an option that has no exact form, or a module that is not what its
            layers are in a row.
    """
    neuron = framework("spikingjelly.activation_based.neuron")
    functional = framework("spikingjelly.activation_based.functional")
    export = framework("spikingjelly.activation_based.nir_exchange.to_nir").export_to_nir
    kinds = (neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode, neuron.CUBALIFNode)
    net = prepared(module, _WHERE)
    known_only(net, (neuron.BaseNode,), kinds, _WHERE)
    functional.reset_net(net)
    nodes = layers_of(net, kinds)
    answers, local = agreed({name: _answers(node) for name, node in nodes.items()}, _WHERE)
    own_resets = {name: node.v_reset for name, node in nodes.items()}
    for node in nodes.values():
        if node.v_reset is None:  # a soft reset, which the exporter refuses: v starts at zero
            node.v_reset = 0.0
    functional.reset_net(net)
    graph = exported(lambda: export(net, sample, dt=_DT), _WHERE)
    network = read_live(graph, "spikingjelly", {**answers, "dt": _DT}, local, _WHERE)
    for name, node in nodes.items():
        node.v_reset = own_resets[name]
    in_a_row = any(getattr(m, "step_mode", "s") == "m" for m in net.modules())

    def calls(inputs: Tensor) -> Calls:
        functional.reset_net(net)
        return (partial(net, frames) for frames in ([inputs] if in_a_row else inputs))

    def unpack(outputs: Any) -> Tensor:
        import torch

        return torch.as_tensor(outputs[0]) if in_a_row else torch.stack(list(outputs))

    return refuse_other(Module(layers=nodes, calls=calls, unpack=unpack), network, sample, _WHERE)


def _answers(node: Any) -> dict[str, Any]:
    soft = node.v_reset is None
    return {"reset": "subtract" if soft else "zero", "v_init": "zero" if soft else "v_reset"}
