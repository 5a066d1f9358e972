"""Norse: LIFBoxCell, LIFCell, IAFCell, LIBoxCell in a SequentialState."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..ir.network import Network
from .beside import Calls, Module, refuse_other
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

_WHERE = "from_norse"
_RESETS = {"reset_value": "zero", "reset_subtract": "subtract"}
_PARAMETERS = ("tau_mem_inv", "tau_syn_inv", "v_th", "v_leak", "v_reset")


def from_norse(module: nn.Module, sample: Tensor) -> Network:
    """Read a Norse network, and run it beside what was read.

    Args:
        module: with ``LIFBoxCell``, ``LIFCell``, ``IAFCell`` or ``LIBoxCell`` neurons. It is
            not changed.
        sample: what one time step takes, *without* an axis of samples.

    Raises:
        BackendMissing: norse is not installed.
        InputError: a layer or an option that has no exact form, or a module that is not what its
            layers are in a row.
    """
    norse = framework("norse.torch")
    bases = framework("norse.torch.module.snn")
    kinds = (norse.LIFBoxCell, norse.LIFCell, norse.IAFCell, norse.LIBoxCell)
    net = prepared(module, _WHERE)
    known_only(net, (bases.SNNCell, bases.SNNRecurrentCell, bases.SNN), kinds, _WHERE)
    cells = layers_of(net, kinds)
    spiking = {n: _answers(n, c) for n, c in cells.items() if not isinstance(c, norse.LIBoxCell)}
    answers, local = agreed(spiking, _WHERE)
    shapes = output_shapes(net, sample, kinds, _WHERE)
    for name, cell in cells.items():
        cell.p = _expanded(cell.p, shapes[name])
    _give_bias(net)
    dt = answers["dt"]
    graph = exported(lambda: norse.to_nir(net, sample, dt=dt), _WHERE)
    for name, cell in cells.items():
        node = graph.nodes.get(name)
        if node is not None and hasattr(node, "v_reset") and hasattr(cell.p, "v_reset"):
            node.v_reset = cell.p.v_reset.detach()  # the exporter leaves it out
    # the exporter multiplies time constants by dt (norse issue 411)
    network = read_live(graph, "norse", {**answers, "dt": dt * dt}, local, _WHERE)

    def calls(inputs: Tensor) -> Calls:
        state: Any = None

        def call(frame: Tensor) -> Any:
            nonlocal state
            output, state = net(frame, state)
            return output

        return (partial(call, frame[0]) for frame in inputs)

    def unpack(outputs: Any) -> Tensor:
        import torch

        return torch.stack(list(outputs)).unsqueeze(1)

    return refuse_other(Module(layers=cells, calls=calls, unpack=unpack), network, sample, _WHERE)


def _answers(name: str, cell: Any) -> dict[str, Any]:
    method = getattr(getattr(cell.p, "reset_method", None), "__name__", "reset_value")
    if method not in _RESETS:
        raise refuse(_WHERE, name, f"its reset method {method} is not known")
    return {"reset": _RESETS[method], "dt": float(getattr(cell, "dt", 1e-3))}


def _expanded(parameters: Any, shape: tuple[int, ...]) -> Any:
    """One value per neuron, which is what the exporter can write."""
    import torch

    full = {
        name: torch.as_tensor(getattr(parameters, name)).detach().expand(shape).clone()
        for name in _PARAMETERS
        if hasattr(parameters, name)
    }
    return parameters._replace(**full)


def _give_bias(net: nn.Module) -> None:
    """A zero bias for convolutions without one, on which the exporter fails."""
    import torch

    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.bias is None:
            layer.bias = torch.nn.Parameter(torch.zeros(layer.out_channels))
