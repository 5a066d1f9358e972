"""The float engine: a `Network` in torch, step for step what `Neuron` documents.

Populations that no loop connects run one after the other over a whole block of steps (one big
convolution instead of many small ones); only loops run step by step. Each part of the samples is run
whole by one thread, torch's operations included, so the number of threads changes no bit: torch adds up
a product in another order where several threads share it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...errors import InputError, UsageError, did_you_mean
from ...ir.arrays import Array, Shape, size
from ...ir.linear.delays import arriving
from ...ir.linear.float_chain import float_chain
from ...ir.network import Network, Population, Projection, Source
from ..recording import Recording
from ..threads import compute_alone, cut, share_out
from .inputs import checked_inputs
from .order import longest_delays, run_groups

if TYPE_CHECKING:
    from torch import Tensor

    from .neuron import NeuronState

FloatType = Literal["float32", "float64"]

_BLOCK_VALUES = 1 << 21
"""Values that one block of steps and samples may hold over all populations: few enough for memory to be
used again while it is warm. Sixteen times as many took twice as long on a convolutional network."""


def run_float(
    network: Network,
    inputs: Array | Mapping[str, Array],
    *,
    dtype: FloatType = "float32",
    record: Iterable[str] = ("spikes",),
) -> Recording:
    """Run ``network`` from its initial state on every sample.

    Args:
        network: float or quantised; quantised weights enter with their dequantised values.
        inputs: ``(steps, samples, *input shape)``, or one such array per input population.
        dtype: of states and weights; frameworks train in float32.
        record: ``"spikes"`` (always recorded) and names of populations whose u and v to record too.

    Returns:
        A `Recording`. Spikes are uint8 (int32 where a step can hold several), everything else has
        the engine's dtype; inputs are recorded as they were given.

    Raises:
        InputError: inputs of a wrong shape or kind, or an unknown population.
        UsageError: an unknown dtype.
    """
    import torch

    if dtype not in ("float32", "float64"):
        raise UsageError(
            "float-dtype",
            f"dtype {dtype!r} is not supported",
            where="float engine",
            hint=did_you_mean(str(dtype), ("float32", "float64")),
        )
    arrays = checked_inputs(network, inputs)
    states = tuple(n for n in dict.fromkeys(record) if n != "spikes")
    for name in states:
        if network.population(name).neuron is None:
            raise InputError("no-state", "an input has no u and v", where=f"population {name}")
    steps, samples = next(iter(arrays.values())).shape[:2]
    output = _Output.allocate(network, arrays, states, steps, samples, dtype)
    neurons = sum(size(p.shape) for p in network.populations)
    plan = _plan(network, getattr(torch, dtype))
    block = max(1, min(steps, _BLOCK_VALUES // max(1, neurons)))
    parts = cut(samples, _BLOCK_VALUES // max(1, neurons * block))

    def run(part: slice) -> None:
        compute_alone()
        with torch.no_grad():
            _run_part(network, plan, arrays, output, part, block)

    share_out(run, parts, torch.get_num_threads())
    return Recording(engine=f"float ({dtype})", spikes=output.spikes, u=output.u, v=output.v)


@dataclass(frozen=True)
class _Output:
    """Arrays ``(steps, samples, *shape)`` that the run fills."""

    spikes: dict[str, Array]
    u: dict[str, Array]
    v: dict[str, Array]

    @classmethod
    def allocate(
        cls,
        network: Network,
        inputs: Mapping[str, Array],
        states: Iterable[str],
        steps: int,
        samples: int,
        dtype: FloatType,
    ) -> _Output:
        def empty(name: str, kind: str = dtype) -> Array:
            return np.empty((steps, samples, *network.population(name).shape), kind)

        spikes = {
            p.name: empty(p.name, _emitted_type(p, dtype))
            for p in network.populations
            if p.neuron is not None
        }
        ordered = {p.name: {**spikes, **inputs}[p.name] for p in network.populations}
        return cls(ordered, {n: empty(n) for n in states}, {n: empty(n) for n in states})


def _emitted_type(population: Population, dtype: FloatType) -> str:
    neuron = population.neuron
    if neuron is None or not neuron.spiking:
        return dtype
    return "uint8" if neuron.spikes_per_step == "one" else "int32"


@dataclass(frozen=True)
class _Incoming:
    """A projection with its tensors; ``inside`` lists the sources within the target's own loop."""

    projection: Projection
    weight: Tensor
    bias: Tensor | None
    inside: bool


@dataclass(frozen=True)
class _Plan:
    """Groups of populations in the order they run; a group of several is a loop."""

    groups: tuple[tuple[str, ...], ...]
    incoming: Mapping[str, tuple[_Incoming, ...]]
    memory: Mapping[str, int]
    dtype: Any


def _plan(network: Network, dtype: Any) -> _Plan:
    import torch

    groups = run_groups(network)
    group_of = {name: group for group in groups for name in group}

    def prepared(projection: Projection) -> _Incoming:
        # sources are in the target's group only where a loop leads back to them
        inside = any(s.population in group_of[projection.target] for s in projection.sources)
        bias = projection.bias
        return _Incoming(
            projection,
            torch.tensor(projection.weight.values(), dtype=dtype),
            None if bias is None else torch.tensor(bias, dtype=dtype),
            inside,
        )

    incoming = {
        p.name: tuple(prepared(q) for q in network.incoming(p.name)) for p in network.populations
    }
    return _Plan(groups, incoming, longest_delays(network), dtype)


class _Train:
    """What a population emitted in this block of steps, preceded by as much past as delays need."""

    def __init__(self, past: int, block: int, samples: int, shape: Shape, dtype: Any) -> None:
        import torch

        self.past = past
        self.values = torch.empty((past + block, samples, *shape), dtype=dtype)
        self.values[:past] = 0

    def advance(self, block: int) -> None:
        """Keep the end of the block as the past of the next one."""
        if self.past:
            self.values[: self.past] = self.values[block : block + self.past].clone()

    def delayed(self, source: Source, start: int, stop: int) -> Tensor:
        """The steps ``start:stop`` of the block as they arrive over ``source``."""
        import torch

        def at(delay: int) -> Tensor:
            return self.values[self.past + start - delay : self.past + stop - delay]

        found: Tensor = arriving(source, at, torch)
        return found


def _run_part(
    network: Network,
    plan: _Plan,
    arrays: Mapping[str, Array],
    output: _Output,
    part: slice,
    block: int,
) -> None:
    """Run the samples ``part`` from their initial state, ``block`` steps at a time."""
    from .neuron import NeuronState

    steps = next(iter(arrays.values())).shape[0]
    samples = part.stop - part.start
    trains = {
        p.name: _Train(plan.memory[p.name], block, samples, p.shape, plan.dtype)
        for p in network.populations
    }
    states = {
        p.name: NeuronState(p.neuron, p.shape, samples, plan.dtype)
        for p in network.populations
        if p.neuron is not None
    }
    for first in range(0, steps, block):
        span = slice(first, min(first + block, steps))
        for name, array in arrays.items():
            train = trains[name]
            train.values.numpy()[train.past :][: span.stop - span.start] = array[span, part]
        for group in plan.groups:
            for name, run in _updates(network, plan, group, trains, states, output.u, span):
                here = (span.start + run, part)
                for recorded, state in ((output.u, states[name].u), (output.v, states[name].v)):
                    if name in recorded:
                        recorded[name][here] = state.numpy()
        for name, train in trains.items():
            if name in states:
                block_values = train.values[train.past :][: span.stop - span.start]
                output.spikes[name][span, part] = block_values.numpy()
            train.advance(span.stop - span.start)


def _updates(
    network: Network,
    plan: _Plan,
    group: tuple[str, ...],
    trains: Mapping[str, _Train],
    states: Mapping[str, NeuronState],
    recorded: Collection[str],
    span: slice,
) -> Iterator[tuple[str, int]]:
    """Run one group over the block, yielding (population, last step) whenever states may be read."""
    steps = span.stop - span.start
    neurons = [name for name in group if name in states]
    drive = {
        name: _arriving(network, plan, name, trains, (0, steps), span.start, inside=False)
        for name in neurons
    }
    loop = any(i.inside for name in neurons for i in plan.incoming[name])
    stride = 1 if loop or any(name in recorded for name in neurons) else steps
    for start in range(0, steps, stride):
        stop = start + stride
        for name in neurons:
            x = drive[name][start:stop]
            if any(i.inside for i in plan.incoming[name]):
                x = x + _arriving(
                    network, plan, name, trains, (start, stop), span.start, inside=True
                )
            train = trains[name]
            states[name].run(x, train.values[train.past + start : train.past + stop])
            yield name, start


def _arriving(
    network: Network,
    plan: _Plan,
    name: str,
    trains: Mapping[str, _Train],
    window: tuple[int, int],
    first: int,
    *,
    inside: bool,
) -> Tensor:
    """Sum over the projections into ``name``: (steps of the window, samples, *shape)."""
    import torch

    start, stop = window
    samples = next(iter(trains.values())).values.shape[1]
    full = (stop - start, samples, *network.population(name).shape)
    total: Tensor | None = None
    for incoming in plan.incoming[name]:
        if incoming.inside != inside:
            continue
        first_source, *others = incoming.projection.sources
        x = trains[first_source.population].delayed(first_source, start, stop)
        for source in others:
            x = x + trains[source.population].delayed(source, start, stop)
        y = float_chain(incoming.projection.ops, incoming.weight, x.flatten(0, 1)).reshape(full)
        total = y if total is None else total + y
        if incoming.bias is not None:
            late = max(0, incoming.projection.bias_delay - first - start)
            if total.data_ptr() == x.data_ptr():  # an operator that only changes the shape
                total = total.clone()
            total[late:] += incoming.bias
    return torch.zeros(full, dtype=plan.dtype) if total is None else total
