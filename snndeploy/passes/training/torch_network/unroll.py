"""A network's run over time as a graph of gradients, window by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ....ir.linear.float_chain import float_chain
from ....ir.network import Network, Projection
from ....ir.neurons import Neuron
from ....simulate.float.neuron import NeuronState
from ....simulate.float.order import longest_delays, run_groups
from .fused import fusible, run_fused
from .fused_loop import SelfLoop, loops_simply, run_fused_loop
from .surrogate import SpikeGradient
from .trains import Carried, Trains, UnrolledState


@dataclass(frozen=True, kw_only=True, eq=False)
class UnrolledRun:
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


@dataclass(frozen=True, eq=False)
class Acting:
    """Weights and neurons as they act in one forward pass."""

    weights: Mapping[str, Tensor]
    neurons: Mapping[str, tuple[Neuron, Mapping[str, Tensor]]]
    biases: Mapping[str, Tensor]


class Unroll:
    """Runs one network.

    Populations that no loop connects run one after the other over a whole window, so that what
    arrives at them is one product; only loops run step by step.
    """

    def __init__(self, network: Network, gradient: SpikeGradient, unrolling: Unrolling) -> None:
        self.network = network
        self.gradient = gradient
        self.unrolling = unrolling
        self._groups = run_groups(network)
        self._reach = longest_delays(network)

    def __call__(
        self, acting: Acting, inputs: Mapping[str, Tensor], *, record: bool
    ) -> UnrolledRun:
        """Run ``inputs`` ``(steps, samples, *shape)`` from the initial state."""
        like = next(iter(inputs.values()))
        steps, samples = like.shape[:2]
        window = self.unrolling.window or steps
        nothing = {
            p.name: torch.zeros(
                (self._reach[p.name], samples, *p.shape), dtype=like.dtype, device=like.device
            )
            for p in self.network.populations
            if self._reach[p.name]
        }
        carried = Carried({}, nothing)
        parts: list[_Window] = []
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
        return UnrolledRun(
            outputs=_joined([p.outputs for p in parts]),
            membranes=_joined([p.membranes for p in parts]),
            trains=_joined([p.trains for p in parts]),
            spikes={name: sum(p.spikes[name] for p in parts) for name in parts[0].spikes},  # type: ignore[misc]
            steps=steps,
            samples=samples,
        )

    def _window(
        self,
        acting: Acting,
        inputs: Mapping[str, Tensor],
        carried: Carried,
        first: int,
        samples: int,
        record: bool,
    ) -> tuple[_Window, Carried]:
        """Run ``inputs`` (steps of one window) on from what was carried over."""
        trains = Trains(inputs, carried.past, samples)
        states: dict[str, UnrolledState] = {}
        membranes: dict[str, Tensor] = {}
        for group in self._groups:
            if self.network.population(group[0]).neuron is None:
                continue
            if self._fuses(acting, group):
                name = group[0]
                charged, states[name] = self._run_fused(acting, name, trains, carried, first)
                if self.network.population(name).role == "output":
                    membranes[name] = charged
                continue
            if self._fuses_loop(acting, group):
                name = group[0]
                charged, states[name] = self._run_fused_loop(acting, name, trains, carried, first)
                if self.network.population(name).role == "output":
                    membranes[name] = charged
                continue
            traced = self._run_group(acting, group, trains, carried, first)
            for name, (state, v) in traced.items():
                states[name] = state.carried
                if self.network.population(name).role == "output":
                    membranes[name] = torch.stack(v)
        outputs = {p.name: trains.whole(p.name) for p in self.network.with_role("output")}
        part = _Window(
            outputs=outputs,
            membranes=membranes,
            trains={p.name: trains.whole(p.name) for p in self.network.populations}
            if record
            else {},
            spikes={p.name: trains.whole(p.name).sum((0, 1)) for p in self.network.populations},
        )
        return part, Carried(states, trains.ends())

    def _fuses(self, acting: Acting, group: tuple[str, ...]) -> bool:
        """Whether all of a group's steps can be one operation."""
        arriving = self.network.incoming(group[0])
        looped = any(s.population in group for p in arriving for s in p.sources)
        return not looped and bool(arriving) and fusible(*acting.neurons[group[0]], self.gradient)

    def _run_fused(
        self, acting: Acting, name: str, trains: Trains, carried: Carried, first: int
    ) -> tuple[Tensor, UnrolledState]:
        """Run a population that is in no loop; its membranes (of an output) and state at the end."""
        drive = self._arriving(
            acting, self.network.incoming(name), trains, (0, trains.steps), first
        )
        assert drive is not None
        population = self.network.population(name)
        emitted, charged, state = run_fused(
            *acting.neurons[name],
            self.gradient,
            population.shape,
            drive,
            carried.states.get(name),
            record=population.role == "output",
        )
        trains.set(name, emitted)
        return charged, state

    def _fuses_loop(self, acting: Acting, group: tuple[str, ...]) -> bool:
        """Whether it is one population that simply feeds itself."""
        looped, rest = self._looped(group, group[0])
        shape = self.network.population(group[0]).shape
        return (
            len(group) == 1
            and len(shape) == 1
            and bool(rest)
            and loops_simply(looped)
            and fusible(*acting.neurons[group[0]], self.gradient)
        )

    def _looped(self, group: Sequence[str], name: str) -> tuple[list[Projection], list[Projection]]:
        """What arrives at a population from its group, and from elsewhere."""
        arriving = self.network.incoming(name)
        looped = [p for p in arriving if any(s.population in group for s in p.sources)]
        return looped, [p for p in arriving if p not in looped]

    def _run_fused_loop(
        self, acting: Acting, name: str, trains: Trains, carried: Carried, first: int
    ) -> tuple[Tensor, UnrolledState]:
        """Run a population that feeds itself; its membranes (of an output) and state at the end."""
        (looped,), rest = self._looped((name,), name)
        drive = self._arriving(acting, rest, trains, (0, trains.steps), first)
        assert drive is not None
        source = looped.sources[0]
        trains.start(name)
        emitted, charged, state = run_fused_loop(
            *acting.neurons[name],
            self.gradient,
            drive,
            SelfLoop(
                projection=looped,
                weight=acting.weights[looped.name],
                bias=acting.biases.get(looped.name),
                silent=source.max_delay - first,
                before=trains.delayed(source, 0, 1)[0],
            ),
            carried.states.get(name),
            record=self.network.population(name).role == "output",
        )
        trains.set(name, emitted)
        return charged, state

    def _run_group(
        self, acting: Acting, group: tuple[str, ...], trains: Trains, carried: Carried, first: int
    ) -> dict[str, tuple[NeuronState, list[Tensor]]]:
        """Run the populations of a loop, or one that is in none, over the window."""
        running: dict[str, tuple[NeuronState, list[Tensor]]] = {}
        outside: dict[str, Sequence[Tensor] | None] = {}
        inside: dict[str, list[Projection]] = {}
        for name in group:
            neuron, parameters = acting.neurons[name]
            shape = self.network.population(name).shape
            state = NeuronState(
                neuron,
                shape,
                trains.samples,
                next(iter(parameters.values())).dtype,
                kernel=False,
                parameters=parameters,
                surrogate=self.gradient,
            )
            if name in carried.states:
                state.resume(carried.states[name])
            running[name] = (state, [])
            inside[name], rest = self._looped(group, name)
            window = (0, trains.steps)
            drive = self._arriving(acting, rest, trains, window, first)
            # one operation for all steps: indexing each would cost a whole window on the way back
            outside[name] = None if drive is None else drive.unbind(0)
            trains.start(name)
        for step in range(trains.steps):
            for name, (state, v) in running.items():
                driven = outside[name]
                x = torch.zeros_like(state.v) if driven is None else driven[step]
                looped = self._arriving(acting, inside[name], trains, (step, step + 1), first)
                trains.append(name, state.step(x if looped is None else x + looped[0]))
                if self.network.population(name).role == "output":
                    v.append(state.charged)
        return running

    def _arriving(
        self,
        acting: Acting,
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
                late = p.bias_delay - first - window[0]
                steps = torch.arange(len(x), device=y.device).reshape(-1, *(1,) * (y.ndim - 1))
                bias = acting.biases[p.name]
                y = y + bias if late <= 0 else y + bias * (steps >= late)
            total = y if total is None else total + y
        return total


@dataclass(frozen=True, eq=False)
class _Window:
    """A `UnrolledRun` of one window."""

    outputs: Mapping[str, Tensor]
    membranes: Mapping[str, Tensor]
    trains: Mapping[str, Tensor]
    spikes: Mapping[str, Tensor]


def _joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Windows one after the other."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
