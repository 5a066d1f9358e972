"""One neuron population's state in torch, and its update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ir.arrays import Shape
from ..ir.neurons import Neuron

if TYPE_CHECKING:
    from torch import Tensor


class NeuronState:
    """State of a population for a batch of samples; `step` is the update of `Neuron`."""

    def __init__(self, neuron: Neuron, shape: Shape, samples: int, dtype: Any) -> None:
        import torch

        full = (samples, *shape)
        self.neuron = neuron
        self._par = {
            name: torch.tensor(value, dtype=dtype) for name, value in neuron.parameters().items()
        }
        self.u = torch.zeros(full, dtype=dtype)
        self.v = self._par["v_init"].expand(full).clone()
        self._fired = torch.zeros(full, dtype=dtype)
        self._has_bias = bool(neuron.bias.any())
        self._has_drive = bool(neuron.drive.any())

    def step(self, x: Tensor) -> Tensor:
        """Advance by one step with input ``x`` (samples, *shape); return what is emitted."""
        neuron, par = self.neuron, self._par
        before = self.v
        if self._has_bias:
            x = x + par["bias"]
        self.u = x if neuron.syn_leak is None else par["syn_leak"] * self.u + x
        v = par["leak"] * before + self.u
        if self._has_drive:
            v = v + par["drive"]
        if neuron.threshold is None:
            self.v = self._floored(v)
            return self.v
        if neuron.reset_timing == "immediate":
            fired = self._spikes(v)
            v = self._reset(v, fired)
        elif neuron.reset_timing == "next-step":
            v = self._reset(v, self._fired)
            fired = self._fired = self._spikes(v)
        else:
            late = (before > par["threshold"]).to(v.dtype)
            v = v - late * par["threshold"]
            fired = self._spikes(v)
            v = v - (fired - late) * par["threshold"]
        self.v = self._floored(v)
        return fired

    def _spikes(self, v: Tensor) -> Tensor:
        import torch

        threshold = self._par["threshold"]
        above = (v > threshold if self.neuron.compare == ">" else v >= threshold).to(v.dtype)
        if self.neuron.spikes_per_step == "one":
            return above
        many = above * torch.floor(v / threshold)
        return many if self.neuron.max_spikes is None else many.clamp(max=self.neuron.max_spikes)

    def _reset(self, v: Tensor, fired: Tensor) -> Tensor:
        if self.neuron.reset == "zero":
            return v.masked_fill(fired > 0, 0.0)
        if self.neuron.reset == "subtract":
            return v - fired * self._par["threshold"]
        return v

    def _floored(self, v: Tensor) -> Tensor:
        return v if self.neuron.v_floor is None else v.maximum(self._par["v_floor"])
