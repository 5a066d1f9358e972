"""What a tensor holds: sums of what populations emitted, each behind a chain of linear stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...ingest.normal_form.chains import run_stages
from ...ingest.normal_form.linear import LinearStage
from ...ir.arrays import Array, size
from ...ir.ops import Pointwise
from .code import CodeSpot
from .entries import SparseMap

ChainLink = LinearStage | SparseMap
"""One link of a chain. Signals are flat (C order): no link is a view."""


@dataclass(frozen=True)
class Emission:
    """What a population (or an input) emitted in one of its steps; ``what`` is "spikes" or a state."""

    population: str
    step: int
    what: str = "spikes"


@dataclass(frozen=True, eq=False)
class SignalPath:
    """One emission behind a chain."""

    emission: Emission
    links: tuple[ChainLink, ...] = ()


@dataclass(frozen=True, eq=False)
class Lost:
    """Where and by what a signal ceased to be a linear map of emissions."""

    by: str
    spot: CodeSpot
    hint: str = ""


@dataclass(frozen=True, eq=False)
class Signal:
    """``size`` values: a sum of paths and a constant, or `Lost`."""

    size: int
    paths: tuple[SignalPath, ...] = ()
    constant: Array | None = None
    lost: Lost | None = None

    @property
    def is_constant(self) -> bool:
        return not self.paths and self.lost is None

    def plus(self, other: Signal) -> Signal:
        constants = [c for c in (self.constant, other.constant) if c is not None]
        return Signal(
            self.size,
            self.paths + other.paths,
            sum(constants[1:], constants[0]) if constants else None,
            self.lost or other.lost,
        )

    def times(self, factor: Array) -> Signal:
        """Multiplied by one number, or by one for each value."""
        if factor.size == 1:
            factor = factor.reshape(())
        if (factor == 1).all():
            return self
        stage = LinearStage("", Pointwise((self.size,), factor.shape), (self.size,), factor)
        return dataclasses.replace(
            self,
            paths=tuple(SignalPath(p.emission, (*p.links, stage)) for p in self.paths),
            constant=None if self.constant is None else self.constant * factor.reshape(-1),
        )

    def through(self, link: ChainLink) -> Signal:
        """Behind one more link; the bias of a stage becomes part of the constant."""
        bias = None
        if isinstance(link, LinearStage):
            n_out, bias = size(link.out_shape), link.bias
            link = dataclasses.replace(link, bias=None)
        else:
            n_out = link.n_out
        constant = None if self.constant is None else carried((link,), self.constant)
        if bias is not None:
            flat = np.broadcast_to(bias, link.out_shape).reshape(-1)  # type: ignore[union-attr]
            constant = flat if constant is None else constant + flat
        paths = tuple(SignalPath(p.emission, _longer(p.links, link)) for p in self.paths)
        return Signal(n_out, paths, constant, self.lost)

    def numbers(self) -> Array:
        """The constant, as an array."""
        return np.zeros(self.size) if self.constant is None else self.constant


def _longer(links: tuple[ChainLink, ...], link: ChainLink) -> tuple[ChainLink, ...]:
    """A chain with one more link; two that pick values are one, and none where they undo each other."""
    if isinstance(link, SparseMap):
        last = links[-1] if links else None
        if isinstance(last, SparseMap) and all(m.picks and not m.pads for m in (last, link)):
            return _longer(links[:-1], last.then(link))
        if link.is_identity:
            return links
    return (*links, link)


def carried(links: Sequence[ChainLink], x: Array) -> Array:
    """What links make of values, without biases."""
    for link in links:
        if isinstance(link, SparseMap):
            x = link.applied(x)
        else:
            x = run_stages((link,), x.reshape(1, *link.in_shape)).reshape(-1)
    return x


@dataclass(frozen=True, eq=False)
class Blocks:
    """Signals one after the other: what a tensor holds, in C order, often one block per step."""

    signals: tuple[Signal, ...]

    @property
    def size(self) -> int:
        return sum(s.size for s in self.signals)

    @property
    def bounds(self) -> list[int]:
        return [0, *np.cumsum([s.size for s in self.signals]).tolist()]

    def cut(self, low: int, high: int) -> Blocks:
        """The values ``low:high``."""
        found = []
        for start, signal in zip(self.bounds, self.signals, strict=False):
            a, b = max(low, start), min(high, start + signal.size)
            if a < b:
                found.append(_slice(signal, a - start, b - start))
        return Blocks(tuple(found))

    def divided(self, bounds: Sequence[int]) -> Blocks:
        """The same values in blocks that end at ``bounds``; one block each."""
        if list(bounds) == self.bounds:
            return self
        pairs = pairwise(bounds)
        return Blocks(tuple(self.cut(a, b).joined() for a, b in pairs))

    def joined(self) -> Signal:
        """All values as one signal."""
        if len(self.signals) == 1:
            return self.signals[0]
        return self.mapped(SparseMap.scaling(np.ones(self.size)))

    def mapped(self, entries: SparseMap) -> Signal:
        """What a linear map makes of the values."""
        if len(self.signals) == 1:
            return self.signals[0].through(entries)
        total = Signal(entries.n_out)
        for low, high, signal in zip(self.bounds, self.bounds[1:], self.signals, strict=False):
            part = entries.part(low, high)
            if len(part.rows):
                total = total.plus(signal.through(part))
        return total


def _slice(signal: Signal, low: int, high: int) -> Signal:
    if (low, high) == (0, signal.size):
        return signal
    if signal.is_constant:
        numbers = None if signal.constant is None else signal.constant[low:high]
        return Signal(high - low, (), numbers)
    return signal.through(SparseMap.gathering(np.arange(low, high), signal.size))


def common(*blocks: Blocks) -> list[int]:
    """Bounds that are bounds of all of them."""
    return sorted({bound for b in blocks for bound in b.bounds})
