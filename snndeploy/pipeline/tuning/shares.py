"""How much of a sparsity each layer takes: alike, by LAMP scores, or by what pruning it costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np

from ...ir.network import Network
from ...passes.second_order.budgets import lamp_counts
from ..advise.sensitivity import Sensitivity

SharedBy: TypeAlias = Literal["layer", "lamp", "measured"]

MOST = 0.98
"""The most that is pruned of one layer."""
_DIGITS = 4
_HALVINGS = 60


def layer_sizes(network: Network) -> dict[str, int]:
    """Weights of every layer that can be pruned and quantised (not those that wire one to one)."""
    return {p.name: p.weight.data.size for p in network.projections if not p.op.one_to_one}


def shared_out(
    network: Network, sparsity: float, share: SharedBy, found: Sensitivity | None
) -> dict[str, float]:
    """The sparsity of every layer, so that ``sparsity`` of all weights are pruned (or nearly).

    Args:
        network: as trained.
        sparsity: share of all weights.
        share: ``"layer"`` gives it to each of them, ``"lamp"`` shares it by LAMP scores, ``"measured"``
            takes from each what costs equally many output spikes.
        found: what was measured, for ``"measured"``.
    """
    sizes = layer_sizes(network)
    match share:
        case "layer":
            given = dict.fromkeys(sizes, sparsity)
        case _ if not sparsity:
            given = dict.fromkeys(sizes, 0.0)
        case "lamp":
            weights = {p.name: p.weight.values() for p in network.projections}
            pruned = round(sparsity * sum(sizes.values()))
            counts = lamp_counts([np.abs(weights[name]) for name in sizes], pruned)
            given = {name: n / sizes[name] for name, n in zip(sizes, counts, strict=True)}
        case "measured":
            assert found is not None
            given = _at_equal_cost(sizes, sparsity, found)
    return {name: round(min(value, MOST), _DIGITS) for name, value in given.items()}


def _at_equal_cost(
    sizes: Mapping[str, int], sparsity: float, found: Sensitivity
) -> dict[str, float]:
    """Every layer pruned until it alone costs so much, the same for all of them."""
    curves = {name: _curve(found, name) for name in sizes}
    total = sum(sizes.values())

    def taken(cost: float) -> dict[str, float]:
        return {name: float(np.interp(cost, c, s)) for name, (c, s) in curves.items()}

    low, high = 0.0, max(costs[-1] for costs, _ in curves.values())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        pruned = sum(sizes[name] * share for name, share in taken(middle).items())
        if pruned < sparsity * total:
            low = middle
        else:
            high = middle
    return taken(high)


def _curve(found: Sensitivity, layer: str) -> tuple[list[float], list[float]]:
    """What pruning a layer costs (never falling), and the sparsities that cost it."""
    points = sorted(
        (p.value, p.distance) for p in found.points if (p.layer, p.kind) == (layer, "sparsity")
    )
    costs, sparsities = [0.0], [0.0]
    for sparsity, cost in points:
        costs.append(max(cost, costs[-1]) + 1e-6)
        sparsities.append(sparsity)
    return [*costs, max(1.0, costs[-1]) + 1e-6], [*sparsities, max(MOST, sparsities[-1])]


def bits_by_need(found: Sensitivity, layers: tuple[str, ...]) -> dict[str, int]:
    """One bit more for the third of the layers that few bits cost most, one less for the last third."""
    cost = {
        layer: sum(p.distance for p in found.points if (p.layer, p.kind) == (layer, "bits"))
        for layer in layers
    }
    ranked = sorted(layers, key=lambda layer: -cost[layer])
    third = len(layers) // 3
    return {
        layer: 1 if i < third else -1 if i >= len(ranked) - third else 0
        for i, layer in enumerate(ranked)
    }
