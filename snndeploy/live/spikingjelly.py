"""SpikingJelly: IFNode, LIFNode, ParametricLIFNode, CUBALIFNode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ir.network import Network
from .common import agreed, exported, framework, layers_of, prepared, read_live

if TYPE_CHECKING:
    from torch import Tensor, nn

_WHERE = "from_spikingjelly"
_DT = 1e-4


def from_spikingjelly(module: nn.Module, sample: Tensor) -> Network:
    """Read a SpikingJelly network.

    Args:
        module: with neurons of ``spikingjelly.activation_based``, with hard or soft reset. It is not
            changed.
        sample: what one call of the module takes: (samples, *shape) in step mode ``s``,
            (steps, samples, *shape) in step mode ``m``.

    Raises:
        BackendMissing: spikingjelly is not installed.
        InputError: a layer or an option that has no exact form.
    """
    neuron = framework("spikingjelly.activation_based.neuron")
    functional = framework("spikingjelly.activation_based.functional")
    export = framework("spikingjelly.activation_based.nir_exchange.to_nir").export_to_nir
    kinds = (neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode, neuron.CUBALIFNode)
    net = prepared(module, _WHERE)
    functional.reset_net(net)
    nodes = layers_of(net, kinds)
    answers = agreed({name: _answers(node) for name, node in nodes.items()}, _WHERE)
    for node in nodes.values():
        if node.v_reset is None:  # a soft reset, which the exporter refuses: v starts at zero
            node.v_reset = 0.0
    functional.reset_net(net)
    graph = exported(lambda: export(net, sample, dt=_DT), _WHERE)
    return read_live(graph, "spikingjelly", {**answers, "dt": _DT})


def _answers(node: Any) -> dict[str, Any]:
    soft = node.v_reset is None
    return {"reset": "subtract" if soft else "zero", "v_init": "zero" if soft else "v_reset"}
