"""A `Network` as a torch module: the float engine's forward pass, with gradients.

What a step of a neuron is, and what a chain of operators does, is the float engine's own code; this
module adds what training needs: parameters, grids that weights are rounded to, and neurons as a chip
holds them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ....chip import Target
from ....errors import PassRefused
from ....ir.arrays import Array, parameter
from ....ir.network import Network, Projection
from ....ir.neurons import Neuron
from ....ir.program import Program
from ....ir.weights import Weight
from ....lower.registers import held_neuron
from .grid import WeightGrid, WeightRounding
from .surrogate import SpikeGradient
from .unroll import Acting, Unroll, UnrolledRun, Unrolling

Learn = Literal["weights", "biases", "leaks", "thresholds"]

_LEARNT: dict[str, tuple[str, ...]] = {
    "biases": ("bias", "drive"),
    "leaks": ("leak", "syn_leak"),
    "thresholds": ("threshold",),
}
"""Parameters of a neuron by what makes them learn."""
_LEAST_THRESHOLD = 1e-3
"""Thresholds learn within this fraction of what they were, upwards."""


class TrainableNetwork(nn.Module):
    """Parameters of a network, its forward pass, and the way back to a `Network`.

    Args:
        network: float or quantised. A quantised layer trains on the grid of its codes.
        learn: what learns; biases only where there are any (not those of delayed projections).
        layers: the projections whose weights learn (None: all).
        gradient: of a spike.
        unrolling: how gradients go back in time.
        dtype: of parameters and states.
    """

    def __init__(
        self,
        network: Network,
        *,
        learn: Sequence[Learn] = ("weights", "biases"),
        layers: Sequence[str] | None = None,
        gradient: SpikeGradient | None = None,
        unrolling: Unrolling | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.network = network
        self._dtype = dtype
        self._unroll = Unroll(network, gradient or SpikeGradient(), unrolling or Unrolling())
        names = {p.name for p in network.projections} if layers is None else set(layers)
        self._keys = {p.name: f"p{i}" for i, p in enumerate(network.projections)}
        self.weights = nn.ParameterDict()
        self.neurons = nn.ParameterDict()
        self._learnt: dict[str, dict[str, str]] = {}
        self._roundings: dict[str, WeightRounding] = {}
        self._chip: tuple[Program, Target] | None = None
        self._held: dict[str, tuple[Neuron, Mapping[str, Tensor]]] = {}
        for p in network.projections:
            key = self._keys[p.name]
            trains = "weights" in learn and p.name in names
            values = torch.tensor(p.weight.values(), dtype=dtype)
            self.weights[key] = nn.Parameter(values, requires_grad=trains)
            mask = None if p.weight.mask is None else torch.tensor(p.weight.mask)
            self.register_buffer(f"mask_{key}", mask, persistent=False)
        for i, population in enumerate(network.populations):
            self._add_neuron(f"n{i}", population.name, population.neuron, learn)
        self.set_grids({p.name: _grid(p) for p in network.projections if p.weight.quantized})

    def _add_neuron(
        self, key: str, name: str, neuron: Neuron | None, learn: Sequence[Learn]
    ) -> None:
        if neuron is None:
            return
        learnt: dict[str, str] = {}
        for kind, fields in _LEARNT.items():
            for field in fields:
                value = getattr(neuron, field)
                if kind not in learn or value is None:
                    continue
                if kind == "biases" and not value.any():
                    continue
                learnt[field] = f"{key}_{field}"
                self.neurons[learnt[field]] = nn.Parameter(torch.tensor(value, dtype=self._dtype))
        self._learnt[name] = learnt

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        first: Tensor = next(iter(self.weights.values()))
        return first.device

    @property
    def unrolling(self) -> Unrolling:
        """How gradients go back in time."""
        return self._unroll.unrolling

    @unrolling.setter
    def unrolling(self, how: Unrolling) -> None:
        self._unroll.unrolling = how

    # --- what is rounded, and to what ------------------------------------------------------------

    def set_grids(self, grids: Mapping[str, WeightGrid]) -> None:
        """Round the weights of these layers (replaces what was set before)."""
        self._roundings = {name: WeightRounding(grid) for name, grid in grids.items()}

    @property
    def grids(self) -> dict[str, WeightGrid]:
        """The grids that layers are rounded to."""
        return {name: rounding.grid for name, rounding in self._roundings.items()}

    def set_chip(self, program: Program, target: Target) -> None:
        """Run neurons as ``program``, a lowering of this network, holds them from now on."""
        self._chip = (program, target)
        self._held = {}

    def set_mask(self, name: str, mask: Array) -> None:
        """Prune a layer: True is alive."""
        setattr(self, f"mask_{self._keys[name]}", torch.tensor(mask, device=self.device))

    def mask(self, name: str) -> Tensor | None:
        """Where the layer is alive, or None where all of it is."""
        found: Tensor | None = getattr(self, f"mask_{self._keys[name]}")
        return found

    def latent(self, name: str) -> Tensor:
        """The real-valued weight that learns, rounded or not, pruned or not."""
        found: Tensor = self.weights[self._keys[name]]
        return found

    def weight(self, name: str) -> Tensor:
        """The weight as it acts: on its grid, and zero where it is pruned."""
        weight, mask = self.latent(name), self.mask(name)
        if name in self._roundings:
            weight = self._roundings[name].round(weight)
        return weight if mask is None else weight * mask

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """Everything that learns, and the grids it is rounded to: plain tensors and numbers."""
        grids = {
            name: {
                "kind": r.grid.kind,
                "scale": torch.tensor(r.grid.scale),
                "bits": r.grid.bits,
                "absent": None if r.grid.absent is None else torch.tensor(r.grid.absent),
            }
            for name, r in self._roundings.items()
        }
        learnt = {name: p.detach().clone() for name, p in self.state_dict().items()}
        return {"parameters": learnt, "grids": grids}

    def restore(self, snapshot: Mapping[str, Mapping[str, Any]]) -> None:
        """Go back to a `snapshot`."""
        self.load_state_dict(dict(snapshot["parameters"]))
        self.set_grids(
            {
                name: WeightGrid(
                    kind=g["kind"],
                    scale=g["scale"].cpu().numpy(),
                    bits=g["bits"],
                    absent=None if g["absent"] is None else g["absent"].cpu().numpy(),
                )
                for name, g in snapshot["grids"].items()
            }
        )

    def clamp_(self) -> None:
        """After a step of the optimiser: leaks back into 0 … 1, thresholds to positive values."""
        with torch.no_grad():
            for name, learnt in self._learnt.items():
                neuron = self.network.population(name).neuron
                for field, key in learnt.items():
                    if field in ("leak", "syn_leak"):
                        self.neurons[key].clamp_(0, 1)
                    elif field == "threshold" and neuron is not None:
                        least = _LEAST_THRESHOLD * float(np.abs(neuron.threshold).max())  # type: ignore[arg-type]
                        self.neurons[key].clamp_min_(least)

    # --- back to a network -----------------------------------------------------------------------

    def to_network(self, *, rounded: bool = True) -> Network:
        """The network with everything that learnt written back.

        Layers on a grid get its codes and scale (their real-valued weights without ``rounded``).
        What did not learn is returned as it came.
        """
        populations = [
            dataclasses.replace(p, neuron=self._neuron(p.name))
            for p in self.network.populations
            if self._learnt.get(p.name)
        ]
        projections = [self._projection(p, rounded) for p in self.network.projections]
        return self.network.replace(populations, projections)

    def _projection(self, p: Projection, rounded: bool) -> Projection:
        latent, rounding, mask = self.latent(p.name), self._roundings.get(p.name), self.mask(p.name)
        alive = None if mask is None else mask.cpu().numpy()
        real = latent.detach().cpu().numpy()
        if rounded and rounding is not None:
            codes = rounding.codes(latent.detach()).cpu().numpy().astype(np.int32)
            grid = rounding.grid
            weight = Weight(codes, grid.scale, grid.bits, alive, grid.kind)
        elif np.array_equal(real, p.weight.values().astype(real.dtype)):
            weight = p.weight if p.weight.quantized else Weight(p.weight.data, mask=alive)
        else:
            weight = Weight(real, mask=alive)
        return p if _same(weight, p.weight) else dataclasses.replace(p, weight=weight)

    def _neuron(self, name: str) -> Neuron:
        """The neuron with what learnt so far."""
        population = self.network.population(name)
        if population.neuron is None:
            raise ValueError(f"{name} is an input")
        learnt: dict[str, Any] = {}
        for field, key in self._learnt[name].items():
            now = self.neurons[key].detach().cpu().numpy()
            if not np.array_equal(now, getattr(population.neuron, field).astype(now.dtype)):
                learnt[field] = parameter(now, population.shape)
        return dataclasses.replace(population.neuron, **learnt) if learnt else population.neuron

    # --- forward ---------------------------------------------------------------------------------

    def forward(self, inputs: Mapping[str, Tensor], *, record: bool = False) -> UnrolledRun:
        """Run a batch from the initial state.

        Args:
            inputs: per input population ``(steps, samples, *shape)``, in the module's dtype. A tensor
                expanded over time (stride 0) is known to be constant and costs one step.
            record: keep what every population emitted.
        """
        acting = Acting(
            weights={p.name: self.weight(p.name) for p in self.network.projections},
            neurons={p.name: self._acting(p.name) for p in self.network.populations if p.neuron},
            biases={
                p.name: torch.tensor(p.bias, dtype=self._dtype, device=self.device)
                for p in self.network.projections
                if p.bias is not None and not self._holds_bias(p)
            },
        )
        return self._unroll(acting, inputs, record=record)

    def _holds_bias(self, projection: Projection) -> bool:
        """Whether the bias of a projection is in the chip's own register of its target."""
        neuron = self.network.population(projection.target).neuron
        late = any(s.max_delay for s in projection.sources)
        return (
            self._chip is not None and neuron is not None and neuron.syn_leak is None and not late
        )

    def _acting(self, name: str) -> tuple[Neuron, Mapping[str, Tensor]]:
        """A population's neuron and its parameters as they act: as the chip holds them, if so set."""
        learnt = self._learnt[name]
        if name in self._held and not learnt:
            return self._held[name]
        neuron = self._neuron(name)
        if self._chip is not None:
            program, target = self._chip
            group = next(g for g in program.groups if g.name == name)
            neuron = held_neuron(neuron, group, target)
        values = {
            field: torch.tensor(value, dtype=self._dtype, device=self.device)
            for field, value in neuron.parameters().items()
        }
        for field, key in learnt.items():
            values[field] = values[field] + (self.neurons[key] - self.neurons[key].detach())
        self._held[name] = neuron, values
        return neuron, values


def _grid(projection: Projection) -> WeightGrid:
    try:
        return WeightGrid.of(projection.weight)
    except PassRefused as error:
        raise PassRefused(
            error.code, error.message, where=projection.name, hint=error.hint
        ) from error


def _same(a: Weight, b: Weight) -> bool:
    pairs = ((a.data, b.data), (a.scale, b.scale), (a.mask, b.mask))
    return a.bits == b.bits and all(
        x is y or (x is not None and y is not None and np.array_equal(x, y)) for x, y in pairs
    )
