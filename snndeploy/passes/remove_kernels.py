"""Structured pruning: remove whole kernels (channels) or neurons, and really shrink the arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..calibrate.moments import Kernel
from ..calibrate.statistics import significant_dimensions
from ..errors import PassRefused, RecipeError
from ..ir.arrays import Array
from ..ir.finding import Finding
from ..ir.network import Network, Projection
from ..ir.ops import Conv, Dense
from ..lower import infer_coding, lower
from ..mapping import place_program
from .base import PassContext, PassResult, Stage
from .compensate import fold
from .coupling import CouplingGroup, coupling
from .patterns import LayerPass, matching
from .prune import budget
from .scores import SCORES, Criterion, Evidence, gather_evidence
from .slicing import shrink

Kind = Literal["conv", "dense"]
Fold = Literal["none", "weights", "bias", "threshold"]

_FINEST = 256
"""Steps of the ratio that are told apart when a number of cores is asked for."""


@dataclass(frozen=True, kw_only=True)
class RemoveKernels(LayerPass):
    """Remove the kernels that matter least, with their neurons and everything wired to them.

    A layer's kernels are its output channels (of dense layers: its neurons), and the unit of
    removal is whatever is coupled to them (see `coupling`): both sides of a residual sum, the
    channels of a depthwise convolution, whole groups of a grouped one. ``ratio`` is the fraction of
    units removed per coupling group. ``keep`` sets the number of units that stay, by pattern of
    layer names, and wins over everything else; ``variance`` sets it to the number of principal
    components of the accumulated membrane input that explain this share of its variance (Chowdhury
    et al., IJCNN 2021; 0: not asked); ``cores`` is a budget: the one ratio for all groups is raised
    from ``ratio`` until the placed program needs no more cores of the target (0: not asked; weights
    that are not quantized yet count with 8 bits). The number that stays is rounded up to a multiple
    of ``round_to`` and is at least 1. Of equal scores, the lower index goes first.

    ``score`` says what matters: ``"l1"`` norms of kernels; of what calibration samples make a channel
    do, the rank of its spike maps (``"svs"``), their ``"nuclear"`` norm, spike ``"rate"``, membrane
    magnitude (``"sca"``), or how early it is picked to explain the variance (``"pca"``); the error that
    its removal makes in the membranes behind it (``"second-order"``); or ``"random"``.

    ``fold`` lets the weights of those that stay take over what the removed ones contributed, fitted on
    calibration samples in every layer behind them (see `compensate`): ``"weights"``, and with a
    ``"bias"`` or a ``"threshold"`` per channel. ``ridge`` is how strongly weights hold on to their
    values, ``kernel`` the response in which membrane errors count: the neuron's own, or ``"long"``,
    four times its time constant.

    A group is shrunk where a chosen layer feeds it and no ignored one does. Wildcards choose layers
    of the given ``kinds``. Inputs and outputs of the network are never shrunk: naming a layer that
    is coupled to one is refused, a wildcard passes over it.
    """

    name: ClassVar[str] = "remove-kernels"
    stage: ClassVar[Stage] = "remove-kernels"

    ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0
    keep: Mapping[str, Annotated[int, Field(ge=1)]] = field(default_factory=dict, hash=False)
    variance: Annotated[float, Field(ge=0, le=1)] = 0.0
    cores: Annotated[int, Field(ge=0)] = 0
    round_to: Annotated[int, Field(ge=1)] = 1
    score: Criterion = "l1"
    fold: Fold = "none"
    ridge: Annotated[float, Field(gt=0)] = 0.03
    kernel: Kernel = "membrane"
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
        """Score the units of each group, keep the best, fold the rest into them, cut it out."""
        groups = coupling(net)
        wanted = self._counts(net, groups)
        chosen = self._chosen(net, groups)
        inputs: Mapping[str, Array] = {}
        if self.fold != "none":
            inputs = ctx.samples(f"fold = {self.fold!r}")
        evidence = gather_evidence(
            net, chosen, self.score, ctx,
            covariance=self.variance > 0, folded=self.fold != "none", ridge=self.ridge,
            kernel=self.kernel,
        )  # fmt: skip
        scores: list[Array] = []
        for done, group in enumerate(chosen):
            ctx.progress("groups", done, len(chosen))
            scores.append(SCORES[self.score](group, evidence))
            if self.variance:
                wanted.setdefault(group.populations[0], _dimensions(group, evidence, self.variance))
        if self.cores:
            small = self._within_cores(net, chosen, scores, wanted, ctx)
        else:
            small = self._kept(chosen, scores, wanted, self.ratio)
        shrunk = [g for g in small if len(g.kept) < g.count]
        source = net
        if shrunk and inputs:
            source = fold(
                net, shrunk, inputs, ridge=self.ridge, kernel=self.kernel, bias=self.fold == "bias",
                threshold=self.fold == "threshold",
                progress=lambda done, of: ctx.progress("layers", done, of),
            )  # fmt: skip
        return PassResult(
            network=shrink(source, shrunk) if shrunk else net,
            modified=bool(shrunk),
            metrics=_metrics(small, scores),
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

    def _kept(
        self,
        groups: Sequence[CouplingGroup],
        scores: Sequence[Array],
        wanted: Mapping[str, int],
        ratio: float,
    ) -> list[CouplingGroup]:
        """Each group with its best units."""
        small = []
        for group, score in zip(groups, scores, strict=True):
            stay = wanted.get(group.populations[0], group.count - budget(ratio, group.count))
            rounded = min(group.count, -(-max(1, stay) // self.round_to) * self.round_to)
            order = np.argsort(score, kind="stable")
            small.append(group.keep(order[group.count - rounded :]))
        return small

    def _within_cores(
        self,
        net: Network,
        groups: Sequence[CouplingGroup],
        scores: Sequence[Array],
        wanted: Mapping[str, int],
        ctx: PassContext,
    ) -> list[CouplingGroup]:
        """The smallest ratio, from the option ``ratio`` on, with which the program needs ``cores``."""
        low, high = int(np.ceil(self.ratio * _FINEST)), _FINEST
        least = self._kept(groups, scores, wanted, high / _FINEST)
        needed = cores_needed(shrink(net, least), ctx)
        if needed > self.cores:
            raise PassRefused(
                "cores-unreachable",
                f"with the fewest kernels it still needs {needed} cores, {self.cores} are wanted",
                where=self.key("cores"),
                hint="choose more layers (kinds, layers), allow more cores, or use fewer bits",
            )
        while low < high:
            middle = (low + high) // 2
            tried = self._kept(groups, scores, wanted, middle / _FINEST)
            if cores_needed(shrink(net, tried), ctx) <= self.cores:
                high = middle
            else:
                low = middle + 1
        return self._kept(groups, scores, wanted, high / _FINEST)


def cores_needed(net: Network, ctx: PassContext) -> int:
    """Cores that the placed program of ``net`` takes on the target.

    Raises:
        PassRefused: no target is given.
    """
    if ctx.target is None:
        raise PassRefused(
            "target-missing", "a budget of cores needs the chip that has them",
            where="remove-kernels.cores", hint="compile for a target",
        )  # fmt: skip
    coding = None
    if ctx.calibration is not None:
        coding = infer_coding(next(iter(ctx.calibration.inputs.values())))
    program = lower(net, ctx.target, inputs=coding)
    return len({s.core for s in place_program(program, ctx.target).slices})


def _dimensions(group: CouplingGroup, evidence: Evidence, variance: float) -> int:
    """Units that a group needs for the significant dimensions of its widest population."""
    share = 0.0
    for name in group.populations:
        activity = evidence.activity[name]
        assert activity.covariance is not None
        found = significant_dimensions(activity.covariance, activity.rows, variance)
        share = max(share, found / len(activity.covariance))
    return int(np.ceil(share * group.count - 1e-9))


def _metrics(
    groups: Sequence[CouplingGroup], scores: Sequence[Array]
) -> dict[str, Mapping[str, float]]:
    metrics: dict[str, Mapping[str, float]] = {}
    for group, score in zip(groups, scores, strict=True):
        total, kept = float(score.sum()), float(score[group.kept].sum())
        for name in group.incoming:
            metrics[name] = {
                "units": group.count, "kept": len(group.kept),
                "score_kept": kept / total if total else 1.0,
            }  # fmt: skip
    return metrics


def _kind(projection: Projection) -> Kind | Literal["one-to-one"]:
    if isinstance(projection.op, Conv):
        return "conv"
    return "dense" if isinstance(projection.op, Dense) else "one-to-one"


def _coupled(group: CouplingGroup) -> Finding:
    return Finding(
        code="kernels-coupled", severity="note", where=", ".join(group.populations),
        message=str(group), rule="coupled populations lose the same kernels",
    )  # fmt: skip
