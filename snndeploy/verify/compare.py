"""Where two recordings of the same samples part."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..ir.arrays import Array
from ..simulate.recording import Recording


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The earliest difference of a population: step of the sample, sample, neuron (flat), values."""

    step: int
    sample: int
    neuron: int
    values: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two engines on the same samples, per population that both recorded.

    ``differing`` counts places (step, sample, neuron) with different values, ``total`` all places,
    ``match`` is the fraction of spikes of either that the other one has too (``spikes`` counts those of
    either), ``first`` the earliest difference.
    """

    engines: tuple[str, str]
    differing: Mapping[str, int]
    total: Mapping[str, int]
    match: Mapping[str, float]
    spikes: Mapping[str, float]
    first: Mapping[str, Divergence]

    @property
    def equal(self) -> bool:
        return not any(self.differing.values())


def compare(a: Recording, b: Recording, names: tuple[str, str] | None = None) -> Comparison:
    """Compare every population that both recorded; ``names`` replaces the engines' own.

    Populations of different shape (kernels were removed between the two) are left out.
    """
    pairs = {
        name: (x, b.spikes[name])
        for name, x in a.spikes.items()
        if name in b.spikes and b.spikes[name].shape == x.shape
    }
    first = {name: _first(x, y) for name, (x, y) in pairs.items()}
    return Comparison(
        engines=names or (a.engine, b.engine),
        differing={name: int((x != y).sum()) for name, (x, y) in pairs.items()},
        total={name: int(x.size) for name, (x, _) in pairs.items()},
        match={name: _match(x, y) for name, (x, y) in pairs.items()},
        spikes={name: _either(x, y) for name, (x, y) in pairs.items()},
        first={name: at for name, at in first.items() if at is not None},
    )


def merge(a: Comparison, b: Comparison, samples: int) -> Comparison:
    """Both batches in one comparison; ``b`` begins ``samples`` samples later than ``a``."""
    spikes = {name: a.spikes[name] + b.spikes[name] for name in a.spikes}
    common = {
        name: a.match[name] * a.spikes[name] + b.match[name] * b.spikes[name] for name in spikes
    }
    later = {
        name: dataclasses.replace(at, sample=at.sample + samples) for name, at in b.first.items()
    }
    earliest = {
        name: min(
            (x[name] for x in (a.first, later) if name in x), key=lambda d: (d.step, d.sample)
        )
        for name in a.differing
        if name in later or name in a.first
    }
    return Comparison(
        engines=a.engines,
        differing={name: a.differing[name] + b.differing[name] for name in a.differing},
        total={name: a.total[name] + b.total[name] for name in a.total},
        match={name: common[name] / n if n else 1.0 for name, n in spikes.items()},
        spikes=spikes,
        first=earliest,
    )


def _either(x: Array, y: Array) -> float:
    """Spikes that either has."""
    return float(np.maximum(x, y).sum(dtype=np.float64))


def _match(x: Array, y: Array) -> float:
    """Spikes in common over spikes of either (1 where nobody spiked)."""
    either = _either(x, y)
    return float(np.minimum(x, y).sum(dtype=np.float64) / either) if either else 1.0


def _first(x: Array, y: Array) -> Divergence | None:
    differs = np.argwhere((x != y).reshape(*x.shape[:2], -1))
    if not len(differs):
        return None
    step, sample, neuron = (int(i) for i in differs[0])
    values = (float(r.reshape(*r.shape[:2], -1)[step, sample, neuron]) for r in (x, y))
    return Divergence(step=step, sample=sample, neuron=neuron, values=(next(values), next(values)))
