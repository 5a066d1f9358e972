"""The float engine in NumPy alone: without torch, compiled loops, blocks or threads.

It starts at once, so small networks are looked at with it, and it is short, so that the engine is
compared with it. Sums over many weights are those of another library: they may differ in the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from ...ir.arrays import Array, size
from ...ir.linear.apply import apply_chain
from ...ir.linear.delays import arriving
from ...ir.network import Network, Population, Projection, Source
from ...ir.ops import Conv, chain_shapes
from ...ir.step import FloatParameters, FloatState, step_float
from ..recording import Recording
from .inputs import checked_inputs
from .order import longest_delays, run_groups

_WINDOWS = 1 << 22
"""Values of the windows of a convolution that are laid out at once."""


def run_plain(
    network: Network, inputs: Array | Mapping[str, Array], *, dtype: str = "float32"
) -> Recording:
    """Run ``network`` from its initial state on every sample.

    Args:
        network: float or quantised; quantised weights enter with their dequantised values.
        inputs: ``(steps, samples, *input shape)``, or one such array per input population.
        dtype: of states and weights.

    Returns:
        A `Recording` of what is emitted, ``(steps, samples, *shape)`` of ``dtype``.

    Raises:
        InputError: inputs of a wrong shape or kind.
    """
    arrays = checked_inputs(network, inputs)
    run = _PlainRun(network, arrays, np.dtype(dtype))
    for group in run_groups(network):
        run.advance(group)
    return Recording(engine=f"plain float ({dtype})", spikes=run.emitted())


def multiplications(network: Network) -> int:
    """Upper bound of those of a step of one sample."""
    return sum(
        size(network.population(q.target).shape) * size(q.weight.shape[1:])
        for q in network.projections
    )


class _PlainRun:
    """What populations emit, all steps of it, each preceded by as much silence as delays reach back."""

    def __init__(self, network: Network, arrays: Mapping[str, Array], dtype: np.dtype) -> None:
        self.network, self.dtype = network, dtype
        self.steps, self.samples = next(iter(arrays.values())).shape[:2]
        self.past = longest_delays(network)
        self.trains = {
            p.name: np.zeros((self.past[p.name] + self.steps, self.samples, *p.shape), dtype)
            for p in network.populations
        }
        for name, array in arrays.items():
            self.trains[name][self.past[name] :] = array

    def emitted(self) -> dict[str, Array]:
        return {name: train[self.past[name] :] for name, train in self.trains.items()}

    def advance(self, group: tuple[str, ...]) -> None:
        """Run populations that form a loop, or one that does not, through all steps."""
        network, names = self.network, set(group)
        running = [network.population(n) for n in group if network.population(n).neuron is not None]
        inner: dict[str, list[Projection]] = {}
        drive, states = {}, {}
        for p in running:
            into = network.incoming(p.name)
            inner[p.name] = [q for q in into if names & {s.population for s in q.sources}]
            outer = [q for q in into if q not in inner[p.name]]
            drive[p.name] = self._arriving(p, outer, 0, self.steps)
            states[p.name] = _PlainState(p, self.samples, self.dtype)
        for step in range(self.steps):
            for p in running:
                x = drive[p.name][step]
                if inner[p.name]:
                    x = x + self._arriving(p, inner[p.name], step, step + 1)[0]
                self.trains[p.name][self.past[p.name] + step] = states[p.name].step(x)

    def _arriving(self, p: Population, over: list[Projection], start: int, stop: int) -> Array:
        """Sum of projections in the steps ``start:stop``: (steps, samples, *shape)."""
        total: Array = np.zeros((stop - start, self.samples, *p.shape), self.dtype)
        for q in over:
            x = self._delayed(q.sources[0], start, stop)
            for source in q.sources[1:]:
                x = x + self._delayed(source, start, stop)
            total = total + self._through(q, x.reshape(-1, *x.shape[2:])).reshape(total.shape)
            if q.bias is not None:
                late = max(0, q.bias_delay - start)
                total[late:] += q.bias.astype(self.dtype)
        return total

    def _delayed(self, source: Source, start: int, stop: int) -> Array:
        """What the source emitted, as it arrives in the steps ``start:stop``."""
        train, now = self.trains[source.population], self.past[source.population]
        found: Array = arriving(
            source, lambda delay: train[now + start - delay : now + stop - delay]
        )
        return found

    def _through(self, q: Projection, x: Array) -> Array:
        """The chain of a projection for rows ``(rows, *source shape)``."""
        weight = q.weight.values().astype(self.dtype)
        shapes = chain_shapes(q.ops, x.shape[1:])
        taps = (weight[0].size for op in q.ops if isinstance(op, Conv))
        most = max(taps, default=1) * max(size(shape) for shape in shapes)
        parts = min(len(x), -(-len(x) * most // _WINDOWS))
        pieces = [apply_chain(q.ops, weight, rows, np.matmul) for rows in np.array_split(x, parts)]
        return np.concatenate(pieces)


class _PlainState:
    """u and v of a population, advanced by `step_float`."""

    def __init__(self, p: Population, samples: int, dtype: np.dtype) -> None:
        neuron = p.neuron
        if neuron is None:
            raise ValueError(f"{p.name} is an input")
        self.rule = neuron.rule
        values = {name: a.astype(dtype) for name, a in neuron.parameters().items()}
        start = values.pop("v_init")
        silent = {name for name in ("bias", "drive") if not values[name].any()}
        known = {f.name for f in fields(FloatParameters)} - silent
        self.parameters = FloatParameters(**{n: a for n, a in values.items() if n in known})
        zeros: Array = np.zeros((samples, *p.shape), dtype)
        self.state = FloatState(zeros, start + zeros, zeros)

    def step(self, x: Array) -> Array:
        emitted: Array = step_float(self.rule, self.parameters, self.state, x)
        return emitted
