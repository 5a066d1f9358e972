"""Structured pruning: remove whole kernels (channels) or neurons, and really shrink the arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..errors import PassRefused, RecipeError
from ..ir.arrays import Array
from ..ir.finding import Finding
from ..ir.network import Network, Projection
from ..ir.ops import Conv, Dense, Pointwise
from .base import PassContext, PassResult, Stage
from .coupling import CouplingGroup, coupling
from .patterns import LayerPass, matching
from .prune import budget
from .slicing import shrink

Kind = Literal["conv", "dense"]
Criterion = Literal["l1"]
Score = Callable[[Network, CouplingGroup, PassContext], Array]
"""How much each unit of a group matters (``(count,)``, higher = more)."""


def _l1(net: Network, group: CouplingGroup, ctx: PassContext) -> Array:
    """Sum of weight magnitudes of everything that feeds the unit's neurons."""
    del ctx
    score = np.zeros(group.count)
    for projection in net.projections:
        if projection.name in group.rows:
            rows = group.rows[projection.name]
            size = np.abs(projection.weight.data, dtype=np.float64)
            shared = isinstance(projection.op, Pointwise) and (
                size.ndim < len(projection.op.shape) or len(size) < len(rows)
            )
            # A one-to-one weight may be one for all channels; then it feeds each unit alike.
            norm = size.sum() if shared else size.reshape(len(rows), -1).sum(axis=1)
            np.add.at(score, rows, norm)
    return score


# A data-driven criterion adds its score here; what to remove and how much stays the same for all.
_SCORES: dict[Criterion, Score] = {"l1": _l1}


@dataclass(frozen=True, kw_only=True)
class RemoveKernels(LayerPass):
    """Remove the kernels that matter least, with their neurons and everything wired to them.

    A layer's kernels are its output channels (of dense layers: its neurons), and the unit of
    removal is whatever is coupled to them (see `coupling`): both sides of a residual sum, the
    channels of a depthwise convolution, whole groups of a grouped one. ``ratio`` is the fraction of
    units removed per coupling group; ``keep`` sets the number of units that stay, by pattern of
    layer names, and wins over ``ratio``. The number that stays is rounded up to a multiple of
    ``round_to`` and is at least 1. Of equal scores, the lower index goes first.

    A group is shrunk where a chosen layer feeds it and no ignored one does. Wildcards choose layers
    of the given ``kinds``. Inputs and outputs of the network are never shrunk: naming a layer that
    is coupled to one is refused, a wildcard passes over it.
    """

    name: ClassVar[str] = "remove-kernels"
    stage: ClassVar[Stage] = "remove-kernels"

    ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0
    keep: Mapping[str, Annotated[int, Field(ge=1)]] = field(default_factory=dict, hash=False)
    round_to: Annotated[int, Field(ge=1)] = 1
    score: Criterion = "l1"
    kinds: tuple[Kind, ...] = ("conv",)

    def spares(self, net: Network) -> Mapping[str, str]:
        """Wildcards choose by kind, and pass over layers that cannot shrink."""
        fixed = {n: g.fixed for g in coupling(net) if g.fixed for n in g.rows}
        kinds = {p.name: _kind(p) for p in net.projections}
        wrong = {n: f"it is {kind}" for n, kind in kinds.items() if kind not in self.kinds}
        return {**fixed, **wrong}

    def requires(self, net: Network) -> None:
        """Real-valued layers that are free to shrink, and counts that exist."""
        groups = coupling(net)
        if not self._chosen(net, groups):
            raise PassRefused(
                "nothing-to-remove", "every group of layers that was chosen is also ignored",
                where=self.key("ignore"),
            )  # fmt: skip
        for projection in self.select(net):
            group = next(g for g in groups if projection.name in g.rows)
            if group.fixed:
                raise PassRefused(
                    "kernels-fixed",
                    f"its kernels cannot be removed: {group.fixed}, which keeps its shape",
                    where=projection.name, hint=f"leave it out of {self.key('layers')}",
                )  # fmt: skip
        self._counts(net, groups)

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Score the units of each group, keep the best, cut the rest out."""
        groups = coupling(net)
        wanted = self._counts(net, groups)
        chosen = self._chosen(net, groups)
        shrunk: list[CouplingGroup] = []
        metrics: dict[str, Mapping[str, float]] = {}
        for done, group in enumerate(chosen):
            ctx.progress("groups", done, len(chosen))
            score = _SCORES[self.score](net, group, ctx)
            stay = self._stay(group, wanted)
            order = np.argsort(score, kind="stable")
            small = group.keep(order[group.count - stay :])
            total, kept = float(score.sum()), float(score[small.kept].sum())
            for name in group.incoming:
                metrics[name] = {
                    "units": group.count, "kept": stay,
                    "score_kept": kept / total if total else 1.0,
                }  # fmt: skip
            if stay < group.count:
                shrunk.append(small)
        return PassResult(
            network=shrink(net, shrunk) if shrunk else net,
            modified=bool(shrunk),
            metrics=metrics,
            findings=tuple(_coupled(g) for g in shrunk if len(g.populations) > 1),
        )

    def ensures(self, before: Network, after: Network) -> None:
        """Same graph; no population grew."""
        self.promise(
            [p.name for p in before.populations] == [p.name for p in after.populations]
            and [p.name for p in before.projections] == [p.name for p in after.projections],
            "populations and projections keep their names",
        )
        for old, new in zip(before.populations, after.populations, strict=True):
            self.promise(
                0 < new.shape[0] <= old.shape[0] and new.shape[1:] == old.shape[1:],
                f"{old.name} only loses indices of its first axis",
            )

    def _chosen(self, net: Network, groups: tuple[CouplingGroup, ...]) -> tuple[CouplingGroup, ...]:
        """Groups to shrink: fed by a chosen layer and by no ignored one."""
        spared = self.ignored(net)
        selected = {p.name for p in self.select(net)}
        return tuple(g for g in groups if selected & g.rows.keys() and not spared & g.rows.keys())

    def _counts(self, net: Network, groups: tuple[CouplingGroup, ...]) -> dict[str, int]:
        """Units to keep by first population of the group, from the option ``keep``."""
        names = [p.name for p in net.projections]
        counts: dict[str, int] = {}
        for pattern, count in self.keep.items():
            found = set(matching(pattern, names, self.key("keep")))
            for group in groups:
                hit = found & group.rows.keys()
                if not hit or (group.fixed and pattern not in hit):
                    continue
                head = group.populations[0]
                if counts.setdefault(head, count) != count:
                    raise RecipeError(
                        "keep-conflict",
                        f"{counts[head]} and {count} kernels are to stay in layers that shrink "
                        f"together: {', '.join(group.incoming)}",
                        where=self.key("keep"),
                    )
                if count > group.count:
                    raise PassRefused(
                        "keep-too-many", f"it has {group.count} kernels, {count} are to stay",
                        where=min(hit), hint=f"lower {self.key('keep')} for {pattern!r}",
                    )  # fmt: skip
        return counts

    def _stay(self, group: CouplingGroup, wanted: Mapping[str, int]) -> int:
        stay = wanted.get(group.populations[0], group.count - budget(self.ratio, group.count))
        rounded = -(-max(1, stay) // self.round_to) * self.round_to
        return min(group.count, rounded)


def _kind(projection: Projection) -> Kind | Literal["one-to-one"]:
    if isinstance(projection.op, Conv):
        return "conv"
    return "dense" if isinstance(projection.op, Dense) else "one-to-one"


def _coupled(group: CouplingGroup) -> Finding:
    return Finding(
        code="kernels-coupled", severity="note", where=", ".join(group.populations),
        message=str(group), rule="coupled populations lose the same kernels",
    )  # fmt: skip
