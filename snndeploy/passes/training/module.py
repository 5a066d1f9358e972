"""A `Network` as a torch module: the float engine's forward pass, with gradients.

What a step of a neuron is, and what a chain of operators does, is the float engine's own code; this
module adds what training needs around it: parameters, grids that weights are rounded to, neurons as a
chip holds them, and a run over time that keeps the graph of gradients (and so writes into no buffer).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...ir.arrays import Array, parameter
from ...ir.float_chain import float_chain
from ...ir.network import Network, Projection
from ...ir.neurons import Neuron
from ...ir.program import Program
from ...ir.weights import Weight
from ...lower.held import held_neuron
from ...simulate.float_engine import run_groups
from ...simulate.float_neuron import NeuronState
from ...target import Target
from .grid import Grid, Rounding
from .surrogate import SpikeGradient
from .trains import Carried, Trains

Learn = Literal["weights", "biases", "leaks", "thresholds"]

_LEARNT: dict[str, tuple[str, ...]] = {
    "biases": ("bias", "drive"),
    "leaks": ("leak", "syn_leak"),
    "thresholds": ("threshold",),
}
"""Parameters of a neuron by what makes them learn."""
_LEAST_THRESHOLD = 1e-3
"""Thresholds learn within this fraction of what they were, upwards."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What a forward pass gives.

    Attributes:
        outputs: emitted by each output population, ``(steps, samples, *shape)``.
        membranes: v of each output population at each step, before spike and reset, likewise.
        spikes: emitted by every population, summed over steps and samples: ``(*shape)``.
        trains: emitted by every population, where recording was asked for.
        steps: length of the run.
        samples: size of the batch.
    """

    outputs: Mapping[str, Tensor]
    membranes: Mapping[str, Tensor]
    spikes: Mapping[str, Tensor]
    trains: Mapping[str, Tensor]
    steps: int
    samples: int


@dataclass(frozen=True, kw_only=True)
class Unrolling:
    """How gradients go back in time.

    Attributes:
        window: steps at a time (0: all at once).
        truncate: gradients end at the start of a window.
        recompute: keep only the state at the start of each window and compute it again on the way
            back: memory of one window, for one more forward pass.
    """

    window: int = 0
    truncate: bool = False
    recompute: bool = False


class TrainableNetwork(nn.Module):
    """Parameters of a network, its forward pass, and the way back to a `Network`.

    Args:
        network: float or quantised. A quantised layer trains on the grid of its codes.
        learn: what learns; biases only where there are any.
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
        self.gradient = gradient or SpikeGradient()
        self.unrolling = unrolling or Unrolling()
        self._dtype = dtype
        self._groups = run_groups(network)
        self._reach = {p.name: _longest_delay(network, p.name) for p in network.populations}
        names = {p.name for p in network.projections} if layers is None else set(layers)
        self._keys = {p.name: f"p{i}" for i, p in enumerate(network.projections)}
        self.weights = nn.ParameterDict()
        self.neurons = nn.ParameterDict()
        self._learnt: dict[str, dict[str, str]] = {}
        self._roundings: dict[str, Rounding] = {}
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
        self.set_grids(
            {p.name: Grid.of(p.weight) for p in network.projections if p.weight.quantized}
        )

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

    # --- what is rounded, and to what ------------------------------------------------------------

    def set_grids(self, grids: Mapping[str, Grid]) -> None:
        """Round the weights of these layers (replaces what was set before)."""
        self._roundings = {name: Rounding(grid) for name, grid in grids.items()}

    @property
    def grids(self) -> dict[str, Grid]:
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
            name: {"levels": torch.tensor(r.grid.levels), "scale": torch.tensor(r.grid.scale),
                   "bits": r.grid.bits}
            for name, r in self._roundings.items()
        }  # fmt: skip
        learnt = {name: p.detach().clone() for name, p in self.state_dict().items()}
        return {"parameters": learnt, "grids": grids}

    def restore(self, snapshot: Mapping[str, Mapping[str, Any]]) -> None:
        """Go back to a `snapshot`."""
        self.load_state_dict(dict(snapshot["parameters"]))
        self.set_grids({
            name: Grid(levels=g["levels"].cpu().numpy(), scale=g["scale"].cpu().numpy(), bits=g["bits"])
            for name, g in snapshot["grids"].items()
        })  # fmt: skip

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
            weight = Weight(codes, rounding.grid.scale, rounding.grid.bits, alive)
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

    def forward(self, inputs: Mapping[str, Tensor], *, record: bool = False) -> Run:
        """Run a batch from the initial state.

        Args:
            inputs: per input population ``(steps, samples, *shape)``, in the module's dtype. A tensor
                expanded over time (stride 0) is known to be constant and costs one step.
            record: keep what every population emitted.
        """
        steps, samples = next(iter(inputs.values())).shape[:2]
        acting = _Acting(
            weights={p.name: self.weight(p.name) for p in self.network.projections},
            neurons={p.name: self._acting(p.name) for p in self.network.populations if p.neuron},
            biases={
                p.name: torch.tensor(p.bias, dtype=self._dtype, device=self.device)
                for p in self.network.projections
                if p.bias is not None
            },
        )
        window = self.unrolling.window or steps
        nothing = {
            p.name: torch.zeros(
                (self._reach[p.name], samples, *p.shape), dtype=self._dtype, device=self.device
            )
            for p in self.network.populations
            if self._reach[p.name]
        }
        carried = Carried({}, nothing)
        parts: list[_Part] = []
        for first in range(0, steps, window):
            x = {name: value[first : first + window] for name, value in inputs.items()}
            if self.unrolling.truncate:
                carried = carried.detached()
            arguments = (acting, x, carried, first, samples, record)
            if self.unrolling.recompute and torch.is_grad_enabled():
                part, carried = checkpoint(self._window, *arguments, use_reentrant=False)
            else:
                part, carried = self._window(*arguments)
            parts.append(part)
        return Run(
            outputs=_joined([p.outputs for p in parts]),
            membranes=_joined([p.membranes for p in parts]),
            trains=_joined([p.trains for p in parts]),
            spikes={name: sum(p.spikes[name] for p in parts) for name in parts[0].spikes},  # type: ignore[misc]
            steps=steps,
            samples=samples,
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

    def _window(
        self,
        acting: _Acting,
        inputs: Mapping[str, Tensor],
        carried: Carried,
        first: int,
        samples: int,
        record: bool,
    ) -> tuple[_Part, Carried]:
        """Run ``inputs`` (steps of one window) on from what was carried over."""
        trains = Trains(inputs, carried.past, samples)
        states: dict[str, tuple[Tensor, ...]] = {}
        membranes: dict[str, Tensor] = {}
        for group in self._groups:
            if self.network.population(group[0]).neuron is None:
                continue
            traced = self._run_group(acting, group, trains, carried, first)
            for name, (state, v) in traced.items():
                states[name] = (state.u, state.v, state.fired)
                if self.network.population(name).role == "output":
                    membranes[name] = torch.stack(v)
        outputs = {p.name: trains.whole(p.name) for p in self.network.with_role("output")}
        part = _Part(
            outputs=outputs,
            membranes=membranes,
            trains={p.name: trains.whole(p.name) for p in self.network.populations}
            if record
            else {},
            spikes={p.name: trains.whole(p.name).sum((0, 1)) for p in self.network.populations},
        )
        return part, Carried(states, trains.ends())

    def _run_group(
        self,
        acting: _Acting,
        group: tuple[str, ...],
        trains: Trains,
        carried: Carried,
        first: int,
    ) -> dict[str, tuple[NeuronState, list[Tensor]]]:
        """Run the populations of a loop, or one that is in none, over the window."""
        running: dict[str, tuple[NeuronState, list[Tensor]]] = {}
        outside: dict[str, Tensor | None] = {}
        inside: dict[str, list[Projection]] = {}
        for name in group:
            neuron, parameters = acting.neurons[name]
            shape = self.network.population(name).shape
            state = NeuronState(
                neuron, shape, trains.samples, self._dtype,
                parameters=parameters, surrogate=self.gradient,
            )  # fmt: skip
            if name in carried.states:
                state.u, state.v, state.fired = carried.states[name]
            running[name] = (state, [])
            arriving = self.network.incoming(name)
            inside[name] = [p for p in arriving if any(s.population in group for s in p.sources)]
            rest = [p for p in arriving if p not in inside[name]]
            window = (0, trains.steps)
            outside[name] = self._arriving(acting, rest, trains, window, first)
            trains.start(name)
        for step in range(trains.steps):
            for name, (state, v) in running.items():
                drive = outside[name]
                x = torch.zeros_like(state.v) if drive is None else drive[step]
                looped = self._arriving(acting, inside[name], trains, (step, step + 1), first)
                trains.append(name, state.step(x if looped is None else x + looped[0]))
                if self.network.population(name).role == "output":
                    v.append(state.charged)
        return running

    def _arriving(
        self,
        acting: _Acting,
        projections: Sequence[Projection],
        trains: Trains,
        window: tuple[int, int],
        first: int,
    ) -> Tensor | None:
        """Sum over ``projections`` of what arrives in these steps: (steps, samples, *shape)."""
        total: Tensor | None = None
        for p in projections:
            x = trains.delayed(p.sources[0], *window)
            for source in p.sources[1:]:
                x = x + trains.delayed(source, *window)
            constant = x.stride(0) == 0 and len(x) > 1
            rows = x[:1] if constant else x
            y = float_chain(p.ops, acting.weights[p.name], rows.flatten(0, 1))
            y = y.reshape(len(rows), trains.samples, *y.shape[1:])
            y = y.expand(len(x), *y.shape[1:]) if constant else y
            if p.name in acting.biases:
                # a bias arrives with its projection's delay, and not before
                late = max(s.max_delay for s in p.sources) - first - window[0]
                steps = torch.arange(len(x), device=y.device).reshape(-1, *(1,) * (y.ndim - 1))
                bias = acting.biases[p.name]
                y = y + bias if late <= 0 else y + bias * (steps >= late)
            total = y if total is None else total + y
        return total


@dataclass(frozen=True, eq=False)
class _Acting:
    """Weights and neurons as they act in one forward pass."""

    weights: Mapping[str, Tensor]
    neurons: Mapping[str, tuple[Neuron, Mapping[str, Tensor]]]
    biases: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class _Part:
    """A `Run` of one window."""

    outputs: Mapping[str, Tensor]
    membranes: Mapping[str, Tensor]
    trains: Mapping[str, Tensor]
    spikes: Mapping[str, Tensor]


def _joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Windows one after the other."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _longest_delay(network: Network, name: str) -> int:
    return max(
        (s.max_delay for p in network.outgoing(name) for s in p.sources if s.population == name),
        default=0,
    )


def _same(a: Weight, b: Weight) -> bool:
    pairs = ((a.data, b.data), (a.scale, b.scale), (a.mask, b.mask))
    return a.bits == b.bits and all(
        x is y or (x is not None and y is not None and np.array_equal(x, y)) for x, y in pairs
    )
