"""How much each removable unit matters: small functions of one interface, from one calibration run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from ...calibrate.moments import Moments, Response, gather, rows
from ...calibrate.statistics import ChannelFigures, Figure, observe, pivot_order
from ...ir.arrays import Array
from ...ir.network import Network, Projection
from ...ir.ops import Pointwise
from ...limits import current
from ..base import PassContext
from ..second_order.room import moment_bytes
from .coupling import CouplingGroup

Criterion = Literal["l1", "svs", "sca", "nuclear", "rate", "pca", "second-order", "random"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)

POSITIONS = 16
"""Output positions of a convolution that moments look at, per sample; they are strongly alike."""
RIDGE = 0.03
"""How strongly weights hold on to their values while units are ranked, unless told otherwise."""

_FIGURES: dict[Criterion, Figure] = {
    "svs": "maps",
    "nuclear": "maps",
    "sca": "magnitude",
    "rate": "rate",
    "pca": "covariance",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What scores may look at besides the group: the network and one calibration run's figures.

    ``folded`` says that removed units are made up for by the weights of those that stay, ``ridge`` how
    strongly these hold on to their values (see `compensate`; 0: `RIDGE`).
    """

    network: Network
    ctx: PassContext
    activity: Mapping[str, ChannelFigures] = field(default_factory=dict)
    moments: Mapping[str, Moments] = field(default_factory=dict)
    folded: bool = False
    ridge: float = 0.0


Score = Callable[[CouplingGroup, Evidence], Array]
"""How much each unit of a group matters (``(count,)``, higher = more)."""


def gather_evidence(
    net: Network,
    groups: Iterable[CouplingGroup],
    criterion: Criterion,
    ctx: PassContext,
    *,
    now: Iterable[CouplingGroup] | None = None,
    covariance: bool = False,
    folded: bool = False,
    ridge: float = 0.0,
    kernel: Response = "membrane",
) -> Evidence:
    """Run the calibration samples once and keep what ``criterion`` needs of ``groups``.

    Args:
        net: the network to score.
        groups: those that will be scored.
        criterion: name of the score.
        ctx: calibration and progress.
        now: those of ``groups`` that are scored next (default: all); only their moments are held, and
            they are those that all would have.
        covariance: collect covariances too, for widths.
        folded: see `Evidence`.
        ridge: see `Evidence`.
        kernel: response in which membrane errors count, for ``"second-order"``.

    Raises:
        PassRefused: samples are needed and none were given.
    """
    chosen = list(groups)
    figures = {_FIGURES[criterion]} if criterion in _FIGURES else set()
    figures |= {"covariance"} if covariance else set()
    activity: Mapping[str, ChannelFigures] = {}
    moments: Mapping[str, Moments] = {}

    def progress(done: int, of: int) -> None:
        ctx.progress("samples", done, of)

    score = f"the score {criterion!r}"
    if figures:
        inputs = ctx.samples(score if criterion in _FIGURES else "variance")
        names = [n for g in chosen for n in g.populations]
        activity = observe(net, inputs, names, figures, workers=ctx.workers, progress=progress)
    if criterion == "second-order":
        inputs = ctx.samples(score)
        everybody, wanted = (
            sorted({p.name for g in some for p in consuming(net, g)})
            for some in (chosen, chosen if now is None else now)
        )
        moments = gather(
            net,
            inputs,
            wanted,
            beside=everybody,
            kernel=kernel,
            positions=POSITIONS,
            workers=ctx.workers,
            progress=progress,
        )
    return Evidence(
        network=net, ctx=ctx, activity=activity, moments=moments, folded=folded, ridge=ridge
    )


def in_rooms(
    net: Network, groups: Sequence[CouplingGroup], criterion: Criterion
) -> Iterator[list[CouplingGroup]]:
    """``groups`` in their order, as many at a time as have their moments in half of the memory."""
    room = current().room()
    part: list[CouplingGroup] = []
    free = 0.0
    for group in groups:
        needed = 0
        if criterion == "second-order":
            needed = sum(moment_bytes(net, (p,)) for p in consuming(net, group))
        if part and needed > free:
            yield part
            part = []
        if not part:
            free = math.inf if room is None else room / 2
        part.append(group)
        free -= needed
    if part:
        yield part


def consuming(net: Network, group: CouplingGroup) -> list[Projection]:
    """The projections through which the units of a group act on others: those that mix channels."""
    return [p for p in net.projections if p.name in group.columns and p.op.mixes_channels]


def column_units(projection: Projection, group: CouplingGroup) -> Array:
    """The unit of each column of a weight seen as ``(rows, columns)``."""
    per_input = projection.weight.data[0].size // len(group.columns[projection.name])
    return np.repeat(group.columns[projection.name], per_input)


def _l1(group: CouplingGroup, evidence: Evidence) -> Array:
    """Sum of weight magnitudes of everything that feeds the unit's neurons."""
    score = np.zeros(group.count)
    for projection in evidence.network.projections:
        if projection.name in group.rows:
            units = group.rows[projection.name]
            size = np.abs(projection.weight.data, dtype=np.float64)
            shared = isinstance(projection.op, Pointwise) and (
                size.ndim < len(projection.op.shape) or len(size) < len(units)
            )
            # A one-to-one weight may be one for all channels; then it feeds each unit alike.
            norm = size.sum() if shared else size.reshape(len(units), -1).sum(axis=1)
            np.add.at(score, units, norm)
    return score


def _figure(name: str, evidence: Evidence, figure: str) -> Array:
    """One figure of a population that the calibration run was asked for."""
    value = getattr(evidence.activity[name], figure)
    assert value is not None
    return np.asarray(value)


def _summed(group: CouplingGroup, values: Callable[[str], Array]) -> Array:
    """Values per channel of each population, added up over the channels of each unit."""
    score = np.zeros(group.count)
    for name, units in group.units.items():
        np.add.at(score, units, values(name))
    return score


def _rate(group: CouplingGroup, evidence: Evidence) -> Array:
    """Spikes per neuron and step."""
    return _summed(group, lambda name: _figure(name, evidence, "rate"))


def _nuclear(group: CouplingGroup, evidence: Evidence) -> Array:
    """Nuclear norm of time-averaged spike maps, averaged over samples."""
    return _summed(group, lambda name: _figure(name, evidence, "nuclear"))


def _svs(group: CouplingGroup, evidence: Evidence) -> Array:
    """Numerical rank of spike maps, averaged over samples (QP-SNN); ties go by nuclear norm.

    Mean ranks of n samples differ by 1/n or not at all, so a share of less than that breaks ties only.
    """
    rank = _summed(group, lambda name: _figure(name, evidence, "rank"))
    samples = max(evidence.activity[name].samples for name in group.populations)
    tie = _nuclear(group, evidence)
    return rank + 0.5 / samples * tie / max(float(tie.max(initial=0)), 1e-300)


def _sca(group: CouplingGroup, evidence: Evidence) -> Array:
    """L1 norm of the potential that is compared with the threshold, averaged (SCA)."""
    return _summed(group, lambda name: _figure(name, evidence, "magnitude"))


def _pca(group: CouplingGroup, evidence: Evidence) -> Array:
    """How early a channel is picked when each pick explains most of the variance left over."""

    def values(name: str) -> Array:
        place = np.argsort(pivot_order(_figure(name, evidence, "covariance")))
        return np.asarray(1 - place / len(place))

    return _summed(group, values)


def _random(group: CouplingGroup, evidence: Evidence) -> Array:
    """The control that every comparison needs."""
    return evidence.ctx.stream(f"random/{group.populations[0]}").random(group.count)


def _second_order(group: CouplingGroup, evidence: Evidence) -> Array:
    """Increase of the consumers' squared membrane error up to and including the unit's removal.

    Units go one by one, each time the one whose removal costs least given those that are gone. With
    folding, a step is exact group OBS: the other weights take over what they can, and the Hessian's
    inverse is downdated; without, it adds the unit's own error and what it shares with those gone.
    """
    consumers = [_Consumer(p, group, evidence) for p in consuming(evidence.network, group)]
    score = np.zeros(group.count)
    left = list(range(group.count))
    total = 0.0
    while left:
        costs = sum((c.costs(left) for c in consumers), np.zeros(len(left)))
        best = int(np.argmin(costs))
        total += max(0.0, float(costs[best]))
        unit = left.pop(best)
        score[unit] = total
        for consumer in consumers:
            consumer.remove(unit)
    return score


class _Consumer:
    """One projection that reads from the group, during the removal of its units."""

    def __init__(self, projection: Projection, group: CouplingGroup, evidence: Evidence) -> None:
        moments = evidence.moments[projection.name]
        weight = rows(projection, projection.weight.data).astype(np.float64)
        units = column_units(projection, group)
        self.columns = [np.flatnonzero(units == u) for u in range(group.count)]
        parts = [weight[moments.group == g] for g in range(len(moments.hessian))]
        self.folded = evidence.folded
        if self.folded:
            self.weights = parts
            ridge = evidence.ridge or RIDGE
            self.inverse = [_inverse(h, ridge) for h in moments.hessian]
            return
        one_hot = np.zeros((len(units), group.count))
        one_hot[np.arange(len(units)), units] = 1
        shared = sum(((w.T @ w) * h for w, h in zip(parts, moments.hessian, strict=True)))
        self.shared = one_hot.T @ np.asarray(shared) @ one_hot / 2
        self.gone = np.zeros(group.count)

    def costs(self, left: list[int]) -> Array:
        """What the removal of each of these units would add."""
        if not self.folded:
            return np.asarray((np.diag(self.shared) + 2 * self.shared @ self.gone)[left])
        return np.array(
            [sum(self._cost(i, self.columns[u]) for i in range(len(self.weights))) for u in left]
        )

    def _cost(self, part: int, columns: Array) -> float:
        w = self.weights[part][:, columns]
        block = self.inverse[part][np.ix_(columns, columns)]
        return float((w * np.linalg.solve(block, w.T).T).sum()) / 2

    def remove(self, unit: int) -> None:
        if not self.folded:
            self.gone[unit] = 1
            return
        columns = self.columns[unit]
        for i, inverse in enumerate(self.inverse):
            factor = np.linalg.solve(inverse[np.ix_(columns, columns)], inverse[columns])
            self.weights[i] = self.weights[i] - self.weights[i][:, columns] @ factor
            inverse -= inverse[:, columns] @ factor
            # Rounding must not bring back what is gone; a unit diagonal keeps later solves defined.
            inverse[columns] = inverse[:, columns] = 0
            inverse[columns, columns] = 1


def _inverse(hessian: Array, ridge: float) -> Array:
    mean = float(np.diag(hessian).mean())
    damp = ridge * mean if mean > 0 else 1.0
    return np.linalg.inv(hessian + damp * np.eye(len(hessian)))


SCORES: dict[Criterion, Score] = {
    "l1": _l1,
    "svs": _svs,
    "sca": _sca,
    "nuclear": _nuclear,
    "rate": _rate,
    "pca": _pca,
    "second-order": _second_order,
    "random": _random,
}
"""Every criterion; what to remove and how much stays the same for all."""
