"""Sinabs: IAF, IAFSqueeze, LIF, LIFSqueeze."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ir.network import Network
from .beside import STEPS, Calls, Module, refuse_other
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

_WHERE = "from_sinabs"


def from_sinabs(module: nn.Module, sample: Tensor) -> Network:
    """Read a Sinabs network, and run it beside what was read.

    Args:
        module: with ``IAF``, ``IAFSqueeze``, ``LIF`` or ``LIFSqueeze`` neurons. It is not changed.
        sample: what one call of the module takes: (samples, steps, *shape), or with squeezing layers
            (samples * steps, *shape).

    Raises:
        BackendMissing: sinabs is not installed.
        InputError: a layer or an option that has no exact form, or a module that is not what its
            layers are in a row.
    """
    sinabs = framework("sinabs")
    sl, to_nir = framework("sinabs.layers"), framework("sinabs.nir").to_nir
    kinds = (sl.IAF, sl.IAFSqueeze, sl.LIF, sl.LIFSqueeze)
    net = prepared(module, _WHERE)
    layers = layers_of(net, kinds)
    leaky = {name for name, layer in layers.items() if type(layer) in (sl.LIF, sl.LIFSqueeze)}
    answers, local = agreed(
        {name: _answers(name, layer, name in leaky) for name, layer in layers.items()}, _WHERE
    )
    sinabs.reset_states(net)
    shapes = output_shapes(net, sample, kinds, _WHERE)
    for name in leaky:
        lead = 1 if "Squeeze" in type(layers[name]).__name__ else 2
        _expand(layers[name], shapes[name][lead:])
    sinabs.reset_states(net)
    graph = exported(lambda: to_nir(net, sample), _WHERE)
    network = read_live(graph, "sinabs", answers, local, _WHERE)
    squeezed = [layer for layer in layers.values() if "Squeeze" in type(layer).__name__]
    samples = max([1, *(int(getattr(layer, "batch_size", None) or 1) for layer in squeezed)])
    steps = max([0, *(int(getattr(layer, "num_timesteps", None) or 0) for layer in squeezed)])

    def calls(inputs: Tensor) -> Calls:
        sinabs.reset_states(net)
        by_sample = inputs.transpose(0, 1)
        flat = by_sample.flatten(0, 1) if squeezed else by_sample
        return iter([lambda: net(flat)])

    def unpack(outputs: Any) -> Tensor:
        out: Tensor = outputs[0]
        return (out.reshape(samples, -1, *out.shape[1:]) if squeezed else out).transpose(0, 1)

    live = Module(
        layers=layers,
        calls=calls,
        unpack=unpack,
        steps=max(steps, 1) if steps else STEPS,
        samples=samples,
    )
    return refuse_other(live, network, sample, _WHERE)


def _answers(name: str, layer: Any, leaky: bool) -> dict[str, Any]:
    spike, reset = (_name(getattr(layer, f)) for f in ("spike_fn", "reset_fn"))
    if spike not in ("MultiSpike", "SingleSpike", "MaxSpike"):
        raise refuse(_WHERE, name, f"its spike function {spike} is not known")
    if reset not in ("MembraneSubtract", "MembraneReset"):
        raise refuse(_WHERE, name, f"its reset function {reset} is not known")
    if getattr(layer.reset_fn, "subtract_value", None) is not None:
        raise refuse(_WHERE, name, "its reset subtracts another value than the threshold")
    if getattr(layer, "tau_syn", None) is not None:
        raise refuse(_WHERE, name, "Sinabs' exporter drops its synaptic time constant tau_syn")
    if getattr(layer, "rec_connect", None) is not None:
        raise refuse(_WHERE, name, "Sinabs' exporter drops its recurrent connections")
    found: dict[str, Any] = {
        "spikes_per_step": "one" if spike == "SingleSpike" else "many",
        "max_spikes": int(layer.spike_fn.max_num_spikes_per_bin) if spike == "MaxSpike" else None,
        "reset": "subtract" if reset == "MembraneSubtract" else "zero",
    }
    floor = layer.min_v_mem
    # an IAF has no leak, so its gain is one either way
    gain = "ode" if not leaky or layer.norm_input else "unit"
    return {**found, "input_gain": gain, "v_floor": None if floor is None else float(floor)}


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _expand(layer: Any, shape: tuple[int, ...]) -> None:
    """One time constant and threshold per neuron, which is what the exporter can write."""
    import torch

    for name in ("tau_mem", "spike_threshold"):
        value = torch.as_tensor(getattr(layer, name)).detach().expand(shape).clone()
        delattr(layer, name)
        # a buffer would be taken for a state
        setattr(layer, name, torch.nn.Parameter(value, requires_grad=False))
