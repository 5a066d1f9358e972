"""Arrange cores on chips and on their meshes so that messages have short ways.

A message to another chip costs the same wherever it starts, so cores are first dealt out to chips with
few messages between them, and then placed on each chip's mesh apart from all others. Both are local
searches that only ever take what improves, from several starts; the mesh search also shakes its best
arrangement at random and searches on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...chip import Target
from ...ir.arrays import Array
from .flows import Flows
from .mesh import busiest_load, cost, distances
from .partition import deal

_BETTER = 1e-9
"""Share of the cost that counts as an improvement."""
_EQUAL = 0.01
"""Arrangements within this share of the least cost are told apart by their busiest link."""


@dataclass(frozen=True)
class Budget:
    """How long to search: ``kicks`` are shaken restarts per board, shared by its chips.

    ``library`` lets an installed partitioner propose how to deal cores out to chips.
    """

    kicks: int
    library: bool = False


def arrange(flows: Flows, cores: int, target: Target, *, budget: Budget, seed: int) -> Array:
    """Number the core that each of ``cores`` dense core numbers moves to.

    Args:
        flows: messages between the dense numbers ``0 .. cores - 1``.
        cores: how many there are; they take no more chips than they need.
        target: the chip.
        budget: how long to search.
        seed: of the random draws.

    Returns:
        A core number for each, never worse than leaving them as they are.
    """
    per_chip = target.chip.cores.limit
    chips = -(-cores // per_chip)
    inner = flows.between_cores()
    found = np.arange(cores)
    if cores < 2 or not inner.weight.any():
        return found
    chip = found // per_chip
    if chips > 1:
        chip = deal(inner, cores, chips, per_chip, library=budget.library, seed=seed)
    far = distances(target)
    kicks = -(-budget.kicks // chips)
    for c, (members, sent) in enumerate(_within(inner, chip, chips)):
        if len(members):
            rng = np.random.default_rng([seed, c])
            found[members] = c * per_chip + _on_mesh(sent, far, kicks, rng, target)
    before, after = (_moved(inner, to) for to in (np.arange(cores), found))
    return found if cost(after, target) < cost(before, target) else np.arange(cores)


def _moved(flows: Flows, to: Array) -> Flows:
    return Flows(to[flows.source], to[flows.target], flows.weight)


def _within(flows: Flows, chip: Array, chips: int) -> Iterator[tuple[Array, Array]]:
    """The cores of each chip, and the messages from each of them to each, as a matrix."""
    order = np.argsort(chip, kind="stable")
    first = np.searchsorted(chip[order], np.arange(chips + 1))
    local = np.empty(len(chip), np.int64)
    local[order] = np.arange(len(chip)) - first[chip[order]]
    inside = np.flatnonzero(chip[flows.source] == chip[flows.target])
    inside = inside[np.argsort(chip[flows.source[inside]], kind="stable")]
    begins = np.searchsorted(chip[flows.source[inside]], np.arange(chips + 1))
    for c in range(chips):
        members = order[first[c] : first[c + 1]]
        mine = inside[begins[c] : begins[c + 1]]
        sent = np.zeros((len(members), len(members)))
        at = (local[flows.source[mine]], local[flows.target[mine]])
        np.add.at(sent, at, flows.weight[mine])
        yield members, sent


def _on_mesh(
    sent: Array, far: Array, kicks: int, rng: np.random.Generator, target: Target
) -> Array:
    """Positions on the mesh of one chip for cores that send these messages to each other."""
    count, places = len(sent), len(far)
    weights = sent + sent.T
    padded = np.zeros((places, places))  # positions without a core hold one that nobody talks to
    padded[:count, :count] = weights
    starts = [np.arange(places), _spectral(weights, places)]
    ends = [_descend(padded, far, start) for start in starts]
    best = min(ends, key=lambda at: _total(padded, far, at))
    tried = [*ends]
    for _ in range(kicks if count > 2 else 0):
        shaken = best.copy()
        chosen = rng.choice(count, min(count, int(rng.integers(2, 7))), replace=False)
        shaken[chosen] = shaken[np.roll(chosen, 1)]
        end = _descend(padded, far, shaken)
        tried.append(end)
        if _total(padded, far, end) < _total(padded, far, best) * (1 - _BETTER):
            best = end
    least = _total(padded, far, best)
    equal = [at for at in tried if _total(padded, far, at) <= least * (1 + _EQUAL)]
    source, goal = np.nonzero(sent)
    pairs = Flows(source, goal, sent[source, goal])
    winner = min(
        equal, key=lambda at: (busiest_load(_moved(pairs, at), target), _total(padded, far, at))
    )
    return winner[:count]


def _total(weights: Array, far: Array, at: Array) -> float:
    return float((weights * far[np.ix_(at, at)]).sum()) / 2


def _descend(weights: Array, far: Array, at: Array) -> Array:
    """Swap the pair that saves most, until none saves anything."""
    at = at.copy()
    floor = _BETTER * max(float(weights.sum()), 1.0)
    while True:
        near = far[np.ix_(at, at)]
        moved = weights @ near  # [i, j]: cost of core i where core j is
        here = np.diag(moved)
        change = moved + moved.T - here[:, None] - here + 2 * weights * near
        i, j = divmod(int(change.argmin()), len(at))
        if change[i, j] >= -floor:
            return at
        at[i], at[j] = at[j], at[i]


def _spectral(weights: Array, places: int) -> Array:
    """Cores in the order of the graph's Fiedler vector along the snake, then the empty places."""
    count = len(weights)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    _, vectors = np.linalg.eigh(laplacian)
    order = np.argsort(vectors[:, min(1, count - 1)], kind="stable")
    at = np.arange(places)
    at[order] = np.arange(count)
    return at
