"""Structured pruning: remove whole kernels (channels) or neurons, and really shrink the arrays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ...calibrate.moments import Response
from ...errors import PassRefused, RecipeError
from ...ir.arrays import Array
from ...ir.finding import Finding
from ...ir.network import Network, Projection
from ...ir.ops import Conv, Dense, Pointwise
from ..base import Pass, PassContext, PassResult, PassStage
from ..patterns import LayerPass, matching
from ..second_order.room import folding_bytes, moment_bytes, refuse_beyond_room
from .compensate import fold
from .coupling import CouplingGroup, coupling
from .scores import SCORES, Criterion, consuming, gather_evidence, in_rooms
from .slicing import shrink
from .unit_budgets import Ranked, dimensions, within_cores

LayerKind = Literal["conv", "dense"]
Fold = Literal["none", "weights", "bias", "threshold"]


@dataclass(frozen=True, kw_only=True)
class RemoveKernels(LayerPass):
    """Remove the kernels that matter least, with their neurons and everything wired to them.

    A layer's kernels are its output channels (of dense layers: its neurons), and the unit of
    removal is whatever is coupled to them (see `coupling`): both sides of a residual sum, the
    channels of a depthwise convolution, whole groups of a grouped one. At least 1 unit stays. Of equal
    scores, the lower index goes first.

    A group is shrunk where a chosen layer feeds it and no ignored one does. Inputs and outputs of the
    network are never shrunk: naming a layer that is coupled to one is refused, a wildcard passes over
    it.
    """

    name: ClassVar[str] = "remove-kernels"
    stage: ClassVar[PassStage] = "remove-kernels"

    ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The fraction of units removed per coupling group."""
    keep: Mapping[str, Annotated[int, Field(ge=1)]] = field(default_factory=dict, hash=False)
    """The number of units that stay, by pattern of layer names; wins over everything else."""
    variance: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Keep as many units as principal components of the accumulated membrane input explain this share
    of its variance (Chowdhury et al., IJCNN 2021); 0 does not ask."""
    cores: Annotated[int, Field(ge=0)] = 0
    """A budget: the one ratio for all groups is raised from ``ratio`` until the placed program
    needs no more cores of the target (weights that are not quantized yet count with 8 bits); 0 does
    not ask."""
    round_to: Annotated[int, Field(ge=1)] = 1
    """The number of units that stay is rounded up to a multiple of this."""
    score: Criterion = "l1"
    """What matters: ``l1`` norms of kernels; of what calibration samples make a channel do, the
    rank of its spike maps (``svs``), their ``nuclear`` norm, spike ``rate``, membrane magnitude
    (``sca``), or how early it is picked to explain the variance (``pca``); the error that its
    removal makes in the membranes behind it (``second-order``); or ``random``."""
    fold: Fold = "none"
    """Let those that stay take over what the removed ones contributed, fitted on calibration
    samples in every layer behind them: their ``weights``, and with these a ``bias`` or a
    ``threshold`` per channel."""
    ridge: Annotated[float, Field(ge=0)] = 0.0
    """How strongly folded weights hold on to their values; 0 lets held-out samples choose, layer by
    layer."""
    kernel: Response = "membrane"
    """The response in time in which membrane errors count when folding: the neuron's own
    (``membrane``), four times as long (``long``), twice (``double``), none (``current``), or
    without end (``integrator``)."""
    kinds: tuple[LayerKind, ...] = ("conv",)
    """Which kinds of layers a wildcard chooses."""
    optional: bool = False
    """Leave a network that has no layer of these kinds to shrink as it is, with a note, instead of
    refusing it."""

    @property
    def looks(self) -> bool:
        """Folding, principal components and most scores look at samples."""
        return self.fold != "none" or self.variance > 0 or self.score not in ("l1", "random")

    def expect(self, net: Network) -> Network:
        """As many kernels gone as asked, by their norms (none for a budget that is not known yet)."""
        if self._idle(net):
            return net
        blind = dataclasses.replace(self, score="l1", fold="none", variance=0.0, cores=0)
        return blind.run(net, PassContext()).network

    def eased(
        self, before: Network, after: Network, relief: Mapping[str, float]
    ) -> tuple[Pass, ...]:
        """More kernels stay in the groups whose layers are relieved."""
        if self._idle(before):
            return (self,)
        keep: dict[str, int] = {}
        for group in self._chosen(before, coupling(before)):
            share = max((relief.get(name, 0.0) for name in group.rows), default=0.0)
            kept = after.population(group.populations[0]).shape[0]
            row = next(iter(group.rows))
            keep[row] = min(group.count, kept + math.ceil(share * (group.count - kept)))
            if share >= 1:
                keep[row] = group.count
        eased = dataclasses.replace(
            self, keep=keep, layers=tuple(keep), ignore=(), ratio=0.0, variance=0.0, cores=0
        )
        return (eased,)

    def blind(self) -> Pass:
        """Nothing is folded, and norms are what matters."""
        return dataclasses.replace(self, fold="none", score="l1", variance=0.0)

    def _idle(self, net: Network) -> bool:
        """Whether there is nothing to do, and that is allowed."""
        return self.optional and len(self.spares(net)) == len(net.projections)

    def spares(self, net: Network) -> Mapping[str, str]:
        """Wildcards choose by kind, and pass over layers that cannot shrink."""
        fixed = {n: g.fixed for g in coupling(net) if g.fixed for n in g.rows}
        kinds = {p.name: _kind(p) for p in net.projections}
        wrong = {n: f"it is {kind}" for n, kind in kinds.items() if kind not in self.kinds}
        return {**fixed, **wrong}

    def requires(self, net: Network) -> None:
        """Real-valued layers that are free to shrink, and counts that exist."""
        if self._idle(net):
            return
        groups = coupling(net)
        if not self._chosen(net, groups):
            raise PassRefused(
                "nothing-to-remove",
                "every group of layers that was chosen is also ignored",
                where=self.key("ignore"),
            )
        for projection in self.select(net):
            group = next(g for g in groups if projection.name in g.rows)
            if group.fixed:
                raise PassRefused(
                    "kernels-fixed",
                    f"its kernels cannot be removed: {group.fixed}, which keeps its shape",
                    where=projection.name,
                    hint=f"leave it out of {self.key('layers')}",
                )
        self._counts(net, groups)
        consumers = [p for g in self._chosen(net, groups) for p in consuming(net, g)]
        if self.fold != "none":
            refuse_beyond_room(((p,), folding_bytes(net, (p,))) for p in consumers)
        elif self.score == "second-order":
            refuse_beyond_room(((p,), 2 * moment_bytes(net, (p,))) for p in consumers)

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Score the units of each group, keep the best, fold the rest into them, cut it out."""
        if self._idle(net):
            return PassResult(network=net, modified=False, findings=(self._nothing(net),))
        groups = coupling(net)
        wanted = self._counts(net, groups)
        chosen = self._chosen(net, groups)
        inputs: Mapping[str, Array] = {}
        if self.fold != "none":
            inputs = ctx.samples(f"fold = {self.fold!r}")
        scores: list[Array] = []
        for part in in_rooms(net, chosen, self.score):
            evidence = gather_evidence(
                net,
                chosen,
                self.score,
                ctx,
                now=part,
                covariance=self.variance > 0,
                folded=self.fold != "none",
                ridge=self.ridge,
                kernel=self.kernel,
            )
            for group in part:
                ctx.progress("groups", len(scores), len(chosen))
                scores.append(SCORES[self.score](group, evidence))
                if self.variance:
                    units = dimensions(group, evidence, self.variance)
                    wanted.setdefault(group.populations[0], units)
            del evidence  # not to be held beside that of the next part
        ranked = Ranked(groups=chosen, scores=scores, counts=wanted, round_to=self.round_to)
        if self.cores:
            small = within_cores(net, ranked, self.ratio, self.cores, ctx, self.key("cores"))
        else:
            small = ranked.keep(self.ratio)
        shrunk = [g for g in small if len(g.kept) < g.count]
        source = net
        if shrunk and inputs:
            source = fold(
                net,
                shrunk,
                inputs,
                ridge=self.ridge,
                kernel=self.kernel,
                bias=self.fold == "bias",
                threshold=self.fold == "threshold",
                workers=ctx.workers,
                progress=partial(ctx.progress, "layers"),
            )
        return PassResult(
            network=shrink(source, shrunk) if shrunk else net,
            modified=bool(shrunk),
            metrics=_metrics(small, scores),
            findings=tuple(_coupled(g) for g in shrunk if len(g.populations) > 1)
            or self._all(small),
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

    def _nothing(self, net: Network) -> Finding:
        return Finding(
            code="kernels-absent",
            severity="note",
            where=", ".join(p.name for p in net.projections),
            message=f"no layer of the kinds {', '.join(self.kinds)} can shrink, so none was shrunk",
            rule="an optional pass leaves alone what it is not meant for",
        )

    def _all(self, groups: Sequence[CouplingGroup]) -> tuple[Finding, ...]:
        """A note where no unit goes, as that is seldom what was meant."""
        if any(len(g.kept) < g.count for g in groups):
            return ()
        asked = {
            "ratio": self.ratio,
            "keep": self.keep,
            "variance": self.variance,
            "cores": self.cores,
        }
        given = ", ".join(f"{name} = {value}" for name, value in asked.items() if value)
        return (
            Finding(
                code="kernels-kept",
                severity="note",
                where=", ".join(g.populations[0] for g in groups),
                message=f"no kernel was removed: {given or 'none of ' + ', '.join(asked) + ' is given'}"
                + (f", rounded up to multiples of {self.round_to}" if self.round_to > 1 else ""),
                rule="a pass that removes kernels is told how many",
            ),
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
                        "keep-too-many",
                        f"it has {group.count} kernels, {count} are to stay",
                        where=min(hit),
                        hint=f"lower {self.key('keep')} for {pattern!r}",
                    )
        return counts


def _metrics(
    groups: Sequence[CouplingGroup], scores: Sequence[Array]
) -> dict[str, Mapping[str, float]]:
    metrics: dict[str, Mapping[str, float]] = {}
    for group, score in zip(groups, scores, strict=True):
        total, kept = float(score.sum()), float(score[group.kept].sum())
        for name in group.incoming:
            metrics[name] = {
                "units": group.count,
                "kept": len(group.kept),
                "score_kept": kept / total if total else 1.0,
            }
    return metrics


def _kind(projection: Projection) -> LayerKind | Literal["one-to-one"]:
    match projection.op:
        case Conv():
            return "conv"
        case Dense():
            return "dense"
        case Pointwise():
            return "one-to-one"


def _coupled(group: CouplingGroup) -> Finding:
    return Finding(
        code="kernels-coupled",
        severity="note",
        where=", ".join(group.populations),
        message=str(group),
        rule="coupled populations lose the same kernels",
    )
