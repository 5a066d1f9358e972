"""What populations emit on samples, run no more often than it has to be.

Passes that go from layer to layer ask again and again for trains that hardly differ in what leads to
them. `Remembered` inputs keep the trains that were asked for; the next run starts from those whose
populations, projections and inputs are still the same objects. A run from known trains
gives the bits of a whole one, chunk for chunk: a population hears nothing but trains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..ir.arrays import Array
from ..ir.network import Network, Population
from .stream import MAX_MEMORY, Chunk, prefix, stream


@dataclass(frozen=True, kw_only=True, eq=False)
class _Heard:
    """A population's train, (steps, samples, *shape), and all that decided it."""

    part: Network
    train: Array


class Remembered(Mapping[str, Array]):
    """Inputs, (steps, samples, *shape) by name, that remember what was emitted for them.

    Args:
        inputs: of every input population.
        max_bytes: of trains that are kept; what was asked for first goes first.
    """

    def __init__(self, inputs: Mapping[str, Array], max_bytes: int) -> None:
        self._inputs, self._max_bytes = inputs, max_bytes
        self._kept: list[tuple[str, _Heard]] = []

    def __getitem__(self, name: str) -> Array:
        return self._inputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inputs)

    def __len__(self) -> int:
        return len(self._inputs)

    def cut(
        self, network: Network, names: set[str], record: set[str]
    ) -> tuple[Network, dict[str, Array]]:
        """The part of ``network`` that has to run for ``names``, and its inputs: known trains."""
        known: dict[str, Array] = {}
        running: set[str] = set()
        waiting = sorted(names | record)
        while waiting:
            name = waiting.pop()
            if name in known or name in running:
                continue
            if name not in record and (train := self._train(network, name)) is not None:
                known[name] = train
                continue
            running.add(name)
            waiting += [s.population for q in network.incoming(name) for s in q.sources]
        part = Network(
            tuple(
                Population(p.name, p.shape, None, "input") if p.name in known else p
                for p in network.populations
                if p.name in known or p.name in running
            ),
            tuple(q for q in network.projections if q.target in running),
        )
        return part, {**self._inputs, **known}

    def keep(self, network: Network, name: str, pieces: list[Array]) -> None:
        """Remember a train. One of a loop of several is run with the whole loop, always."""
        part = prefix(network, [name])
        loop = any(
            q.target != name and name in {s.population for s in q.sources} for q in part.projections
        )
        size = sum(piece.nbytes for piece in pieces)
        if loop or size > self._max_bytes:
            return
        self._kept.append((name, _Heard(part=part, train=np.concatenate(pieces, axis=1))))
        while sum(kept.train.nbytes for _, kept in self._kept) > self._max_bytes:
            self._kept.pop(0)

    def _train(self, network: Network, name: str) -> Array | None:
        of_name = [kept for other, kept in self._kept if other == name]
        part = prefix(network, [name]) if of_name else None
        found = (kept.train for kept in of_name if part is not None and unchanged(kept.part, part))
        return next(found, None)


def unchanged(a: Network, b: Network) -> bool:
    """Whether two networks are made of the very same populations and projections."""
    return (
        len(a.populations) == len(b.populations)
        and len(a.projections) == len(b.projections)
        and all(p is q for p, q in zip(a.populations, b.populations, strict=True))
        and all(p is q for p, q in zip(a.projections, b.projections, strict=True))
    )


def listen(
    network: Network,
    names: Iterable[str],
    inputs: Array | Mapping[str, Array],
    *,
    record: Iterable[str] = (),
    max_memory: int = MAX_MEMORY,
) -> Iterator[Chunk]:
    """Run what decides the trains of some populations, a chunk of samples at a time.

    Args:
        network: float or quantised.
        names: populations; chunks hold their trains, and maybe others.
        inputs: ``(steps, samples, *shape)``, or one such array per input population; `Remembered`
            ones make later runs shorter.
        record: populations whose u and v to record too.
        max_memory: bytes for the recording of one chunk; a single sample may exceed it.

    Raises:
        InputError: inputs that do not fit the network.
    """
    asked, states = set(names), set(record)
    part = prefix(network, asked | states)
    if not isinstance(inputs, Remembered):
        yield from stream(part, inputs, record=record, max_memory=max_memory)
        return
    running, known = inputs.cut(part, asked, states)
    pieces: dict[str, list[Array]] = {name: [] for name in asked if name not in known}
    for chunk in stream(running, known, record=record, max_memory=max_memory):
        for name, gathered in pieces.items():
            gathered.append(chunk.recording.spikes[name])
        yield chunk
    for name, gathered in pieces.items():
        inputs.keep(part, name, gathered)
