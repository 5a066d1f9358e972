"""Training without labels: the compressed network learns to answer as the trained one did."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from ...ir.finding import Finding
from ...ir.network import Network
from ..base import PassContext, PassResult, PassStage
from ..patterns import wiring
from .options import DistilOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .loop.distillation import Distillation


@dataclass(frozen=True, kw_only=True)
class Distil(DistilOptions):
    """Repair a compressed network without labels; the network before the first pass is the teacher.

    Masks stay, and codes too, unless ``codes`` says otherwise. What is minimised is the divergence of
    softened answers, the figure that guards and choices go by. After each epoch it is measured on
    samples that were put aside (``aside`` of a recipe's ``calibration``), which no pass has seen, and
    the epoch where it is least is kept, the start included: a network that did not get better comes
    out as it came. Where nothing was put aside, the last epoch is kept.
    """

    name: ClassVar[str] = "distil"
    stage: ClassVar[PassStage] = "any"

    def spares(self, net: Network) -> Mapping[str, str]:
        """One-to-one layers of unit weights are wiring, and stay; so do codes that may not move."""
        coded = {p.name: "it has codes" for p in net.projections if p.weight.quantized}
        return wiring(net) if self.codes else {**wiring(net), **coded}

    def requires(self, net: Network) -> None:
        """Patterns must match a layer."""
        self.ignored(net)

    def quick(self) -> Distil:
        """A fifth of the epochs."""
        return replace(self, epochs=max(1, self.epochs // 5))

    def run(self, net: Network, ctx: PassContext) -> PassResult:
        """Train, and write back the epoch that is kept."""
        from .loop.distillation import Distillation

        teacher = ctx.source
        if teacher is None or teacher.digest == net.digest:
            return PassResult(network=net, modified=False)
        ctx.samples(f"the pass {self.name!r}")
        work = Distillation(self, net, teacher, ctx)
        if not work.learns:
            return PassResult(network=net, modified=False, findings=(_nothing(self.name),))
        work.run()
        after = work.network
        return PassResult(
            network=after,
            modified=after is not net,
            metrics={"distillation": work.metrics()},
            findings=(_kept(self.name, work), *work.findings()),
        )

    def ensures(self, before: Network, after: Network) -> None:
        """What was pruned stays pruned; codes stay, or at least on their grid."""
        from .finetune import keep_constraints

        keep_constraints(self, before, after)
        for p, q in zip(before.projections, after.projections, strict=True):
            moved = p.weight.quantized and (p.weight.data != q.weight.data).any()
            self.promise(self.codes or not moved, f"{p.name}: codes stay")


def _nothing(name: str) -> Finding:
    return Finding(
        code="nothing-to-learn",
        severity="note",
        where=name,
        message="every layer has codes, which stay, and there are no biases: nothing can learn",
    )


def _kept(name: str, work: Distillation) -> Finding:
    epochs = len(work.history)
    if work.reference is None:
        told = (
            f"trained for {epochs} epochs; no samples were put aside to say which of them is best"
        )
    elif not work.best:
        told = (
            f"none of {epochs} epochs made the answers to samples aside any better: nothing is kept"
        )
    else:
        told = (
            f"epoch {work.best} of {epochs} is kept: divergence on samples aside "
            f"{work.start:.3g} before, {work.history[work.best - 1].aside:.3g} after"
        )
    return Finding(code="distilled", severity="note", where=name, message=told)
