"""What each layer is to lose, decided before the first one changes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from ...calibrate.moments import Block
from ...errors import PassRefused
from ...ir.arrays import Array
from ...ir.network import Network
from ...workers import Workers
from ..base import PassContext
from .budgets import budget, lamp_counts
from .layers import Problem, Settings, Solution, blocks_of, moments_of, problem, stacked
from .options import PruneOptions
from .pruning import (
    Pattern,
    eliminated,
    least_squares,
    masks_of,
    parse_pattern,
    pruned_solution,
    swept,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class PrunePlan:
    """What each block of layers is to lose, decided before the first one changes."""

    options: PruneOptions
    budgets: tuple[float, ...]
    costs: tuple[Array, ...] | None
    pattern: Pattern
    max_memory: int

    @classmethod
    def of(
        cls, options: PruneOptions, net: Network, ctx: PassContext, settings: Settings
    ) -> PrunePlan:
        """Share the sparsity out over the blocks of a network."""
        blocks = blocks_of(net, options.select(net))
        inputs = ctx.samples(f"the method of {options.name!r}")
        costs = None
        if options.count == "synops":
            costs = tuple(_synops(net, block, inputs, settings, ctx.workers) for block in blocks)
        plan = cls.for_layers(options, blocks, costs)
        return plan if plan.budgets else plan._by_loss(net, blocks, ctx, settings)

    @classmethod
    def for_layers(
        cls, options: PruneOptions, blocks: Sequence[Block], costs: tuple[Array, ...] | None = None
    ) -> PrunePlan:
        """Share the sparsity out by the weights alone; without budgets where that takes losses."""
        pattern = parse_pattern(options.pattern, options.sparsity, options.key("pattern"))
        for block in blocks:
            columns = stacked(block).shape[1]
            if columns % pattern.run:
                raise PassRefused(
                    "pattern-columns",
                    f"its rows of {columns} weights are not whole runs of {pattern.run}",
                    where=block[0].name,
                    hint=f"leave it out by {options.key('ignore')}",
                )
        sizes = [stacked(block).size for block in blocks]
        budgets: tuple[float, ...] = ()
        own = _own_budgets(options, blocks)
        if len(own) == len(blocks):
            budgets = tuple(own[i] for i in range(len(blocks)))
        elif options.scope == "layer" and costs is not None:
            budgets = tuple(options.sparsity * float(c.sum()) for c in costs)
        elif options.scope == "layer":
            budgets = tuple(float(budget(options.sparsity, n)) for n in sizes)
        elif options.scope == "lamp":
            rest = [i for i in range(len(blocks)) if i not in own]
            magnitudes = [np.abs(stacked(blocks[i])) for i in rest]
            total = budget(options.sparsity, sum(sizes[i] for i in rest))
            shared = dict(
                zip(rest, lamp_counts(magnitudes, total, options.lamp_power), strict=True)
            )
            budgets = tuple(float({**shared, **own}[i]) for i in range(len(blocks)))
        if budgets and own and costs is None:
            budgets = tuple(own.get(i, b) for i, b in enumerate(budgets))
        return cls(
            options=options,
            budgets=budgets,
            costs=costs,
            pattern=pattern,
            max_memory=options.max_memory << 20,
        )

    def _by_loss(
        self, net: Network, blocks: Sequence[Block], ctx: PassContext, settings: Settings
    ) -> PrunePlan:
        """Let the recorded losses of all layers compete, each layer measured on its own inputs."""
        inputs = ctx.samples(f"the method of {self.options.name!r}")
        own = _own_budgets(self.options, blocks)
        found, widths = [], []
        for done, block in enumerate(blocks):
            ctx.progress("layers measured", done, len(blocks))
            moments = moments_of(
                net, block, inputs, settings.kernels[0], settings, None, ctx.workers
            )
            p = problem(block, moments, settings.damp)
            columns, losses = self._eliminated(p)
            relative = self.options.scope == "sensitivity"
            found.append((columns, losses / p.energy if relative and p.energy else losses))
            widths.append(p.columns)
        total = self.options.sparsity * sum(float(c.sum()) for c in self.costs or ())
        if self.costs is None:
            total = budget(self.options.sparsity, sum(stacked(b).size for b in blocks))
        rest = [i for i in range(len(blocks)) if i not in own]
        if own:
            total = budget(self.options.sparsity, sum(stacked(blocks[i]).size for i in rest))
        costs = None if self.costs is None else [self.costs[i] for i in rest]
        masks = masks_of(
            [found[i] for i in rest], [widths[i] for i in rest], total, self.pattern, costs
        )
        lost = [own.get(i, 0.0) for i in range(len(blocks))]
        for i, m in zip(rest, masks, strict=True):
            lost[i] = float((~m).sum() if self.costs is None else self.costs[i][~m].sum())
        return dataclasses.replace(self, budgets=tuple(lost))

    def _eliminated(self, p: Problem, sparsity: float | None = None) -> tuple[Array, Array]:
        return eliminated(
            p,
            self.options.sparsity if sparsity is None else sparsity,
            search=self.options.search,
            rounds=self.options.rounds,
            pattern=self.pattern,
            max_memory=self.max_memory,
        )

    def solve(self, index: int, p: Problem, /, net: Network) -> Solution:
        """Mask and weights of block ``index``."""
        del net
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


def _own_budgets(options: PruneOptions, blocks: Sequence[Block]) -> dict[int, float]:
    """Weights to prune of the blocks whose layers have a sparsity of their own."""
    names = [p.name for block in blocks for p in block]
    given = {
        name: value
        for pattern, value in options.layer_sparsity.items()
        for name in names
        if name == pattern or fnmatchcase(name, pattern)
    }
    return {
        i: float(
            sum(budget(given.get(p.name, options.sparsity), p.weight.data.size) for p in block)
        )
        for i, block in enumerate(blocks)
        if any(p.name in given for p in block)
    }


def _synops(
    net: Network, block: Block, inputs: Mapping[str, Array], settings: Settings, workers: Workers
) -> Array:
    """Synaptic operations per sample that each weight of a block takes part in, ``(rows, d)``."""
    moments = moments_of(net, block, inputs, "current", settings, None, workers)
    steps = next(iter(inputs.values())).shape[0]
    positions = math.prod(net.population(block[0].target).shape) // len(moments.group)
    return np.asarray(np.abs(moments.mean[moments.group]) * steps * positions)
