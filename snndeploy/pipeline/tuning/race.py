"""Judging on few samples before many: a trial goes on as long as it may still be on the front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...ir.arrays import Array

_FEWEST = 16
"""Samples of the first rung, at least."""
_RUNGS = 4
_SURE = 3.0
"""Standard errors that a difference must have to be taken for one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rival:
    """A trial that was judged on all samples: what it costs, and which answers were right."""

    number: int
    cost: float
    right: Array


def rungs(samples: int) -> tuple[int, ...]:
    """How many samples have been seen after each rung; each has twice as many as the one before.

    >>> rungs(300)
    (37, 75, 150, 300)
    >>> rungs(20)
    (16, 20)
    """
    halves = [samples >> k for k in reversed(range(_RUNGS))]
    return tuple(dict.fromkeys(max(min(_FEWEST, samples), n) for n in halves))


def hopeless(
    right: Array, samples: int, cost: float, rivals: Sequence[Rival], floor: float | None
) -> str:
    """Why a trial cannot be on the front, or does not seem to; empty where it may.

    Args:
        right: whether its first answers were right, (seen,).
        samples: on how many it would be judged.
        cost: what it costs.
        rivals: trials that were judged on all samples.
        floor: how many answers have to be right (None: any number).

    Returns:
        ``below`` (it has too few right answers even if the rest are right), ``dominated`` (so it would
        have no more than one that costs no more), ``surely below`` and ``surely dominated`` (the
        difference is three standard errors), or nothing.
    """
    seen = len(right)
    most = int(right.sum()) + samples - seen
    if floor is not None and most < floor:
        return "below"
    cheaper = [rival for rival in rivals if rival.cost <= cost]
    if any(int(rival.right.sum()) >= most for rival in cheaper):
        return "dominated"
    if seen in (0, samples):
        return ""
    if floor is not None and _surely(np.full(seen, floor / samples) - right):
        return "surely below"
    if any(_surely(rival.right[:seen].astype(float) - right) for rival in cheaper):
        return "surely dominated"
    return ""


def _surely(better: Array) -> bool:
    """Whether a mean difference per sample is above zero by more than chance."""
    mean = float(better.mean())
    # one sample more or less is never certain, however much alike the others are
    error = max(float(better.std()) / math.sqrt(len(better)), 1 / len(better))
    return mean > _SURE * error
