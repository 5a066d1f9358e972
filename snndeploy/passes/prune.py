"""Unstructured pruning: remove exactly so many synapses, those that matter least."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..calibrate.moments import Kernel
from ..errors import PassRefused
from ..ir.arrays import Array
from ..ir.finding import Finding
from ..ir.network import Network, Projection
from ..ir.ops import Pointwise
from ..ir.weights import Weight
from .base import PassContext, PassResult, Stage
from .second_order.budgets import lamp_counts
from .second_order.layers import (
    Block,
    Problem,
    Settings,
    Solution,
    blocks_of,
    calibration_inputs,
    moments_of,
    problem,
    refuse_one_to_one,
    run_layers,
    stacked,
)
from .second_order.options import CalibratedPass
from .second_order.pruning import (
    MaskSearch,
    Pattern,
    eliminated,
    least_squares,
    masks_of,
    parse_pattern,
    pruned_solution,
    swept,
)

Method = Literal["magnitude", "obc", "osbc", "sbc", "sparsegpt"]

_KERNEL: dict[Method, Kernel] = {
    "obc": "current", "osbc": "membrane", "sbc": "membrane", "sparsegpt": "current",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Prune(CalibratedPass):
    """Prune a fraction of the stored weights, those that matter least.

    ``sparsity`` is the fraction of *all* stored weights that is pruned afterwards, so weights that
    were pruned before count, and stay pruned; ``round(sparsity * weights)`` of them, exactly.

    ``method`` says what matters. ``"magnitude"`` takes the smallest weights and changes no others. The
    rest look at calibration samples and give the weights that stay the values that make up best for
    those that go: ``"obc"`` for the input current (Optimal Brain Compression), ``"osbc"`` and
    ``"sbc"`` for the membrane potential (arXiv 2506.03996; they differ in how they justify the same
    Hessian), ``"sparsegpt"`` for the current in one sweep over the columns. ``kernels`` replaces what
    the error is measured on.

    ``scope`` shares the sparsity out: ``"layer"`` to each layer alike, ``"lamp"`` by LAMP scores
    (to the power ``lamp_power``), ``"global"`` to all weights by score (for ``"magnitude"``) or
    membrane error, ``"sensitivity"`` by membrane error relative to the layer's own membranes. Within
    a layer, rows share by membrane error. With ``count="synops"`` the sparsity is that of synaptic
    operations on the calibration samples: weights behind busy inputs go first.

    ``search`` finds the mask: ``"greedy"`` one weight of a row at a time, exactly, or in ``rounds``.
    ``pattern`` makes it regular: ``"2:4"`` prunes 2 of 4 consecutive weights of a row, ``"run:4"``
    4 consecutive ones at a time. SparseGPT counts per block of columns, so it is off by a rounding.

    Of equal scores, the earlier weight (layers in network order, then C order) goes first.

    One-to-one layers wire neurons to neurons and have no redundancy to prune: they are pruned only
    when named literally, and by magnitude.
    """

    name: ClassVar[str] = "prune"
    stage: ClassVar[Stage] = "prune"

    sparsity: Annotated[float, Field(ge=0, lt=1)]
    method: Method = "magnitude"
    scope: Literal["layer", "global", "lamp", "sensitivity"] = "layer"
    lamp_power: Annotated[float, Field(gt=0)] = 2.0
    count: Literal["weights", "synops"] = "weights"
    search: MaskSearch = "greedy"
    rounds: Annotated[int, Field(ge=1)] = 8
    pattern: str = ""

    def spares(self, net: Network) -> Mapping[str, str]:
        """One-to-one layers are not pruned by a wildcard."""
        return {p.name: "it is one-to-one" for p in net.projections if isinstance(p.op, Pointwise)}

    def requires(self, net: Network) -> None:
        """The patterns must match."""
        chosen = self.select(net)
        if not chosen:
            raise PassRefused(
                "nothing-to-prune", "every layer that was chosen is also ignored",
                where=self.key("ignore"),
            )  # fmt: skip
        if self.method != "magnitude":
            refuse_one_to_one(chosen, self.method)
        needs = {
            'scope = "sensitivity"': self.scope == "sensitivity",
            'count = "synops"': self.count == "synops",
            "a pattern": bool(self.pattern),
        }
        unmet = [what for what, asked in needs.items() if asked and self.method == "magnitude"]
        if self.scope == "lamp" and self.count == "synops":
            unmet = ['count = "synops" by another scope']
        if unmet:
            raise PassRefused(
                "option-needs-method", f"{unmet[0]} needs a method that measures membrane errors",
                where=self.key("method"), hint='use method = "sbc" and scope = "sensitivity"',
            )  # fmt: skip

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Score, choose, and record the choice in each weight's mask."""
        chosen = self.select(net)
        if self.method == "magnitude":
            result = self._smallest(net, chosen)
        else:
            settings = self.settings(_KERNEL[self.method])
            plan = PrunePlan.of(self, net, ctx, settings)
            result = run_layers(net, chosen, ctx, settings, plan.solve, self.name)
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
        if self.count == "synops" or self.pattern or self.method == "sparsegpt":
            return
        groups: list[tuple[Projection, ...]] = [old]
        if self.scope == "layer":
            groups = [(p,) for p in old]
            if self.method != "magnitude":
                groups = list(blocks_of(before, old))
        for group in groups:
            total = sum(p.weight.data.size for p in group)
            pruned_before = total - sum(p.weight.alive for p in group)
            pruned = total - sum(new[p.name].alive for p in group)
            wanted = max(pruned_before, budget(self.sparsity, total))
            more = self.scope == "lamp" and pruned_before > 0 and pruned > wanted
            self.promise(
                pruned == wanted or more, f"exactly {wanted} of {total} weights are pruned"
            )

    def _smallest(self, net: Network, chosen: Sequence[Projection]) -> PassResult:
        masks = self._masks(chosen)
        changed = [
            dataclasses.replace(p, weight=Weight(p.weight.data, mask=mask))
            for p, mask in zip(chosen, masks, strict=True)
            if not np.array_equal(mask, _alive(p.weight))
        ]
        return PassResult(
            network=net.replace(projections=changed) if changed else net, modified=bool(changed)
        )

    def _masks(self, chosen: Sequence[Projection]) -> list[Array]:
        scores = [np.abs(p.weight.data) for p in chosen]
        alive = [_alive(p.weight) for p in chosen]
        total = sum(a.size for a in alive)
        if self.scope == "global":
            return prune_lowest(scores, alive, budget(self.sparsity, total))
        counts = [budget(self.sparsity, a.size) for a in alive]
        if self.scope == "lamp":
            counts = lamp_counts(scores, budget(self.sparsity, total), self.lamp_power)
        return [prune_lowest([s], [a], n)[0] for s, a, n in zip(scores, alive, counts, strict=True)]


@dataclass(frozen=True, kw_only=True, eq=False)
class PrunePlan:
    """What each block of layers is to lose, decided before the first one changes."""

    options: Prune
    budgets: tuple[float, ...]
    costs: tuple[Array, ...] | None
    pattern: Pattern
    max_memory: int

    @classmethod
    def of(cls, options: Prune, net: Network, ctx: PassContext, settings: Settings) -> PrunePlan:
        """Share the sparsity out over the blocks."""
        blocks = blocks_of(net, options.select(net))
        pattern = parse_pattern(options.pattern, options.sparsity, options.key("pattern"))
        inputs = calibration_inputs(ctx, options.name)
        for block in blocks:
            if stacked(block).shape[1] % pattern.run:
                raise PassRefused(
                    "pattern-columns",
                    f"its rows of {stacked(block).shape[1]} weights are not whole runs of {pattern.run}",
                    where=block[0].name, hint=f"leave it out by {options.key('ignore')}",
                )  # fmt: skip
        sizes = [stacked(block).size for block in blocks]
        costs = None
        if options.count == "synops":
            costs = tuple(_synops(net, block, inputs, settings) for block in blocks)
        if options.scope == "layer":
            budgets = tuple(
                float(budget(options.sparsity, n)) if costs is None
                else options.sparsity * float(costs[i].sum())
                for i, n in enumerate(sizes)
            )  # fmt: skip
        elif options.scope == "lamp":
            magnitudes = [np.abs(stacked(block)) for block in blocks]
            total = budget(options.sparsity, sum(sizes))
            budgets = tuple(map(float, lamp_counts(magnitudes, total, options.lamp_power)))
        else:
            budgets = ()
        plan = cls(
            options=options, budgets=budgets, costs=costs, pattern=pattern,
            max_memory=settings.max_memory,
        )  # fmt: skip
        return plan if budgets else plan._by_loss(net, blocks, ctx, settings)

    def _by_loss(
        self, net: Network, blocks: Sequence[Block], ctx: PassContext, settings: Settings
    ) -> PrunePlan:
        """Let the recorded losses of all layers compete, each layer measured on its own inputs."""
        inputs = calibration_inputs(ctx, self.options.name)
        found, widths = [], []
        for done, block in enumerate(blocks):
            ctx.progress("layers measured", done, len(blocks))
            moments = moments_of(net, block, inputs, settings.kernels[0], settings, None)
            p = problem(block, moments, settings.damp)
            columns, losses = self._eliminated(p)
            relative = self.options.scope == "sensitivity"
            found.append((columns, losses / p.energy if relative and p.energy else losses))
            widths.append(p.columns)
        total = self.options.sparsity * sum(float(c.sum()) for c in self.costs or ())
        if self.costs is None:
            total = budget(self.options.sparsity, sum(stacked(b).size for b in blocks))
        masks = masks_of(found, widths, total, self.pattern, self.costs)
        lost = [
            float((~m).sum() if self.costs is None else self.costs[i][~m].sum())
            for i, m in enumerate(masks)
        ]
        return dataclasses.replace(self, budgets=tuple(lost))

    def _eliminated(self, p: Problem, sparsity: float | None = None) -> tuple[Array, Array]:
        return eliminated(
            p, self.options.sparsity if sparsity is None else sparsity,
            search=self.options.search, rounds=self.options.rounds, pattern=self.pattern,
            max_memory=self.max_memory,
        )  # fmt: skip

    def solve(self, index: int, p: Problem) -> Solution:
        """Mask and weights of block ``index``."""
        size = p.alive.size
        cost = None if self.costs is None else [self.costs[index]]
        whole = size if cost is None else float(cost[0].sum())
        sparsity = min(self.budgets[index] / whole, 1.0) if whole else 0.0
        if self.options.method == "sparsegpt":
            values = swept(p, sparsity, self.pattern)
            return pruned_solution(p, values, (values != 0) & p.alive)
        found = [self._eliminated(p, min(sparsity, 1 - 1 / p.columns))]
        mask = masks_of(found, [p.columns], self.budgets[index], self.pattern, cost)[0] & p.alive
        return pruned_solution(p, least_squares(p, mask, self.max_memory), mask)


def _synops(net: Network, block: Block, inputs: Mapping[str, Array], settings: Settings) -> Array:
    """Synaptic operations per sample that each weight of a block takes part in, ``(rows, d)``."""
    moments = moments_of(net, block, inputs, "current", settings, None)
    steps = next(iter(inputs.values())).shape[0]
    positions = math.prod(net.population(block[0].target).shape) // len(moments.group)
    return np.asarray(np.abs(moments.mean[moments.group]) * steps * positions)


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
