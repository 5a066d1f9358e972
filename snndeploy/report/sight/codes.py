"""The integers that weights became: how often each occurs in a projection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...ir.program import Program, SynapseGroup

_MOST_BARS = 64


@dataclass(frozen=True, kw_only=True)
class CodeCounts:
    """How many weights of a projection have a code from ``low`` to ``high``, bar by bar.

    ``zeros`` counts those that are 0, next to which the others could not be seen, and ``pruned`` the
    stored ones that were pruned; neither are in a bar.
    """

    projection: str
    bits: int
    exponent: int
    bars: tuple[tuple[int, int, int], ...]
    zeros: int
    pruned: int


def codes_of(program: Program) -> tuple[CodeCounts, ...]:
    """The codes of every projection that stores more than one weight."""
    return tuple(_codes(s) for s in program.synapses if s.mantissa.size > 1)


def _codes(s: SynapseGroup) -> CodeCounts:
    alive = np.ones(s.mantissa.shape, bool) if s.alive is None else s.alive
    kept = s.mantissa[alive].astype(np.int64)
    values = kept[kept != 0]
    bars: list[tuple[int, int, int]] = []
    if values.size:
        low, high = int(values.min()), int(values.max())
        apart = max(1, int(np.gcd.reduce(values - low)))
        width = apart * -(-((high - low) // apart + 1) // _MOST_BARS)
        counts = np.bincount((values - low) // width)
        bars = [
            (low + i * width, low + (i + 1) * width - 1, int(n))
            for i, n in enumerate(counts.tolist())
        ]
    return CodeCounts(
        projection=s.name,
        bits=s.weight_bits,
        exponent=s.exponent,
        bars=tuple(bars),
        zeros=int(kept.size - values.size),
        pruned=int(s.mantissa.size - kept.size),
    )
