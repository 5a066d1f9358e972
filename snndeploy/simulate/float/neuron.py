"""One neuron population's state, and its update: a compiled loop, or torch where there is no numba."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...ir.arrays import Array, Shape, size
from ...ir.neurons import Neuron
from ...ir.step import FloatParameters, FloatState, step_float
from ..jit import has_numba
from ..threads import share_out
from .kernel import RESETS, TIMINGS, holds, run_neurons

if TYPE_CHECKING:
    from torch import Tensor


CARRIED = tuple(f.name for f in fields(FloatState) if f.name != "charged")
"""What a step leaves to the next: u, v, what was fired, and whatever `FloatState` holds besides."""
_WORTH_THREADS = 1 << 18
"""Neuron updates from which starting threads pays."""


def in_tiles(tile: Callable[[int, int], None], samples: int, updates: int) -> None:
    """Call ``tile(low, high)`` for all samples, in as many threads as torch has where that pays."""
    import torch

    threads = min(torch.get_num_threads(), samples) if updates > _WORTH_THREADS else 1
    edges = [samples * i // threads for i in range(threads + 1)]
    share_out(lambda span: tile(*span), list(pairwise(edges)), threads)


class Surrogate(Protocol):
    """What training puts in the place of a spike's derivative."""

    @property
    def through_reset(self) -> bool:
        """Whether gradients also pass from a reset to the spike that caused it."""

    def __call__(self, v: Tensor, threshold: Tensor, spikes: Tensor, most: float) -> Tensor:
        """``spikes`` (at most ``most`` each) as a function of ``v`` and ``threshold``."""


class NeuronState:
    """State of a population for a batch of samples.

    `run` is the update of `Neuron`, step after step, and `step` one of them (`step_float`) in torch
    alone, through which gradients flow. Training hands in its own ``parameters`` (tensors, by the names
    of `Neuron.parameters`) and a ``surrogate``; no value of the forward pass depends on either.

    Attributes:
        u: synaptic state ``(samples, *shape)``.
        v: membrane potential after the reset, likewise.
        charged: membrane potential before spike and reset, of `step`.
        constants: the compiled loop's: a value of each parameter per neuron, and the rules.
    """

    def __init__(
        self,
        neuron: Neuron,
        shape: Shape,
        samples: int,
        dtype: Any,
        *,
        kernel: bool | None = None,
        parameters: Mapping[str, Tensor] | None = None,
        surrogate: Surrogate | None = None,
    ) -> None:
        """``kernel`` picks the loop (True) or torch (False); by default, the loop where it compiles.

        A neuron that the loop was not written for takes torch in any case.
        """
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
        for name in CARRIED:
            if not hasattr(self, name):
                setattr(self, name, torch.zeros_like(self.v))
        self._has_bias = bool(neuron.bias.any())
        self._has_drive = bool(neuron.drive.any())
        given: dict[str, Any] = {f.name: self._par.get(f.name) for f in fields(FloatParameters)}
        if not self._has_bias:
            given["bias"] = None
        if not self._has_drive:
            given["drive"] = None
        self._parameters = FloatParameters(**given)
        self._kernel = (has_numba() if kernel is None else kernel) and holds(neuron)
        if self._kernel:
            self.constants = self._flat_constants(shape)

    @property
    def carried(self) -> tuple[Tensor, ...]:
        """The state between two steps, in the order of `CARRIED`."""
        return tuple(getattr(self, name) for name in CARRIED)

    def resume(self, carried: Sequence[Tensor]) -> None:
        """Go on from what another state `carried`."""
        for name, value in zip(CARRIED, carried, strict=True):
            setattr(self, name, value)

    def run(
        self,
        x: Tensor,
        out: Tensor,
        *,
        charged: Tensor | None = None,
        decided: Tensor | None = None,
    ) -> None:
        """Advance by the steps of ``x`` (steps, samples, *shape), writing what is emitted to ``out``.

        The compiled loop also fills ``charged`` and ``decided``, where given: the membrane before any
        reset, and as it was compared with the threshold.
        """
        if not self._kernel:
            for step in range(x.shape[0]):
                out[step] = self.step(x[step])
            return
        samples, neurons = x.shape[1], self.v[0].numel()
        nothing = x.new_empty((0, samples, *x.shape[2:]))
        kept = (nothing if t is None else t for t in (charged, decided))
        x = x[:1] if x.stride(0) == 0 else x.contiguous()
        flows = [t.numpy().reshape(len(t), samples, neurons) for t in (x, out, *kept)]
        states = [t.numpy().reshape(samples, neurons) for t in (self.u, self.v, self.fired)]
        drive, emitted, before, compared = flows
        u, v, fired = states

        def tile(low: int, high: int) -> None:
            run_neurons(low, high, drive, emitted, before, compared, u, v, fired, *self.constants)

        in_tiles(tile, samples, out.numel())

    def _flat_constants(self, shape: Shape) -> tuple[Any, ...]:
        """What the loop takes besides flows and states."""
        n = self.neuron
        dtype = self.u.numpy().dtype

        def per_neuron(name: str) -> Array:
            value = self._par[name].numpy() if name in self._par else np.zeros((), dtype)
            # always a copy: read-only arrays are another type, to be compiled for as well
            copied = np.empty(shape, dtype)
            copied[...] = value
            return copied.reshape(size(shape))

        return (
            per_neuron("leak"),
            per_neuron("syn_leak"),
            per_neuron("threshold"),
            per_neuron("v_floor"),
            per_neuron("bias"),
            per_neuron("drive"),
            (self._has_bias, n.syn_leak is not None, self._has_drive, n.v_floor is not None),
            n.threshold is not None,
            n.compare == ">=",
            n.spikes_per_step == "many",
            dtype.type(np.inf if n.max_spikes is None else n.max_spikes),
            RESETS["subtract" if n.reset_timing == "snntorch-immediate" else n.reset],
            TIMINGS[n.reset_timing],
            dtype.type(0),
            dtype.type(1),
        )

    def step(self, x: Tensor) -> Tensor:
        """Advance by one step with input ``x`` (samples, *shape); return what is emitted."""
        import torch

        emitted: Tensor = step_float(
            self.neuron.rule,
            self._parameters,
            self,
            x,
            torch,
            emit=self._surrogate,
            held=self._held,
        )
        return emitted

    def _held(self, fired: Tensor) -> Tensor:
        """``fired`` as the reset sees it."""
        through = self._surrogate is not None and self._surrogate.through_reset
        return fired if through else fired.detach()
