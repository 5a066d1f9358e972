"""What the channels of a population do on calibration samples: spike maps and membrane potentials.

Each figure says which potential it is about, as the sources differ:

* the *compared* potential is the one that the threshold sees: after leak and input, before the reset
  that its own spikes cause (QP-SNN's and SCA's ``ũ``);
* the *accumulated input* is the sum of what the synapses deliver, without leak, bias and reset.

A recorded v is the one after the reset. What precedes it follows from the recording exactly (to the
rounding of the float engine): ``v(t-1) · leak + u(t) + drive`` for immediate resets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from ..ir.arrays import Array, size
from ..ir.digest.content import content_digest
from ..ir.network import Network, Population
from ..ir.step import NeuronRule, above
from ..progress import Progress, silent
from ..simulate.recording import Recording
from ..workers import HERE, Workers
from .parts import PartSum, in_parts
from .stream import MAX_MEMORY

Figure = Literal["rate", "maps", "magnitude", "covariance"]
Potential = Literal["input", "compared"]

_MATRIX_VALUES = 1 << 22
"""Entries of spike maps whose singular values are computed at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelFigures:
    """Figures of one population, per channel (index of axis 0; of ``(N,)``: per neuron).

    Attributes:
        samples: how many were looked at.
        rate: ``(C,)``, mean number of spikes per neuron and step.
        rank: ``(C,)``, mean over samples of the numerical rank of the time-summed spike map
            (SVS, QP-SNN eqs. 11-13). A population ``(C, L)`` or ``(N,)`` has maps of one row.
        nuclear: ``(C,)``, mean over samples of the nuclear norm of the time-averaged spike map.
        magnitude: ``(C,)``, mean over samples and steps of the L1 norm of the compared potential
            (SCA, QP-SNN eq. 7).
        mean: ``(C,)``, mean of the time-averaged potential over samples and positions.
        covariance: ``(C, C)``, of the same, over samples × positions.
        rows: samples × positions behind ``covariance``.

    What was not asked for is None.
    """

    samples: int
    rate: Array
    rank: Array | None = None
    nuclear: Array | None = None
    magnitude: Array | None = None
    mean: Array | None = None
    covariance: Array | None = None
    rows: int = 0


def observe(
    network: Network,
    inputs: Array | Mapping[str, Array],
    populations: Iterable[str],
    figures: Iterable[Figure] = ("rate", "maps", "magnitude", "covariance"),
    *,
    potential: Potential = "input",
    max_memory: int = MAX_MEMORY,
    workers: Workers = HERE,
    progress: Progress = silent,
) -> dict[str, ChannelFigures]:
    """Figures of several populations from one run over the samples, in bounded chunks.

    Args:
        network: float or quantised.
        inputs: ``(steps, samples, *shape)``, or one such array per input population.
        populations: names; none may be an input.
        figures: what to compute; ``"rate"`` comes with everything.
        potential: whose time average ``"covariance"`` is about: the accumulated ``"input"`` (free of
            leak and reset), or the ``"compared"`` potential.
        max_memory: bytes for recordings and for what is derived from them; the sums come on top.
        workers: who goes through the samples; the bits are the same.
        progress: is told ``(samples done, samples)``.

    Raises:
        InputError: inputs that do not fit, or an unknown population.
    """
    names, wanted = list(populations), set(figures)
    observed = tuple(network.population(name) for name in names)
    what = (tuple(sorted(wanted)), potential)
    # A quarter for the recording; potentials are float64 and have a neighbour or two.
    sums = in_parts(
        network,
        names,
        inputs,
        partial(_nothing, observed, *what),
        told=lambda: content_digest((observed, *what)),
        record=names if wanted & {"magnitude", "covariance"} else (),
        memory=max_memory // 4,
        share=max_memory // 4,
        workers=workers,
        progress=progress,
    )
    return {
        total.population.name: total.finish() for total in sums if isinstance(total, _PopulationSum)
    }


def _nothing(
    populations: Sequence[Population], figures: Sequence[Figure], potential: Potential
) -> list[_PopulationSum]:
    """Sums of no samples yet."""
    return [_PopulationSum(p, set(figures), potential) for p in populations]


class _PopulationSum:
    """Running sums of one population."""

    def __init__(self, population: Population, figures: set[Figure], potential: Potential) -> None:
        self.population, self.figures, self.potential = population, figures, potential
        channels = population.shape[0]
        self.samples = self.steps = self.rows = 0
        self.spikes, self.rank, self.nuclear, self.magnitude = np.zeros((4, channels))
        self.mean = np.zeros(channels)
        self.scatter = np.zeros((channels, channels))

    def add(self, start: int, run: Recording, reference: Recording | None, share: int) -> None:
        """Add one recording."""
        del start, reference, share
        name = self.population.name
        trains = run.spikes[name]
        steps, samples, channels = trains.shape[:3]
        self.steps = steps
        self.samples += samples
        counts = trains.sum(axis=0, dtype=np.float64).reshape(samples, channels, -1)
        self.spikes += counts.sum(axis=(0, 2))
        if "maps" in self.figures:
            values = singular_values(spike_maps(counts, self.population))
            self.rank += rank(values, self.population).sum(axis=0)
            self.nuclear += values.sum(axis=(0, 2)) / steps
        if "magnitude" in self.figures:
            v = compared_potential(self.population, run.u[name], run.v[name])
            self.magnitude += np.abs(v).sum(axis=0).reshape(samples, channels, -1).sum(axis=(0, 2))
        if "covariance" in self.figures:
            seen = (
                accumulated_input(self.population, run.u[name])
                if self.potential == "input"
                else compared_potential(self.population, run.u[name], run.v[name]).sum(axis=0)
            )
            rows = np.moveaxis(seen / steps, 1, -1).reshape(-1, channels)
            mean = rows.mean(axis=0)
            centred = rows - mean
            self._merge(len(rows), mean, centred.T @ centred)

    def merge(self, later: PartSum) -> None:
        """Add what later samples came to."""
        assert isinstance(later, _PopulationSum)
        self.steps = later.steps
        self.samples += later.samples
        for mine, theirs in (
            (self.spikes, later.spikes),
            (self.rank, later.rank),
            (self.nuclear, later.nuclear),
            (self.magnitude, later.magnitude),
        ):
            mine += theirs
        if later.rows:
            self._merge(later.rows, later.mean, later.scatter)

    def _merge(self, rows: int, mean: Array, scatter: Array) -> None:
        """Add rows to mean and scatter without cancellation (Chan, Golub & LeVeque 1979)."""
        total = self.rows + rows
        step = mean - self.mean
        self.scatter += scatter
        self.scatter += np.outer(step, step) * (self.rows * rows / total)
        self.mean += step * (rows / total)
        self.rows = total

    def finish(self) -> ChannelFigures:
        n = max(1, self.samples)
        positions = size(self.population.shape[1:])
        maps, magnitude = "maps" in self.figures, "magnitude" in self.figures
        covariance = "covariance" in self.figures
        return ChannelFigures(
            samples=self.samples,
            rate=self.spikes / (n * max(1, self.steps) * positions),
            rank=self.rank / n if maps else None,
            nuclear=self.nuclear / n if maps else None,
            magnitude=self.magnitude / (n * max(1, self.steps)) if magnitude else None,
            mean=self.mean if covariance else None,
            covariance=self.scatter / max(1, self.rows) if covariance else None,
            rows=self.rows,
        )


def spike_maps(counts: Array, population: Population) -> Array:
    """``(samples, C, h, w)`` of what a population did; one row where it has no map."""
    shape = population.shape
    height, width = shape[1:] if len(shape) == 3 else (1, size(shape[1:]))
    return counts.reshape(-1, shape[0], height, width)


def singular_values(maps: Array) -> Array:
    """Singular values of ``(samples, C, h, w)``, float64, as ``(samples, C, min(h, w))``."""
    samples, channels, *shape = maps.shape
    flat = maps.reshape(-1, *shape)
    block = max(1, _MATRIX_VALUES // size(shape))
    values = np.zeros((len(flat), min(shape)))
    active = np.flatnonzero(flat.any(axis=(1, 2)))
    for low in range(0, active.size, block):
        part = active[low : low + block]
        values[part] = np.linalg.svd(flat[part].astype(np.float64), compute_uv=False)
    return values.reshape(samples, channels, -1)


def rank(values: Array, population: Population) -> Array:
    """Numerical rank from singular values ``(…, min(h, w))``.

    What counts exceeds the largest one by more than float64's rounding of a matrix of that size. The
    maps are counts of spikes, whole numbers, so nothing else blurs them: a threshold that does not
    follow the largest value (1e-6 in the paper) takes rounding for rank from 32 × 32 on in float32.
    """
    shape = population.shape
    extent = max(shape[1:]) if len(shape) == 3 else size(shape[1:])
    tolerance = values.max(axis=-1, keepdims=True, initial=0.0) * extent * np.finfo(np.float64).eps
    return np.asarray((values > tolerance).sum(axis=-1))


def accumulated_input(population: Population, u: Array) -> Array:
    """Sum over steps of what synapses delivered, ``(samples, *shape)`` float64, from recorded u."""
    neuron = population.neuron
    assert neuron is not None
    total = u.sum(axis=0, dtype=np.float64)
    if neuron.syn_leak is not None:
        total = total - neuron.syn_leak * (total - u[-1])
    return np.asarray(total - len(u) * np.broadcast_to(neuron.bias, population.shape))


def compared_potential(population: Population, u: Array, v: Array) -> Array:
    """The potential that the threshold sees, ``(steps, samples, *shape)`` float64."""
    neuron = population.neuron
    assert neuron is not None
    if neuron.threshold is None or neuron.reset_timing == "next-step":
        return v.astype(np.float64)  # its reset acts in the next step
    before = np.empty(v.shape)
    before[0], before[1:] = np.broadcast_to(neuron.v_init, population.shape), v[:-1]
    seen = neuron.leak * before + u + neuron.drive
    if neuron.reset_timing == "snntorch-immediate":
        seen -= above(NeuronRule.of(neuron), before, neuron.threshold) * neuron.threshold
    return np.asarray(seen)


def significant_dimensions(covariance: Array, rows: int, variance: float = 0.999) -> int:
    """Principal components that explain a fraction ``variance`` of the total, at least 1.

    The smallest k whose k largest eigenvalues reach it, as in Garg et al. (IEEE Access 2020) plus the
    one that ``sum(cumsum < v)`` leaves out; never more than ``rows`` - 1 observations can span.
    """
    eigenvalues = np.linalg.eigvalsh(covariance)[::-1].clip(min=0)
    total = eigenvalues.sum()
    if total <= 0:
        return 1
    reached = np.cumsum(eigenvalues) / total
    wanted = int((reached < variance - 1e-12).sum()) + 1
    return max(1, min(wanted, len(covariance), rows - 1))


def pivot_order(covariance: Array) -> Array:
    """Channels in the order in which each adds most variance that those before it do not explain.

    Pivoted Cholesky factorisation, ``(C,)``: the first k are k channels that predict the others well.
    """
    rest = covariance.astype(np.float64).copy()
    order = []
    left = np.ones(len(rest), dtype=bool)
    for _ in range(len(rest)):
        diagonal = np.where(left, np.diag(rest), -np.inf)
        pick = int(np.argmax(diagonal))
        order.append(pick)
        left[pick] = False
        if diagonal[pick] > 0:
            rest -= np.outer(rest[:, pick], rest[pick]) / diagonal[pick]
    return np.array(order)
