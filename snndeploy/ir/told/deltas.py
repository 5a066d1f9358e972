"""Sigma-delta networks: in which time they run, and how far their sums drift."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from ..finding import Finding
from ..graded.delta import DeltaRule
from ..linear.apply import apply_chain
from ..program import CompartmentGroup, SynapseGroup

Starts = Literal["chip", "sample"]
"""When the layers of a sigma-delta network start.

``chip``: all of them at the chip's first step, as netx runs them, so that biases act at once and frames
cross one layer per step. ``sample``: each in the step in which a sample reaches it, as SLAYER trains.
"""

_TIMES = {
    "chip": "all layers start at the chip's first step, as in netx on Loihi 2: biases act at once, and "
    "a frame reaches layer k after k steps. SLAYER trains with layers that start when a sample "
    "reaches them (--starts sample), and answers may differ",
    "sample": "each layer starts in the step in which a sample reaches it, as SLAYER trains. netx on "
    "Loihi 2 starts all layers at once (--starts chip), and answers may differ",
}


def told_of_deltas(
    groups: Sequence[CompartmentGroup], synapses: Sequence[SynapseGroup], starts: Starts
) -> Iterator[Finding]:
    """Findings ``delta-time`` and, where messages drop bits, ``delta-drift``.

    Args:
        groups: of the program; the scale of sigma-delta groups is x units per unit of the activation.
        synapses: of the program.
        starts: the time that depths and latencies were chosen for.
    """
    yield Finding(code="delta-time", severity="note", where="network", message=_TIMES[starts])
    known = {g.name: g for g in groups}
    worst, where = 0.0, ""
    for s in synapses:
        target = known[s.target]
        lost = sum(_lost(known[o.group]) for o in s.sources)
        if not isinstance(target.dynamics, DeltaRule) or not lost:
            continue
        shape = known[s.sources[0].group].shape
        sums = np.abs(apply_chain(s.ops, s.mantissa, np.ones((1, *shape), np.int64))).max()
        most = lost * float(sums) * 2.0**s.exponent / float(np.min(target.scale))
        worst, where = max((worst, where), (most, target.name))
    if worst:
        yield Finding(
            code="delta-drift",
            severity="warning",
            where=where,
            message="messages drop the low bits of what they tell: on average half a unit of each is "
            "lost for good, and the sums behind drift. Each time that all sources have sent a message, "
            f"its sum is off by another {worst:.2g} (in units of the activation); start anew after a "
            "while",
        )


def _lost(group: CompartmentGroup) -> float:
    rule = group.dynamics
    return rule.drift_per_message if isinstance(rule, DeltaRule) else 0.0
