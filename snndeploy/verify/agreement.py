"""How alike the trains of one population are in two stages, added up batch by batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ir.arrays import Array
from .distance import van_rossum

_MOST_TRAINS = 1 << 18
"""Trains whose traces are computed together."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One population in two stages, over all samples.

    Attributes:
        rate_correlation: Pearson's r between the rates of all neurons in all samples (for neurons that
            do not spike: their mean values); None where either stage has the same rate everywhere.
        van_rossum: mean over neurons and samples of the distance D (see `van_rossum`).
        relative_distance: sum of D² between the stages over the sum of their D² to silence: 0 for equal
            trains, 1 for trains that have nothing in common. None where neither spikes.
        match: spikes in common over spikes of either, step by step (1 where neither spikes).

    All but the correlation are None for neurons that do not spike.
    """

    rate_correlation: float | None
    van_rossum: float | None
    relative_distance: float | None
    match: float | None


class AgreementMeter:
    """Adds up what an `Agreement` is made of; its memory does not grow with the samples.

    Args:
        tau: time constant of the van Rossum distance, in steps.
        spiking: whether the population spikes (else values are compared by their means alone).
    """

    def __init__(self, tau: float, *, spiking: bool) -> None:
        self.tau = tau
        self.spiking = spiking
        self._rates = _Moments()
        self._trains = 0
        self._distance = self._between = self._silent = 0.0
        self._common = self._either = 0

    def add(self, a: Array, b: Array) -> None:
        """Take in one batch: both ``(steps, samples, *shape)``."""
        a, b = (x.reshape(*x.shape[:2], -1) for x in (a, b))
        self._rates.add(*(x.mean(axis=0, dtype=np.float64).reshape(-1) for x in (a, b)))
        if not self.spiking:
            return
        a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
        self._trains += a.shape[1]
        busy = np.flatnonzero(a.any(axis=0) | b.any(axis=0))
        for low in range(0, len(busy), _MOST_TRAINS):
            some = busy[low : low + _MOST_TRAINS]
            x, y = a[:, some], b[:, some]
            d = van_rossum(x, y, self.tau)
            self._distance += float(np.sqrt(d.between).sum())
            self._between += float(d.between.sum())
            self._silent += float(d.first.sum() + d.second.sum())
            self._common += int(np.minimum(x, y).sum(dtype=np.int64))
            self._either += int(np.maximum(x, y).sum(dtype=np.int64))

    def result(self) -> Agreement:
        """The figures of everything taken in so far."""
        r = self._rates.correlation()
        if not self.spiking:
            return Agreement(
                rate_correlation=r, van_rossum=None, relative_distance=None, match=None
            )
        return Agreement(
            rate_correlation=r,
            van_rossum=self._distance / max(1, self._trains),
            relative_distance=self._between / self._silent if self._silent else None,
            match=self._common / self._either if self._either else 1.0,
        )


class _Moments:
    """Means and second central moments of pairs, batch by batch (Chan, Golub and LeVeque, 1979)."""

    def __init__(self) -> None:
        self.n = 0
        self.mean = np.zeros(2)
        self.second = np.zeros((2, 2))

    def add(self, x: Array, y: Array) -> None:
        """Take in a batch of pairs."""
        both = np.stack([x, y])
        n = self.n + both.shape[1]
        mean = both.mean(axis=1)
        gap, centred = mean - self.mean, both - mean[:, np.newaxis]
        self.second += centred @ centred.T + np.outer(gap, gap) * (self.n * both.shape[1] / n)
        self.mean += gap * (both.shape[1] / n)
        self.n = n

    def correlation(self) -> float | None:
        """Pearson's r; None where one side does not vary."""
        norm = float(np.sqrt(self.second[0, 0] * self.second[1, 1]))
        return float(np.clip(self.second[0, 1] / norm, -1, 1)) if norm else None
