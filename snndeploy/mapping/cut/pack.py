"""Let slices share cores, as few cores as can be found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...chip import Family
from ...chip.counting import Resources


def pack(pieces: Sequence[Resources], family: Family, *, draws: int, seed: int) -> list[int]:
    """Number the core of every piece; first fit in several orders, the fewest cores win.

    Args:
        pieces: what the slices take, in layer order.
        family: that of the chip.
        draws: random orders that are tried besides layer order and the largest first.
        seed: of those.
    """
    limits = family.limits
    shares = np.array([[p.get(n, 0) / max(m, 1) for n, m in limits.items()] for p in pieces])
    layers = np.arange(len(pieces))
    orders = [
        layers,
        np.argsort(-shares.max(axis=1), kind="stable"),
        np.argsort(-shares.sum(axis=1), kind="stable"),
    ]
    rng = np.random.default_rng(seed)
    for _ in range(draws):  # near the largest first: swap neighbours in the order at random
        noise = shares.max(axis=1) * rng.uniform(0.5, 1.5, len(pieces))
        orders.append(np.argsort(-noise, kind="stable"))
    packed = min((_first_fit(pieces, order.tolist(), family) for order in orders), key=max)
    # Renumber in layer order: the core of the earliest layer first.
    new: dict[int, int] = {}
    return [new.setdefault(core, len(new)) for core in packed]


def _first_fit(pieces: Sequence[Resources], order: Sequence[int], family: Family) -> list[int]:
    # Sums decide in bulk; what does not simply add up is looked at core by core.
    limits = family.limits
    names = [name for name in limits if name not in family.unsummed]
    most = np.array([limits[name] for name in names])
    sums = np.zeros((len(pieces), len(names)), np.int64)
    cores: list[Resources] = []
    where = [0] * len(pieces)
    for i in order:
        own = pieces[i]
        row = np.array([own.get(name, 0) for name in names])
        where[i] = len(cores)
        for core in np.flatnonzero((sums[: len(cores)] + row <= most).all(axis=1)):
            both = family.combined((cores[core], own))
            if all(both.get(name, 0) <= limit for name, limit in limits.items()):
                cores[core], where[i] = both, int(core)
                break
        else:
            cores.append(dict(own))
        sums[where[i]] += row
    return where
