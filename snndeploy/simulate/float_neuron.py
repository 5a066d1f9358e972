"""One neuron population's state in torch, and its update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..ir.arrays import Shape
from ..ir.neurons import Neuron

if TYPE_CHECKING:
    from torch import Tensor


class Surrogate(Protocol):
    """What training puts in the place of a spike's derivative."""

    @property
    def through_reset(self) -> bool:
        """Whether gradients also pass from a reset to the spike that caused it."""

    def __call__(self, v: Tensor, threshold: Tensor, spikes: Tensor, most: float) -> Tensor:
        """``spikes`` (at most ``most`` each) as a function of ``v`` and ``threshold``."""


class NeuronState:
    """State of a population for a batch of samples; `step` is the update of `Neuron`.

    ``u`` and ``v`` are what the docstring of `Neuron` says, ``charged`` is v before spike and reset.

    Training hands in its own ``parameters`` (tensors, by the names of `Neuron.parameters`) and a
    ``surrogate``; no value of the forward pass depends on either being there.
    """

    def __init__(
        self,
        neuron: Neuron,
        shape: Shape,
        samples: int,
        dtype: Any,
        *,
        parameters: Mapping[str, Tensor] | None = None,
        surrogate: Surrogate | None = None,
    ) -> None:
        import torch

        full = (samples, *shape)
        self.neuron = neuron
        self._par = parameters or {
            name: torch.tensor(value, dtype=dtype) for name, value in neuron.parameters().items()
        }
        self._surrogate = surrogate
        self.v = self._par["v_init"].expand(full).clone()
        self.u = torch.zeros_like(self.v)
        self.fired = torch.zeros_like(self.v)
        self.charged = self.v
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
        self.charged = v
        if neuron.threshold is None:
            self.v = self._floored(v)
            return self.v
        if neuron.reset_timing == "immediate":
            fired = self._spikes(v)
            v = self._reset(v, fired)
        elif neuron.reset_timing == "next-step":
            v = self._reset(v, self.fired)
            fired = self.fired = self._spikes(v)
        else:
            late = (before > par["threshold"]).to(v.dtype)
            v = v - late * par["threshold"]
            fired = self._spikes(v)
            v = v - (self._held(fired) - late) * par["threshold"]
        self.v = self._floored(v)
        return fired

    def _spikes(self, v: Tensor) -> Tensor:
        import torch

        threshold = self._par["threshold"]
        above = (v > threshold if self.neuron.compare == ">" else v >= threshold).to(v.dtype)
        if self.neuron.spikes_per_step == "one":
            spikes, most = above, 1.0
        else:
            most = float(self.neuron.max_spikes or "inf")
            spikes = (above * torch.floor(v / threshold)).clamp(max=most)
        return spikes if self._surrogate is None else self._surrogate(v, threshold, spikes, most)

    def _reset(self, v: Tensor, fired: Tensor) -> Tensor:
        if self.neuron.reset == "none":
            return v
        held = self._held(fired)
        if self.neuron.reset == "subtract":
            return v - held * self._par["threshold"]
        return v * (1 - (held if self.neuron.spikes_per_step == "one" else held.clamp(max=1)))

    def _held(self, fired: Tensor) -> Tensor:
        """``fired`` as the reset sees it."""
        through = self._surrogate is not None and self._surrogate.through_reset
        return fired if through else fired.detach()

    def _floored(self, v: Tensor) -> Tensor:
        return v if self.neuron.v_floor is None else v.maximum(self._par["v_floor"])
