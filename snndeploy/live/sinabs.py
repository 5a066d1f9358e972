"""Sinabs: IAF, IAFSqueeze, LIF, LIFSqueeze."""

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

_WHERE = "from_sinabs"


def from_sinabs(module: nn.Module, sample: Tensor) -> Network:
    """Read a Sinabs network.

    Args:
        module: with ``IAF``, ``IAFSqueeze``, ``LIF`` or ``LIFSqueeze`` neurons. It is not changed.
        sample: what one call of the module takes: (samples, steps, *shape), or with squeezing layers
            (samples * steps, *shape).

    Raises:
        BackendMissing: sinabs is not installed.
        InputError: a layer or an option that has no exact form.
    """
    sinabs = framework("sinabs")
    sl, to_nir = framework("sinabs.layers"), framework("sinabs.nir").to_nir
    kinds = (sl.IAF, sl.IAFSqueeze, sl.LIF, sl.LIFSqueeze)
    net = prepared(module, _WHERE)
    layers = layers_of(net, kinds)
    leaky = {name for name, layer in layers.items() if type(layer) in (sl.LIF, sl.LIFSqueeze)}
    floors = _floors(layers, leaky)
    answers = agreed(
        {
            name: {**_answers(name, layer, name in leaky), "v_floor": floors[name]}
            for name, layer in layers.items()
        },
        _WHERE,
    )
    sinabs.reset_states(net)
    shapes = output_shapes(net, sample, kinds, _WHERE)
    for name in leaky:
        lead = 1 if "Squeeze" in type(layers[name]).__name__ else 2
        _expand(layers[name], shapes[name][lead:])
    sinabs.reset_states(net)
    return read_live(exported(lambda: to_nir(net, sample), _WHERE), "sinabs", answers)


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
    normalised = leaky and bool(layer.norm_input)
    # an IAF has no leak, so its gain is one either way
    return {**found, "input_gain": "ode" if normalised or not leaky else "unit"}


def _floors(layers: dict[str, Any], leaky: set[str]) -> dict[str, Any]:
    """Lower limits of v: ``minus-threshold`` where that is what every IAF has, else the value."""

    def value(layer: Any) -> float | None:
        return None if layer.min_v_mem is None else float(layer.min_v_mem)

    minus = all(value(x) == -float(x.spike_threshold.reshape(-1)[0]) for x in layers.values())
    if minus and not leaky and layers:
        return dict.fromkeys(layers, "minus-threshold")
    return {name: value(layer) for name, layer in layers.items()}


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
