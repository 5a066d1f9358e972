"""What is run: inputs and labels, in memory or still on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ..brief import brief, brief_html
from ..ir.arrays import Array, Shape, size
from .arrays import forget

_BATCH_VALUES = 1 << 24
"""Values that one batch holds when the caller does not say how many samples."""


class SampleSource(Protocol):
    """Inputs that are read some samples at a time; whoever reads them in order reads them once."""

    @property
    def shape(self) -> Shape:
        """``(steps, samples, *input shape)``."""

    def read(self, low: int, high: int) -> Array:
        """Samples ``low`` to ``high`` (exclusive): ``(steps, high - low, *input shape)``."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs ``(steps, samples, *shape)`` and, where known, a class per sample."""

    source: Array | SampleSource
    labels: Array | None = None

    __repr__ = brief
    _repr_html_ = brief_html

    @cached_property
    def inputs(self) -> Array:
        """All inputs at once; `batches` hands them out without holding all of them."""
        return self._read(0, len(self))

    @property
    def steps(self) -> int:
        return int(self.source.shape[0])

    def __len__(self) -> int:
        return int(self.source.shape[1])

    def first(self, n: int | None) -> Samples:
        """The first ``n`` samples (all of them for None)."""
        return self.part(0, n)

    def part(self, low: int, n: int | None) -> Samples:
        """``n`` samples (as many as there are for None), beginning with number ``low``."""
        high = len(self) if n is None else min(low + n, len(self))
        labels = None if self.labels is None else self.labels[low:high]
        if isinstance(self.source, np.ndarray):
            return Samples(self.source[:, low:high], labels)
        return Samples(_Part(self.source, low, max(0, high - low)), labels)

    def batches(self, n: int | None = None) -> Iterator[Samples]:
        """Consecutive batches of at most ``n`` samples (as many as suit the memory for None)."""
        n = n or max(1, _BATCH_VALUES // max(1, self.steps * size(self.source.shape[2:])))
        for low in range(0, len(self), n):
            high = min(low + n, len(self))
            labels = None if self.labels is None else self.labels[low:high]
            yield Samples(self._read(low, high), labels)
            forget(self.source)

    def _read(self, low: int, high: int) -> Array:
        if isinstance(self.source, np.ndarray):
            return self.source[:, low:high]
        return self.source.read(low, high)


@dataclass(frozen=True, eq=False)
class _Part:
    """Consecutive samples of a source."""

    source: SampleSource
    first: int
    samples: int

    @property
    def shape(self) -> Shape:
        return (self.source.shape[0], self.samples, *self.source.shape[2:])

    def read(self, low: int, high: int) -> Array:
        return self.source.read(self.first + low, self.first + high)
