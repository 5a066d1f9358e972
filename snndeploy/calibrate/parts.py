"""Sums over samples, part by part: who computes a part does not change a bit of them.

A part is a few consecutive samples. How many, follows from network, inputs and memory alone, and parts
are added in their order, so the sum is the same whether this process goes through them or workers do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..ir.arrays import Array
from ..ir.digest.samples import SampleDigest
from ..ir.network import Network
from ..progress import Progress, silent
from ..simulate.float.engine import run_float
from ..simulate.float.inputs import checked_inputs
from ..simulate.recording import Recording
from ..workers import HERE, Here, Shared, Task, Workers
from ..workers.base import digest_of_parts
from .listen import Remembered, unchanged
from .stream import of_inputs, prefix, samples_at_once

PART = 64
"""Samples of a part at most, so that several workers have something to do."""


class PartSum(Protocol):
    """A sum of something that recordings hold."""

    def add(self, start: int, run: Recording, reference: Recording | None, share: int) -> None:
        """Add one recording, whose first sample has the number ``start``; ``share`` bytes are free."""

    def merge(self, later: PartSum) -> None:
        """Add the sum of the samples that follow."""


Sums = Sequence[PartSum]


@dataclass(frozen=True, eq=False)
class _PartWork:
    """What every part needs: what runs, what runs beside it, and the sums at zero."""

    network: Network
    reference: Network | None
    same: bool
    record: tuple[str, ...]
    kept: tuple[frozenset[str], frozenset[str]]
    zero: Callable[[], Sums]
    share: int


@dataclass(frozen=True, eq=False)
class _SamplePart:
    """Samples from ``start`` on, as either network takes them."""

    start: int
    inputs: Mapping[str, Array]
    beside: Mapping[str, Array]


_Trains = Mapping[str, Array]


def _one_part(work: _PartWork, part: _SamplePart) -> tuple[Sums, tuple[_Trains, _Trains]]:
    """The sums of one part, and trains that are wanted again."""
    run = run_float(work.network, part.inputs, record=("spikes", *work.record))
    reference = run if work.same else None
    if work.reference is not None:
        reference = run_float(work.reference, part.beside)
    sums = work.zero()
    for total in sums:
        total.add(part.start, run, reference, work.share)
    runs = (run, reference)
    first, second = (
        {name: r.spikes[name] for name in names if r is not None}
        for r, names in zip(runs, work.kept, strict=True)
    )
    return sums, (first, second)


def in_parts(
    network: Network,
    names: Iterable[str],
    inputs: Array | Mapping[str, Array],
    zero: Callable[[], Sums],
    *,
    told: Callable[[], str],
    reference: Network | None = None,
    record: Sequence[str] = (),
    memory: int,
    share: int,
    workers: Workers = HERE,
    progress: Progress = silent,
) -> Sums:
    """Sums over all samples.

    Args:
        network: float or quantised.
        names: populations whose trains the sums look at.
        inputs: ``(steps, samples, *shape)``, or one such array per input population; `Remembered`
            ones make later runs shorter.
        zero: makes sums of nothing; of a module, so that workers find it.
        told: a digest of everything that ``zero`` depends on; asked for where others compute.
        reference: a network of the same shape to record beside it.
        record: populations whose u and v sums look at, too.
        memory: bytes for the recording of a part; a single sample may exceed it.
        share: bytes for what is derived from it.
        workers: who goes through parts.
        progress: is told ``(samples done, samples)``.

    Raises:
        InputError: inputs that do not fit the network.
    """
    asked, states = set(names), set(record)
    whole = prefix(network, asked | states)
    beside = None if reference is None else prefix(reference, asked | states)
    same = beside is not None and unchanged(beside, whole)
    mine = _Side.of(whole, inputs, asked, states)
    theirs = None if beside is None or same else _Side.of(beside, inputs, asked, set())
    steps, samples = next(iter(mine.arrays.values())).shape[:2]
    some = min(PART, samples_at_once(whole, steps, memory, record))
    work = _PartWork(
        network=mine.network,
        reference=None if theirs is None else theirs.network,
        same=same,
        record=tuple(record),
        kept=(mine.wanted, frozenset[str]() if theirs is None else theirs.wanted),
        zero=zero,
        share=share,
    )
    parts = [
        _SamplePart(
            start,
            mine.of_samples(start, start + some),
            {} if theirs is None else theirs.of_samples(start, start + some),
        )
        for start in range(0, samples, some)
    ]
    total: Sums | None = None
    done = _done(work, parts, told, workers)
    for part in parts:
        sums, trains = next(done)
        if total is None:
            total = sums
        else:
            for one, later in zip(total, sums, strict=True):
                one.merge(later)
        del sums  # as large as the total: not to be held while the next part is summed
        for side, found in zip((mine, theirs), trains, strict=True):
            if side is not None:
                side.heard(found)
        progress(min(part.start + some, samples), samples)
    for side in (mine, theirs):
        if side is not None:
            side.keep()
    return zero() if total is None else total


def _done(
    work: _PartWork, parts: Sequence[_SamplePart], told: Callable[[], str], workers: Workers
) -> Iterator[tuple[Sums, tuple[_Trains, _Trains]]]:
    """Every part in its order; digests are made where somebody goes by them."""
    if isinstance(workers, Here):
        return workers.each(_one_part, Shared("", work), [Task("", part) for part in parts])
    networks = [_named_digest(n) for n in (work.network, work.reference) if n is not None]
    kept = [sorted(names) for names in work.kept]
    digest = digest_of_parts(*networks, work.same, *work.record, *kept, work.share, told())
    tasks = [Task(_digest(part), part) for part in parts]
    return workers.each(_one_part, Shared(digest, work), tasks)


def _named_digest(network: Network) -> str:
    """Of a network and of its names, which its own digest leaves out."""
    populations, projections = network.populations, network.projections
    names = (*(p.name for p in populations), *(q.name for q in projections))
    return digest_of_parts(network.digest, *names)


def _digest(part: _SamplePart) -> str:
    given = [SampleDigest().add(arrays).hex() for arrays in (part.inputs, part.beside) if arrays]
    return digest_of_parts(part.start, *given)


@dataclass(frozen=True, eq=False)
class _Side:
    """A network that runs, its inputs or known trains, and what of it is worth remembering."""

    whole: Network
    network: Network
    arrays: Mapping[str, Array]
    memory: Remembered | None
    pieces: Mapping[str, list[Array]]

    @classmethod
    def of(
        cls, whole: Network, inputs: Array | Mapping[str, Array], asked: set[str], states: set[str]
    ) -> _Side:
        if isinstance(inputs, Remembered):
            running, known = inputs.cut(whole, asked, states)
            new = [n for n in sorted(asked) if n not in known and whole.population(n).neuron]
            pieces = {name: list[Array]() for name in new}
            return cls(whole, running, _checked(running, known), inputs, pieces)
        return cls(whole, whole, _checked(whole, inputs), None, {})

    @property
    def wanted(self) -> frozenset[str]:
        return frozenset(self.pieces)

    def of_samples(self, low: int, high: int) -> Mapping[str, Array]:
        return {name: array[:, low:high] for name, array in self.arrays.items()}

    def heard(self, trains: Mapping[str, Array]) -> None:
        for name, train in trains.items():
            self.pieces[name].append(train)

    def keep(self) -> None:
        if self.memory is not None:
            for name, gathered in self.pieces.items():
                self.memory.keep(self.whole, name, gathered)


def _checked(network: Network, inputs: Array | Mapping[str, Array]) -> Mapping[str, Array]:
    return checked_inputs(network, of_inputs(network, inputs))
