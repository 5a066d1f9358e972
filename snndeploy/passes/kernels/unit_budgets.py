"""How many units stay: a share, a number, as many as activity has dimensions, or as cores hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...calibrate.statistics import significant_dimensions
from ...errors import PassRefused
from ...ir.arrays import Array
from ...ir.network import Network
from ...lower import infer_coding, lower
from ...mapping import place_program
from ..base import PassContext
from ..second_order.budgets import budget
from .coupling import CouplingGroup
from .scores import Evidence
from .slicing import shrink

_FINEST = 256
"""Steps of the ratio that are told apart when a number of cores is asked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranked:
    """Groups with the score of each unit, and the ``counts`` to keep (by first population) if given."""

    groups: Sequence[CouplingGroup]
    scores: Sequence[Array]
    counts: Mapping[str, int]
    round_to: int = 1

    def keep(self, ratio: float) -> list[CouplingGroup]:
        """Each group with its best units: a number that was given, else all but ``ratio``."""
        small = []
        for group, score in zip(self.groups, self.scores, strict=True):
            stay = self.counts.get(group.populations[0], group.count - budget(ratio, group.count))
            rounded = min(group.count, -(-max(1, stay) // self.round_to) * self.round_to)
            order = np.argsort(score, kind="stable")
            small.append(group.keep(order[group.count - rounded :]))
        return small


def within_cores(
    net: Network, ranked: Ranked, ratio: float, cores: int, ctx: PassContext, where: str
) -> list[CouplingGroup]:
    """The units that stay at the smallest ratio, from ``ratio`` on, with which ``cores`` suffice.

    Raises:
        PassRefused: no target is given, or they never suffice.
    """
    low, high = int(np.ceil(ratio * _FINEST)), _FINEST
    needed = cores_needed(shrink(net, ranked.keep(1.0)), ctx)
    if needed > cores:
        raise PassRefused(
            "cores-unreachable",
            f"with the fewest kernels it still needs {needed} cores, {cores} are wanted",
            where=where,
            hint="choose more layers (kinds, layers), allow more cores, or use fewer bits",
        )
    while low < high:
        middle = (low + high) // 2
        if cores_needed(shrink(net, ranked.keep(middle / _FINEST)), ctx) <= cores:
            high = middle
        else:
            low = middle + 1
    return ranked.keep(high / _FINEST)


def cores_needed(net: Network, ctx: PassContext) -> int:
    """Cores that the placed program of ``net`` takes on the target.

    Raises:
        PassRefused: no target is given.
    """
    if ctx.target is None:
        raise PassRefused(
            "target-missing",
            "a budget of cores needs the chip that has them",
            where="remove-kernels.cores",
            hint="compile for a target",
        )
    coding = None
    if ctx.calibration is not None:
        coding = infer_coding(next(iter(ctx.calibration.inputs.values())))
    program = lower(net, ctx.target, inputs=coding)
    return len({s.core for s in place_program(program, ctx.target).slices})


def dimensions(group: CouplingGroup, evidence: Evidence, variance: float) -> int:
    """Units that a group needs for the significant dimensions of its widest population."""
    share = 0.0
    for name in group.populations:
        activity = evidence.activity[name]
        assert activity.covariance is not None
        found = significant_dimensions(activity.covariance, activity.rows, variance)
        share = max(share, found / len(activity.covariance))
    return int(np.ceil(share * group.count - 1e-9))
