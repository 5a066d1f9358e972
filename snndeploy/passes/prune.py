"""Unstructured pruning: remove exactly so many synapses, those that matter least."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from ..calibrate.moments import Response
from ..errors import PassRefused
from ..ir.arrays import Array
from ..ir.finding import Finding
from ..ir.network import Network, Projection
from ..ir.weights import Weight
from .base import Pass, PassContext, PassResult, PassStage
from .patterns import per_layer
from .second_order.budgets import budget as budget
from .second_order.budgets import lamp_counts
from .second_order.choose import settled
from .second_order.fit import sparsity_that_fits
from .second_order.layers import blocks_of, refuse_one_to_one, run_layers
from .second_order.options import PruneOptions, Scope
from .second_order.plan import PrunePlan

SCOPES: tuple[Scope, ...] = ("lamp", "global", "layer")
"""What ``scope = "measured"`` chooses from; the first one where there is nothing to measure on."""
P = TypeVar("P", bound=Pass)

_RESPONSE: dict[str, Response] = {
    "obc": "current",
    "osbc": "membrane",
    "sbc": "membrane",
    "sparsegpt": "current",
}


@dataclass(frozen=True, kw_only=True)
class Prune(PruneOptions):
    """Prune a fraction of the stored weights, those that matter least.

    Of equal scores, the earlier weight (layers in network order, then C order) goes first.

    One-to-one layers wire neurons to neurons and have no redundancy to prune: they are pruned only
    when named literally, and by magnitude.
    """

    name: ClassVar[str] = "prune"
    stage: ClassVar[PassStage] = "prune"

    @property
    def response(self) -> Response:
        """As published."""
        return _RESPONSE[self.method]

    @property
    def looks(self) -> bool:
        """Magnitudes look at nothing, unless several scopes are to be measured."""
        return self.method != "magnitude" or self.scope == "measured"

    def eased(
        self, before: Network, after: Network, relief: Mapping[str, float]
    ) -> tuple[Pass, ...]:
        """Every layer as dense as it came out, and denser by its relief (geometrically)."""
        chosen = self.select(before)
        if self.pattern or self.count == "synops":  # amounts that layers do not have one by one
            kept = tuple(p.name for p in chosen if relief.get(p.name, 0.0) < 0.5)
            return (dataclasses.replace(self, layers=kept, ignore=()),) if kept else ()
        own = eased_sparsity(chosen, after, relief)
        if not any(own.values()):
            return ()
        eased = dataclasses.replace(
            self,
            scope=settled_scope(self.scope),
            layer_sparsity=own,
            layers=tuple(own),
            ignore=(),
            cores=0,
            words=0,
        )
        return (eased,)

    def spares(self, net: Network) -> Mapping[str, str]:
        """One-to-one layers are not pruned by a wildcard."""
        return {p.name: "it is one-to-one" for p in net.projections if p.op.one_to_one}

    def requires(self, net: Network) -> None:
        """The patterns must match."""
        chosen = self.select(net)
        own_sparsity(self, net, chosen)
        if not chosen:
            raise PassRefused(
                "nothing-to-prune",
                "every layer that was chosen is also ignored",
                where=self.key("ignore"),
            )
        if self.method != "magnitude":
            self.refuse_unused()
            refuse_one_to_one(chosen, self.method)
            self.refuse_beyond_room(net)
        needs = {
            'scope = "sensitivity"': self.scope == "sensitivity",
            'count = "synops"': self.count == "synops",
            "a pattern": bool(self.pattern),
        }
        unmet = [what for what, asked in needs.items() if asked and self.method == "magnitude"]
        if self.scope in ("lamp", "measured") and self.count == "synops":
            unmet = ['count = "synops" by another scope']
        if unmet:
            raise PassRefused(
                "option-needs-method",
                f"{unmet[0]} needs a method that measures membrane errors",
                where=self.key("method"),
                hint='use method = "sbc" and scope = "sensitivity"',
            )

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Score, choose, and record the choice in each weight's mask."""
        if self.cores or self.words:
            enough = sparsity_that_fits(self, net, ctx)
            return dataclasses.replace(self, sparsity=enough, cores=0, words=0).run(net, ctx)
        if self.scope == "measured":
            step, notes = best_scope(self, net, ctx)
            result = step.run(net, ctx)
            return dataclasses.replace(result, findings=(*notes, *result.findings))
        chosen = self.select(net)
        if self.method == "magnitude":
            result = self._smallest(net, chosen, ctx)
        else:
            step, notes = settled(
                [dataclasses.replace(self, **c) for c in self.combinations()], net, ctx
            )
            settings = step.settings()
            plan = PrunePlan.of(step, net, ctx, settings)
            result = run_layers(net, chosen, ctx, settings, plan.solve, self.name)
            result = dataclasses.replace(result, findings=(*notes, *result.findings))
        after = {p.name: p.weight for p in result.network.projections}
        masks = {p.name: _alive(after[p.name]) for p in chosen}
        metrics = {
            p.name: {**_metrics(p.weight, masks[p.name]), **result.metrics.get(p.name, {})}
            for p in chosen
        }
        emptied = tuple(_emptied(name) for name, mask in masks.items() if not mask.any())
        return dataclasses.replace(result, metrics=metrics, findings=(*result.findings, *emptied))

    def ensures(self, before: Network, after: Network) -> None:
        """As many pruned as asked; pruned ones stay pruned; by magnitude, others keep their values."""
        old = self.select(before)
        new = {p.name: p.weight for p in after.projections}
        for p in old:
            mask = _alive(new[p.name])
            self.promise(
                bool((mask <= _alive(p.weight)).all()), f"{p.name}: what was pruned stays pruned"
            )
            self.promise(
                self.method != "magnitude"
                or np.array_equal(new[p.name].data[mask], p.weight.data[mask]),
                f"{p.name}: weights that stay keep their values",
            )
        if (
            self.count == "synops"
            or self.pattern
            or self.method == "sparsegpt"
            or self.cores
            or self.words
        ):
            return
        if self.scope == "measured":
            return
        own = own_sparsity(self, before, old)
        single: list[tuple[Projection, ...]] = [(p,) for p in old]
        if self.method != "magnitude":
            single = list(blocks_of(before, old))
        apart = [g for g in single if self.scope == "layer" or any(p.name in own for p in g)]
        shared = tuple(p for g in single if g not in apart for p in g)
        groups = [*apart, shared] if shared else apart
        for group in groups:
            total = sum(p.weight.data.size for p in group)
            pruned_before = total - sum(p.weight.alive for p in group)
            pruned = total - sum(new[p.name].alive for p in group)
            asked = budget(self.sparsity, total)
            if any(p.name in own for p in group):
                sizes = {p.name: p.weight.data.size for p in group}
                asked = sum(budget(own.get(n, self.sparsity), size) for n, size in sizes.items())
            wanted = max(pruned_before, asked)
            more = self.scope == "lamp" and pruned_before > 0 and pruned > wanted
            self.promise(
                pruned == wanted or more, f"exactly {wanted} of {total} weights are pruned"
            )

    def _smallest(self, net: Network, chosen: Sequence[Projection], ctx: PassContext) -> PassResult:
        scores = []
        for done, p in enumerate(chosen):
            ctx.progress("layers", done, len(chosen))
            scores.append(np.abs(p.weight.data))
        alive = [_alive(p.weight) for p in chosen]
        own = own_sparsity(self, net, chosen)
        together = [i for i, p in enumerate(chosen) if p.name not in own]
        masks = [
            prune_lowest([s], [a], budget(own.get(p.name, 0.0), a.size))[0]
            for p, s, a in zip(chosen, scores, alive, strict=True)
        ]
        if together:
            shared = self._masks([scores[i] for i in together], [alive[i] for i in together])
            for i, mask in zip(together, shared, strict=True):
                masks[i] = mask
        changed = [
            dataclasses.replace(p, weight=Weight(p.weight.data, mask=mask))
            for p, mask in zip(chosen, masks, strict=True)
            if not np.array_equal(mask, _alive(p.weight))
        ]
        return PassResult(
            network=net.replace(projections=changed) if changed else net, modified=bool(changed)
        )

    def _masks(self, scores: Sequence[Array], alive: Sequence[Array]) -> list[Array]:
        total = sum(a.size for a in alive)
        if self.scope == "global":
            return prune_lowest(scores, alive, budget(self.sparsity, total))
        counts = [budget(self.sparsity, a.size) for a in alive]
        if self.scope == "lamp":
            counts = lamp_counts(scores, budget(self.sparsity, total), self.lamp_power)
        return [prune_lowest([s], [a], n)[0] for s, a, n in zip(scores, alive, counts, strict=True)]


def own_sparsity(step: Prune, net: Network, chosen: Iterable[Projection]) -> dict[str, float]:
    """Sparsity of the chosen layers that have one of their own.

    Raises:
        RecipeError: a pattern matches nothing.
    """
    where = step.key("layer_sparsity")
    found = per_layer(net, chosen, step.layer_sparsity, -1.0, where)
    return {name: value for name, value in found.items() if value >= 0}


def eased_sparsity(
    chosen: Iterable[Projection], after: Network, relief: Mapping[str, float]
) -> dict[str, float]:
    """Sparsity per layer: what came out, its density raised by the layer's share of relief."""
    new = {p.name: p.weight for p in after.projections}
    return {
        p.name: 1.0
        - (max(new[p.name].alive, 1) / p.weight.data.size) ** (1.0 - relief.get(p.name, 0.0))
        for p in chosen
    }


def settled_scope(scope: Scope) -> Scope:
    """A scope to stand for one that was measured, where every layer has a sparsity of its own."""
    return SCOPES[0] if scope == "measured" else scope


def best_scope(step: P, net: Network, ctx: PassContext) -> tuple[P, tuple[Finding, ...]]:
    """The scope whose network answers most like ``net``; without samples, LAMP."""
    scopes = [dataclasses.replace(step, **{"scope": scope}) for scope in SCOPES]
    if ctx.calibration is None:
        return scopes[0], ()
    quick = [s.quick() for s in scopes]
    best, notes = settled(quick, net, ctx)
    return scopes[quick.index(best)], notes


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
        code="layer-emptied",
        severity="warning",
        where=name,
        message="every weight of this layer is pruned: nothing passes through it any more",
        rule="a layer keeps at least one weight",
    )
