"""Unstructured pruning: remove exactly so many synapses, those that matter least."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..errors import PassRefused
from ..ir.arrays import Array
from ..ir.finding import Finding
from ..ir.network import Network, Projection
from ..ir.ops import Pointwise
from ..ir.weights import Weight
from .base import PassContext, PassResult, Stage
from .patterns import LayerPass

Method = Literal["magnitude"]
Score = Callable[[Network, Projection, PassContext], Array]
"""How much each stored weight of a projection matters (the shape of its weight, higher = more)."""


def _magnitude(net: Network, projection: Projection, ctx: PassContext) -> Array:
    del net, ctx
    return np.abs(projection.weight.data)


# A data-driven method adds its score here; what to keep and how many stays the same for all.
_SCORES: dict[Method, Score] = {"magnitude": _magnitude}


@dataclass(frozen=True, kw_only=True)
class Prune(LayerPass):
    """Prune a fraction of the stored weights, the lowest scores first.

    ``sparsity`` is the fraction of *all* stored weights that is pruned afterwards, so weights that
    were pruned before count, and stay pruned; ``round(sparsity * weights)`` of them, exactly. With
    ``scope="layer"`` that holds for each layer, with ``"global"`` for all chosen layers together:
    their raw scores then compete, and a layer of small weights can lose everything (a finding says
    so). Of equal scores, the earlier weight (layers in network order, then C order) goes first.

    One-to-one layers wire neurons to neurons and have no redundancy to prune: they are pruned only
    when named literally.
    """

    name: ClassVar[str] = "prune"
    stage: ClassVar[Stage] = "prune"

    sparsity: Annotated[float, Field(ge=0, lt=1)]
    method: Method = "magnitude"
    scope: Literal["layer", "global"] = "layer"

    def spares(self, net: Network) -> Mapping[str, str]:
        """One-to-one layers are not pruned by a wildcard."""
        return {p.name: "it is one-to-one" for p in net.projections if isinstance(p.op, Pointwise)}

    def requires(self, net: Network) -> None:
        """The patterns must match."""
        if not self.select(net):
            raise PassRefused(
                "nothing-to-prune", "every layer that was chosen is also ignored",
                where=self.key("ignore"),
            )  # fmt: skip

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Score, choose, and record the choice in each weight's mask."""
        chosen = self.select(net)
        scores = []
        for done, projection in enumerate(chosen):
            ctx.progress("layers", done, len(chosen))
            scores.append(_SCORES[self.method](net, projection, ctx))
        masks = self._masks(scores, [_alive(p.weight) for p in chosen])
        changed = [
            dataclasses.replace(p, weight=Weight(p.weight.data, mask=mask))
            for p, mask in zip(chosen, masks, strict=True)
            if not np.array_equal(mask, _alive(p.weight))
        ]
        metrics = {p.name: _metrics(p.weight, mask) for p, mask in zip(chosen, masks, strict=True)}
        emptied = [p.name for p, mask in zip(chosen, masks, strict=True) if not mask.any()]
        return PassResult(
            network=net.replace(projections=changed) if changed else net,
            modified=bool(changed),
            metrics=metrics,
            findings=tuple(_emptied(name) for name in emptied),
        )

    def ensures(self, before: Network, after: Network) -> None:
        """Exactly as many pruned as asked; pruned ones stay pruned, others keep their values."""
        old = self.select(before)
        new = {p.name: p.weight for p in after.projections}
        for p in old:
            mask = _alive(new[p.name])
            self.promise(
                bool((mask <= _alive(p.weight)).all()), f"{p.name}: what was pruned stays pruned"
            )
            self.promise(
                np.array_equal(new[p.name].data[mask], p.weight.data[mask]),
                f"{p.name}: weights that stay keep their values",
            )
        groups = [old] if self.scope == "global" else [(p,) for p in old]
        for group in groups:
            total = sum(p.weight.data.size for p in group)
            pruned_before = total - sum(p.weight.alive for p in group)
            pruned = total - sum(new[p.name].alive for p in group)
            self.promise(
                pruned == max(pruned_before, budget(self.sparsity, total)),
                f"exactly {budget(self.sparsity, total)} of {total} weights are pruned",
            )

    def _masks(self, scores: Sequence[Array], alive: Sequence[Array]) -> list[Array]:
        if self.scope == "layer":
            return [
                prune_lowest([s], [a], budget(self.sparsity, a.size))[0]
                for s, a in zip(scores, alive, strict=True)
            ]
        return prune_lowest(scores, alive, budget(self.sparsity, sum(a.size for a in alive)))


def budget(sparsity: float, weights: int) -> int:
    """How many of ``weights`` are pruned at ``sparsity``: the nearest whole number, half up."""
    return math.floor(sparsity * weights + 0.5)


def prune_lowest(scores: Sequence[Array], alive: Sequence[Array], pruned: int) -> list[Array]:
    """Masks of several arrays that compete, in which ``pruned`` entries altogether are dead.

    Args:
        scores: how much each entry matters.
        alive: True where an entry is not pruned yet; dead entries stay dead and count.
        pruned: number of dead entries wanted; where more are dead already, none is added.
    """
    flat = np.concatenate([s.reshape(-1) for s in scores])
    mask = np.concatenate([a.reshape(-1) for a in alive])
    candidates = np.flatnonzero(mask)
    extra = max(0, pruned - (mask.size - candidates.size))
    # Stable: of equal scores the first goes first, on every machine.
    order = np.argsort(flat[candidates], kind="stable")
    mask[candidates[order[:extra]]] = False
    ends = np.cumsum([a.size for a in alive])[:-1]
    return [m.reshape(a.shape) for m, a in zip(np.split(mask, ends), alive, strict=True)]


def _alive(weight: Weight) -> Array:
    return np.ones(weight.shape, dtype=bool) if weight.mask is None else weight.mask


def _metrics(weight: Weight, mask: Array) -> dict[str, float]:
    energy = float(np.square(weight.data, dtype=np.float64).sum())
    lost = float(np.square(weight.data[~mask], dtype=np.float64).sum())
    return {
        "pruned": int(mask.size - mask.sum()),
        "sparsity": 1 - float(mask.mean()),
        "energy_lost": lost / energy if energy else 0.0,
    }


def _emptied(name: str) -> Finding:
    return Finding(
        code="layer-emptied", severity="warning", where=name,
        message="every weight of this layer is pruned: nothing passes through it any more",
        rule="a layer keeps at least one weight",
    )  # fmt: skip
