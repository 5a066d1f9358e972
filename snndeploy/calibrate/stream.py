"""Run a network over calibration samples in chunks of bounded memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..ir.arrays import Array, size
from ..ir.network import Network
from ..simulate.float.engine import FloatType, run_float
from ..simulate.float.inputs import checked_inputs
from ..simulate.recording import Recording

MAX_MEMORY = 1 << 30
"""Bytes that calibration may use unless told otherwise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """Consecutive samples ``start:stop`` and what every population did with them."""

    start: int
    stop: int
    recording: Recording


def prefix(network: Network, populations: Iterable[str]) -> Network:
    """The part of ``network`` that decides what ``populations`` emit: they and all before them.

    Loops that lead into them are kept whole. The result may lack an output, so it is for running
    only.
    """
    kept: set[str] = set()
    waiting = list(populations)
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept.add(name)
            waiting += [s.population for q in network.incoming(name) for s in q.sources]
    return dataclasses.replace(
        network,
        populations=tuple(p for p in network.populations if p.name in kept),
        projections=tuple(p for p in network.projections if p.target in kept),
    )


def of_inputs(network: Network, inputs: Array | Mapping[str, Array]) -> Array | Mapping[str, Array]:
    """Those of the inputs that ``network``, which may be a `prefix`, has."""
    if not isinstance(inputs, Mapping):
        return inputs
    known = {p.name for p in network.with_role("input")}
    return {name: array for name, array in inputs.items() if name in known}


def samples_at_once(
    network: Network,
    steps: int,
    max_memory: int,
    record: Iterable[str] = (),
    dtype: FloatType = "float32",
) -> int:
    """How many samples' recording fits ``max_memory`` bytes, at least one."""
    width = 8 if dtype == "float64" else 4
    per_step = sum(
        size(p.shape) * (1 if p.neuron and p.neuron.spiking else width) for p in network.populations
    )
    per_step += sum(2 * width * size(network.population(name).shape) for name in record)
    return max(1, max_memory // max(1, steps * per_step))


def stream(
    network: Network,
    inputs: Array | Mapping[str, Array],
    *,
    record: Iterable[str] = (),
    max_memory: int = MAX_MEMORY,
    dtype: FloatType = "float32",
) -> Iterator[Chunk]:
    """Run ``network`` from its initial state on every sample, a chunk of samples at a time.

    Args:
        network: float or quantised; a `prefix` will do.
        inputs: ``(steps, samples, *shape)``, or one such array per input population (those of
            inputs that a `prefix` left out are ignored).
        record: populations whose u and v to record too.
        max_memory: bytes for the recording of one chunk; a single sample may exceed it.
        dtype: of the float engine.

    Raises:
        InputError: inputs that do not fit the network.
    """
    arrays = checked_inputs(network, of_inputs(network, inputs))
    steps, samples = next(iter(arrays.values())).shape[:2]
    states = tuple(record)
    chunk = samples_at_once(network, steps, max_memory, states, dtype)
    for start in range(0, samples, chunk):
        stop = min(start + chunk, samples)
        part = {name: array[:, start:stop] for name, array in arrays.items()}
        run = run_float(network, part, dtype=dtype, record=("spikes", *states))
        yield Chunk(start=start, stop=stop, recording=run)
